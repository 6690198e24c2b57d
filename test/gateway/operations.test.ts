// What operators read and do: callers with what is left for them, the upstream, the settings in
// force, and the page itself.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test, type TestContext } from "node:test";
import type { ConfigInput } from "../../src/gateway.ts";
import { version } from "../../src/version.ts";
import { ADMIN, ADMIN_KEY, readAdmin } from "../helpers/admin.ts";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";

const KEY = "backend-key-0123456789abcdef";
const TOKEN_SECRET = "token-secret-token-secret-0123456789abcdef";
const SETTINGS: ConfigInput = {
  server: { host: "127.0.0.1" },
  access: {
    keys: [
      { name: "backend", sha256: createHash("sha256").update(KEY).digest("hex"), policy: "user" },
      { name: "idle", sha256: "ab".repeat(32), policy: "user", expires: "2026-02-01" },
    ],
    tokens: { secret: TOKEN_SECRET, maxLifetimeSeconds: 3_600 },
  },
  policies: {
    user: {
      requestsPerMinute: 60,
      tokensPerMinute: 60_000,
      concurrentRequests: 4,
      budget: ["1/day", "10/total"],
      maxOutputTokens: 1_000,
      shared: { budget: "20/month" },
    },
  },
  admin: { key: ADMIN_KEY },
};

const chats: Script = async (res, { body }) => {
  await body;
  res.writeHead(200, { "content-type": "application/json" });
  const usage = { prompt_tokens: 200_000, completion_tokens: 500, total_tokens: 200_500 };
  res.end(JSON.stringify({ model: "gpt-4o-mini-2024-07-18", usage }));
};

async function start(t: TestContext, script = chats, settings = SETTINGS) {
  const openai = await fakeOpenAI(t, script);
  const clock = new ManualClock();
  const running = await startGateway(t, openai.baseUrl, settings, { clock });
  const call = (key: string, init: RequestInit = {}): Promise<Response> => {
    const headers = { authorization: `Bearer ${key}` };
    return post(
      `${running.url}/v1/chat/completions`,
      { model: "gpt-4o-mini" },
      { headers, ...init },
    );
  };
  const ask = (line: string, body?: unknown): Promise<Response> => {
    const [method = "", path = ""] = line.split(" ");
    const json = body === undefined ? null : JSON.stringify(body);
    return fetch(running.url + path, { method, body: json, headers: ADMIN });
  };
  const mint = async (subject: string, limits = {}): Promise<string> => {
    const answer = await ask("POST /admin/tokens", { subject, policy: "user", limits });
    return Object(await answer.json()).token;
  };
  return { ...running, openai, clock, call, ask, mint };
}

interface Row {
  readonly caller: string;
  readonly limits: readonly Readonly<Record<string, unknown>>[];
  readonly [field: string]: unknown;
}

interface Callers {
  readonly callers: readonly Row[];
  readonly shared: readonly object[];
  readonly more: number;
}

describe("GET /admin/callers", () => {
  test("who called, who could, and what is left for each", async (t) => {
    const { url, call, clock } = await start(t);
    const response = await call(KEY);
    await response.text();

    const { callers, shared, more } = await readAdmin<Callers>(url, "/admin/callers");

    const [backend, idle, ...others] = callers;
    assert.deepEqual([others, more], [[], 0]);
    const { limits, ...about } = backend ?? { limits: [] };
    assert.deepEqual(about, {
      caller: "key:backend",
      policy: "user",
      lastSeenAt: new Date(clock.now()).toISOString(),
      revokedUntil: null,
      requests: 1,
      costUsd: 0.0303,
    });
    const of = "caller";
    const day = { limitUsd: 1, spentUsd: 0.0303, heldUsd: 0, leftUsd: 0.9697 };
    const total = { limitUsd: 10, spentUsd: 0.0303, heldUsd: 0, leftUsd: 9.9697 };
    assert.deepEqual(limits, [
      { rule: "requestsPerMinute", of, limit: 60, left: 59, resetMs: 1_000 },
      { rule: "tokensPerMinute", of, limit: 60_000, left: 0, resetMs: 200_500 },
      { rule: "concurrentRequests", of, limit: 4, left: 4, resetMs: 0 },
      { rule: "budget", of, per: "day", ...day, resetMs: 86_400_000 },
      { rule: "budget", of, per: "total", ...total, resetMs: null },
    ]);
    assert.deepEqual([idle?.caller, idle?.["lastSeenAt"]], ["key:idle", null]);
    assert.equal(idle?.limits[0]?.["left"], 60);
    const month = { limitUsd: 20, spentUsd: 0.0303, heldUsd: 0, leftUsd: 19.9697 };
    const resetMs = 31 * 86_400_000;
    assert.deepEqual(shared, [
      {
        policy: "user",
        limits: [{ rule: "budget", of: "policy", per: "month", ...month, resetMs }],
      },
    ]);
  });

  test("the limits of a token are those that it was narrowed to", async (t) => {
    const { url, call, mint } = await start(t);
    await (await call(await mint("anna", { requestsPerMinute: 5 }))).text();

    const { callers } = await readAdmin<Callers>(url, "/admin/callers");

    const [anna] = callers;
    assert.deepEqual([anna?.caller, anna?.limits[0]?.["limit"]], ["token:anna", 5]);
  });

  test("looking takes nothing", async (t) => {
    const { url, call } = await start(t);
    await (await call(KEY)).text();
    const first = await readAdmin<Callers>(url, "/admin/callers");
    for (let times = 0; times < 20; times++) await readAdmin<Callers>(url, "/admin/callers");
    assert.deepEqual(await readAdmin<Callers>(url, "/admin/callers"), first);
  });

  test("of many callers the latest 100 are shown, and it is said how many are not", async (t) => {
    const { url, call, mint } = await start(t);
    for (let user = 0; user < 105; user++) await (await call(await mint(`user-${user}`))).text();

    const { callers, more } = await readAdmin<Callers>(url, "/admin/callers");

    assert.deepEqual([callers.length, more], [100, 7]);
    assert.equal(callers[0]?.caller, "token:user-104");
  });

  test("whoever is shut out is shown first, however many there are", async (t) => {
    const { url, call, mint, ask } = await start(t);
    for (let user = 0; user < 105; user++) await (await call(await mint(`user-${user}`))).text();
    await ask("POST /admin/revocations", { caller: "token:user-3" });
    await ask("POST /admin/revocations", { caller: "token:never-seen" });

    const { callers } = await readAdmin<Callers>(url, "/admin/callers");

    const first = callers.slice(0, 2).map(({ caller }) => caller);
    assert.deepEqual(first.toSorted(), ["token:never-seen", "token:user-3"]);
  });

  test("in open mode callers are addresses", async (t) => {
    const { url, call } = await start(t, chats, { admin: { key: ADMIN_KEY } });
    await (await call("none")).text();

    const { callers } = await readAdmin<Callers>(url, "/admin/callers");

    assert.deepEqual(
      callers.map(({ caller, limits }) => [caller, limits]),
      [["127.0.0.1", []]],
    );
  });
});

describe("GET /admin/upstreams", () => {
  test("how the upstream does", async (t) => {
    const { url, call, openai, reported } = await start(t);
    await (await call(KEY)).text();
    await reported();

    const { upstreams } = await readAdmin<{ upstreams: Record<string, unknown>[] }>(
      url,
      "/admin/upstreams",
    );

    const [{ attempts, lastAnswerAtMs, ...upstream } = {}] = upstreams;
    assert.equal(typeof lastAnswerAtMs, "number");
    assert.equal(Object(attempts)["2xx"], 1);
    assert.deepEqual(upstream, {
      name: "openai",
      host: new URL(openai.baseUrl).host,
      healthy: true,
      retries: 0,
      openConnections: 1,
      connectionsOpened: 1,
      lastFailure: null,
    });
  });
});

test("GET /admin/settings shows what is in force, and no secret", async (t) => {
  const { ask, url } = await start(t);

  const text = await (await ask("GET /admin/settings")).text();

  const { settings, version: shown, node } = JSON.parse(text);
  assert.deepEqual([shown, node], [version(), process.version]);
  assert.equal(settings.policies.user.requestsPerMinute, 60);
  assert.equal(settings.upstreams[0].apiKey, "[secret]");
  assert.equal(settings.admin.key, "[secret]");
  for (const secret of [API_KEY, ADMIN_KEY, TOKEN_SECRET]) {
    assert.ok(!text.includes(secret), "a secret is shown");
  }
  assert.equal((await fetch(`${url}/admin/settings?a=1`, { headers: ADMIN })).status, 400);
});

describe("revocations", () => {
  async function list(url: string): Promise<unknown> {
    return Object(await readAdmin(url, "/admin/revocations")).revocations;
  }

  test("a revoked key is refused at once, and let in again when that is lifted", async (t) => {
    const { url, call, ask } = await start(t, (res) => void res.end("{}"));
    assert.equal((await call(KEY)).status, 200);

    const answer = await ask("POST /admin/revocations", { caller: "key:backend" });
    assert.deepEqual(await answer.json(), {
      revocations: [{ caller: "key:backend", until: null }],
    });
    const refused = await call(KEY);
    assert.deepEqual(
      [refused.status, Object(await refused.json()).error.code],
      [401, "invalid_api_key"],
    );
    const { callers } = await readAdmin<Callers>(url, "/admin/callers");
    assert.equal(callers[0]?.["revokedUntil"], "forever");

    assert.equal((await ask("DELETE /admin/revocations?caller=key:backend")).status, 200);
    assert.deepEqual(await list(url), []);
    assert.equal((await call(KEY)).status, 200);
  });

  test("a token's subject is revoked until its last token has expired", async (t) => {
    const { call, ask, mint, clock } = await start(t);
    const token = await mint("anna");
    const other = await mint("berta");

    const answer = await ask("POST /admin/revocations", { caller: "token:anna" });
    const [{ until }] = Object(await answer.json()).revocations;

    assert.equal(Date.parse(until) - clock.now(), 3_660_000);
    assert.deepEqual([(await call(token)).status, (await call(other)).status], [401, 200]);
    clock.advance(3_660_000);
    assert.equal((await call(await mint("anna"))).status, 200);
  });

  test("a key that expires is revoked until then, and any moment may be named", async (t) => {
    const { url, ask } = await start(t);
    await ask("POST /admin/revocations", { caller: "key:idle" });
    await ask("POST /admin/revocations", {
      caller: "https://login.example.com/#user-1",
      until: "2026-03-01T12:00:00Z",
    });

    assert.deepEqual(await list(url), [
      { caller: "https://login.example.com/#user-1", until: "2026-03-01T12:00:00.000Z" },
      { caller: "key:idle", until: "2026-02-01T00:00:00.000Z" },
    ]);
  });

  test("what a revoked caller has open ends", async (t) => {
    const { call, ask, reported } = await start(t, async (res, { body }) => {
      await body;
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n');
    });
    const stream = readStream(await call(KEY));
    await stream.next();

    await ask("POST /admin/revocations", { caller: "key:backend" });

    assert.match(await stream.rest(), /"code":"invalid_api_key"/);
    let line = await reported();
    while (line["route"] !== "POST /chat/completions") line = await reported();
    assert.deepEqual([line["status"], line["error"]], [200, "invalid_api_key"]);
  });

  test("who is revoked before OpenAI answers pays like one who leaves", async (t) => {
    const { url, call, ask, openai } = await start(t, () => {});
    const answer = call(KEY);
    await (
      await openai.next()
    ).body;

    await ask("POST /admin/revocations", { caller: "key:backend" });

    assert.equal((await answer).status, 401);
    const { total } = Object(await readAdmin(url, "/admin/usage"));
    assert.deepEqual([total.requests, total.estimated], [1, 1]);
    assert.ok(total.costUsd > 0, "it was free");
  });

  const mistakes = [
    [{}, "caller", /is missing/],
    [{ caller: "" }, "caller", /expected/],
    [{ caller: 7 }, "caller", /expected/],
    [{ caller: "a\nb" }, "caller", /control/],
    [{ caller: "x".repeat(1_001) }, "caller", /1000/],
    [{ caller: "key:a", until: "soon" }, "until", /to come/],
    [{ caller: "key:a", until: "2020-01-01" }, "until", /to come/],
    [{ caller: "key:a", forever: true }, "forever", /unknown|did you mean/],
  ] as const;
  for (const [body, param, message] of mistakes) {
    test(`${JSON.stringify(body).slice(0, 50)} is refused with a reason`, async (t) => {
      const { ask, url } = await start(t);

      const answer = await ask("POST /admin/revocations", body);

      const { error } = Object(await answer.json());
      assert.deepEqual([answer.status, error.param], [400, param]);
      assert.match(error.message, message);
      assert.deepEqual(await list(url), []);
    });
  }

  test("lifting needs a name", async (t) => {
    const { ask } = await start(t);
    for (const query of ["", "?caller=", "?caller=a&caller=b", "?key=a"]) {
      assert.equal((await ask(`DELETE /admin/revocations${query}`)).status, 400, query);
    }
    assert.equal((await ask("DELETE /admin/revocations?caller=nobody")).status, 200);
  });
});

describe("GET /dashboard", () => {
  test("it is one static page that asks nobody but us, and is framed by nobody", async (t) => {
    const { url } = await start(t);
    const answers = await Promise.all([
      fetch(`${url}/dashboard`),
      fetch(`${url}/dashboard?key=x`, { headers: ADMIN }),
    ]);
    const [html, again] = await Promise.all(answers.map((answer) => answer.text()));

    assert.equal(html, again, "it is not the same for everybody");
    const { headers } = answers[0];
    assert.equal(headers.get("content-type"), "text/html; charset=utf-8");
    const policy = Object.fromEntries(
      (headers.get("content-security-policy") ?? "").split("; ").map((directive) => {
        const [name = "", ...values] = directive.split(" ");
        return [name, values.join(" ")];
      }),
    );
    const hashOf = (element: string): string => {
      const parts = (html ?? "").split(new RegExp(`<${element}[^>]*>`));
      assert.equal(parts.length, 2, `there is not one ${element}`);
      const text = parts[1]?.split(`</${element}>`)[0] ?? "";
      return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
    };
    assert.deepEqual(policy, {
      "default-src": "'none'",
      "script-src": hashOf("script"),
      "style-src": hashOf("style"),
      "img-src": "data:",
      "connect-src": "'self'",
      "base-uri": "'none'",
      "form-action": "'none'",
      "frame-ancestors": "'none'",
      "require-trusted-types-for": "'script'",
      "trusted-types": "'none'",
    });
    assert.equal(headers.get("referrer-policy"), "no-referrer");
    assert.equal(headers.get("access-control-allow-origin"), null);
    // Neither a style attribute nor a handler would be let through, nor markup made of text.
    assert.doesNotMatch(html ?? "", /<[^>]+\s(?:style|on\w+)=|innerHTML|insertAdjacentHTML|eval\(/);
    assert.doesNotMatch(html ?? "", /(?:src|href)=["']?(?!data:|#)\w*:?\/\//);
  });

  test("a page of another origin does not read it", async (t) => {
    const { url } = await start(t);
    const answer = await fetch(`${url}/dashboard`, { headers: { origin: "https://evil.example" } });
    assert.equal(answer.status, 403);
  });

  test("it is there for GET and HEAD alone", async (t) => {
    const { url } = await start(t);
    const head = await fetch(`${url}/dashboard`, { method: "HEAD" });
    const posted = await fetch(`${url}/dashboard`, { method: "POST" });
    assert.deepEqual([head.status, posted.status], [200, 405]);
    assert.equal(posted.headers.get("access-control-allow-origin"), null);
  });
});
