// The operator's part of the gateway, and whoever would like to be one: no key, a wrong key, a key
// in the wrong place, a page of another origin, a header that pretends.
import assert from "node:assert/strict";
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { createGuard } from "../../src/endpoints/admin-guard.ts";
import { toGatewayError } from "../../src/errors.ts";
import { ADMIN, ADMIN_KEY } from "../helpers/admin.ts";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { sendRaw } from "../helpers/raw-client.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const ROUTES = [
  "GET /metrics",
  "GET /admin/events",
  "GET /admin/usage",
  "GET /admin/callers",
  "GET /admin/upstreams",
  "GET /admin/settings",
  "GET /admin/revocations",
  "POST /admin/revocations",
  "DELETE /admin/revocations?caller=key:a",
  "POST /admin/tokens",
] as const;

const KEY = "caller-key-0123456789abcdef";

async function start(t: TestContext, trustedProxies: readonly string[] = []) {
  const openai = await fakeOpenAI(t);
  const clock = new ManualClock();
  const settings = {
    server: { host: "127.0.0.1", trustedProxies },
    access: {
      keys: [{ name: "a", sha256: await sha256(KEY) }],
      tokens: { secret: "s".repeat(40) },
    },
    admin: { key: ADMIN_KEY },
    cors: { origins: ["https://app.example.com"] },
  };
  const running = await startGateway(t, openai.baseUrl, settings, { clock });
  const ask = async (line: string, headers: Record<string, string>) => {
    const fields = Object.entries({ host: "gw.example.com", connection: "close", ...headers });
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    return sendRaw(running.port, `${line} HTTP/1.1\r\n${lines}\r\n`);
  };
  return { ...running, clock, ask };
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Buffer.from(digest).toString("hex");
}

describe("without the admin key nothing is there", () => {
  const headers: Readonly<Record<string, Record<string, string>>> = {
    "no credential": {},
    "a wrong key": { authorization: "Bearer admin-key-0123456789abcdeg" },
    "the beginning of the key": { authorization: `Bearer ${ADMIN_KEY.slice(0, -1)}` },
    "the key and more": { authorization: `Bearer ${ADMIN_KEY}0` },
    "the key in capitals": { authorization: `Bearer ${ADMIN_KEY.toUpperCase()}` },
    "the key by Basic": { authorization: `Basic ${btoa(`admin:${ADMIN_KEY}`)}` },
    "the bare key": { authorization: ADMIN_KEY },
    "the key as another header": { "api-key": ADMIN_KEY, "x-api-key": ADMIN_KEY },
    "the key as a cookie": { cookie: `key=${ADMIN_KEY}; authorization=Bearer ${ADMIN_KEY}` },
    "a caller's key": { authorization: `Bearer ${KEY}` },
    "an empty key": { authorization: "Bearer " },
    "an address that is said to be ours": {
      "x-forwarded-for": "127.0.0.1",
      "x-real-ip": "127.0.0.1",
      forwarded: "for=127.0.0.1",
    },
    "a host that is said to be ours": { host: "localhost", "x-forwarded-host": "localhost" },
    "a method that is said to be another": { "x-http-method-override": "GET" },
    "a path that is said to be another": { "x-original-url": "/", "x-rewrite-url": "/healthz" },
  };

  for (const [name, given] of Object.entries(headers)) {
    test(name, async (t) => {
      const { ask, log } = await start(t);
      for (const route of ROUTES) {
        const { status, text } = await ask(route, given);
        const path = route.replace(/\?.*/, "");
        assert.equal(status, 404, `${route} answers ${status}`);
        assert.ok(text.includes(`Unknown request URL: ${path}.`), text);
        assert.ok(!/^access-control-/im.test(text), "it has CORS headers");
      }
      assert.ok(!JSON.stringify(log).includes(ADMIN_KEY), "the key was logged");
    });
  }

  test("the key in the request's URL", async (t) => {
    const { ask, log } = await start(t);
    for (const route of ["/admin/usage?key=", "/metrics?token=", "/admin/events?authorization="]) {
      assert.equal((await ask(`GET ${route}${ADMIN_KEY}`, {})).status, 404);
    }
    assert.ok(!JSON.stringify(log).includes(ADMIN_KEY), "the key was logged");
  });

  test("paths that are almost the right ones", async (t) => {
    const { ask } = await start(t);
    const paths = ["/admin", "/admin/", "/admin/usage/", "/ADMIN/usage", "/metrics/", "/Metrics"];
    for (const path of paths) {
      assert.equal((await ask(`GET ${path}`, ADMIN)).status, 404, path);
    }
  });

  test("targets that a proxy in front may read otherwise", async (t) => {
    const { ask } = await start(t);
    const paths = [
      "//admin/usage",
      "/v1/../admin/usage",
      "/v1/..%2fadmin/usage",
      "/admin%2fusage",
      "/%61dmin/usage",
      "/healthz/../admin/usage",
      "/admin/./usage",
      "/admin\\usage",
      "/admin/usage;x",
      "/admin/usage%00",
    ];
    for (const path of paths) {
      const { status } = await ask(`GET ${path}`, {});
      assert.ok(status === 404 || status === 400, `${path} answers ${status}`);
    }
  });
});

describe("with the key, a page of another origin gets nothing", () => {
  const headers: Readonly<Record<string, Record<string, string>>> = {
    "another site": { origin: "https://evil.example" },
    "the app that may call the API": { origin: "https://app.example.com" },
    "no origin to tell (a sandboxed frame)": { origin: "null" },
    "our host by another port": { origin: "http://gw.example.com:81" },
    "our host as a part of another's": { origin: "https://gw.example.com.evil.example" },
    "a form of another site, without an origin": { "sec-fetch-site": "cross-site" },
    "a sibling domain": { "sec-fetch-site": "same-site" },
    "something new": { "sec-fetch-site": "odd" },
  };

  for (const [name, given] of Object.entries(headers)) {
    test(name, async (t) => {
      const { ask } = await start(t);
      for (const route of ROUTES) {
        const { status, text } = await ask(route, { ...ADMIN, ...given });
        assert.equal(status, 403, `${route} answers ${status}`);
        assert.match(text, /"code":"origin_not_allowed"/);
        assert.ok(!/^access-control-/im.test(text), "it has CORS headers");
      }
    });
  }

  test("and our own page, or no page, gets it", async (t) => {
    const { ask } = await start(t);
    const own = { origin: "https://gw.example.com", "sec-fetch-site": "same-origin" };
    for (const given of [own, { "sec-fetch-site": "none" }, {}]) {
      assert.equal((await ask("GET /admin/usage", { ...ADMIN, ...given })).status, 200);
    }
  });
});

describe("guessing", () => {
  const WRONG = { authorization: "Bearer wrong-key-0123456789abcdef" };

  test("ten wrong keys, and the right one has to wait, too", async (t) => {
    const { ask, clock } = await start(t);
    for (let guess = 0; guess < 10; guess++) {
      assert.equal((await ask("GET /admin/usage", WRONG)).status, 404);
    }

    const wrong = await ask("GET /metrics", WRONG);
    const right = await ask("GET /admin/usage", ADMIN);
    assert.deepEqual([wrong.status, right.status], [429, 429]);
    assert.equal(right.headers["retry-after"], "6");
    assert.equal((await ask("GET /admin/usage", {})).status, 404);

    clock.advance(6_000);
    assert.equal((await ask("GET /admin/usage", ADMIN)).status, 200);
    assert.equal((await ask("GET /admin/usage", WRONG)).status, 404);
    assert.equal((await ask("GET /admin/usage", ADMIN)).status, 429);
    clock.advance(60_000);
    assert.equal((await ask("GET /admin/usage", ADMIN)).status, 200);
  });

  test("the right key takes no guess", async (t) => {
    const { ask } = await start(t);
    for (let index = 0; index < 30; index++) {
      assert.equal((await ask("GET /admin/usage", ADMIN)).status, 200);
    }
  });

  test("each network has its own guesses, as far as proxies are trusted", async (t) => {
    const { ask } = await start(t, ["127.0.0.1"]);
    const from = (address: string) => ({ "x-forwarded-for": address });
    for (let guess = 0; guess < 11; guess++) {
      // Whoever has a /64 may choose addresses at will.
      await ask("GET /admin/usage", { ...WRONG, ...from(`2001:db8::${guess}`) });
    }

    const guesser = await ask("GET /admin/usage", { ...ADMIN, ...from("2001:db8::ffff") });
    const operator = await ask("GET /admin/usage", { ...ADMIN, ...from("192.0.2.7") });

    assert.deepEqual([guesser.status, operator.status], [429, 200]);
  });

  test("whoever says to be somebody else each time has the guesses of its own address", async (t) => {
    const { ask } = await start(t);
    const statuses = [];
    for (let guess = 0; guess < 12; guess++) {
      const pretended = {
        "x-forwarded-for": `192.0.2.${guess}`,
        forwarded: `for=192.0.2.${guess}`,
      };
      statuses.push((await ask("GET /admin/usage", { ...WRONG, ...pretended })).status);
    }
    assert.deepEqual(statuses.slice(-3), [404, 429, 429]);
  });

  test("20 000 networks are not remembered one by one", () => {
    const upstreams = [{ apiKey: "sk-test-0123456789abcdef" }];
    const config = parseConfig({ upstreams, admin: { key: ADMIN_KEY } });
    const clock = new ManualClock();
    const guard = createGuard(config, clock);
    const codeOf = (remoteAddress: string, headers: Record<string, string>): string => {
      const req = Object.assign(new IncomingMessage(new Socket()), { method: "GET", headers });
      Object.defineProperty(req.socket, "remoteAddress", { value: remoteAddress });
      try {
        guard(req, { path: "/admin/usage", search: "" });
        return "";
      } catch (error) {
        return toGatewayError(error).code;
      }
    };
    const guess = (index: number): string =>
      codeOf(`198.18.${index >> 8}.${index & 255}`, { authorization: "Bearer wrong-key" });

    const codes = Array.from({ length: 20_000 }, (_, index) => guess(index));

    // Those that are too many have their guesses together.
    assert.deepEqual(new Set(codes.slice(0, 10_010)), new Set(["unknown_url"]));
    assert.deepEqual(new Set(codes.slice(10_010)), new Set(["rate_limit_exceeded"]));
    assert.equal(codeOf("198.18.0.1", ADMIN), "");
    clock.advance(61_000);
    assert.equal(guess(19_999), "unknown_url");
  });
});

test("without a key in the settings all of it is shut, whatever is sent", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl);
  for (const authorization of ["Bearer undefined", "Bearer [secret]", "Bearer ", "Bearer null"]) {
    for (const path of ["/metrics", "/admin/usage", "/admin/events"]) {
      const { status } = await fetch(url + path, { headers: { authorization } });
      assert.equal(status, 404, `${path} with ${authorization}`);
    }
  }
});
