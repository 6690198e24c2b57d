// Where an issuer's keys come from, how often it is asked, and what its failures cost.
import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { createKeySet, type KeySet } from "../../src/access/jwks.ts";
import { GatewayError } from "../../src/errors.ts";
import { ManualClock } from "../helpers/manual-clock.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const ec = (): Pair => generateKeyPairSync("ec", { namedCurve: "P-256" });
const a = ec();
const b = ec();
const p384: Pair = generateKeyPairSync("ec", { namedCurve: "P-384" });
const ed25519: Pair = generateKeyPairSync("ed25519");
const rsa: Pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
const weakRsa: Pair = generateKeyPairSync("rsa", { modulusLength: 1024 });

function jwk({ publicKey }: Pair, members: object = {}): object {
  return { ...publicKey.export({ format: "jwk" }), ...members };
}

const SET_A = { keys: [jwk(a, { kid: "a", use: "sig", alg: "ES256" })] };
const SET_B = { keys: [jwk(b, { kid: "b" })] };
const TOKEN_A = { algorithm: "ES256", keyId: "a" } as const;
const TOKEN_B = { algorithm: "ES256", keyId: "b" } as const;

interface Issuer {
  readonly url: URL;
  /** Requests so far. */
  readonly asked: number;
  /** What it does with the next ones. */
  answer: RequestListener;
}

/** A real server that publishes a key set until told otherwise. */
async function startIssuer(t: TestContext, answer: RequestListener): Promise<Issuer> {
  let asked = 0;
  const server = createServer((req, res) => {
    asked++;
    issuer.answer(req, res);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const issuer = {
    url: new URL(`http://127.0.0.1:${port}/jwks.json`),
    get asked() {
      return asked;
    },
    answer,
  };
  return issuer;
}

function publish(set: unknown): RequestListener {
  return (_req, res) => void res.end(typeof set === "string" ? set : JSON.stringify(set));
}

function withStatus(status: number, headers: Record<string, string> = {}): RequestListener {
  return (_req, res) => void res.writeHead(status, headers).end(JSON.stringify(SET_A));
}

/** Writes for as long as anybody reads. */
function pour(res: ServerResponse): void {
  const piece = Buffer.alloc(16_384, " ");
  const more = (): void => {
    while (!res.destroyed && res.write(piece));
  };
  res.on("drain", more);
  more();
}

/** Waits for what happens by itself; the runner's limit ends a wait for what does not. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await turn();
}

async function names(keys: KeySet, wanted: Parameters<KeySet["find"]>[0]): Promise<string> {
  const known = { a, b, p384, ed25519, rsa, weakRsa };
  const found = await keys.find(wanted);
  return found
    .map((key) => Object.entries(known).find(([, pair]) => pair.publicKey.equals(key))?.[0] ?? "?")
    .join(" ");
}

/** The 503 of a set without keys. */
async function refusal(finding: Promise<unknown>): Promise<GatewayError> {
  const error: unknown = await finding.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof GatewayError, `not a GatewayError: ${String(error)}`);
  assert.equal(error.code, "issuer_unavailable");
  assert.equal(error.status, 503);
  assert.equal(
    error.message,
    "The keys that sign these tokens cannot be fetched; try again.",
    "the client learns nothing of the issuer",
  );
  return error;
}

test("nothing is fetched before the first token, and one fetch serves ten minutes", async (t) => {
  const issuer = await startIssuer(t, publish(SET_A));
  const clock = new ManualClock();
  const keys = createKeySet(issuer.url, clock);
  await turn();
  assert.equal(issuer.asked, 0);

  for (const passedMs of [0, 5 * MINUTE, 5 * MINUTE - 1]) {
    clock.advance(passedMs);
    assert.equal(await names(keys, TOKEN_A), "a");
  }

  assert.equal(issuer.asked, 1);
  assert.equal(clock.pending, 0);
});

test("fifty tokens at once share the first fetch", async (t) => {
  const issuer = await startIssuer(t, publish(SET_A));
  const keys = createKeySet(issuer.url, new ManualClock());

  const found = await Promise.all(Array.from({ length: 50 }, () => names(keys, TOKEN_A)));

  assert.deepEqual(new Set(found), new Set(["a"]));
  assert.equal(issuer.asked, 1);
});

test("fifty tokens at once share the failure of the first fetch", async (t) => {
  const issuer = await startIssuer(t, withStatus(500));
  const keys = createKeySet(issuer.url, new ManualClock());

  await Promise.all(Array.from({ length: 50 }, () => refusal(keys.find(TOKEN_A))));

  assert.equal(issuer.asked, 1);
});

test("a new key is found at once, with one more fetch for all its tokens", async (t) => {
  const issuer = await startIssuer(t, publish(SET_A));
  const keys = createKeySet(issuer.url, new ManualClock());
  await keys.find(TOKEN_A);
  issuer.answer = publish(SET_B);

  const found = await Promise.all(Array.from({ length: 50 }, () => names(keys, TOKEN_B)));

  assert.deepEqual(new Set(found), new Set(["b"]));
  assert.equal(issuer.asked, 2);
  assert.equal(await names(keys, TOKEN_A), "", "a key that was withdrawn is gone");
});

test("a flood of made-up key ids costs the issuer one fetch a minute", async (t) => {
  const issuer = await startIssuer(t, publish(SET_A));
  const clock = new ManualClock();
  const keys = createKeySet(issuer.url, clock);
  const flood = (): Promise<string[]> =>
    Promise.all(
      Array.from({ length: 300 }, (_, at) => names(keys, { algorithm: "ES256", keyId: `x${at}` })),
    );

  assert.deepEqual(new Set(await flood()), new Set([""]));
  assert.equal(issuer.asked, 1, "the first fetch is answer enough");
  for (let round = 0; round < 5; round++) await flood();
  assert.equal(issuer.asked, 2);
  clock.advance(MINUTE - 1);
  await flood();
  assert.equal(issuer.asked, 2);
  clock.advance(1);
  await flood();
  assert.equal(issuer.asked, 3);
  assert.equal(await names(keys, TOKEN_A), "a");
});

test("a token without a key id makes nobody ask again", async (t) => {
  const issuer = await startIssuer(t, publish(SET_A));
  const keys = createKeySet(issuer.url, new ManualClock());
  await keys.find(TOKEN_A);

  assert.equal(await names(keys, { algorithm: "EdDSA", keyId: undefined }), "");
  assert.equal(issuer.asked, 1);
});

test("a failing issuer makes an unknown key id unknown, and nothing worse", async (t) => {
  const issuer = await startIssuer(t, publish(SET_A));
  const clock = new ManualClock();
  const keys = createKeySet(issuer.url, clock);
  await keys.find(TOKEN_A);
  issuer.answer = withStatus(500);

  assert.equal(await names(keys, TOKEN_B), "");
  assert.equal(await names(keys, TOKEN_A), "a");
  assert.equal(issuer.asked, 2);
  assert.equal(clock.pending, 0);
});

test("an unknown key id in the pause after a failure does not use up the minute", async (t) => {
  const issuer = await startIssuer(t, publish(SET_A));
  const clock = new ManualClock();
  const keys = createKeySet(issuer.url, clock);
  await keys.find(TOKEN_A);
  issuer.answer = withStatus(500);
  clock.advance(10 * MINUTE);
  await keys.find(TOKEN_A);
  await until(() => clock.pending === 0);

  assert.equal(await names(keys, TOKEN_B), "");
  assert.equal(issuer.asked, 2);
  issuer.answer = publish(SET_A);
  clock.advance(5_000);
  await keys.find(TOKEN_A);
  await until(() => clock.pending === 0);
  await turn();
  issuer.answer = publish(SET_B);

  assert.equal(await names(keys, TOKEN_B), "b");
  assert.equal(issuer.asked, 4);
});

test("after ten minutes the old keys serve on while new ones are fetched", async (t) => {
  const issuer = await startIssuer(t, publish(SET_A));
  const clock = new ManualClock();
  const keys = createKeySet(issuer.url, clock);
  await keys.find(TOKEN_A);
  const held: ServerResponse[] = [];
  issuer.answer = (_req, res) => void held.push(res);
  clock.advance(10 * MINUTE);

  for (let round = 0; round < 20; round++) assert.equal(await names(keys, TOKEN_A), "a");
  await until(() => held.length > 0);
  held[0]?.end(JSON.stringify({ keys: [...SET_A.keys, ...SET_B.keys] }));
  await until(() => clock.pending === 0);

  assert.equal(await names(keys, TOKEN_B), "b");
  assert.equal(issuer.asked, 2);
});

test("an outage is survived for 24 hours, with a fetch every five seconds at most", async (t) => {
  const issuer = await startIssuer(t, publish(SET_A));
  const clock = new ManualClock();
  const keys = createKeySet(issuer.url, clock);
  await keys.find(TOKEN_A);
  issuer.answer = withStatus(500);

  clock.advance(HOUR);
  assert.equal(await names(keys, TOKEN_A), "a");
  await until(() => clock.pending === 0);
  for (let round = 0; round < 20; round++) assert.equal(await names(keys, TOKEN_A), "a");
  await turn();
  assert.equal(issuer.asked, 2);
  clock.advance(23 * HOUR - 1);
  assert.equal(await names(keys, TOKEN_A), "a");
  await until(() => clock.pending === 0);
  clock.advance(5_000);
  await refusal(keys.find(TOKEN_A));
  assert.equal(issuer.asked, 4);

  issuer.answer = publish(SET_B);
  clock.advance(5_000);
  assert.equal(await names(keys, TOKEN_B), "b");
});

test("without keys a failure is followed by a pause in which nobody asks the issuer", async (t) => {
  const issuer = await startIssuer(t, withStatus(503));
  const clock = new ManualClock();
  const keys = createKeySet(issuer.url, clock);

  assert.equal((await refusal(keys.find(TOKEN_A))).details.retryAfterMs, 5_000);
  clock.advance(2_000);
  const paused = await Promise.all(
    Array.from({ length: 20 }, () => refusal(keys.find({ algorithm: "ES256", keyId: "x" }))),
  );
  assert.deepEqual(new Set(paused.map(({ details }) => details.retryAfterMs)), new Set([3_000]));
  clock.advance(2_999);
  assert.equal((await refusal(keys.find(TOKEN_A))).details.retryAfterMs, 1);
  assert.equal(issuer.asked, 1);
  issuer.answer = publish(SET_A);
  clock.advance(1);

  assert.equal(await names(keys, TOKEN_A), "a");
  assert.equal(issuer.asked, 2);
});

type Trouble = readonly [promise: string, answer: RequestListener, cause: RegExp];

const troubles: readonly Trouble[] = [
  ["500", withStatus(500), /with 500/],
  ["404", withStatus(404), /with 404/],
  ["201", withStatus(201), /with 201/],
  ["204", (_req, res) => void res.writeHead(204).end(), /with 204/],
  ["a redirect", withStatus(302, { location: "/elsewhere" }), /fetch failed/],
  ["a page", publish("<!doctype html>"), /JSON/],
  ["nothing", publish(""), /JSON/],
  ["half of a set", publish('{"keys":[{"kty":"EC"'), /JSON/],
  ["null", publish("null"), /not a key set/],
  ["a bare list", publish(SET_A.keys), /not a key set/],
  ["keys that are no list", publish({ keys: { 0: SET_A.keys[0], length: 1 } }), /not a key set/],
  ["an empty set", publish({ keys: [] }), /no usable key/],
  [
    "nothing but junk",
    publish({ keys: [null, 1, "x", [], {}, { kty: "oct", k: "AAAA" }] }),
    /no usable/,
  ],
  ["a broken connection", (req) => req.socket.destroy(), /fetch failed/],
  [
    "a body cut short",
    (_req, res) => {
      res.writeHead(200, { "content-length": 1000 });
      res.write("{", () => res.destroy());
    },
    /terminated|aborted/,
  ],
  ["a body without end", (_req, res) => pour(res.writeHead(200)), /over 524288 bytes/],
  [
    "a body of a stated 10 MB",
    (_req, res) => pour(res.writeHead(200, { "content-length": 10_000_000 })),
    /over 524288 bytes/,
  ],
  [
    "a gzip bomb",
    (_req, res) => {
      res.writeHead(200, { "content-encoding": "gzip" });
      res.end(gzipSync(Buffer.alloc(20_000_000, " ")));
    },
    /over 524288 bytes/,
  ],
  ["endless words to an error", (_req, res) => pour(res.writeHead(500)), /with 500/],
];

for (const [promise, answer, cause] of troubles) {
  test(`no keys come of ${promise}, and those held before are kept`, async (t) => {
    const issuer = await startIssuer(t, answer);
    const clock = new ManualClock();
    const keys = createKeySet(issuer.url, clock);

    const error = await refusal(keys.find(TOKEN_A));
    assert.match(String(error.details.cause), cause);
    assert.equal(error.details.retryAfterMs, 5_000);
    assert.equal(clock.pending, 0, "no timer is left");
    assert.equal(issuer.asked, 1, "no redirect is followed");

    clock.advance(5_000);
    issuer.answer = publish(SET_A);
    await keys.find(TOKEN_A);
    issuer.answer = answer;
    clock.advance(10 * MINUTE);
    await keys.find(TOKEN_A);
    await until(() => clock.pending === 0);
    assert.equal(issuer.asked, 3);
    assert.equal(await names(keys, TOKEN_A), "a");
  });
}

test("a refused connection is a failure like any other", async () => {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const clock = new ManualClock();

  const error = await refusal(
    createKeySet(new URL(`http://127.0.0.1:${port}/`), clock).find(TOKEN_A),
  );

  assert.match(String(error.details.cause), /fetch failed/);
  assert.equal(clock.pending, 0);
});

for (const [promise, answer] of [
  ["too large", (res: ServerResponse) => pour(res)],
  ["not wanted", (res: ServerResponse) => pour(res.writeHead(404))],
] as const) {
  test(`the connection of an answer that is ${promise} is closed`, async (t) => {
    let closed: Promise<unknown> | undefined;
    const issuer = await startIssuer(t, (_req, res) => {
      closed = once(res, "close");
      answer(res);
    });

    await refusal(createKeySet(issuer.url, new ManualClock()).find(TOKEN_A));

    assert.ok(closed !== undefined, "the issuer was asked");
    await closed;
  });
}

const hangs: readonly (readonly [promise: string, answer: (res: ServerResponse) => void])[] = [
  ["before its headers", () => {}],
  ["after its headers", (res) => res.flushHeaders()],
  ["in its body", (res) => void res.write('{"keys":[')],
];

for (const [promise, hang] of hangs) {
  test(`an issuer that hangs ${promise} is given five seconds`, async (t) => {
    let closed: Promise<unknown> | undefined;
    const issuer = await startIssuer(t, (_req, res) => {
      closed = once(res, "close");
      hang(res);
    });
    const clock = new ManualClock();
    let answered = false;
    const keys = createKeySet(issuer.url, clock, async (url, init) => {
      const response = await fetch(url, init);
      answered = true;
      return response;
    });
    let ended = false;
    const finding = refusal(keys.find(TOKEN_A)).finally(() => (ended = true));
    await until(() => closed !== undefined && (answered || promise === "before its headers"));

    clock.advance(4_999);
    for (let round = 0; round < 10; round++) await turn();
    assert.equal(ended, false);
    clock.advance(1);

    assert.match(String((await finding).details.cause), /took longer than 5000 ms/);
    assert.equal(clock.pending, 0);
    await closed;
  });
}

test("a fetch that loses its signal holds neither callers nor connections", async (t) => {
  const held: ServerResponse[] = [];
  const issuer = await startIssuer(t, (_req, res) => void held.push(res));
  const clock = new ManualClock();
  let answered = 0;
  const deaf = createKeySet(issuer.url, clock, async (url, { signal: _, ...init }) => {
    const response = await fetch(url, init);
    answered++;
    return response;
  });

  const early = refusal(deaf.find(TOKEN_A));
  await until(() => held.length === 1);
  clock.advance(5_000);
  await early;
  const first = held[0];
  assert.ok(first !== undefined, "the issuer was asked");
  const firstClosed = once(first, "close");
  first.write("{");
  await firstClosed;

  clock.advance(5_000);
  const late = refusal(deaf.find(TOKEN_A));
  await until(() => held.length === 2);
  const second = held[1];
  assert.ok(second !== undefined, "the issuer was asked again");
  const secondClosed = once(second, "close");
  second.write("{");
  await until(() => answered === 2);
  clock.advance(5_000);
  await late;
  await secondClosed;
});

test("a slow issuer within its time is waited for", async (t) => {
  const held: ServerResponse[] = [];
  const issuer = await startIssuer(t, (_req, res) => void held.push(res));
  const clock = new ManualClock();
  const finding = names(createKeySet(issuer.url, clock), TOKEN_A);
  await until(() => held.length > 0);
  clock.advance(4_999);

  for (const byte of JSON.stringify(SET_A)) held[0]?.write(byte);
  held[0]?.end();

  assert.equal(await finding, "a");
});

test("a fetch that throws instead of rejecting is a failed one", async () => {
  const clock = new ManualClock();
  const keys = createKeySet(new URL("http://127.0.0.1/"), clock, () => {
    throw new TypeError("no network here");
  });

  assert.match(String((await refusal(keys.find(TOKEN_A))).details.cause), /no network here/);
  assert.equal(clock.pending, 0);
});

async function keysOf(t: TestContext, keys: readonly unknown[]): Promise<KeySet> {
  const { url } = await startIssuer(t, publish({ keys }));
  return createKeySet(url, new ManualClock());
}

test("keys that cannot be used are left out, and the others serve", async (t) => {
  const keys = await keysOf(t, [
    null,
    "x",
    [],
    {},
    { kty: "oct", k: "A".repeat(43), kid: "a" },
    { kty: "XYZ", kid: "a" },
    { kty: "RSA", kid: "a" },
    { kty: "RSA", n: 1, e: "AQAB", kid: "a" },
    { kty: "EC", crv: "P-256", x: "AAAA", y: "AAAA", kid: "a" },
    { kty: "OKP", crv: "Ed25519", x: "AA", kid: "a" },
    jwk(b, { kid: "a", crv: "P-384" }),
    jwk(b, { kid: "a", use: "enc" }),
    jwk(b, { kid: "a", use: null }),
    jwk(b, { kid: "a", key_ops: ["deriveKey"] }),
    jwk(b, { kid: "a", key_ops: "verify" }),
    jwk(b, { kid: "a", alg: "ECDH-ES" }),
    jwk(b, { kid: "a", alg: "ES384" }),
    jwk(b, { kid: "a", alg: ["ES256"] }),
    jwk(b, { kid: ["a"] }),
    JSON.parse('{"__proto__":{"kid":"a"},"kty":"EC"}'),
    jwk(weakRsa, { kid: "weak" }),
    jwk(a, { kid: "a", use: "sig", key_ops: ["verify"], alg: "ES256", x5c: ["junk"] }),
  ]);

  assert.equal(await names(keys, TOKEN_A), "a");
  assert.equal(await names(keys, { algorithm: "RS256", keyId: "weak" }), "");
});

test("a key serves the algorithms that it fits, or the one that it names", async (t) => {
  const keys = await keysOf(t, [
    jwk(rsa, { kid: "any" }),
    jwk(rsa, { kid: "one", alg: "PS256" }),
    jwk(p384, { kid: "p384" }),
    jwk(ed25519, { kid: "ed25519" }),
  ]);

  assert.equal(await names(keys, { algorithm: "RS256", keyId: "any" }), "rsa");
  assert.equal(await names(keys, { algorithm: "PS512", keyId: "any" }), "rsa");
  assert.equal(await names(keys, { algorithm: "PS256", keyId: "one" }), "rsa");
  assert.equal(await names(keys, { algorithm: "RS256", keyId: "one" }), "");
  assert.equal(await names(keys, { algorithm: "ES384", keyId: "p384" }), "p384");
  assert.equal(await names(keys, { algorithm: "ES256", keyId: "p384" }), "");
  assert.equal(await names(keys, { algorithm: "EdDSA", keyId: "ed25519" }), "ed25519");
  assert.equal(await names(keys, { algorithm: "HS256", keyId: "any" }), "");
});

test("without a key id every fitting key is tried, up to four", async (t) => {
  const keys = await keysOf(t, [
    jwk(rsa),
    jwk(a, { kid: "a" }),
    jwk(p384),
    ...Array.from({ length: 9 }, () => jwk(b)),
  ]);

  assert.equal(await names(keys, { algorithm: "ES256", keyId: undefined }), "a b b b");
  assert.equal(await names(keys, { algorithm: "ES384", keyId: undefined }), "p384");
});

test("of several keys with one id those that fit are tried", async (t) => {
  const keys = await keysOf(
    t,
    [rsa, a, p384, b].map((pair) => jwk(pair, { kid: "same" })),
  );

  assert.equal(await names(keys, { algorithm: "ES256", keyId: "same" }), "a b");
  assert.equal(await names(keys, { algorithm: "RS256", keyId: "same" }), "rsa");
});

test("a hundred keys are looked at, and no more", async (t) => {
  const filling = Array.from({ length: 99 }, () => null);
  const keys = await keysOf(t, [...filling, jwk(a, { kid: "a" }), jwk(b, { kid: "b" })]);

  assert.equal(await names(keys, TOKEN_A), "a");
  assert.equal(await names(keys, TOKEN_B), "");
});

test("a private key published by mistake becomes a public one", async (t) => {
  const keys = await keysOf(t, [
    { ...a.privateKey.export({ format: "jwk" }), kid: "a" },
    { ...rsa.privateKey.export({ format: "jwk" }), kid: "r" },
    { ...jwk(ed25519, { kid: "e" }), d: "junk" },
  ]);

  for (const [algorithm, keyId] of [
    ["ES256", "a"],
    ["RS256", "r"],
    ["EdDSA", "e"],
  ] as const) {
    const found = await keys.find({ algorithm, keyId });
    assert.deepEqual(
      found.map(({ type }) => type),
      ["public"],
      algorithm,
    );
  }
});

test("a byte order mark before the set is forgiven", async (t) => {
  const issuer = await startIssuer(t, publish(`\ufeff${JSON.stringify(SET_A)}`));

  assert.equal(await names(createKeySet(issuer.url, new ManualClock()), TOKEN_A), "a");
});
