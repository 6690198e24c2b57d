// POST /admin/tokens: whoever has the admin key mints tokens there. To everybody else, and to every
// page of another origin, it is not there.
import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test, type TestContext } from "node:test";
import type { ConfigInput, Limits } from "../../src/gateway.ts";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { openSocket, parseAnswer, sendRaw, type RawAnswer } from "../helpers/raw-client.ts";
import { post } from "../helpers/read-stream.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";

const ADMIN_KEY = "admin-key-0123456789abcdef";
const SECRET = "token-secret-token-secret-0123456789abcdef";
const LONG_SECRET = "long-secret-".repeat(8);

const ADMIN = { authorization: `Bearer ${ADMIN_KEY}` };
const SETTINGS: ConfigInput = {
  access: { tokens: { secret: SECRET, maxLifetimeSeconds: 3_600 } },
  admin: { key: ADMIN_KEY },
  policies: { user: { models: ["gpt-4o-mini"] } },
};

async function start(t: TestContext, settings: ConfigInput = SETTINGS, clock = new ManualClock()) {
  const openai = await fakeOpenAI(t);
  // With callers to tell apart, a gateway listens everywhere.
  const whole = { server: { host: "127.0.0.1" }, ...settings };
  const running = await startGateway(t, openai.baseUrl, whole, { clock });
  const admin = (body: unknown, headers: Record<string, string> = ADMIN) => {
    return post(`${running.url}/admin/tokens`, body, { headers });
  };
  return { ...running, clock, openai, admin };
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly param: string | null;
  readonly message: string;
}

async function refusalOf(answer: Promise<Response>): Promise<Refusal> {
  const response = await answer;
  const { error } = Object(await response.json());
  assert.deepEqual(Object.keys(error).toSorted(), ["code", "message", "param", "type"]);
  return { status: response.status, ...error };
}

test("it mints a token that gets in at once and narrows its policy", async (t) => {
  const { admin, url, openai } = await start(t);
  const limits: Limits = { models: ["gpt-4o-mini"], maxOutputTokens: 100 };

  const answer = await admin({ subject: "user-1", policy: "user", expiresInSeconds: 60, limits });
  const minted = Object(await answer.json());
  const headers = { authorization: `Bearer ${minted.token}` };
  const call = await post(`${url}/v1/chat/completions`, { model: "gpt-4o-mini" }, { headers });
  const refused = await post(`${url}/v1/chat/completions`, { model: "gpt-5" }, { headers });

  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "application/json");
  assert.equal(answer.headers.get("cache-control"), "no-store");
  assert.deepEqual(Object.keys(minted).toSorted(), ["expiresAt", "token"]);
  assert.equal(minted.expiresAt, "2026-01-01T00:01:00.000Z");
  assert.equal(call.status, 200);
  assert.equal(refused.status, 403);
  const body = JSON.parse(String(await openai.arrivals[0]?.body));
  assert.equal(body.max_completion_tokens, 100);
});

test("a token is for the policy `default` and ten minutes, unless it says so", async (t) => {
  const { admin } = await start(t);

  const { token, expiresAt } = Object(await (await admin({ subject: "user-1" })).json());

  assert.equal(expiresAt, "2026-01-01T00:10:00.000Z");
  const { jti, ...claims } = claimsOf(token);
  const iat = Date.UTC(2026, 0, 1) / 1_000;
  const exp = iat + 600;
  assert.deepEqual(claims, { iss: "openai-gateway", sub: "user-1", iat, exp, policy: "default" });
  assert.match(String(jti), /^[\da-f-]{36}$/);
});

test("where tokens live for less than ten minutes, that is what one gets", async (t) => {
  const access = { tokens: { secret: SECRET, maxLifetimeSeconds: 30 } };
  const { admin } = await start(t, { ...SETTINGS, access });

  const { expiresAt } = Object(await (await admin({ subject: "user-1" })).json());

  assert.equal(expiresAt, "2026-01-01T00:00:30.000Z");
});

test("two tokens for one grant differ", async (t) => {
  const { admin } = await start(t);

  const answers = await Promise.all([admin({ subject: "u" }), admin({ subject: "u" })]);
  const [first, second] = await Promise.all(answers.map((answer) => answer.text()));

  assert.notEqual(first, second);
});

describe("without the admin key it is not there", () => {
  const noAdmin: ConfigInput = { access: { tokens: { secret: SECRET } } };
  const cases: Readonly<Record<string, readonly [Record<string, string>, ConfigInput]>> = {
    "no credential": [{}, SETTINGS],
    "a wrong key": [{ authorization: "Bearer wrong" }, SETTINGS],
    "the key cut short": [{ authorization: `Bearer ${ADMIN_KEY.slice(0, -1)}` }, SETTINGS],
    "the key in capitals": [{ authorization: `Bearer ${ADMIN_KEY.toUpperCase()}` }, SETTINGS],
    "the key twice": [{ authorization: `Bearer ${ADMIN_KEY} ${ADMIN_KEY}` }, SETTINGS],
    "the key without a scheme": [{ authorization: ADMIN_KEY }, SETTINGS],
    "the key as api-key": [{ "api-key": ADMIN_KEY }, SETTINGS],
    "the key in a cookie": [{ cookie: `authorization=Bearer ${ADMIN_KEY}` }, SETTINGS],
    Basic: [{ authorization: `Basic ${btoa(`admin:${ADMIN_KEY}`)}` }, SETTINGS],
    "an empty key": [{ authorization: "Bearer " }, SETTINGS],
    "OpenAI's key": [{ authorization: `Bearer ${API_KEY}` }, SETTINGS],
    "the tokens' secret": [{ authorization: `Bearer ${SECRET}` }, SETTINGS],
    "a wrong key from a foreign page": [{ origin: "https://evil.example" }, SETTINGS],
    "no key configured": [ADMIN, noAdmin],
    "no key configured, none sent": [{}, noAdmin],
    "no key configured, an empty one": [{ authorization: "Bearer " }, noAdmin],
    "no key configured, undefined": [{ authorization: "Bearer undefined" }, noAdmin],
  };
  for (const [name, [headers, settings]] of Object.entries(cases)) {
    test(name, async (t) => {
      const { port } = await start(t, settings);

      const here = await sendRaw(port, toBytes("POST /admin/tokens", headers));
      const nowhere = await sendRaw(port, toBytes("POST /admin/nowhere", headers));

      assert.equal(here.status, 404);
      assert.equal(shapeOf(here), shapeOf(nowhere).replace("/admin/nowhere", "/admin/tokens"));
      assert.equal(JSON.parse(here.body).error.message, "Unknown request URL: POST /admin/tokens.");
    });
  }

  test("nor is it for another method, with the key", async (t) => {
    const { port } = await start(t);

    for (const method of ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      const { status, headers } = await sendRaw(port, toBytes(`${method} /admin/tokens`, ADMIN));
      assert.equal(status, 404, method);
      assert.equal(headers["allow"], undefined);
    }
  });

  test("nor under another spelling of its path", async (t) => {
    const { port } = await start(t);
    const paths = ["/admin", "/admin/", "/admin/tokens/", "/ADMIN/tokens", "/admin//tokens"];
    const odd = ["//admin/tokens", "/admin%2ftokens", "/v1/../admin/tokens", "/admin/./tokens"];

    for (const path of [...paths, ...odd]) {
      const { status } = await sendRaw(port, toBytes(`POST ${path}`, ADMIN));
      assert.ok(status === 404 || status === 400, `${path}: ${status}`);
    }
  });

  test("nor where no tokens are minted, which whoever has the key is told", async (t) => {
    const { admin } = await start(t, { admin: { key: ADMIN_KEY } });

    const { status, code, message } = await refusalOf(admin({ subject: "user-1" }));

    assert.deepEqual([status, code], [404, "unknown_url"]);
    assert.match(message, /TOKEN_SECRET is not set/);
  });

  test("nor does a caller's key or token open it", async (t) => {
    const { admin } = await start(t);
    const { token } = Object(await (await admin({ subject: "user-1" })).json());

    const { status } = await admin({ subject: "user-2" }, { authorization: `Bearer ${token}` });

    assert.equal(status, 404);
  });

  test("nor does the admin key open OpenAI's API", async (t) => {
    const { url, openai } = await start(t);

    const { status } = await fetch(`${url}/v1/models`, { headers: ADMIN });

    assert.equal(status, 401);
    assert.equal(openai.arrivals.length, 0);
  });
});

describe("pages", () => {
  test("a page of another origin is refused, whatever key it has", async (t) => {
    const { admin, port } = await start(t);
    const foreign = [
      "https://evil.example",
      `http://127.0.0.1:${port + 1}`,
      `http://127.0.0.1:${port}.evil.example`,
      `http://evil.example#127.0.0.1:${port}`,
      `http://127.0.0.1:${port}@evil.example`,
      "null",
      "",
    ];

    for (const origin of foreign) {
      const { status, code } = await refusalOf(admin({ subject: "u" }, { ...ADMIN, origin }));
      assert.deepEqual([status, code], [403, "origin_not_allowed"], origin);
    }
  });

  test("one of its own origin is not", async (t) => {
    const { admin, url } = await start(t);

    assert.equal((await admin({ subject: "u" }, { ...ADMIN, origin: url })).status, 200);
  });

  test("no answer has CORS headers, the one to a preflight neither", async (t) => {
    const { port } = await start(t);
    const origin = "https://app.example.com";
    const preflight = { origin, "access-control-request-method": "POST" };
    const grant = '{"subject":"u"}';

    const answers = [
      await sendRaw(port, toBytes("OPTIONS /admin/tokens", preflight)),
      await sendRaw(port, toBytes("OPTIONS /admin/tokens", { ...preflight, ...ADMIN })),
      await sendRaw(port, toBytes("OPTIONS /admin/nowhere", preflight)),
      await sendRaw(port, toBytes("POST /admin/tokens", { origin })),
      await sendRaw(port, toBytes("POST /admin/tokens", { origin, ...ADMIN }, grant)),
      await sendRaw(port, toBytes("POST /admin/tokens", ADMIN, grant)),
      await sendRaw(port, toBytes("POST /admin/tokens", ADMIN, "{")),
    ];

    assert.deepEqual(
      answers.map(({ status }) => status),
      [404, 403, 404, 404, 403, 200, 400],
    );
    for (const { headers } of answers) {
      const names = Object.keys(headers).filter((name) => name.startsWith("access-control-"));
      assert.deepEqual(names, []);
    }
  });
});

/** What is sent, and what comes back: the field at fault and a part of the message. */
type Wrong = readonly [name: string, grant: unknown, param: string, message: RegExp];

const grant = { subject: "user-1" };

const WRONG: readonly Wrong[] = [
  ["no subject", {}, "subject", /is missing: expected a user's id/],
  ["an empty subject", { subject: "" }, "subject", /expected/],
  ["a number as subject", { subject: 7 }, "subject", /expected a text/],
  ["a subject of two lines", { subject: "a\nb" }, "subject", /1 to 255 characters/],
  ["half a character as subject", { subject: "\ud800" }, "subject", /1 to 255 characters/],
  ["a subject too long", { subject: "u".repeat(256) }, "subject", /1 to 255 characters/],
  ["another name for a field", { sub: "u" }, "sub", /unknown setting/],
  ["a field misspelt", { subjct: "u" }, "subjct", /unknown setting, did you mean "subject"\?/],
  ["a limit outside limits", { ...grant, models: ["x"] }, "models", /unknown setting/],
  [
    "an unknown policy",
    { ...grant, policy: "usr" },
    "policy",
    /default, user.*did you mean "user"/,
  ],
  ["a policy of Object's", { ...grant, policy: "constructor" }, "policy", /one of default, user/],
  ["a policy of another type", { ...grant, policy: ["user"] }, "policy", /expected a text/],
  ["a lifetime too long", { ...grant, expiresInSeconds: 3_601 }, "expiresInSeconds", /1 to 3600/],
  ["no lifetime", { ...grant, expiresInSeconds: 0 }, "expiresInSeconds", /1 to 3600/],
  ["half a second", { ...grant, expiresInSeconds: 0.5 }, "expiresInSeconds", /1 to 3600/],
  ["no number", { ...grant, expiresInSeconds: "10m" }, "expiresInSeconds", /1 to 3600/],
  ["limits of another type", { ...grant, limits: "models" }, "limits", /expected an object/],
  [
    "a limit misspelt",
    { ...grant, limits: { model: ["x"] } },
    "limits.model",
    /unknown setting, did you mean "models"\?/,
  ],
  [
    "an unknown class of endpoints",
    { ...grant, limits: { endpoints: ["chats"] } },
    "limits.endpoints",
    /did you mean "chat"\?/,
  ],
  [
    "a cap of another type",
    { ...grant, limits: { maxOutputTokens: "many" } },
    "limits.maxOutputTokens",
    /expected a whole number/,
  ],
];

describe("a wrong grant is 400 and says what would be right", { concurrency: 16 }, () => {
  for (const [name, wrong, param, message] of WRONG) {
    test(name, async (t) => {
      const { admin } = await start(t);

      const refusal = await refusalOf(admin(wrong));

      assert.deepEqual([refusal.status, refusal.code], [400, "invalid_request"]);
      assert.match(refusal.message, message);
      assert.ok(refusal.message.includes(`${param}: `), refusal.message);
      if (param !== "sub" && param !== "subjct") assert.equal(refusal.param, param);
    });
  }

  test("all of it at once", async (t) => {
    const { admin } = await start(t);

    const { message } = await refusalOf(admin({ policy: "usr", expiresInSeconds: -1, x: 1 }));

    for (const field of ["subject", "policy", "expiresInSeconds", "x"]) {
      assert.ok(message.includes(`${field}: `), message);
    }
    assert.ok(!message.includes("\n"), "the message has more than one line");
  });

  test("values nested deeper than a stack is high", async (t) => {
    const { url } = await start(t);
    const deep = "[".repeat(30_000) + "]".repeat(30_000);

    for (const body of [`{"subject":${deep}}`, `{"subject":"u","limits":{"models":${deep}}}`]) {
      const { status } = await fetch(`${url}/admin/tokens`, {
        method: "POST",
        headers: ADMIN,
        body,
      });
      assert.equal(status, 400);
    }
  });

  test("limits that fit no token", async (t) => {
    const { admin } = await start(t);
    const models = Array.from({ length: 200 }, (_, index) => `${"m".repeat(50)}${index}`);

    const refusal = await refusalOf(admin({ ...grant, limits: { models } }));

    assert.deepEqual([refusal.status, refusal.code], [400, "invalid_request"]);
    assert.match(refusal.message, /too many for a token/);
  });
});

describe("a body", () => {
  const noJson: Readonly<Record<string, string>> = {
    "that is not there": "",
    "cut short": '{"subject":',
    "of two documents": '{"subject":"a"}{}',
    "behind a byte order mark": '\ufeff{"subject":"a"}',
  };
  for (const [name, body] of Object.entries(noJson)) {
    test(`${name} is 400 invalid_json`, async (t) => {
      const { url } = await start(t);

      const refusal = await refusalOf(
        fetch(`${url}/admin/tokens`, { method: "POST", headers: ADMIN, body }),
      );

      assert.deepEqual([refusal.status, refusal.code], [400, "invalid_json"]);
    });
  }

  test("beyond 64 KiB is 413, announced or not", async (t) => {
    const { admin, port } = await start(t);
    const chunk = `5000\r\n${" ".repeat(0x5000)}\r\n`;

    const announced = await refusalOf(admin({ subject: "u".repeat(65_536) }));
    const chunked = await sendRaw(
      port,
      `POST /admin/tokens HTTP/1.1\r\nhost: x\r\nauthorization: ${ADMIN.authorization}\r\n` +
        `transfer-encoding: chunked\r\n\r\n${chunk.repeat(4)}0\r\n\r\n`,
    );

    assert.deepEqual([announced.status, announced.code], [413, "request_too_large"]);
    assert.equal(chunked.status, 413);
    assert.equal(JSON.parse(chunked.body).error.code, "request_too_large");
  });

  test("that is the largest allowed is read", async (t) => {
    const { url } = await start(t);
    const body = '{"subject":"u"}'.padEnd(65_536);

    const { status } = await fetch(`${url}/admin/tokens`, { method: "POST", headers: ADMIN, body });

    assert.equal(status, 200);
  });

  test("that does not come holds its connection for ten seconds at most", async (t) => {
    const { port, clock, url, reported, admin } = await start(t);
    const socket = await openSocket(port);
    t.after(() => socket.destroy());
    const idle = clock.pending;
    socket.write(
      `POST /admin/tokens HTTP/1.1\r\nhost: x\r\nauthorization: ${ADMIN.authorization}\r\n` +
        "content-length: 100\r\nexpect: 100-continue\r\n\r\n",
    );
    const [invited] = await once(socket, "data");
    assert.equal(parseAnswer(String(invited)).status, 100);
    socket.write('{"subject":');
    while (clock.pending === idle) await fetch(`${url}/healthz`);

    let answer = "";
    const answered = once(socket, "data").then(([bytes]) => (answer = String(bytes)));
    clock.advance(9_999);
    await fetch(`${url}/healthz`);
    assert.equal(answer, "", "it was given up too early");
    clock.advance(1);

    await answered;
    assert.match(answer, /^HTTP\/1\.1 408 [^]*"code":"request_timeout"/);
    socket.destroy();
    let line = await reported();
    while (line["route"] !== "POST /admin/tokens") line = await reported();
    assert.ok(line["error"] !== undefined, "the call ended as if nothing had been wrong");
    assert.equal((await admin(grant)).status, 200);
  });

  test("nobody waits for one from a stranger", async (t) => {
    const { port } = await start(t);

    const { status } = await sendRaw(
      port,
      "POST /admin/tokens HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{",
    );

    assert.equal(status, 404);
  });
});

describe("no secret is in an answer or in the log", () => {
  const secrets = [ADMIN_KEY, SECRET, API_KEY];

  for (const secret of secrets) {
    test(`${secret.slice(0, 5)}…, wherever it was put by mistake`, async (t) => {
      const { admin, log } = await start(t);
      const grants = [
        { subject: 7, policy: secret },
        { subject: "u", [secret]: 1 },
        { subject: "u", expiresInSeconds: secret },
        { subject: "u", limits: secret },
        { subject: "u", limits: { [secret]: 1 } },
        { subject: "u", limits: { endpoints: [secret] } },
        { subject: "u", limits: { origins: `https://${secret}/` } },
      ];

      for (const wrong of grants) {
        const answer = await admin(wrong);
        assert.equal(answer.status, 400);
        assert.ok(!(await answer.text()).includes(secret), "a secret came back");
      }
      const { token } = Object(await (await admin(grant)).json());

      const written = JSON.stringify(log);
      for (const each of [...secrets, token]) assert.ok(!written.includes(each), "it was logged");
    });
  }

  test("one too long to be quoted whole is not quoted in part", async (t) => {
    const access = { tokens: { secret: LONG_SECRET } };
    const { admin, log } = await start(t, { ...SETTINGS, access });

    const answer = await admin({ subject: "u", policy: LONG_SECRET });

    assert.ok(!(await answer.text()).includes(LONG_SECRET.slice(0, 32)), "half of it came back");
    assert.ok(!JSON.stringify(log).includes(LONG_SECRET.slice(0, 32)), "half of it was logged");
  });
});

test("the log has a call for a token like any other, without what it was for", async (t) => {
  const { admin, reported } = await start(t);

  await (await admin({ subject: "user-of-the-app" })).text();

  const { level, route, status, ...rest } = await reported();
  assert.deepEqual([level, route, status], ["info", "POST /admin/tokens", 200]);
  assert.ok(!JSON.stringify(rest).includes("user-of-the-app"), "the subject is in the log");
});

function claimsOf(token: unknown): Record<string, unknown> {
  const [, payload = ""] = String(token).split(".");
  return JSON.parse(Buffer.from(payload, "base64url").toString());
}

function toBytes(line: string, headers: Record<string, string>, body = ""): string {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = body === "" ? "" : `content-length: ${body.length}\r\n`;
  return `${line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${fields.join("")}${length}\r\n${body}`;
}

/** Everything but what differs between any two answers. */
function shapeOf({ text }: RawAnswer): string {
  return text
    .replaceAll(/gw_[\da-f]{32}/g, "ID")
    .replace(/^date: .*$/im, "date")
    .replace(/^content-length: \d+\r\n/im, "");
}
