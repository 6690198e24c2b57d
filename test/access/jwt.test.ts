// Which tokens are believed. Every forgery has a row, and the reason for which it must fail.
import assert from "node:assert/strict";
import {
  constants,
  createHmac,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
} from "node:crypto";
import { test } from "node:test";
import {
  checkClaims,
  CredentialError,
  fits,
  isJwt,
  parseJwt,
  signJwt,
  verifySignature,
  type Expected,
} from "../../src/access/jwt.ts";
import { JWT_ALGORITHMS, type JwtAlgorithm } from "../../src/config/access.ts";

const NOW_MS = Date.UTC(2026, 0, 1);
const NOW = NOW_MS / 1000;
const EXPECTED: Expected = { issuer: "https://id.test", audience: ["chat"], leewaySeconds: 60 };
const CLAIMS = { iss: "https://id.test", aud: "chat", sub: "user-1", exp: NOW + 600, iat: NOW };

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const secret = createSecretKey(randomBytes(32));
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const weakRsa = generateKeyPairSync("rsa", { modulusLength: 1024 });
const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });
const p521 = generateKeyPairSync("ec", { namedCurve: "P-521" });
const k256 = generateKeyPairSync("ec", { namedCurve: "secp256k1" });
const ed25519 = generateKeyPairSync("ed25519");
const ed448 = generateKeyPairSync("ed448");

const pairs: Readonly<Record<Exclude<JwtAlgorithm, "HS256">, Pair>> = {
  RS256: rsa,
  RS384: rsa,
  RS512: rsa,
  PS256: rsa,
  PS384: rsa,
  PS512: rsa,
  ES256: p256,
  ES384: p384,
  ES512: p521,
  EdDSA: ed25519,
};

function keyOf(algorithm: JwtAlgorithm): KeyObject {
  return algorithm === "HS256" ? secret : pairs[algorithm].publicKey;
}

/** A segment: text and bytes as they are, anything else as JSON. */
function encode(part: unknown): string {
  if (Buffer.isBuffer(part)) return part.toString("base64url");
  return Buffer.from(typeof part === "string" ? part : JSON.stringify(part)).toString("base64url");
}

type Sign = (signed: Buffer) => Buffer;

function signer(algorithm: string, key: KeyObject, saltLength?: number): Sign {
  const digest = `sha${algorithm.slice(2)}`;
  if (algorithm.startsWith("HS")) return (it) => createHmac(digest, key).update(it).digest();
  if (algorithm === "EdDSA") return (it) => sign(null, it, key);
  if (algorithm.startsWith("ES"))
    return (it) => sign(digest, it, { key, dsaEncoding: "ieee-p1363" });
  if (algorithm.startsWith("RS")) return (it) => sign(digest, it, key);
  const salt = saltLength ?? constants.RSA_PSS_SALTLEN_DIGEST;
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return (it) => sign(digest, it, { key, padding, saltLength: salt });
}

function token(header: unknown, claims: unknown, signature: Sign): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${signature(Buffer.from(signed)).toString("base64url")}`;
}

/** A good token but for the header, which is added to. */
function withHeader(header: object): string {
  return token({ alg: "HS256", typ: "JWT", ...header }, CLAIMS, signer("HS256", secret));
}

/** A good token but for one segment's text. */
function withHeaderText(header: string | Buffer): string {
  return token(header, CLAIMS, signer("HS256", secret));
}

/** A good token but for the payload's text. */
function withPayload(payload: string | Buffer): string {
  return token({ alg: "HS256" }, payload, signer("HS256", secret));
}

/** A good token but for the claims, which are added to; undefined leaves one out. */
function withClaims(claims: object): string {
  return withPayload(JSON.stringify({ ...CLAIMS, ...claims }));
}

/** A good token but for the signature, made by another key or in another way. */
function signedBy(algorithm: string, signature: Sign): string {
  return token({ alg: algorithm }, CLAIMS, signature);
}

function judge(text: string, key: KeyObject, expected = EXPECTED): string {
  const jwt = parseJwt(text);
  verifySignature(jwt, key);
  return checkClaims(jwt.claims, expected, NOW_MS);
}

function assertRefused(text: string, key: KeyObject, reason: RegExp, expected = EXPECTED): void {
  assert.throws(
    () => judge(text, key, expected),
    (error) => {
      assert.ok(error instanceof CredentialError, `not a CredentialError: ${String(error)}`);
      assert.equal(error.name, "CredentialError");
      assert.match(error.message, reason);
      return true;
    },
  );
}

const good = withClaims({});
const [goodHeader = "", goodPayload = "", goodSignature = ""] = good.split(".");
const es256 = signedBy("ES256", signer("ES256", p256.privateKey));

for (const algorithm of JWT_ALGORITHMS) {
  const own = algorithm === "HS256" ? secret : pairs[algorithm].privateKey;

  test(`${algorithm}: a token of the right key is accepted, at full strength`, () => {
    const text = token({ alg: algorithm, kid: "k1" }, CLAIMS, signer(algorithm, own));

    assert.equal(isJwt(text), true);
    assert.equal(parseJwt(text).algorithm, algorithm);
    assert.equal(parseJwt(text).keyId, "k1");
    assert.equal(judge(text, keyOf(algorithm)), "user-1");
  });

  test(`${algorithm}: a signature that is short, long, empty or changed is refused`, () => {
    const genuine = signer(algorithm, own);
    const refused = (change: Sign): void =>
      assertRefused(signedBy(algorithm, change), keyOf(algorithm), /signature is wrong/);

    refused((it) => genuine(it).subarray(0, -1));
    refused((it) => genuine(it).subarray(1));
    refused((it) => Buffer.concat([genuine(it), Buffer.of(0)]));
    refused((it) => Buffer.concat([Buffer.of(0), genuine(it)]));
    refused((it) => Buffer.alloc(genuine(it).length));
    refused(() => Buffer.alloc(0));
    refused(() => genuine(Buffer.from("something else")));
    for (const at of [0, 7, 15, 31]) {
      refused((it) => {
        const signature = genuine(it);
        signature[at] = (signature[at] ?? 0) ^ 1;
        return signature;
      });
    }
  });

  test(`${algorithm}: the keys of every other kind do not fit`, () => {
    const strangers = JWT_ALGORITHMS.map(keyOf).filter((key) => !key.equals(keyOf(algorithm)));
    const others = [weakRsa, k256, ed448, generateKeyPairSync("x25519")];

    for (const key of [...strangers, ...others.map(({ publicKey }) => publicKey)]) {
      assert.equal(fits(key, algorithm), false, `${key.type} ${key.asymmetricKeyType ?? ""}`);
      assertRefused(signedBy(algorithm, signer(algorithm, own)), key, /key is not one for/);
    }
  });
}

test("RSA keys fit from 2048 to 8192 bits, and only with a real exponent", () => {
  const rsaOf = (bits: number, e = "AQAB"): KeyObject => {
    const n = randomBytes(bits / 8);
    n[0] = 0xff;
    n[n.length - 1] = 0xff;
    return createPublicKey({ key: { kty: "RSA", n: encode(n), e }, format: "jwk" });
  };

  assert.equal(fits(rsaOf(2040), "RS256"), false);
  assert.equal(fits(rsaOf(2048), "RS256"), true);
  assert.equal(fits(rsaOf(8192), "PS512"), true);
  assert.equal(fits(rsaOf(8200), "RS256"), false);
  assert.equal(fits(rsaOf(2048, "AQ"), "RS256"), false);
});

test("a key that is bound to RSA-PSS verifies what its own restrictions permit", () => {
  // The typings want a string for the salt's length, Node a number.
  const generate = (options: object): Pair =>
    Reflect.apply(generateKeyPairSync, undefined, ["rsa-pss", { modulusLength: 2048, ...options }]);
  const sha256 = { hashAlgorithm: "sha256", mgf1HashAlgorithm: "sha256" };
  const free = generate({});
  const bound = generate({ ...sha256, saltLength: 32 });
  const salty = generate({ ...sha256, saltLength: 40 });
  const mixed = [
    generate({ ...sha256, mgf1HashAlgorithm: "sha512", saltLength: 32 }),
    generate({ ...sha256, hashAlgorithm: "sha512", saltLength: 32 }),
  ];

  for (const [algorithm, { publicKey, privateKey }] of [
    ["PS256", free],
    ["PS384", free],
    ["PS256", bound],
  ] as const) {
    const text = signedBy(algorithm, signer(algorithm, privateKey));
    assert.equal(judge(text, publicKey), "user-1", algorithm);
  }
  assert.equal(fits(free.publicKey, "RS256"), false);
  assert.equal(fits(bound.publicKey, "PS384"), false);
  assert.equal(fits(salty.publicKey, "PS256"), false);
  for (const { publicKey } of mixed) assert.equal(fits(publicKey, "PS256"), false);
});

test("PS256 without its leading zero, which OpenSSL would accept, is refused", () => {
  const genuine = signer("PS256", rsa.privateKey);
  let signed: Buffer = Buffer.alloc(0);
  const zeroFirst: Sign = (it) => {
    do signed = genuine(it);
    while (signed[0] !== 0);
    return signed;
  };

  assert.equal(judge(signedBy("PS256", zeroFirst), rsa.publicKey), "user-1");
  assertRefused(
    signedBy("PS256", () => signed.subarray(1)),
    rsa.publicKey,
    /signature is wrong/,
  );
});

test("a private key verifies nothing, and a secret needs the length of its hash", () => {
  assert.equal(fits(rsa.privateKey, "RS256"), false);
  assert.equal(fits(ed25519.privateKey, "EdDSA"), false);
  assert.equal(fits(createSecretKey(randomBytes(31)), "HS256"), false);
  assert.equal(fits(createSecretKey(randomBytes(32)), "HS256"), true);
  assert.equal(fits(secret, "RS256"), false);
});

type Forgery = readonly [promise: string, text: string, key: KeyObject, reason: RegExp];

const pem = createSecretKey(Buffer.from(rsa.publicKey.export({ type: "spki", format: "pem" })));
const der = createSecretKey(rsa.publicKey.export({ type: "spki", format: "der" }));
const notSupported = /`alg` is not supported/;
const wrong = /signature is wrong/;
const misfit = /key is not one for/;
const shape = /not a compact JWS/;
const spelling = /not base64url/;
const notObject = /not a JSON object/;

/** The same bytes for a lenient decoder: the last character's spare bits are set. */
function respelled(text: string): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return text.slice(0, -1) + alphabet.charAt(alphabet.indexOf(text.slice(-1)) | 1);
}

/** A signature whose bytes need `-` or `_`, so that the standard alphabet differs. */
function inStandardAlphabet(): string {
  for (let jti = 0; ; jti++) {
    const [header, payload, signature = ""] = withClaims({ jti }).split(".");
    const standard = signature.replaceAll("-", "+").replaceAll("_", "/");
    if (standard !== signature) return `${header}.${payload}.${standard}`;
  }
}

const forgeries: readonly Forgery[] = [
  ...["none", "None", "NONE", "nOnE", "", " HS256", "hs256", "HS384", "HS512", "ES256K", "RS1"].map(
    (alg): Forgery => [`alg "${alg}"`, withHeader({ alg }), secret, notSupported],
  ),
  [
    "alg none without a signature",
    `${encode({ alg: "none" })}.${goodPayload}.`,
    secret,
    notSupported,
  ],
  ["no signature at all", `${goodHeader}.${goodPayload}.`, secret, wrong],
  ["no alg", withHeader({ alg: undefined }), secret, notSupported],
  ["an alg that is a list", withHeader({ alg: ["HS256"] }), secret, notSupported],
  ["an alg that is null", withHeader({ alg: null }), secret, notSupported],
  [
    "an alg named like an inherited property",
    withHeader({ alg: "toString" }),
    secret,
    notSupported,
  ],
  [
    "an alg in `__proto__`",
    withHeaderText('{"__proto__":{"alg":"HS256"},"typ":"JWT"}'),
    secret,
    notSupported,
  ],
  [
    "HS256 made with the public PEM",
    signedBy("HS256", signer("HS256", pem)),
    rsa.publicKey,
    misfit,
  ],
  [
    "HS256 made with the public DER",
    signedBy("HS256", signer("HS256", der)),
    rsa.publicKey,
    misfit,
  ],
  [
    "RS256 where a secret is set",
    signedBy("RS256", signer("RS256", rsa.privateKey)),
    secret,
    misfit,
  ],
  [
    "PS256 said to be RS256",
    signedBy("RS256", signer("PS256", rsa.privateKey)),
    rsa.publicKey,
    wrong,
  ],
  [
    "RS256 said to be PS256",
    signedBy("PS256", signer("RS256", rsa.privateKey)),
    rsa.publicKey,
    wrong,
  ],
  [
    "RS512 said to be RS256",
    signedBy("RS256", signer("RS512", rsa.privateKey)),
    rsa.publicKey,
    wrong,
  ],
  ...[0, 20, 31, 33, 64, 222].map((salt): Forgery => [
    `PS256 with a salt of ${salt}`,
    signedBy("PS256", signer("PS256", rsa.privateKey, salt)),
    rsa.publicKey,
    wrong,
  ]),
  [
    "RSA of 1024 bits",
    signedBy("RS256", signer("RS256", weakRsa.privateKey)),
    weakRsa.publicKey,
    misfit,
  ],
  [
    "a signature of another RSA key",
    signedBy("RS256", signer("RS256", weakRsa.privateKey)),
    rsa.publicKey,
    wrong,
  ],
  [
    "ES256 in DER",
    signedBy("ES256", (it) => sign("sha256", it, p256.privateKey)),
    p256.publicKey,
    wrong,
  ],
  [
    "ES256 made on P-384",
    signedBy("ES256", signer("ES256", p384.privateKey)),
    p384.publicKey,
    misfit,
  ],
  [
    "ES256 made on secp256k1",
    signedBy("ES256", signer("ES256", k256.privateKey)),
    k256.publicKey,
    misfit,
  ],
  ["ES256 with R and S of zero", signedBy("ES256", () => Buffer.alloc(64)), p256.publicKey, wrong],
  [
    "ES256 with R and S of all ones",
    signedBy("ES256", () => Buffer.alloc(64, 255)),
    p256.publicKey,
    wrong,
  ],
  [
    "EdDSA of Ed448",
    signedBy("EdDSA", (it) => sign(null, it, ed448.privateKey)),
    ed448.publicKey,
    misfit,
  ],
  ["a secret of 31 bytes", good, createSecretKey(randomBytes(31)), misfit],
  ["another secret", good, createSecretKey(randomBytes(32)), wrong],
  [
    "a swapped payload",
    `${goodHeader}.${encode({ ...CLAIMS, sub: "admin" })}.${goodSignature}`,
    secret,
    wrong,
  ],
  [
    "a swapped header",
    `${encode({ alg: "HS256", kid: "other" })}.${goodPayload}.${goodSignature}`,
    secret,
    wrong,
  ],

  ["an empty text", "", secret, shape],
  ["dots alone", "..", secret, shape],
  ["one segment", goodHeader, secret, shape],
  ["two segments", `${goodHeader}.${goodPayload}`, secret, shape],
  ["four segments", `${good}.${goodSignature}`, secret, shape],
  ["five segments, as JWE has", `${goodHeader}.a.b.c.d`, secret, shape],
  ["a dot at the end", `${good}.`, secret, shape],
  ["a dot in front", `.${good}`, secret, shape],
  ["a doubled dot", good.replace(".", ".."), secret, shape],
  ["an empty header", `.${goodPayload}.${goodSignature}`, secret, shape],
  ["an empty payload", `${goodHeader}..${goodSignature}`, secret, notObject],
  ["JSON serialization", JSON.stringify({ payload: goodPayload }), secret, shape],
  ["a scheme in front", `Bearer ${good}`, secret, shape],
  ["white space in front", ` ${good}`, secret, shape],
  ["a line feed at the end", `${good}\n`, secret, spelling],
  ["white space within", `${goodHeader}. ${goodPayload}.${goodSignature}`, secret, spelling],
  ["a NUL at the end", `${good}\0`, secret, spelling],
  ["padding", `${good}=`, secret, spelling],
  ["percent-encoded padding", `${good}%3D`, secret, spelling],
  ["the standard base64 alphabet", inStandardAlphabet(), secret, spelling],
  ["spare bits that are set", respelled(good), secret, spelling],
  ["spare bits that are set, for ES256", respelled(es256), p256.publicKey, spelling],
  ["a segment of impossible length", `${goodHeader}.${goodPayload}.A`, secret, spelling],
  [
    "letters beyond ASCII",
    `${goodHeader}.${goodPayload}.\u{ff21}${goodSignature}`,
    secret,
    spelling,
  ],
  ["8193 characters", `${good}${"A".repeat(8193 - good.length)}`, secret, /too long/],
  ["a megabyte", "e".repeat(1 << 20), secret, /too long/],
  ["a header that is no JSON", withHeaderText('{"alg":"HS256"'), secret, notObject],
  ["a header with something behind it", withHeaderText('{"alg":"HS256"}x'), secret, notObject],
  ["a header that is a list", withHeaderText('["HS256"]'), secret, shape],
  ["a header with white space in front", withHeaderText(' {"alg":"HS256"}'), secret, shape],
  ["a header with a byte order mark", withHeaderText('\ufeff{"alg":"HS256"}'), secret, shape],
  ...['["a"]', "null", '"text"', "1", "", "{", "{'a':1}", "{}{}", '{"a":NaN}', '{"exp":1,}'].map(
    (payload): Forgery => [`the payload ${payload}`, withPayload(payload), secret, notObject],
  ),
  [
    "a payload with a byte order mark",
    withPayload(`\ufeff${JSON.stringify(CLAIMS)}`),
    secret,
    notObject,
  ],
  [
    "a payload that is not UTF-8",
    withPayload(Buffer.from(JSON.stringify({ ...CLAIMS, name: "\xff" }), "latin1")),
    secret,
    notObject,
  ],
  ["a payload of lists in lists", withPayload("[".repeat(4000)), secret, notObject],

  ["an empty crit", withHeader({ crit: [] }), secret, /extension/],
  ["crit exp", withHeader({ crit: ["exp"], exp: NOW + 600 }), secret, /extension/],
  ["crit null", withHeader({ crit: null }), secret, /extension/],
  ["b64 false", withHeader({ b64: false, crit: ["b64"] }), secret, /extension/],
  ["b64 true without crit", withHeader({ b64: true }), secret, /extension/],
  ["an empty kid", withHeader({ kid: "" }), secret, /kid/],
  ["a kid of 257 characters", withHeader({ kid: "k".repeat(257) }), secret, /kid/],
  ["a kid with a line feed", withHeader({ kid: "a\nb" }), secret, /kid/],
  ["a kid with a line feed at the end", withHeader({ kid: "a\n" }), secret, /kid/],
  ["a kid with a NUL", withHeader({ kid: "a\0" }), secret, /kid/],
  ["a kid that is a number", withHeader({ kid: 1 }), secret, /kid/],
  ["a kid that is null", withHeader({ kid: null }), secret, /kid/],
  ...[
    "logout+jwt",
    "secevent+jwt",
    "dpop+jwt",
    "JOSE",
    "",
    "jwt ",
    "at+jwt\n",
    "text/jwt",
    null,
    1,
  ].map((typ): Forgery => [`typ ${JSON.stringify(typ)}`, withHeader({ typ }), secret, /`typ`/]),
  [
    "its own key in the header",
    token(
      { alg: "ES256", jwk: p256.publicKey.export({ format: "jwk" }), jku: "https://evil.test" },
      CLAIMS,
      signer("ES256", p256.privateKey),
    ),
    generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey,
    wrong,
  ],
];

for (const [promise, text, key, reason] of forgeries) {
  test(`refused: ${promise}`, () => assertRefused(text, key, reason));
}

type BadClaims = readonly [promise: string, text: string, reason: RegExp];

const otherIssuer = /another issuer/;
const otherAudience = /another audience/;
const subject = /`sub`/;

const badClaims: readonly BadClaims[] = [
  ["exp missing", withClaims({ exp: undefined }), /never expires/],
  [
    "exp in `__proto__`",
    withPayload('{"__proto__":{"exp":9e9},"iss":"https://id.test","aud":"chat"}'),
    /never/,
  ],
  ["exp null", withClaims({ exp: null }), /`exp` is not a time/],
  ["exp a string", withClaims({ exp: String(NOW + 600) }), /`exp` is not a time/],
  ["exp a list", withClaims({ exp: [NOW + 600] }), /`exp` is not a time/],
  ["exp true", withClaims({ exp: true }), /`exp` is not a time/],
  [
    "exp 1e400",
    withPayload(JSON.stringify(CLAIMS).replace(/"exp":\d+/, '"exp":1e400')),
    /`exp` is not/,
  ],
  ["exp in the past", withClaims({ exp: NOW - 600 }), /has expired/],
  ["exp 0", withClaims({ exp: 0 }), /has expired/],
  ["exp as long ago as the leeway", withClaims({ exp: NOW - 60 }), /has expired/],
  [
    "exp twice, the last one past",
    withPayload(`{"exp":9e9,${JSON.stringify({ ...CLAIMS, exp: 1 }).slice(1)}`),
    /has expired/,
  ],
  ["nbf beyond the leeway", withClaims({ nbf: NOW + 61 }), /`nbf` is in the future/],
  ["nbf a string", withClaims({ nbf: "0" }), /`nbf` is not a time/],
  [
    "nbf -1e400",
    withPayload(`{"nbf":-1e400,${JSON.stringify(CLAIMS).slice(1)}`),
    /`nbf` is not a time/,
  ],
  ["nbf null", withClaims({ nbf: null }), /`nbf` is not a time/],
  ["iat beyond the leeway", withClaims({ iat: NOW + 61 }), /`iat` is in the future/],
  ["iat in milliseconds", withClaims({ iat: NOW_MS }), /`iat` is in the future/],
  ["iat an object", withClaims({ iat: {} }), /`iat` is not a time/],
  ["iss missing", withClaims({ iss: undefined }), otherIssuer],
  ["iss with a slash more", withClaims({ iss: "https://id.test/" }), otherIssuer],
  ["iss in capitals", withClaims({ iss: "https://ID.test" }), otherIssuer],
  ["iss a list", withClaims({ iss: ["https://id.test"] }), otherIssuer],
  ["iss in `__proto__`", withPayload('{"__proto__":{"iss":"https://id.test"}}'), otherIssuer],
  ["aud missing", withClaims({ aud: undefined }), otherAudience],
  ["aud null", withClaims({ aud: null }), otherAudience],
  ["aud of another", withClaims({ aud: "mail" }), otherAudience],
  ["aud that only contains the name", withClaims({ aud: "chat mail" }), otherAudience],
  ["aud an empty list", withClaims({ aud: [] }), otherAudience],
  ["aud a list of others", withClaims({ aud: ["mail", "Chat"] }), otherAudience],
  ["aud a list in a list", withClaims({ aud: [["chat"]] }), otherAudience],
  ["aud a list with a number", withClaims({ aud: ["chat", 1] }), otherAudience],
  ["aud a number", withClaims({ aud: 1 }), otherAudience],
  ["aud an object", withClaims({ aud: { 0: "chat", length: 1 } }), otherAudience],
  ["sub missing", withClaims({ sub: undefined }), subject],
  ["sub empty", withClaims({ sub: "" }), subject],
  ["sub null", withClaims({ sub: null }), subject],
  ["sub a number", withClaims({ sub: 1 }), subject],
  ["sub an object", withClaims({ sub: { id: "user-1" } }), subject],
  ["sub a list", withClaims({ sub: ["user-1"] }), subject],
  ["sub of 256 characters", withClaims({ sub: "u".repeat(256) }), subject],
  ["sub with a line feed", withClaims({ sub: "user\n1" }), subject],
  ["sub with a line feed at the end", withClaims({ sub: "user-1\n" }), subject],
  ["sub with a NUL", withClaims({ sub: "user-1\0" }), subject],
  ["sub with a C1 control", withClaims({ sub: "user\x851" }), subject],
  ["sub with a line separator", withClaims({ sub: "user\u20281" }), subject],
  ["sub with half a character", withClaims({ sub: "user\ud800" }), subject],
];

for (const [promise, text, reason] of badClaims) {
  test(`refused: ${promise}`, () => assertRefused(text, secret, reason));
}

test("claims at the very edge are accepted", () => {
  const accepted: readonly object[] = [
    { exp: NOW - 59 },
    { exp: NOW + 0.5 },
    { nbf: NOW + 60, iat: NOW + 60 },
    { iat: undefined, nbf: -1 },
    { aud: ["mail", "chat"] },
    { sub: "u".repeat(255) },
    { sub: "auth0|Zoë 😀" },
  ];

  for (const claims of accepted) {
    const { sub = CLAIMS.sub } = claims as { sub?: string };
    assert.equal(judge(withClaims(claims), secret), sub, JSON.stringify(claims));
  }
});

test("without leeway a token expires in the very second that it names", () => {
  const strict: Expected = { ...EXPECTED, leewaySeconds: 0 };

  assert.equal(judge(withClaims({ exp: NOW + 1 }), secret, strict), "user-1");
  assertRefused(withClaims({ exp: NOW }), secret, /has expired/, strict);
  assertRefused(withClaims({ nbf: NOW + 1 }), secret, /`nbf`/, strict);
});

test("any of several audiences will do, and without a setting the claim is left alone", () => {
  const { audience: _, ...unaddressed } = EXPECTED;

  assert.equal(judge(good, secret, { ...EXPECTED, audience: ["mail", "chat"] }), "user-1");
  assert.equal(judge(withClaims({ aud: undefined }), secret, unaddressed), "user-1");
  assertRefused(good, secret, otherAudience, { ...EXPECTED, audience: [] });
});

test("claims are read as own properties, even from an object with a prototype", () => {
  const inherited: Record<string, unknown> = Object.create({ ...CLAIMS, iss: "https://id.test" });

  assert.throws(() => checkClaims(inherited, EXPECTED, NOW_MS), CredentialError);
  assert.equal(checkClaims(CLAIMS, EXPECTED, NOW_MS), "user-1");
});

test("parsed claims find no property that the token did not name", () => {
  const { claims } = parseJwt(withPayload('{"__proto__":{"plan":"admin"}}'));

  assert.equal(claims["plan"], undefined);
  assert.equal(claims["constructor"], undefined);
  assert.deepEqual(Object.keys(claims), ["__proto__"]);
});

test("typ may be absent, JWT or at+jwt, in any case and with the media type's prefix", () => {
  for (const typ of [undefined, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"]) {
    assert.equal(judge(withHeader({ typ }), secret), "user-1", String(typ));
  }
});

test("foreign header fields and a kid of 256 characters are no obstacle", () => {
  const header = { kid: "~".repeat(256), jku: "https://evil.test", x5c: [1], cty: "x", jwk: null };

  assert.equal(judge(withHeader(header), secret), "user-1");
});

test("a token of 8192 characters is read", () => {
  const text = withClaims({ pad: "" });
  const pad = Math.floor(((8192 - text.length) * 3) / 4) - 1;
  const longest = withClaims({ pad: "x".repeat(pad) });

  assert.ok(longest.length > 8185 && longest.length <= 8192, String(longest.length));
  assert.equal(judge(longest, secret), "user-1");
});

test("every change of a single character is refused", () => {
  for (let at = 0; at < good.length; at++) {
    for (const character of ["A", "B", "z", "0", "_", "-", ".", "=", " ", "\0", "é"]) {
      if (character === good[at]) continue;
      const changed = good.slice(0, at) + character + good.slice(at + 1);
      assert.throws(() => judge(changed, secret), CredentialError, changed);
    }
  }
});

test("nothing but a CredentialError comes of any text", () => {
  const pieces = [
    "e",
    "eyJ",
    "ew",
    ".",
    "..",
    "{",
    "\ud800",
    "\0",
    "=",
    "A".repeat(300),
    "é",
    goodHeader,
    goodPayload,
  ];
  let seed = 1;
  const next = (below: number): number => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };

  for (let round = 0; round < 5000; round++) {
    const text = Array.from({ length: next(9) }, () => pieces[next(pieces.length)]).join("");
    assert.throws(() => judge(text, secret), CredentialError, text);
  }
});

test("what looks like a JWT is told from a key", () => {
  const keys = [
    "",
    "sk-proj-abc",
    "gw_abc.def.ghi",
    "a.b.c",
    "ey",
    "eyJ.x",
    "e..",
    good.slice(1),
    "ephemeral.key.1",
  ];

  for (const key of keys) assert.equal(isJwt(key), false, key);
  for (const text of [good, es256, `${good}=`, withHeaderText('{\n"alg":"HS256"}')]) {
    assert.equal(isJwt(text), true, text);
  }
});

test("a minted token is accepted, with its claims as they were", () => {
  const claims = { ...CLAIMS, limits: { models: ["gpt-4o-mini"] }, name: "Zoë" };

  const text = signJwt(claims, secret);

  assert.equal(judge(text, secret), "user-1");
  assert.deepEqual({ ...parseJwt(text).claims }, claims);
});

test("nothing is minted that would not be taken back", () => {
  const long = { ...CLAIMS, limits: "x".repeat(8192) };

  assert.throws(() => signJwt(long, secret), CredentialError);
  assert.throws(() => signJwt(CLAIMS, createSecretKey(randomBytes(31))), CredentialError);
  assert.throws(() => signJwt(CLAIMS, rsa.publicKey), CredentialError);
});
