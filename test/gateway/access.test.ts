// Who may call, by what they can prove, and what that lets them do. Every caller is somebody: by a
// name of ours, by the user's at the issuer, or by their address.
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { createCaller } from "../../src/access/caller.ts";
import { signJwt } from "../../src/access/jwt.ts";
import { compilePolicy } from "../../src/access/policy.ts";
import { toSecretKey } from "../../src/access/tokens.ts";
import { toDigest } from "../../src/config/parse-access.ts";
import { mintToken, type ConfigInput, type Limits } from "../../src/gateway.ts";
import { checkArrival } from "../helpers/attack.ts";
import { fakeOpenAI, type Arrival } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { post } from "../helpers/read-stream.ts";
import { startCli } from "../helpers/run-cli.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";

const KEY = "gwk_b25lLWtleS1vbmUta2V5LW9uZS1rZXktb25lLWtleS0";
const NEW_KEY = "gwk_bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LWtleS0";
const SECRET = "token-secret-token-secret-0123456789abcdef";
const OLD_SECRET = "former-secret-former-secret-0123456789abcd";
const USERS_SECRET = "users-secret-users-secret-0123456789abcdef";
const ISSUER = "https://login.example.com/";
const PAGE = "https://app.example.com";

type Access = NonNullable<ConfigInput["access"]>;
type Json = Readonly<Record<string, unknown>>;

const CHAT = { model: "gpt-4o-mini", messages: [{ role: "user", content: "Hi" }] };
const backend = { name: "backend", sha256: toDigest(KEY) };

async function start(
  t: TestContext,
  access: Access | undefined,
  settings: ConfigInput = {},
  parts: Parameters<typeof startGateway>[3] = {},
) {
  const openai = await fakeOpenAI(t);
  // With callers to tell apart, a gateway listens everywhere.
  const server = { host: "127.0.0.1", ...settings.server };
  const whole = { ...settings, server, ...(access !== undefined && { access }) };
  const running = await startGateway(t, openai.baseUrl, whole, parts);
  const call = (credential: string | undefined, body: unknown = CHAT, headers: object = {}) => {
    const own = credential === undefined ? {} : { authorization: `Bearer ${credential}` };
    return post(`${running.url}/v1/chat/completions`, body, { headers: { ...own, ...headers } });
  };
  return { ...running, openai, call };
}

/** The status, and the code of an error. */
async function outcome(answer: Response | Promise<Response>): Promise<string> {
  const response = await answer;
  const body: unknown = await response.json();
  return response.ok ? "200" : `${response.status} ${Object(Object(body).error).code}`;
}

/** A user's token, good for an hour of the real clock or a test's. */
function userToken(claims: Json = {}, nowMs = Date.now()): string {
  const exp = Math.floor(nowMs / 1_000) + 3_600;
  const whole = { iss: ISSUER, aud: "chat", sub: "user-1", exp, ...claims };
  return signJwt(whole, toSecretKey(USERS_SECRET));
}

const users = { issuer: ISSUER, audience: ["chat"], secret: USERS_SECRET };

function mint(limits?: Limits, policy = "default", secret = SECRET): string {
  const grant = { subject: "user-1", policy, ...(limits !== undefined && { limits }) };
  return mintToken({ secret, ...grant }).token;
}

test("every key has its own policy, and the log names its holder", async (t) => {
  const { call, reported } = await start(
    t,
    { keys: [backend, { name: "app", sha256: toDigest(NEW_KEY), policy: "user" }] },
    { policies: { user: { models: ["gpt-4o-mini"] } } },
  );

  const asked = { ...CHAT, model: "gpt-5" };
  assert.equal(await outcome(call(KEY, asked)), "200");
  assert.equal(await outcome(call(NEW_KEY, asked)), "403 model_not_allowed");
  assert.equal(await outcome(call(NEW_KEY)), "200");

  const lines = [await reported(), await reported(), await reported()];
  assert.deepEqual(
    lines.map(({ caller, policy }) => `${caller} ${policy}`),
    ["key:backend default", "key:app user", "key:app user"],
  );
});

test("two keys of one name are one caller, so that a key can be changed without a break", async (t) => {
  const { call, openai, reported } = await start(
    t,
    { keys: [backend, { ...backend, sha256: toDigest(NEW_KEY) }] },
    { policies: { default: { safetyIdentifier: true } } },
  );

  for (const key of [KEY, NEW_KEY]) assert.equal(await outcome(call(key)), "200");

  assert.equal((await reported())["caller"], "key:backend");
  assert.equal((await reported())["caller"], "key:backend");
  const [before, after] = await Promise.all(openai.arrivals.map(safetyIdentifierOf));
  assert.match(String(before), /^[\da-f]{64}$/);
  assert.equal(before, after);
});

test("a key is good until the moment it expires, and others go on", async (t) => {
  const clock = new ManualClock();
  const keys = [
    { ...backend, expires: "2026-01-02" },
    { name: "new", sha256: toDigest(NEW_KEY), expires: "2026-01-02T00:00:01Z" },
  ];
  const { call } = await start(t, { keys }, {}, { clock });

  clock.advance(24 * 3_600_000 - 1);
  assert.equal(await outcome(call(KEY)), "200");
  clock.advance(1);
  assert.equal(await outcome(call(KEY)), "401 invalid_api_key");
  assert.equal(await outcome(call(NEW_KEY)), "200");
  clock.advance(1_000);
  assert.equal(await outcome(call(NEW_KEY)), "401 invalid_api_key");
});

test("the digest of a key may be written in capitals", async (t) => {
  const keys = [{ ...backend, sha256: toDigest(KEY).toUpperCase() }];
  const { call } = await start(t, { keys });

  assert.equal(await outcome(call(KEY)), "200");
});

test("GATEWAY_KEYS and TOKEN_SECRET are all that a small setup needs", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url, line, output } = await startCli(t, {
    env: {
      OPENAI_API_KEY: API_KEY,
      OPENAI_BASE_URL: openai.baseUrl,
      HOST: "127.0.0.1",
      GATEWAY_KEYS: `web:${KEY}, ios:${NEW_KEY}`,
      TOKEN_SECRET: SECRET,
      TOKEN_SECRET_PREVIOUS: OLD_SECRET,
    },
  });
  const credentials: Readonly<Record<string, string>> = {
    "key:web": KEY,
    "key:ios": NEW_KEY,
    "token:user-1": mint(),
    "token:user-2": mintToken({ secret: OLD_SECRET, subject: "user-2" }).token,
  };

  for (const [caller, credential] of Object.entries(credentials)) {
    const headers = { authorization: `Bearer ${credential}` };
    assert.equal(await outcome(post(`${url}/v1/chat/completions`, CHAT, { headers })), "200");
    const { level } = await line((each) => each["caller"] === caller);
    assert.equal(level, "info");
  }
  assert.equal(await outcome(post(`${url}/v1/chat/completions`, CHAT)), "401 invalid_api_key");

  const written = output();
  for (const secret of [API_KEY, SECRET, OLD_SECRET, ...Object.values(credentials)]) {
    assert.ok(!written.includes(secret), "a secret is in the log");
  }
  assert.doesNotMatch(written, /open: whoever/);
});

describe("the claim that chooses a user's policy", () => {
  const policies = { free: { models: ["gpt-4o-mini"] }, pro: {}, staff: {} };
  const cases: readonly (readonly [string, string, string, Json, string])[] = [
    ["by a plain name", "plan", "", { plan: "pro" }, "pro"],
    ["by a name that is a URL", `${PAGE}/plan`, "", { [`${PAGE}/plan`]: "pro" }, "pro"],
    ["inside another claim", "app_metadata.plan", "", { app_metadata: { plan: "pro" } }, "pro"],
    ["by a name with a dot in it", "app.plan", "", { "app.plan": "pro" }, "pro"],
    ["flat before nested", "a.b", "", { "a.b": "free", a: { b: "pro" } }, "free"],
    ["in a list, by the settings' order", "roles", "", { roles: ["pro", "x", "free"] }, "free"],
    ["absent, with a policy for that", "plan", "staff", {}, "staff"],
    ["absent, with no policy for that", "plan", "", {}, "401"],
    ["of a policy that it may not choose", "plan", "", { plan: "staff" }, "401"],
    ["of no known policy, whatever the other is", "plan", "staff", { plan: "x" }, "401"],
    ["empty", "plan", "staff", { plan: "" }, "401"],
    ["of an empty list", "roles", "staff", { roles: [] }, "401"],
    ["null", "plan", "staff", { plan: null }, "401"],
    ["an object", "plan", "staff", { plan: { pro: true } }, "401"],
    ["inside a text", "plan.length", "", { plan: "pro" }, "401"],
    ["a member of every object", "constructor.name", "", {}, "401"],
  ];
  for (const [name, policyClaim, fallback, claims, expected] of cases) {
    test(name, async (t) => {
      const entry = { ...users, policyClaim, policies: ["free", "pro"] };
      const jwt = [fallback === "" ? entry : { ...entry, policy: fallback }];
      const { call, reported } = await start(t, { jwt }, { policies });

      const { status } = await call(userToken(claims));

      const line = await reported();
      assert.equal(status === 200 ? line["policy"] : String(status), expected);
    });
  }
});

test("one issuer may have two audiences, each with its policy", async (t) => {
  const jwt = [
    { ...users, policy: "chat" },
    { ...users, audience: ["images", "more"], policy: "images" },
  ];
  const { call, reported } = await start(t, { jwt }, { policies: { chat: {}, images: {} } });

  assert.equal(await outcome(call(userToken({ aud: ["more"] }))), "200");
  assert.equal(await outcome(call(userToken({ aud: "chat" }))), "200");
  assert.equal(await outcome(call(userToken({ aud: "other" }))), "401 invalid_api_key");

  const lines = [await reported(), await reported()];
  assert.deepEqual(
    lines.map(({ policy }) => policy),
    ["images", "chat"],
  );
});

/** A limit, calls within it, and calls beyond it with what they get. */
interface Narrowing {
  readonly limits: Limits;
  readonly within: object;
  readonly beyond: object;
  readonly refusal: string;
  readonly path?: string;
  readonly headers?: object;
}

const PROMPT = { model: "gpt-4o-mini", input: "Hi" };

const NARROWINGS: Readonly<Record<string, Narrowing>> = {
  models: {
    limits: { models: ["gpt-4o-mini", "gpt-5*"] },
    within: { ...CHAT, model: "gpt-5-nano" },
    beyond: { ...CHAT, model: "gpt-4o" },
    refusal: "403 model_not_allowed",
  },
  maxChoices: {
    limits: { maxChoices: 2 },
    within: { ...CHAT, n: 2 },
    beyond: { ...CHAT, n: 3 },
    refusal: "403 parameter_not_allowed",
  },
  "the types of tools": {
    limits: { tools: ["function"] },
    within: { ...PROMPT, tools: [{ type: "function", name: "f" }] },
    beyond: { ...PROMPT, tools: [{ type: "web_search" }] },
    refusal: "403 parameter_not_allowed",
    path: "/v1/responses",
  },
  "service tiers": {
    limits: { serviceTiers: ["auto", "flex"] },
    within: { ...CHAT, service_tier: "flex" },
    beyond: { ...CHAT, service_tier: "priority" },
    refusal: "403 parameter_not_allowed",
  },
  "what is stored": {
    limits: { storedState: false },
    within: { ...PROMPT, store: false },
    beyond: { ...PROMPT, previous_response_id: "resp_1" },
    refusal: "403 parameter_not_allowed",
    path: "/v1/responses",
  },
  maxBodyBytes: {
    limits: { maxBodyBytes: 200 },
    within: CHAT,
    beyond: { ...CHAT, user: "u".repeat(200) },
    refusal: "413 request_too_large",
  },
};

describe("a minted token narrows its policy", () => {
  for (const [name, narrowing] of Object.entries(NARROWINGS)) {
    test(`by ${name}`, async (t) => {
      const { limits, within, beyond, refusal, path = "/v1/chat/completions" } = narrowing;
      const { url, openai } = await start(t, { tokens: { secret: SECRET } });
      const headers = { authorization: `Bearer ${mint(limits)}` };
      const unlimited = { authorization: `Bearer ${mint()}` };

      assert.equal(await outcome(post(url + path, within, { headers })), "200");
      assert.equal(await outcome(post(url + path, beyond, { headers })), refusal);
      assert.equal(openai.arrivals.length, 1, "the refused call reached OpenAI whole");
      assert.equal(await outcome(post(url + path, beyond, { headers: unlimited })), "200");
    });
  }

  test("by maxOutputTokens, which caps what is asked for", async (t) => {
    const { call, openai } = await start(t, { tokens: { secret: SECRET } });

    await call(mint({ maxOutputTokens: 100 }), { ...CHAT, max_completion_tokens: 5_000 });
    await call(mint({ maxOutputTokens: 100 }), { ...CHAT, max_completion_tokens: 50 });
    await call(mint({ maxOutputTokens: 100 }));

    const bodies = await Promise.all(openai.arrivals.map(bodyOf));
    assert.deepEqual(
      bodies.map((body) => body["max_completion_tokens"]),
      [100, 50, 100],
    );
  });

  test("by endpoints", async (t) => {
    const { url, call } = await start(t, { tokens: { secret: SECRET } });
    const token = mint({ endpoints: ["embeddings"] });
    const headers = { authorization: `Bearer ${token}` };

    assert.equal(await outcome(post(`${url}/v1/embeddings`, {}, { headers })), "200");
    assert.equal(await outcome(call(token)), "403 endpoint_not_allowed");
  });

  test("by origins: replayed from another page, or from no page, it is refused", async (t) => {
    const { call, openai } = await start(t, { tokens: { secret: SECRET } });
    const token = mint({ origins: [PAGE] });

    assert.equal(await outcome(call(token, CHAT, { origin: PAGE })), "200");
    for (const origin of ["https://evil.example", "https://app.example.com.evil.example", "null"]) {
      assert.equal(await outcome(call(token, CHAT, { origin })), "403 origin_not_allowed");
    }
    assert.equal(await outcome(call(token)), "403 origin_not_allowed");
    assert.equal(openai.arrivals.length, 1);
  });

  test("by safetyIdentifier, in the subject's name", async (t) => {
    const { call, openai } = await start(t, { tokens: { secret: SECRET } });

    await call(mint({ safetyIdentifier: true }), { ...CHAT, safety_identifier: "somebody else" });

    const [arrival] = openai.arrivals;
    assert.ok(arrival !== undefined, "the call did not arrive");
    assert.match(String(await safetyIdentifierOf(arrival)), /^[\da-f]{64}$/);
  });
});

describe("a minted token never widens its policy", () => {
  const user: Limits = {
    endpoints: ["chat", "responses"],
    models: ["gpt-4o-mini"],
    maxOutputTokens: 100,
    maxChoices: 1,
    tools: ["function"],
    storedState: false,
    serviceTiers: ["auto"],
    maxBodyBytes: 400,
    origins: [PAGE],
    safetyIdentifier: true,
  };
  const wide: Limits = {
    endpoints: ["*", "admin", "POST /embeddings"],
    models: ["*"],
    maxOutputTokens: 1_000_000,
    maxChoices: 100,
    tools: ["function", "web_search", "code_interpreter"],
    storedState: true,
    serviceTiers: ["priority", "auto"],
    maxBodyBytes: 1_000_000,
    origins: [PAGE, "https://evil.example"],
    safetyIdentifier: false,
  };
  const cases: readonly (readonly [string, string, object, string, string])[] = [
    ["endpoints", "/v1/embeddings", PROMPT, PAGE, "403 endpoint_not_allowed"],
    ["administration", "/v1/organization/invites", {}, PAGE, "403 endpoint_not_allowed"],
    ["models", "/v1/chat/completions", { ...CHAT, model: "gpt-4o" }, PAGE, "403 model_not_allowed"],
    ["choices", "/v1/chat/completions", { ...CHAT, n: 2 }, PAGE, "403 parameter_not_allowed"],
    [
      "tools",
      "/v1/responses",
      { ...PROMPT, tools: [{ type: "web_search" }] },
      PAGE,
      "403 parameter_not_allowed",
    ],
    [
      "stored state",
      "/v1/responses",
      { ...PROMPT, store: true },
      PAGE,
      "403 parameter_not_allowed",
    ],
    [
      "service tiers",
      "/v1/chat/completions",
      { ...CHAT, service_tier: "priority" },
      PAGE,
      "403 parameter_not_allowed",
    ],
    [
      "the size of bodies",
      "/v1/chat/completions",
      { ...CHAT, user: "u".repeat(400) },
      PAGE,
      "413 request_too_large",
    ],
    ["origins", "/v1/chat/completions", CHAT, "https://evil.example", "403 origin_not_allowed"],
  ];
  for (const [name, path, body, origin, refusal] of cases) {
    test(`not its ${name}`, async (t) => {
      const access = { tokens: { secret: SECRET } };
      const { url, openai } = await start(t, access, { policies: { user } });
      const headers = { authorization: `Bearer ${mint(wide, "user")}`, origin };

      assert.equal(await outcome(post(url + path, body, { headers })), refusal);
      // A body that turns out too large may have begun to go up.
      for (const { body: arrived } of openai.arrivals) await assert.rejects(arrived);
    });
  }

  test("nor its cap on output, nor its silence about the caller", async (t) => {
    const access = { tokens: { secret: SECRET } };
    const { call, openai } = await start(t, access, { policies: { user } });

    const body = { ...CHAT, max_tokens: 5_000, safety_identifier: "me" };
    const answer = await outcome(call(mint(wide, "user"), body, { origin: PAGE }));

    assert.equal(answer, "200");
    const [arrival] = openai.arrivals;
    assert.ok(arrival !== undefined, "the call did not arrive");
    const sent = await bodyOf(arrival);
    assert.equal(sent["max_tokens"], 100);
    assert.match(String(sent["safety_identifier"]), /^[\da-f]{64}$/);
  });

  test("nor does it seem to: a refusal names what is allowed", async (t) => {
    const access = { tokens: { secret: SECRET } };
    const { call } = await start(t, access, { policies: { user } });

    const answer = await call(mint(wide, "user"), { ...CHAT, model: "x" }, { origin: PAGE });

    const { error } = Object(await answer.json());
    assert.match(error.message, /Allowed: gpt-4o-mini \(models\)/);
  });

  test("and lists with nothing in common leave nothing", async (t) => {
    const access = { tokens: { secret: SECRET } };
    const { call } = await start(t, access, { policies: { user } });
    const token = mint({ models: ["gpt-5"] }, "user");

    for (const model of ["gpt-5", "gpt-4o-mini"]) {
      const answer = call(token, { ...CHAT, model }, { origin: PAGE });
      assert.equal(await outcome(answer), "403 model_not_allowed");
    }
  });
});

test("minted tokens of the secret before are taken, and no longer when that is gone", async (t) => {
  const both = await start(t, { tokens: { secret: SECRET, previousSecret: OLD_SECRET } });
  const one = await start(t, { tokens: { secret: SECRET } });
  const [old, current] = [mint({}, "default", OLD_SECRET), mint()];

  assert.equal(await outcome(both.call(old)), "200");
  assert.equal(await outcome(both.call(current)), "200");
  assert.equal(await outcome(one.call(old)), "401 invalid_api_key");
  assert.equal(await outcome(one.call(current)), "200");
});

test("a minted token is good until it expires, and a moment longer for slow clocks", async (t) => {
  const clock = new ManualClock();
  const { call } = await start(t, { tokens: { secret: SECRET } }, {}, { clock });
  const grant = { secret: SECRET, subject: "user-1", expiresInSeconds: 60 };
  const { token } = mintToken(grant, clock);

  clock.advance(89_999);
  assert.equal(await outcome(call(token)), "200");
  clock.advance(1);
  assert.equal(await outcome(call(token)), "401 invalid_api_key");
});

describe("a caller without a credential", () => {
  const policies = { demo: { models: ["gpt-4o-mini"] } };

  test("has the anonymous policy, and so has who sends the key `anonymous`", async (t) => {
    const { call, reported } = await start(t, { keys: [backend], anonymous: "demo" }, { policies });

    for (const credential of [undefined, "anonymous", KEY]) {
      assert.equal(await outcome(call(credential)), "200");
    }

    const lines = [await reported(), await reported(), await reported()];
    assert.deepEqual(
      lines.map(({ caller, policy }) => `${caller} ${policy}`),
      ["127.0.0.1 demo", "127.0.0.1 demo", "key:backend default"],
    );
  });

  test("is not who sends a wrong one, or one that cannot be read", async (t) => {
    const { call, openai } = await start(t, { keys: [backend], anonymous: "demo" }, { policies });
    const wrong = ["other", userToken(), mint(), "Anonymous", "anonymous,anonymous"];

    for (const credential of wrong) {
      assert.equal(await outcome(call(credential)), "401 invalid_api_key", credential);
    }
    const basic = call(undefined, CHAT, { authorization: "Basic eDp5" });
    assert.equal(await outcome(basic), "401 invalid_api_key");
    assert.equal(openai.arrivals.length, 0);
  });

  test("may send anything as a key where nobody has one", async (t) => {
    const { call, openai } = await start(t, { anonymous: "demo" }, { policies });

    for (const credential of ["sk-something", "two words", userToken(), "k".repeat(9_000)]) {
      assert.equal(await outcome(call(credential)), "200");
    }
    assert.equal(await outcome(call(undefined, { ...CHAT, model: "x" })), "403 model_not_allowed");
    assert.ok(
      openai.arrivals.every(({ headers }) => headers.authorization === `Bearer ${API_KEY}`),
      "another key went up",
    );
  });

  test("may send anything as a key where the gateway is open", async (t) => {
    const { call, reported } = await start(t, undefined);

    assert.equal(await outcome(call("anything")), "200");
    const { caller, policy } = await reported();
    assert.deepEqual([caller, policy], ["127.0.0.1", "default"]);
  });

  const forwarded: readonly (readonly [string, readonly string[], string | undefined, string])[] = [
    ["with no proxy trusted", [], "203.0.113.9", "127.0.0.1"],
    ["behind a proxy that says nothing", ["127.0.0.1"], undefined, "127.0.0.1"],
    ["behind a proxy", ["127.0.0.0/8"], "203.0.113.9", "203.0.113.9"],
    ["behind a proxy, lying", ["127.0.0.1"], "6.6.6.6, 203.0.113.9", "203.0.113.9"],
    ["behind two", ["127.0.0.1", "192.0.2.1"], "6.6.6.6, 203.0.113.9, 192.0.2.1", "203.0.113.9"],
    ["by the network of IPv6", ["127.0.0.1"], "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["wherever it is in it", ["127.0.0.1"], "2001:db8:1:2::ffff", "2001:db8:1:2::/64"],
    ["by IPv4 within IPv6", ["127.0.0.1"], "::ffff:203.0.113.9", "203.0.113.9"],
  ];
  for (const [name, trustedProxies, header, expected] of forwarded) {
    test(`is told apart by address, ${name}`, async (t) => {
      const { call, reported } = await start(
        t,
        { anonymous: "demo" },
        {
          policies,
          server: { trustedProxies },
        },
      );

      const headers = header === undefined ? {} : { "x-forwarded-for": header };
      assert.equal(await outcome(call(undefined, CHAT, headers)), "200");

      assert.equal((await reported())["caller"], expected);
    });
  }
});

describe("an issuer whose keys cannot be had", () => {
  // Signed by nobody: no key is ever found to try it with.
  const token = (clock: ManualClock): string => {
    const claims = { iss: ISSUER, aud: "chat", sub: "user-1", exp: clock.now() / 1_000 + 86_400 };
    const parts = [{ alg: "ES256", kid: "a" }, claims].map((part) => JSON.stringify(part));
    return [...parts, "\0".repeat(64)]
      .map((part) => Buffer.from(part).toString("base64url"))
      .join(".");
  };

  async function startLogin(t: TestContext, script: Parameters<typeof fakeOpenAI>[1]) {
    const clock = new ManualClock();
    const login = await fakeOpenAI(t, script);
    const jwt = [{ issuer: ISSUER, audience: ["chat"], jwksUrl: `${login.baseUrl}/jwks.json` }];
    const access = { jwt, keys: [backend], tokens: { secret: SECRET }, anonymous: "default" };
    return { ...(await start(t, access, {}, { clock })), clock, login };
  }

  test("costs its users a 503 that says when to come back, and nobody else anything", async (t) => {
    const { call, clock, login, openai, reported } = await startLogin(t, (res) => {
      res.writeHead(500).end();
    });

    const refused = await call(token(clock));

    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get("retry-after"), "5");
    assert.equal(refused.headers.get("www-authenticate"), null);
    assert.equal(await outcome(refused), "503 issuer_unavailable");
    const line = await reported();
    assert.equal(line.level, "error");
    assert.match(String(line["cause"]), /The issuer answered the call for its keys with 500/);
    assert.equal(openai.arrivals.length, 0);
    for (const credential of [KEY, mintToken({ secret: SECRET, subject: "u" }, clock).token]) {
      assert.equal(await outcome(call(credential)), "200");
    }
    assert.equal(await outcome(call(undefined)), "200");
    assert.equal(await outcome(call(token(clock))), "503 issuer_unavailable");
    assert.equal(login.arrivals.length, 1, "a failure is not asked about again at once");
  });

  test("is asked again after a pause", async (t) => {
    const { call, clock, login } = await startLogin(t, (res) => {
      if (login.arrivals.length === 1) return void res.writeHead(404).end();
      const [x, y] = [POINT.x, POINT.y];
      res.end(JSON.stringify({ keys: [{ kty: "EC", crv: "P-256", kid: "a", x, y }] }));
    });

    assert.equal(await outcome(call(token(clock))), "503 issuer_unavailable");
    clock.advance(5_000);
    assert.equal(await outcome(call(token(clock))), "401 invalid_api_key");
    assert.equal(login.arrivals.length, 2);
  });

  test("is not waited for longer than five seconds, while others go on", async (t) => {
    const { call, clock, login } = await startLogin(t, () => {});
    const waiting = [call(token(clock)), call(token(clock))];
    await login.next();

    assert.equal(await outcome(call(KEY)), "200");
    clock.advance(5_000);

    for (const answer of waiting) assert.equal(await outcome(answer), "503 issuer_unavailable");
    assert.equal(login.arrivals.length, 1);
  });
});

/** The base point of P-256: a public key whose private one is 1. */
const POINT = {
  x: "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
  y: "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
};

describe("the log names the caller", () => {
  const cases: readonly (readonly [string, string | undefined, string])[] = [
    ["by the key's name", KEY, "key:backend"],
    ["by a minted token's subject", mint(), "token:user-1"],
    ["by the issuer and its subject", userToken({ sub: "auth0|7" }), `${ISSUER}#auth0|7`],
    ["by address", undefined, "127.0.0.1"],
  ];
  for (const [name, credential, expected] of cases) {
    test(name, async (t) => {
      const access = { keys: [backend], jwt: [users], tokens: { secret: SECRET } };
      const { call, reported } = await start(t, { ...access, anonymous: "default" });

      assert.equal(await outcome(call(credential)), "200");

      assert.equal((await reported())["caller"], expected);
    });
  }

  test("also when the call is refused for what it asks", async (t) => {
    const { url, reported } = await start(t, { keys: [backend] });

    await post(`${url}/v1/files`, {}, { headers: { authorization: `Bearer ${KEY}` } });

    const { caller, policy, error } = await reported();
    assert.deepEqual([caller, policy, error], ["key:backend", "default", "endpoint_not_allowed"]);
  });
});

describe("no credential goes up or into the log", () => {
  const credentials: Readonly<Record<string, string>> = {
    "a key": KEY,
    "a minted token": mint(),
    "a user's token": userToken(),
  };
  const places: Readonly<Record<string, (credential: string) => Record<string, string>>> = {
    Authorization: (credential) => ({ authorization: `Bearer ${credential}` }),
    "api-key": (credential) => ({ "api-key": credential }),
    "a subprotocol": (credential) => ({
      "sec-websocket-protocol": `realtime, openai-insecure-api-key.${credential}`,
    }),
    "all of them": (credential) => ({
      authorization: `Bearer ${credential}`,
      "api-key": credential,
      "x-api-key": credential,
      cookie: `session=${credential}`,
      "proxy-authorization": `Bearer ${credential}`,
      "openai-organization": credential,
      "openai-project": credential,
      "x-forwarded-for": "203.0.113.9",
    }),
  };
  for (const [kind, credential] of Object.entries(credentials)) {
    for (const [place, toHeaders] of Object.entries(places)) {
      test(`${kind} in ${place}`, async (t) => {
        const access = { keys: [backend], jwt: [users], tokens: { secret: SECRET } };
        const { call, openai, log } = await start(t, access);

        const answer = await call(undefined, CHAT, toHeaders(credential));

        assert.equal(answer.status, 200);
        const [arrival] = openai.arrivals;
        assert.ok(arrival !== undefined, "the call did not arrive");
        checkArrival(arrival);
        const sent = arrival.rawHeaders.join("\n");
        for (const part of [credential, ...credential.split(".")]) {
          assert.ok(!sent.includes(part), "the credential went up");
          assert.ok(!JSON.stringify(log).includes(part), "the credential is in the log");
        }
      });
    }
  }
});

test("safety_identifier is the caller's own, the same after a restart, and says nothing", async (t) => {
  const access = {
    keys: [backend],
    jwt: [users],
    tokens: { secret: SECRET },
    anonymous: "default",
  };
  const settings = { policies: { default: { safetyIdentifier: true } } };
  const credentials = [
    KEY,
    mint(),
    mintToken({ secret: SECRET, subject: "user-2" }).token,
    userToken(),
    userToken({ sub: "user-2" }),
    undefined,
  ];

  const runs: unknown[][] = [];
  for (const _ of ["before", "after"]) {
    const { call, openai } = await start(t, access, settings);
    for (const credential of credentials) {
      const answer = call(credential, { ...CHAT, safety_identifier: "forged" });
      assert.equal(await outcome(answer), "200");
    }
    runs.push(await Promise.all(openai.arrivals.map(safetyIdentifierOf)));
  }

  const [before = [], after] = runs;
  assert.deepEqual(before, after);
  assert.equal(new Set(before).size, credentials.length);
  for (const identifier of before) assert.match(String(identifier), /^[\da-f]{64}$/);
  assert.ok(!before.includes(toDigest("key:backend")), "anybody could compute it");
});

test("safety_identifier is made with OpenAI's key: with another one it is another", () => {
  const policy = compilePolicy("default", {
    endpoints: [],
    assumedOutputTokens: 4_096,
    safetyIdentifier: true,
  });

  const [one, again, other] = [API_KEY, API_KEY, `${API_KEY}x`].map((secret) => {
    return createCaller("key:backend", policy, secret).safetyIdentifier;
  });

  assert.equal(one, again);
  assert.notEqual(one, other);
});

async function bodyOf({ body }: Arrival): Promise<Json> {
  return JSON.parse(String(await body));
}

async function safetyIdentifierOf(arrival: Arrival): Promise<unknown> {
  return (await bodyOf(arrival))["safety_identifier"];
}

test("a key that nothing would know for one is not in the log, wherever its holder puts it", async (t) => {
  const openai = await fakeOpenAI(t);
  const key = "correct-horse-battery-staple";
  const sha256 = toDigest(key);
  const { url, log, reported } = await startGateway(t, openai.baseUrl, {
    access: { keys: [{ name: "backend", sha256 }] },
    policies: { default: { models: ["gpt-4o-mini"] } },
  });
  const headers = { authorization: `Bearer ${key}` };

  const refused = await fetch(`${url}/v1/models/${key}`, { headers });
  const unknown = await fetch(`${url}/v1/${key}`, { headers });

  assert.deepEqual([refused.status, unknown.status], [403, 404]);
  for (const answer of [refused, unknown]) {
    assert.ok(!(await answer.text()).includes(key), "it came back");
    await reported();
  }
  assert.ok(!JSON.stringify(log).includes(key), "it was logged");
});
