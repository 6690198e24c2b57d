// Minted tokens: short-lived JWTs (RFC 7519, HS256) of our own, verified without any store. Whoever
// has the secret mints them, in any language; see "Minted tokens" in README.md for the claims.
import { createSecretKey, randomUUID, type KeyObject } from "node:crypto";
import { systemClock, type Clock } from "../clock.ts";
import { closest } from "../config/closest.ts";
import type { TokensConfig } from "../config/access.ts";
import type { Config, Limits, LimitsInput } from "../config/config.ts";
import { SECRET_BYTES, TOKEN_ISSUER } from "../config/parse-access.ts";
import { parseLimits, readLimits } from "../config/parse-policies.ts";
import { ConfigError, Reader, type Notes } from "../config/reader.ts";
import {
  CredentialError,
  checkClaims,
  isSubject,
  signJwt,
  verifySignature,
  type Jwt,
} from "./jwt.ts";

/** For clocks that differ between whoever mints and whoever checks. */
const LEEWAY_SECONDS = 30;
const DEFAULT_SECONDS = 600;

/** What a token grants. */
export interface Grant {
  /** Names the caller: a user's id, 1 to 255 characters. */
  readonly subject: string;
  /** A policy of the gateway's. Default "default". */
  readonly policy?: string;
  /** How long it is valid. Default 600. */
  readonly expiresInSeconds?: number;
  /** Narrows the policy, never widens it: any of a policy's fields. */
  readonly limits?: LimitsInput;
}

export interface MintedToken {
  readonly token: string;
  /** ISO 8601, in UTC. */
  readonly expiresAt: string;
}

/**
 * Makes a token for a browser or app, from the secret that the gateway has as `TOKEN_SECRET`.
 * @throws ConfigError for limits that no policy has, CredentialError for anything else.
 */
export function mintToken(
  { secret, ...grant }: Grant & { readonly secret: string },
  clock: Clock = systemClock,
): MintedToken {
  // In plain JavaScript, from an environment that lacks it, it may well be undefined.
  if (typeof secret !== "string" || Buffer.byteLength(secret) < SECRET_BYTES) {
    throw new CredentialError(`A token's secret has ${SECRET_BYTES} bytes or more.`);
  }
  return mint(grant, toSecretKey(secret), clock);
}

export function mint(grant: Grant, secret: KeyObject, clock: Clock): MintedToken {
  const { subject, policy = "default", expiresInSeconds = DEFAULT_SECONDS, limits } = grant;
  if (!(Number.isInteger(expiresInSeconds) && expiresInSeconds > 0 && expiresInSeconds < 1e10)) {
    throw new CredentialError("expiresInSeconds: expected a whole number from 1.");
  }
  const iat = Math.floor(clock.now() / 1_000);
  const exp = iat + expiresInSeconds;
  const claims = {
    iss: TOKEN_ISSUER,
    sub: subject,
    iat,
    exp,
    jti: randomUUID(),
    policy,
    ...(limits !== undefined && { limits: parseLimits(limits) }),
  };
  checkClaims(claims, { issuer: TOKEN_ISSUER, leewaySeconds: 0 }, clock.now());
  return { token: signJwt(claims, secret), expiresAt: new Date(exp * 1_000).toISOString() };
}

/**
 * A grant from plain data: what `POST /admin/tokens` and the command line take.
 * @throws ConfigError naming all problems at once.
 */
export function parseGrant(raw: unknown, { policies, access }: Config): Grant {
  const notes: Notes = { problems: [], origins: new Map() };
  const grant = new Reader(raw, "", notes);
  const max = access?.tokens?.maxLifetimeSeconds ?? DEFAULT_SECONDS;
  const subject = grant.text("subject") ?? "";
  if (!grant.has("subject")) grant.problem("subject", "is missing: expected a user's id");
  else if (!isSubject(subject)) grant.expected("subject", "1 to 255 characters, none a control");
  const policy = grant.text("policy", "default");
  if (!Object.hasOwn(policies, policy)) {
    const names = Object.keys(policies);
    grant.expected("policy", `one of ${names.join(", ")}`, closest(policy, names));
  }
  const expiresInSeconds = grant.integer("expiresInSeconds", Math.min(DEFAULT_SECONDS, max), {
    min: 1,
    max,
  });
  const limits = grant.has("limits") ? readLimits(grant.section("limits")) : undefined;
  grant.finish();
  if (notes.problems.length > 0) throw new ConfigError(notes.problems);
  return { subject, policy, expiresInSeconds, ...(limits !== undefined && { limits }) };
}

/** RFC 7518 §6.4 leaves the bytes of a secret to us: its UTF-8, as most libraries have it. */
export function toSecretKey(secret: string): KeyObject {
  return createSecretKey(Buffer.from(secret));
}

export interface Minted {
  readonly subject: string;
  readonly policy: string;
  readonly limits: Limits;
}

/** @throws CredentialError, ConfigError */
export function createTokenVerifier({ secret, previousSecret, maxLifetimeSeconds }: TokensConfig) {
  const keys = [secret, previousSecret].flatMap((each) =>
    each === undefined ? [] : [toSecretKey(each.reveal())],
  );
  return (jwt: Jwt, nowMs: number): Minted => {
    verifyWithAny(jwt, keys);
    const expected = { issuer: TOKEN_ISSUER, leewaySeconds: LEEWAY_SECONDS };
    const subject = checkClaims(jwt.claims, expected, nowMs);
    const { exp, policy = "default", limits = {} } = jwt.claims;
    if (Number(exp) > nowMs / 1_000 + maxLifetimeSeconds + LEEWAY_SECONDS) {
      throw new CredentialError("The token is valid for too long.");
    }
    if (typeof policy !== "string") throw new CredentialError("The token's `policy` is no text.");
    return { subject, policy, limits: parseLimits(limits) };
  };
}

/** @throws CredentialError when no key made the signature. */
export function verifyWithAny(jwt: Jwt, keys: readonly KeyObject[]): void {
  let failure: unknown = new CredentialError("No key fits the token.");
  for (const key of keys) {
    try {
      return verifySignature(jwt, key);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
