// Who may call: keys, issuers of users' tokens, minted tokens, anonymous callers.
import { createHash } from "node:crypto";
import { closest } from "./closest.ts";
import {
  JWT_ALGORITHMS,
  type AccessConfig,
  type JwtAlgorithm,
  type JwtConfig,
  type KeyConfig,
  type TokensConfig,
} from "./access.ts";
import { ConfigError, Reader, type Notes } from "./reader.ts";
import { findSecretMistake } from "./secrets.ts";
import { Secret } from "../secret.ts";

/** The `iss` of minted tokens. */
export const TOKEN_ISSUER = "openai-gateway";

/** RFC 7518 §3.2: an HS256 secret is as long as its hash, or longer. */
export const SECRET_BYTES = 32;

const KEY_LENGTH = 16;
const KEY_RULE = `a key of ${KEY_LENGTH} or more printable ASCII characters behind the name`;
const CALLER_NAME = /^[\w.@-]{1,64}$/;
const NAME_RULE = "a name of letters, digits and . @ _ -";
const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/;
const ASYMMETRIC = JWT_ALGORITHMS.filter((name) => name !== "HS256");

export function parseAccess(root: Reader, policies: readonly string[]): AccessConfig {
  const access = root.section("access");
  const config = {
    keys: parseKeys(access, policies),
    jwt: access.has("jwt") ? access.sections("jwt").map((jwt) => parseJwt(jwt, policies)) : [],
    ...(access.has("tokens") && { tokens: parseTokens(access.section("tokens")) }),
    ...(access.has("anonymous") && { anonymous: readPolicy(access, "anonymous", policies) }),
  };
  access.finish();
  const somebody = config.keys.length + config.jwt.length > 0 || config.tokens || config.anonymous;
  if (!somebody && !["keys", "jwt"].some((key) => access.has(key))) {
    root.problem("access", "nobody could call: expected keys, jwt, tokens or anonymous");
  }
  return config;
}

function parseKeys(access: Reader, policies: readonly string[]): readonly KeyConfig[] {
  if (!access.has("keys")) return [];
  const text = access.plain("keys");
  const keys =
    text === undefined
      ? access.sections("keys").map((key) => parseKey(key, policies))
      : parseKeyList(access, text);
  const seen = new Set<string>();
  for (const { sha256 } of keys) {
    if (seen.has(sha256)) access.problem("keys", "expected different keys, got one twice");
    seen.add(sha256);
  }
  return keys;
}

function parseKey(key: Reader, policies: readonly string[]): KeyConfig {
  const expires = key.text("expires");
  const config = {
    name: readRequired(key, "name", CALLER_NAME, NAME_RULE),
    sha256: readDigest(key),
    policy: readPolicy(key, "policy", policies),
    ...(expires !== undefined && { expires }),
  };
  if (expires !== undefined && toMoment(expires) === undefined) {
    key.expected("expires", `a date such as "2027-01-01" or "2027-01-01T12:00:00Z"`);
  }
  if (key.has("key")) key.problem("key", "is nothing for a file: expected only its sha256");
  key.finish();
  return config;
}

/** No message repeats it: it may be the key itself, in the wrong place. */
function readDigest(key: Reader): string {
  const sha256 = key.plain("sha256") ?? "";
  if (/^[\da-f]{64}$/i.test(sha256)) return sha256.toLowerCase();
  key.problem("sha256", `${key.has("sha256") ? "is none" : "is missing"}: expected 64 hex digits`);
  return "";
}

/** One entry of `access.keys` on its own. @throws ConfigError */
export function parseKeyEntry(raw: { readonly policy?: string | undefined }): KeyConfig {
  const notes: Notes = { problems: [], origins: new Map() };
  const key = parseKey(new Reader(raw, "", notes), [raw.policy ?? "default"]);
  if (notes.problems.length > 0) throw new ConfigError(notes.problems);
  return key;
}

/** `name:key,name:key`, as GATEWAY_KEYS has it. No message repeats any of it. */
function parseKeyList(access: Reader, text: string): readonly KeyConfig[] {
  const parts = text.trim().split(/\s*[,\n]\s*/); // In a file, one on each line.
  return parts.flatMap((part, index) => {
    const [, name = "", key = ""] = /^([^:]*):(.*)$/s.exec(part) ?? [];
    const where = parts.length > 1 ? `entry ${index + 1}: ` : "";
    const mistake = findSecretMistake(key);
    if (!CALLER_NAME.test(name) || name.startsWith("gwk_")) {
      access.problem("keys", `${where}expected name:key, with ${NAME_RULE}`);
    } else if (mistake !== undefined) {
      access.problem("keys", `${where}the key ${mistake}: expected ${KEY_RULE}`);
    } else if (key.length < KEY_LENGTH) {
      access.problem("keys", `${where}expected ${KEY_RULE}`);
    } else {
      return [{ name, sha256: toDigest(key), policy: "default", key: new Secret(key) }];
    }
    return [];
  });
}

/** SHA-256 in hex: what is kept of a key. */
export function toDigest(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** ISO 8601 in UTC, to milliseconds since 1970; nothing for any other text. */
export function toMoment(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z)?$/.test(text)) return undefined;
  const moment = Date.parse(text);
  // Date takes the 31st of February for the 3rd of March.
  const real =
    !Number.isNaN(moment) && new Date(moment).toISOString().startsWith(text.slice(0, 10));
  return real ? moment : undefined;
}

function parseJwt(jwt: Reader, policies: readonly string[]): JwtConfig {
  const secret = readSecret(jwt, "secret");
  const jwksUrl = readJwksUrl(jwt);
  if (jwt.has("secret") === jwt.has("jwksUrl")) {
    jwt.problem("jwksUrl", `expected either "jwksUrl" or "secret"`);
  }
  const policyClaim = jwt.text("policyClaim");
  const fixed = policyClaim === undefined || jwt.has("policy");
  const config = {
    issuer: readRequired(jwt, "issuer", /^[\x21-\x7e]+$/, "what the tokens have as `iss`"),
    audience: readTexts(jwt, "audience", "what the tokens have as `aud`"),
    ...(jwksUrl !== undefined && { jwksUrl }),
    ...(secret !== undefined && { secret }),
    algorithms: readAlgorithms(jwt, jwt.has("secret") ? ["HS256"] : ASYMMETRIC),
    ...(fixed && { policy: readPolicy(jwt, "policy", policies) }),
    ...(policyClaim !== undefined && { policyClaim }),
    policies: jwt.texts("policies", [], {
      what: "names of policies",
      some: true,
      fits: (text) => policies.includes(text),
      hint: (text) => closest(text, policies),
    }),
    leewaySeconds: jwt.integer("leewaySeconds", 30, { min: 0, max: 300 }),
  };
  if (jwt.has("policies") !== (policyClaim !== undefined)) {
    jwt.problem("policies", `expected "policyClaim" and "policies" together`);
  }
  if (config.issuer === TOKEN_ISSUER) {
    jwt.problem("issuer", `"${TOKEN_ISSUER}" is the issuer of minted tokens: see access.tokens`);
  }
  jwt.finish();
  return config;
}

/** Plain http proves nothing about who answers, but on this very machine. */
function readJwksUrl(jwt: Reader): URL | undefined {
  const text = jwt.text("jwksUrl");
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const safe = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url));
  if (url !== undefined && safe && !url.username && !url.password && !url.hash) return url;
  const what = "an https URL (http only on loopback) without user and fragment";
  if (text.includes("@"))
    jwt.problem("jwksUrl", `expected ${what}`); // It may hold a password.
  else jwt.expected("jwksUrl", what);
  return undefined;
}

function isLoopback({ hostname }: URL): boolean {
  return LOOPBACK.test(hostname);
}

function readAlgorithms(jwt: Reader, offered: readonly JwtAlgorithm[]): readonly JwtAlgorithm[] {
  const names = jwt.texts("algorithms", offered, {
    what: `some of ${offered.join(", ")}`,
    some: true,
    fits: (text) => offered.some((name) => name === text),
    hint: (text) => closest(text, offered),
  });
  return offered.filter((name) => names.includes(name));
}

function parseTokens(tokens: Reader): TokensConfig {
  const previousSecret = readSecret(tokens, "previousSecret");
  if (!tokens.has("secret")) {
    tokens.problem("secret", `is missing: expected ${SECRET_BYTES} random characters or more`);
  }
  const config = {
    secret: readSecret(tokens, "secret") ?? new Secret(""),
    ...(previousSecret !== undefined && { previousSecret }),
    maxLifetimeSeconds: tokens.integer("maxLifetimeSeconds", 86_400, {
      min: 1,
      max: 366 * 86_400,
    }),
  };
  tokens.finish();
  return config;
}

function readSecret(section: Reader, key: string): Secret | undefined {
  const secret = section.secret(key);
  if (secret !== undefined && Buffer.byteLength(secret.reveal()) < SECRET_BYTES) {
    section.problem(key, `is too short: expected ${SECRET_BYTES} random characters or more`);
  }
  return secret;
}

function readPolicy(section: Reader, key: string, policies: readonly string[]): string {
  const name = section.text(key, "default");
  if (!policies.includes(name)) {
    section.expected(key, `the name of a policy (${policies.join(", ")})`, closest(name, policies));
  }
  return name;
}

function readRequired(section: Reader, key: string, rule: RegExp, what: string): string {
  const text = section.text(key);
  if (text !== undefined && rule.test(text)) return text;
  if (!section.has(key)) section.problem(key, `is missing: expected ${what}`);
  else if (text !== undefined) section.expected(key, what);
  return "";
}

function readTexts(section: Reader, key: string, what: string): readonly string[] {
  if (!section.has(key)) section.problem(key, `is missing: expected ${what}`);
  return section.texts(key, [], { what, some: true, fits: () => true });
}
