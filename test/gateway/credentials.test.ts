// Nobody gets in without a credential that is whole, unspoiled and ours: every other one is 401, is
// told nothing of why, reaches no upstream, and is named in the log without being shown there.
import assert from "node:assert/strict";
import {
  createHmac,
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
  type SignKeyObjectInput,
} from "node:crypto";
import { describe, test, type TestContext } from "node:test";
import { toDigest } from "../../src/config/parse-access.ts";
import type { ConfigInput } from "../../src/gateway.ts";
import { redact } from "../../src/telemetry/log.ts";
import { completes, fakeOpenAI } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { sendRaw } from "../helpers/raw-client.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";

const KEY = "gwk_bXktdmVyeS1vd24ta2V5LW9mLTMyLXJhbmRvbS1ieXQ";
const FORMER_KEY = "gwk_Zm9ybWVyLWtleS1mb3JtZXIta2V5LWZvcm1lci1rZXk";
const ADMIN_KEY = "admin-key-0123456789abcdef";
const TOKEN_SECRET = "token-secret-token-secret-0123456789abcdef";
const LEGACY_SECRET = "legacy-secret-legacy-secret-0123456789abc";

/** With callers to tell apart, a gateway listens everywhere. */
const server = { host: "127.0.0.1" };

const ISSUER = "https://login.example.com/";
const NOW = new ManualClock().now() / 1_000;
const HOUR = 3_600;

const INVALID = 'Bearer realm="openai-gateway", error="invalid_token"';
const REALM = 'Bearer realm="openai-gateway"';

const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const strange = generateKeyPairSync("ec", { namedCurve: "P-256" });
const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });
const JWKS = {
  keys: [
    { ...ec.publicKey.export({ format: "jwk" }), kid: "ec", use: "sig" },
    { ...rsa.publicKey.export({ format: "jwk" }), kid: "rsa", use: "sig" },
  ],
};

type Json = Readonly<Record<string, unknown>>;

const USER: Json = { iss: ISSUER, aud: "chat", sub: "user-1", exp: NOW + HOUR, plan: "user" };
const LEGACY: Json = { ...USER, iss: "legacy" };
const MINTED: Json = { iss: "openai-gateway", sub: "user-1", exp: NOW + HOUR, iat: NOW };

/** A segment as it is written: text stays as it is. */
function encode(part: Json | string): string {
  return Buffer.from(typeof part === "string" ? part : JSON.stringify(part)).toString("base64url");
}

function assemble(
  header: Json | string,
  payload: Json | string,
  seal: (signed: string) => Buffer,
): string {
  const signed = `${encode(header)}.${encode(payload)}`;
  return `${signed}.${seal(signed).toString("base64url")}`;
}

function bySecret(payload: Json | string, secret: string, header: Json = {}): string {
  return assemble({ alg: "HS256", typ: "JWT", ...header }, payload, (signed) =>
    createHmac("sha256", secret).update(signed).digest(),
  );
}

function byKey(
  payload: Json | string,
  header: Json | string = {},
  privateKey: KeyObject = ec.privateKey,
  options: Partial<SignKeyObjectInput> = { dsaEncoding: "ieee-p1363" },
): string {
  const whole =
    typeof header === "string" ? header : { alg: "ES256", typ: "JWT", kid: "ec", ...header };
  return assemble(whole, payload, (signed) => {
    return sign("sha256", Buffer.from(signed), { key: privateKey, ...options });
  });
}

const bare = (header: Json, payload: Json): string =>
  assemble(header, payload, () => Buffer.alloc(0));
const pem = String(rsa.publicKey.export({ type: "spki", format: "pem" }));
const good = byKey(USER);
const [goodHeader = "", goodPayload = "", goodSignature = ""] = good.split(".");

/** A name, the credential, and what the log has to say. */
type Refused = readonly [name: string, credential: string, cause: RegExp];

const minted = (claims: Json): string => bySecret({ ...MINTED, ...claims }, TOKEN_SECRET);
const limited = (limits: unknown): string => minted({ limits });

const FORGED: readonly Refused[] = [
  ["alg none without a signature", bare({ alg: "none" }, USER), /`alg`/],
  ["alg none in capitals", bare({ alg: "NONE" }, USER), /`alg`/],
  ["alg none over a real signature", byKey(USER, { alg: "none" }), /`alg`/],
  ["no alg", byKey(USER, { alg: undefined }), /`alg`/],
  ["a list as alg", byKey(USER, { alg: ["ES256"] }), /`alg`/],
  ["an alg of Object's", byKey(USER, { alg: "constructor" }), /`alg`/],
  ["a MAC by the issuer's public key", bySecret(USER, pem, { kid: "rsa" }), /does not sign/],
  ["a MAC by that key in one line", bySecret(USER, pem.trim(), { kid: "rsa" }), /does not sign/],
  ["a MAC by the empty secret", bySecret(USER, ""), /does not sign/],
  ["a MAC where a minted one's secret fits", bySecret(USER, TOKEN_SECRET), /does not sign/],
  ["a stranger's key", byKey(USER, {}, strange.privateKey), /signature is wrong/],
  [
    "a stranger's key, brought along",
    byKey(USER, { jwk: strange.publicKey.export({ format: "jwk" }) }, strange.privateKey),
    /signature is wrong/,
  ],
  ["a key on another curve", byKey(USER, {}, p384.privateKey), /signature is wrong/],
  ["a signature of RSA named ECDSA", byKey(USER, {}, rsa.privateKey, {}), /signature is wrong/],
  ["an alg that the named key is not for", byKey(USER, { kid: "rsa" }), /No key fits/],
  ["a signature in DER", byKey(USER, {}, ec.privateKey, {}), /signature is wrong/],
  [
    "a signature of zeros (CVE-2022-21449)",
    `${goodHeader}.${goodPayload}.${encode("\0".repeat(64))}`,
    /signature is wrong/,
  ],
  ["no signature", `${goodHeader}.${goodPayload}.`, /signature is wrong/],
  ["a signature cut short", cutShort(good), /signature is wrong/],
  [
    "another user's signature",
    `${goodHeader}.${encode({ ...USER, sub: "root" })}.${goodSignature}`,
    /signature is wrong/,
  ],
  ["a padded signature", `${good}==`, /not base64url/],
  ["a signature in the other alphabet", byOtherAlphabet(), /not base64url/],
  ["an unknown kid", byKey(USER, { kid: "other" }), /No key fits/],
  ["a path as kid", byKey(USER, { kid: "../../../dev/null" }), /No key fits/],
  ["a number as kid", byKey(USER, { kid: 7 }), /`kid`/],
  ["an extension that it calls critical", byKey(USER, { crit: ["exp"] }), /extension/],
  ["an unencoded payload (RFC 7797)", byKey(USER, { b64: false }), /extension/],
  ["a logout token", byKey(USER, { typ: "logout+jwt" }), /`typ`/],
  ["a proof of possession", byKey(USER, { typ: "dpop+jwt" }), /`typ`/],
  ["encrypted, in five parts", `${good}.${goodPayload}.${goodSignature}`, /No such key/],
  ["two parts", `${goodHeader}.${goodPayload}`, /No such key/],
  ["a list as payload", byKey("[]"), /not a JSON object/],
  ["no JSON as payload", byKey("{"), /not a JSON object/],
  ["a header that is no JSON", byKey(USER, '{"alg":"ES256"'), /not a JSON object/],
  ["an unknown issuer", byKey({ ...USER, iss: "https://evil.example/" }), /unknown issuer/],
  ["an issuer without its slash", byKey({ ...USER, iss: ISSUER.slice(0, -1) }), /unknown issuer/],
  ["a list of issuers", byKey({ ...USER, iss: [ISSUER] }), /unknown issuer/],
  ["no issuer", byKey({ ...USER, iss: undefined }), /unknown issuer/],
  ["another audience", byKey({ ...USER, aud: "billing" }), /another audience/],
  ["no audience", byKey({ ...USER, aud: undefined }), /another audience/],
  ["other audiences", byKey({ ...USER, aud: ["billing", "chat2"] }), /another audience/],
  ["the issuer of another secret", bySecret(USER, LEGACY_SECRET), /does not sign/],
  ["another issuer's secret", bySecret(LEGACY, TOKEN_SECRET), /signature is wrong/],
  ["an issuer with a secret, by a key", byKey(LEGACY), /does not sign/],
  ["expired", byKey({ ...USER, exp: NOW - 30 }), /expired/],
  ["no expiry", byKey({ ...USER, exp: undefined }), /never expires/],
  ["a text as expiry", byKey({ ...USER, exp: String(NOW + HOUR) }), /`exp` is not a time/],
  ["an endless expiry", byKey(JSON.stringify(USER).replace(/\d{10}/, "1e400")), /not a time/],
  ["not valid yet", byKey({ ...USER, nbf: NOW + 31 }), /`nbf` is in the future/],
  ["issued in the future", byKey({ ...USER, iat: NOW + 31 }), /`iat` is in the future/],
  ["no subject", byKey({ ...USER, sub: undefined }), /`sub`/],
  ["a number as subject", byKey({ ...USER, sub: 7 }), /`sub`/],
  ["a subject of two lines", byKey({ ...USER, sub: "user-1\nadmin" }), /`sub`/],
  ["a subject of 256 characters", byKey({ ...USER, sub: "u".repeat(256) }), /`sub`/],
  ["a claim that chooses no policy", byKey({ ...USER, plan: "root" }), /chooses no policy/],
  ["a claim of a policy not for users", byKey({ ...USER, plan: "default" }), /chooses no policy/],
  ["a claim of another type", byKey({ ...USER, plan: { user: true } }), /chooses no policy/],
  ["no claim to choose by", byKey({ ...USER, plan: undefined }), /chooses no policy/],

  ["minted with alg none", bare({ alg: "none" }, MINTED), /`alg`/],
  ["minted with another secret", bySecret(MINTED, LEGACY_SECRET), /signature is wrong/],
  ["minted with the digest of the secret", bySecret(MINTED, toDigest(TOKEN_SECRET)), /signature/],
  ["minted by a user's key", byKey(MINTED), /not one for ES256/],
  ["minted with HS512", bySecret(MINTED, TOKEN_SECRET, { alg: "HS512" }), /`alg`/],
  ["minted and changed", changed(minted({}), { sub: "root" }), /signature is wrong/],
  ["minted under another name", minted({ iss: "OpenAI-Gateway" }), /unknown issuer/],
  ["minted and expired", minted({ exp: NOW - 30 }), /expired/],
  ["minted without an expiry", minted({ exp: undefined }), /never expires/],
  ["minted in the future", minted({ iat: NOW + 31 }), /future/],
  ["minted for too long", minted({ exp: NOW + 2 * HOUR + 31 }), /valid for too long/],
  ["minted for nobody", minted({ sub: undefined }), /`sub`/],
  ["minted for an unknown policy", minted({ policy: "root" }), /policy we do not have/],
  ["minted for a policy of Object's", minted({ policy: "constructor" }), /policy we do not have/],
  ["minted for a prototype", minted({ policy: "__proto__" }), /policy we do not have/],
  ["minted for a list of policies", minted({ policy: ["user"] }), /`policy` is no text/],
  ["minted for no policy", minted({ policy: null }), /`policy` is no text/],
  ["limits that no policy has", limited({ model: ["gpt-4o"] }), /limits\.model: unknown setting/],
  ["limits in a text", limited("models=gpt-4o"), /limits: expected an object/],
  ["limits in a list", limited([]), /limits: expected an object/],
  ["no limits at all", limited(null), /limits: expected an object/],
  ["a number of models", limited({ models: 1 }), /limits\.models: expected a list/],
  ["no models at all", limited({ models: null }), /limits\.models: expected a list/],
  ["a nested list of models", limited({ models: [["gpt-4o"]] }), /limits\.models: expected/],
  ["a negative cap", limited({ maxOutputTokens: -1 }), /limits\.maxOutputTokens: expected/],
  ["a cap in words", limited({ maxOutputTokens: "many" }), /limits\.maxOutputTokens: expected/],
  ["a switch of another type", limited({ storedState: 0 }), /limits\.storedState: expected/],
  ["an origin with a path", limited({ origins: ["https://a.example/x"] }), /limits\.origins/],
  ["an unknown class of endpoints", limited({ endpoints: ["all"] }), /limits\.endpoints/],
  [
    "limits of a prototype",
    bySecret(
      JSON.stringify({ ...MINTED, limits: 0 }).replace(/0}$/, '{"__proto__":{"models":["*"]}}}'),
      TOKEN_SECRET,
    ),
    /limits\.__proto__: unknown setting/,
  ],
];

/** By one byte. */
function cutShort(token: string): string {
  const [header, payload, signature = ""] = token.split(".");
  const bytes = Buffer.from(signature, "base64url").subarray(0, -1);
  return `${header}.${payload}.${bytes.toString("base64url")}`;
}

/** The same bytes as the good signature has, spelt as plain base64 does. */
function byOtherAlphabet(): string {
  for (;;) {
    const token = byKey({ ...USER, jti: randomBytes(4).toString("hex") });
    const [header, payload, signature = ""] = token.split(".");
    if (!/[-_]/.test(signature)) continue;
    return `${header}.${payload}.${signature.replaceAll("-", "+").replaceAll("_", "/")}`;
  }
}

function changed(token: string, claims: Json): string {
  const [header, payload = "", signature] = token.split(".");
  const whole: Json = JSON.parse(Buffer.from(payload, "base64url").toString());
  return `${header}.${encode({ ...whole, ...claims })}.${signature}`;
}

/** A name, the header fields, and what the log has to say. */
type Malformed = readonly [name: string, fields: readonly string[], cause: RegExp];

const bearer = (credential: string): readonly string[] => [`Authorization: Bearer ${credential}`];
const UNKNOWN = /^No such key/;
const NOT_BEARER = /^The Authorization header holds no credential/;
const UNREADABLE = /malformed/;

const MALFORMED: readonly Malformed[] = [
  ["Bearer alone", ["Authorization: Bearer"], NOT_BEARER],
  ["Bearer and a space", ["Authorization: Bearer "], NOT_BEARER],
  ["an empty Authorization", ["Authorization:"], NOT_BEARER],
  ["the key without a scheme", [`Authorization: ${KEY}`], NOT_BEARER],
  ["the key behind no space", [`Authorization: Bearer${KEY}`], NOT_BEARER],
  ["the key behind a tab", [`Authorization: Bearer\t${KEY}`], NOT_BEARER],
  ["Basic", [`Authorization: Basic ${Buffer.from(`x:${KEY}`).toString("base64")}`], NOT_BEARER],
  ["another scheme", [`Authorization: Token ${KEY}`], NOT_BEARER],
  ["Bearer twice", bearer(`Bearer ${KEY}`), NOT_BEARER],
  ["words behind the key", bearer(`${KEY} and more`), NOT_BEARER],
  ["the key twice, with a comma", bearer(`${KEY}, ${KEY}`), NOT_BEARER],
  ["the key twice, with a bare comma", bearer(`${KEY},${KEY}`), UNKNOWN],
  ["a comma behind the key", bearer(`${KEY},`), UNKNOWN],
  ["the key in quotes", bearer(`"${KEY}"`), UNKNOWN],
  ["a suffix", bearer(`${KEY}a`), UNKNOWN],
  ["a prefix", bearer(`a${KEY}`), UNKNOWN],
  ["the key cut short", bearer(KEY.slice(0, -1)), UNKNOWN],
  ["the key in capitals", bearer(KEY.toUpperCase()), UNKNOWN],
  ["the key with one letter in another case", bearer(KEY.replace("k", "K")), UNKNOWN],
  ["the key's SHA-256", bearer(toDigest(KEY)), UNKNOWN],
  ["the key's name", bearer("backend"), UNKNOWN],
  ["an expired key", bearer(FORMER_KEY), /has expired/],
  ["the admin key", bearer(ADMIN_KEY), UNKNOWN],
  ["OpenAI's key", bearer(API_KEY), UNKNOWN],
  ["the tokens' secret", bearer(TOKEN_SECRET), UNKNOWN],
  ["a program's undefined", bearer("undefined"), UNKNOWN],
  ["a word of Object's", bearer("__proto__"), UNKNOWN],
  ["9 000 characters", bearer("k".repeat(9_000)), /too long/],
  ["9 000 characters of a token", bearer(`${goodHeader}.${"a".repeat(9_000)}.a`), /too long/],
  ["letters beyond ASCII", bearer(`${KEY}é`), NOT_BEARER],
  ["letters of UTF-8", bearer(Buffer.from("schlüssel🙂").toString("latin1")), NOT_BEARER],
  ["an empty api-key", ["api-key:"], UNREADABLE],
  ["an api-key with spaces", [`api-key: ${KEY} ${KEY}`], UNREADABLE],
  ["an api-key with a scheme", [`api-key: Bearer ${KEY}`], UNREADABLE],
  ["an api-key beyond ASCII", [`api-key: ${KEY}é`], UNREADABLE],
  ["a wrong api-key", [`api-key: ${KEY}a`], UNKNOWN],
  ["another key as api-key", [...bearer(KEY), "api-key: other"], /Two credentials/],
  ["an empty api-key beside a good key", [...bearer(KEY), "api-key:"], /Two credentials/],
  ["nobody beside somebody", [...bearer("anonymous"), `api-key: ${KEY}`], /Two credentials/],
  [
    "another key as subprotocol",
    [...bearer(KEY), "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.other"],
    /Two credentials/,
  ],
  [
    "an empty subprotocol",
    ["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key."],
    UNREADABLE,
  ],
];

/** Where nothing is read from: whoever sends it there has sent none. */
const ELSEWHERE: Readonly<Record<string, { path?: string; fields: readonly string[] }>> = {
  "nowhere at all": { fields: [] },
  "in the query": { path: `?api-key=${KEY}&api_key=${KEY}&access_token=${KEY}`, fields: [] },
  "in a cookie": { fields: [`Cookie: api-key=${KEY}; Authorization=Bearer ${KEY}`] },
  "in x-api-key": { fields: [`X-API-Key: ${KEY}`] },
  "in Proxy-Authorization": { fields: [`Proxy-Authorization: Bearer ${KEY}`] },
  "in a subprotocol of another name": {
    fields: [`Sec-WebSocket-Protocol: ${KEY}, api-key.${KEY}`],
  },
  "under the name of nobody": { fields: bearer("anonymous") },
};

const HANDSHAKE = [
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

async function start(t: TestContext) {
  const openai = await fakeOpenAI(t);
  const login = await fakeOpenAI(t, (res) => void res.end(JSON.stringify(JWKS)));
  const settings: ConfigInput = {
    server,
    access: {
      keys: [
        { name: "backend", sha256: toDigest(KEY) },
        { name: "backend", sha256: toDigest(FORMER_KEY), expires: "2026-01-01" },
      ],
      jwt: [
        {
          issuer: ISSUER,
          audience: ["chat"],
          jwksUrl: `${login.baseUrl}/jwks.json`,
          policyClaim: "plan",
          policies: ["user"],
        },
        { issuer: "legacy", audience: ["chat"], secret: LEGACY_SECRET },
      ],
      tokens: { secret: TOKEN_SECRET, maxLifetimeSeconds: 2 * HOUR },
    },
    admin: { key: ADMIN_KEY },
    policies: { user: {} },
  };
  const clock = new ManualClock();
  const running = await startGateway(t, openai.baseUrl, settings, { clock });
  return { ...running, openai, login };
}

function toBytes(fields: readonly string[], path = "/v1/models"): Buffer {
  const connection = fields.includes("Upgrade: websocket") ? "Upgrade" : "close";
  const lines = [`GET ${path} HTTP/1.1`, "Host: x", `Connection: ${connection}`, ...fields];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

/** Whatever of the credential could be of use to whoever reads it. */
function partsOf(fields: readonly string[]): readonly string[] {
  const values = fields.map((field) => field.slice(field.indexOf(":") + 1).trim());
  return [...values, ...values.flatMap((value) => value.split(/[\s.,;="]+/)), KEY].filter(
    (part) => part.length >= 16,
  );
}

/** Sends it, and then a good one. */
async function refuses(
  t: TestContext,
  fields: readonly string[],
  cause: RegExp | undefined,
  path?: string,
): Promise<void> {
  const { port, url, log, reported, openai } = await start(t);

  const answer = await sendRaw(port, toBytes(fields, path));
  const line = await reported();
  const afterwards = await fetch(`${url}/v1/models`, { headers: { "api-key": KEY } });

  assert.equal(answer.status, 401, answer.text);
  assert.equal(answer.headers["www-authenticate"], cause === undefined ? REALM : INVALID);
  assert.equal(answer.headers["content-type"], "application/json");
  const message =
    cause === undefined
      ? "Send an API key or token as `Authorization: Bearer …`."
      : "The API key or token is not valid here.";
  assert.deepEqual(JSON.parse(Buffer.from(answer.body, "latin1").toString()), {
    error: { message, type: "invalid_request_error", param: null, code: "invalid_api_key" },
  });
  assert.equal(afterwards.status, 200, "a good key no longer gets in");
  assert.equal(openai.arrivals.length, 1, "it reached OpenAI");

  assert.equal(line["error"], "invalid_api_key");
  assert.equal(line["caller"], undefined);
  if (cause === undefined) assert.equal(line["cause"], undefined);
  else {
    assert.match(String(line["cause"]), cause);
    assert.equal(redact(String(line["cause"])), line["cause"], "the log's sink hides the reason");
  }
  const written = JSON.stringify(log);
  for (const part of partsOf(fields)) {
    assert.ok(!written.includes(part), "the credential is in the log");
    assert.ok(!answer.text.includes(part), "the credential came back");
  }
}

describe("a forged, spoiled or replayed token is refused", { concurrency: 16 }, () => {
  for (const [name, credential, cause] of FORGED) {
    test(name, (t) => refuses(t, bearer(credential), cause));
  }
});

describe("a malformed credential is refused", { concurrency: 16 }, () => {
  for (const [name, fields, cause] of MALFORMED) test(name, (t) => refuses(t, fields, cause));
});

describe("a credential elsewhere is none", { concurrency: 16 }, () => {
  for (const [name, { path = "", fields }] of Object.entries(ELSEWHERE)) {
    test(name, (t) => refuses(t, fields, undefined, `/v1/models${path}`));
  }
});

describe("a WebSocket's handshake is refused like a call", { concurrency: 16 }, () => {
  const protocol = (name: string): string => `Sec-WebSocket-Protocol: realtime, ${name}`;
  const cases: readonly (readonly [string, readonly string[], RegExp | undefined])[] = [
    ["without a credential", [], undefined],
    ["with a wrong key", [protocol("openai-insecure-api-key.wrong")], UNKNOWN],
    ["with a forged token", [protocol(`openai-insecure-api-key.${cutShort(good)}`)], /wrong/],
  ];
  for (const [name, fields, cause] of cases) {
    test(name, (t) => refuses(t, [...HANDSHAKE, ...fields], cause, "/v1/realtime?model=x"));
  }
});

describe("what is no HTTP, or two of a kind, is 400", { concurrency: 16 }, () => {
  const cases: Readonly<Record<string, readonly string[]>> = {
    "a control character": bearer(`${KEY}\x01`),
    "a NUL": bearer(`${KEY}\0`),
    "a bare line feed in an api-key": [`api-key: a\nb: ${KEY}`, "Host: y"],
    "two Authorizations": [...bearer("other"), ...bearer(KEY)],
    "the same Authorization twice": [...bearer(KEY), ...bearer(KEY)],
    "two api-keys": ["api-key: other", `api-key: ${KEY}`],
  };
  for (const [name, fields] of Object.entries(cases)) {
    test(name, async (t) => {
      const { port, url, openai, log } = await start(t);

      const answer = await sendRaw(port, toBytes(fields));
      const afterwards = await fetch(`${url}/v1/models`, { headers: { "api-key": KEY } });

      assert.equal(answer.status, 400, answer.text);
      assert.equal(afterwards.status, 200);
      assert.equal(openai.arrivals.length, 1, "it reached OpenAI");
      assert.ok(!(JSON.stringify(log) + answer.text).includes(KEY), "the credential is shown");
    });
  }
});

describe("what is odd and right gets in", { concurrency: 16 }, () => {
  const cases: Readonly<Record<string, readonly string[]>> = {
    "a user's token": bearer(good),
    "a user's token for two audiences": bearer(byKey({ ...USER, aud: ["billing", "chat"] })),
    "a user's token within the leeway": bearer(byKey({ ...USER, exp: NOW - 29, nbf: NOW + 30 })),
    "an access token": bearer(byKey(USER, { typ: "at+jwt" })),
    "a token of an issuer with a secret": bearer(bySecret(LEGACY, LEGACY_SECRET)),
    "a minted token": bearer(minted({})),
    "a minted token for as long as may be": bearer(minted({ exp: NOW + 2 * HOUR + 30 })),
    "several spaces": [`Authorization: Bearer    ${KEY}   `],
    "the scheme in another case": [`authorization: bEARER ${KEY}`],
    "an api-key": [`api-key: ${KEY}`],
    "the same twice": [...bearer(KEY), `api-key: ${KEY}`],
    "Basic for a proxy in front": ["Authorization: Basic eDp5", `api-key: ${KEY}`],
  };
  for (const [name, fields] of Object.entries(cases)) {
    test(name, async (t) => {
      const { port, openai } = await start(t);

      const { status, text } = await sendRaw(port, toBytes(fields));

      assert.equal(status, 200, text);
      assert.equal(openai.arrivals[0]?.headers.authorization, `Bearer ${API_KEY}`);
    });
  }
});

test("a token that points to keys of its own calls nobody", async (t) => {
  const evil = await fakeOpenAI(t, (res) => {
    const jwk = { ...strange.publicKey.export({ format: "jwk" }), kid: "evil" };
    res.end(JSON.stringify({ keys: [jwk] }));
  });
  const { url, openai } = await start(t);
  const at = `${evil.baseUrl}/jwks.json`;
  const token = byKey(USER, { jku: at, x5u: at, kid: "evil" }, strange.privateKey);

  const { status } = await fetch(`${url}/v1/models`, {
    headers: { authorization: `Bearer ${token}` },
  });

  assert.equal(status, 401);
  assert.equal(evil.arrivals.length, 0, "the token's own server was asked");
  assert.equal(openai.arrivals.length, 0);
});

test("a token that speaks against itself makes nobody fetch keys", async (t) => {
  const { url, login } = await start(t);
  const hopeless = [
    byKey({ ...USER, exp: NOW - HOUR }),
    byKey({ ...USER, aud: "billing" }),
    bySecret(USER, pem),
  ];

  for (const token of hopeless) {
    const { status } = await fetch(`${url}/v1/models`, { headers: { "api-key": token } });
    assert.equal(status, 401);
  }

  assert.equal(login.arrivals.length, 0);
});

test("hundreds of wrong credentials at once leave room for the right one", async (t) => {
  const { url, openai } = await start(t);
  const wrong = Array.from({ length: 300 }, (_, index) => {
    const token = byKey(USER, { kid: `k${index}` }, strange.privateKey);
    return fetch(`${url}/v1/models`, { headers: { "api-key": index % 2 ? token : `key${index}` } });
  });
  const right = fetch(`${url}/v1/models`, { headers: { "api-key": KEY } });

  const answers = await Promise.all(wrong);

  assert.ok(
    answers.every(({ status }) => status === 401),
    String(answers.map(({ status }) => status)),
  );
  assert.equal((await right).status, 200);
  assert.equal(openai.arrivals.length, 1);
});

test("a 401 can be read by a page: it has the CORS headers of any answer", async (t) => {
  const openai = await fakeOpenAI(t, completes);
  const origin = "https://app.example.com";
  const { url } = await startGateway(t, openai.baseUrl, {
    server,
    access: { keys: [{ name: "backend", sha256: toDigest(KEY) }] },
    cors: { origins: [origin] },
  });

  const { status, headers } = await fetch(`${url}/v1/models`, { headers: { origin } });

  assert.equal(status, 401);
  assert.equal(headers.get("access-control-allow-origin"), origin);
});
