// JSON Web Tokens (RFC 7519) in compact form: taken apart, verified, judged. RFC 8725 is the guide:
// strict where the standards are lax, and the key decides what an algorithm may be.
import { isUtf8 } from "node:buffer";
import { constants, createHmac, timingSafeEqual, verify, type KeyObject } from "node:crypto";
import { JWT_ALGORITHMS, type JwtAlgorithm } from "../config/access.ts";

/** Why a credential is refused: for the log, never for the client. Quotes nothing of it. */
export class CredentialError extends Error {
  override readonly name = "CredentialError";
}

type Claims = Readonly<Record<string, unknown>>;

/** A token as it claims to be: nothing in it is true before `verifySignature` and `checkClaims`. */
export interface Jwt {
  readonly algorithm: JwtAlgorithm;
  readonly keyId: string | undefined;
  /** Has no prototype, so that a claim's name finds that claim or nothing. */
  readonly claims: Claims;
  /** What the signature covers. */
  readonly signed: Buffer;
  readonly signature: Buffer;
}

const MAX_LENGTH = 8192;
/** RFC 7518 §3.3 sets the least; beyond the most every verification is expensive. */
const RSA_BITS = { least: 2048, most: 8192 };
/** RFC 7518 §3.2: no shorter than the hash. */
const MIN_SECRET_BYTES = 32;

/**
 * Whether a credential wants to be taken for a JWT: two dots, and in front what every JSON object
 * with a member begins with in base64. Everything `parseJwt` accepts is one.
 */
export function isJwt(text: string): boolean {
  return /^e[wy][^.]*\.[^.]*\.[^.]*$/.test(text);
}

/** @throws CredentialError when it is not a compact JWS of an algorithm that we know. */
export function parseJwt(text: string): Jwt {
  if (text.length > MAX_LENGTH) throw new CredentialError("The token is too long.");
  if (!isJwt(text)) throw new CredentialError("The token is not a compact JWS.");
  const [header = "", payload = "", signature = ""] = text.split(".");
  return {
    ...readHeader(decodeObject(header)),
    claims: decodeObject(payload),
    signed: Buffer.from(`${header}.${payload}`, "latin1"),
    signature: decode(signature),
  };
}

/** Any key that a header brings or points to (`jwk`, `jku`, `x5c`, `x5u`) is not even looked at. */
function readHeader(header: Claims): Pick<Jwt, "algorithm" | "keyId"> {
  const algorithm = JWT_ALGORITHMS.find((name) => name === header["alg"]);
  if (algorithm === undefined) throw new CredentialError("The token's `alg` is not supported.");
  // RFC 7515 §4.1.11 demands it for extensions that are not understood; we understand none.
  if (header["crit"] !== undefined || header["b64"] !== undefined) {
    throw new CredentialError("The token's header has an extension.");
  }
  const { typ = "JWT", kid } = header;
  // RFC 8725 §3.11: a logout token or a proof of possession must not pass for an access token.
  if (typeof typ !== "string" || !/^(?:application\/)?(?:at\+)?jwt$/i.test(typ)) {
    throw new CredentialError("The token's `typ` is not JWT or at+jwt.");
  }
  if (kid === undefined) return { algorithm, keyId: undefined };
  if (typeof kid === "string" && /^[\x20-\x7e]{1,256}$/.test(kid)) return { algorithm, keyId: kid };
  throw new CredentialError("The token's `kid` is malformed.");
}

function decodeObject(segment: string): Claims {
  const value = parseJson(decode(segment));
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    // Without a prototype `__proto__` is a member like any other.
    return Object.assign(Object.create(null), value);
  }
  throw new CredentialError("A segment of the token is not a JSON object.");
}

/** Node decodes anything, so that one signature would have many spellings: only one is right. */
function decode(segment: string): Buffer {
  const bytes = Buffer.from(segment, "base64url");
  if (bytes.toString("base64url") === segment) return bytes;
  throw new CredentialError("A segment of the token is not base64url.");
}

/** A byte order mark is kept by `toString`, and is no JSON. */
function parseJson(bytes: Buffer): unknown {
  try {
    return isUtf8(bytes) ? JSON.parse(bytes.toString()) : undefined;
  } catch {
    return undefined;
  }
}

/** What an algorithm asks of its key, and of `verify`. */
interface Scheme {
  readonly keyTypes: readonly string[];
  readonly curve?: string;
  readonly digest: string | null;
  /** Left out, as many as the modulus has. */
  readonly signatureBytes?: number;
  readonly saltLength?: number;
  readonly padding?: number;
  /** R and S side by side (RFC 7518 §3.4), where OpenSSL's own form is DER. */
  readonly dsaEncoding?: "ieee-p1363";
}

function pkcs1(digest: string): Scheme {
  return { keyTypes: ["rsa"], digest, padding: constants.RSA_PKCS1_PADDING };
}

/** Left to itself OpenSSL takes any salt; RFC 7518 §3.5 wants the hash's length. */
function pss(digest: string, saltLength: number): Scheme {
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return { keyTypes: ["rsa", "rsa-pss"], digest, padding, saltLength };
}

function ecdsa(digest: string, curve: string, signatureBytes: number): Scheme {
  return { keyTypes: ["ec"], curve, digest, signatureBytes, dsaEncoding: "ieee-p1363" };
}

const SCHEMES: Readonly<Record<Exclude<JwtAlgorithm, "HS256">, Scheme>> = {
  RS256: pkcs1("sha256"),
  RS384: pkcs1("sha384"),
  RS512: pkcs1("sha512"),
  PS256: pss("sha256", 32),
  PS384: pss("sha384", 48),
  PS512: pss("sha512", 64),
  ES256: ecdsa("sha256", "prime256v1", 64),
  ES384: ecdsa("sha384", "secp384r1", 96),
  ES512: ecdsa("sha512", "secp521r1", 132),
  EdDSA: { keyTypes: ["ed25519"], digest: null, signatureBytes: 64 },
};

/** Whether a key may verify this algorithm: its type, curve, strength and own restrictions. */
export function fits(key: KeyObject, algorithm: JwtAlgorithm): boolean {
  if (algorithm === "HS256") {
    return key.type === "secret" && (key.symmetricKeySize ?? 0) >= MIN_SECRET_BYTES;
  }
  const { keyTypes, curve, digest, saltLength = 0 } = SCHEMES[algorithm];
  const { type, asymmetricKeyType = "", asymmetricKeyDetails: details = {} } = key;
  if (type !== "public" || !keyTypes.includes(asymmetricKeyType)) return false;
  if (details.namedCurve !== curve) return false;
  if (!asymmetricKeyType.startsWith("rsa")) return true;
  const { modulusLength: bits = 0, publicExponent = 0n } = details;
  // With an exponent of 1 anyone could sign.
  if (bits < RSA_BITS.least || bits > RSA_BITS.most || publicExponent < 3n) return false;
  // An RSA-PSS key may be bound to one hash and a shortest salt (RFC 4055 §3.1).
  const { hashAlgorithm = digest, mgf1HashAlgorithm = digest, saltLength: minimum = 0 } = details;
  return hashAlgorithm === digest && mgf1HashAlgorithm === digest && minimum <= saltLength;
}

/** @throws CredentialError when the key does not fit, or did not make the signature. */
export function verifySignature({ algorithm, signed, signature }: Jwt, key: KeyObject): void {
  if (!fits(key, algorithm)) throw new CredentialError(`The key is not one for ${algorithm}.`);
  const valid =
    algorithm === "HS256"
      ? isMac(signed, signature, key)
      : isSigned(signed, signature, key, SCHEMES[algorithm]);
  if (!valid) throw new CredentialError("The token's signature is wrong.");
}

function isSigned(signed: Buffer, signature: Buffer, key: KeyObject, scheme: Scheme): boolean {
  const { digest, signatureBytes, keyTypes, curve, ...options } = scheme;
  // OpenSSL takes an RSA-PSS signature without its leading zeros, against RFC 8017 §8.1.2.
  const modulusBytes = Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
  if (signature.length !== (signatureBytes ?? modulusBytes)) return false;
  try {
    return verify(digest, signed, { key, ...options }, signature);
  } catch {
    return false;
  }
}

function isMac(signed: Buffer, signature: Buffer, secret: KeyObject): boolean {
  const mac = hmac(signed, secret);
  return mac.length === signature.length && timingSafeEqual(mac, signature);
}

function hmac(signed: Buffer, secret: KeyObject): Buffer {
  return createHmac("sha256", secret).update(signed).digest();
}

/** What the claims must say. */
export interface Expected {
  readonly issuer: string;
  /** One of them must be among the token's. Left out, the claim is not looked at. */
  readonly audience?: readonly string[];
  /** For clocks that disagree. */
  readonly leewaySeconds: number;
}

/**
 * RFC 7519 §4.1, with `exp` and `sub` required, and what is there well-formed.
 * @returns the subject. @throws CredentialError
 */
export function checkClaims(claims: Claims, expected: Expected, nowMs: number): string {
  const { issuer, audience, leewaySeconds } = expected;
  const now = nowMs / 1000;
  if (own(claims, "iss") !== issuer) throw new CredentialError("The token is of another issuer.");
  if (audience !== undefined && !isFor(own(claims, "aud"), audience)) {
    throw new CredentialError("The token is for another audience.");
  }
  const expires = readTime(claims, "exp");
  if (expires === undefined) throw new CredentialError("The token never expires.");
  if (now >= expires + leewaySeconds) throw new CredentialError("The token has expired.");
  for (const name of ["nbf", "iat"]) {
    const from = readTime(claims, name);
    if (from !== undefined && now < from - leewaySeconds) {
      throw new CredentialError(`The token's \`${name}\` is in the future.`);
    }
  }
  const subject = own(claims, "sub");
  if (isSubject(subject)) return subject;
  throw new CredentialError("The token's `sub` is missing or malformed.");
}

function isFor(found: unknown, audience: readonly string[]): boolean {
  const names: readonly unknown[] = Array.isArray(found) ? found : [found];
  if (!names.every((name) => typeof name === "string")) return false;
  return names.some((name) => audience.includes(name));
}

/** Seconds since the epoch. JSON knows no NaN, but 1e400 is Infinity. */
function readTime(claims: Claims, name: string): number | undefined {
  const value = own(claims, name);
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new CredentialError(`The token's \`${name}\` is not a time.`);
}

/** It becomes a key in stores: lone surrogates, which UTF-8 merges, would make two callers one. */
export function isSubject(value: unknown): value is string {
  return typeof value === "string" && /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{1,255}$/u.test(value);
}

function own(claims: Claims, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

/** In HS256. @throws CredentialError when the secret is weak or the token too long to be read. */
export function signJwt(claims: Claims, secret: KeyObject): string {
  if (!fits(secret, "HS256")) throw new CredentialError("The key is not one for HS256.");
  const segments = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => JSON.stringify(part));
  const signed = segments.map((part) => Buffer.from(part).toString("base64url")).join(".");
  const token = `${signed}.${hmac(Buffer.from(signed), secret).toString("base64url")}`;
  if (token.length > MAX_LENGTH) throw new CredentialError("The claims are too many for a token.");
  return token;
}
