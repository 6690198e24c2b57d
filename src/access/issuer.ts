// The app's own users, by the tokens of whoever they log in at: Auth0, Firebase, Keycloak.
import type { KeyObject } from "node:crypto";
import type { Clock } from "../clock.ts";
import type { JwtConfig } from "../config/access.ts";
import { createKeySet, type Fetch } from "./jwks.ts";
import { CredentialError, checkClaims, type Jwt } from "./jwt.ts";
import { toSecretKey, verifyWithAny } from "./tokens.ts";

export interface User {
  readonly subject: string;
  readonly policy: string;
}

/**
 * @throws CredentialError when the token is not one of theirs.
 * @throws GatewayError 503 `issuer_unavailable` when there are no keys to check it with.
 */
export type VerifyUser = (jwt: Jwt, nowMs: number) => Promise<User>;

export function createIssuer(config: JwtConfig, clock: Clock, fetch: Fetch): VerifyUser {
  const findKeys = createKeySource(config, clock, fetch);
  const { audience, ...expected } = config;
  const anyAudience = audience.includes("*");
  return async (jwt, nowMs) => {
    if (!config.algorithms.includes(jwt.algorithm)) {
      throw new CredentialError("The issuer does not sign with the token's `alg`.");
    }
    // Before any key is fetched: what says by itself that it is not valid costs nobody anything.
    const subject = checkClaims(jwt.claims, anyAudience ? expected : config, nowMs);
    verifyWithAny(jwt, await findKeys(jwt));
    return { subject, policy: choosePolicy(config, jwt.claims) };
  };
}

function createKeySource(
  { jwksUrl, secret }: JwtConfig,
  clock: Clock,
  fetch: Fetch,
): (jwt: Jwt) => Promise<readonly KeyObject[]> {
  if (jwksUrl !== undefined) {
    const keySet = createKeySet(jwksUrl, clock, fetch);
    return (jwt) => keySet.find(jwt);
  }
  const keys = secret === undefined ? [] : [toSecretKey(secret.reveal())];
  return () => Promise.resolve(keys);
}

/** Of a claim that lists several, the one that the settings name first. */
function choosePolicy(config: JwtConfig, claims: Jwt["claims"]): string {
  const { policy, policyClaim, policies } = config;
  const claim = policyClaim === undefined ? undefined : findClaim(claims, policyClaim);
  const named: readonly unknown[] = Array.isArray(claim) ? claim : [claim];
  const chosen = policies.find((name) => named.includes(name)) ?? policy;
  // A claim that is there and chooses nothing is not as good as none.
  const failed = claim !== undefined && !policies.some((name) => named.includes(name));
  if (chosen !== undefined && !failed) return chosen;
  throw new CredentialError("The token's claim chooses no policy.");
}

/** `https://app.example.com/plan` is one name; `app_metadata.plan` is one, or leads further in. */
function findClaim(claims: Readonly<Record<string, unknown>>, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  return name.split(".").reduce<unknown>((value, step) => {
    return Object.hasOwn(Object(value), step) ? Object(value)[step] : undefined;
  }, claims);
}
