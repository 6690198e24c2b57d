// What an operator may say of who may call, one doc comment per setting; part of config.ts.
import type { Secret } from "../secret.ts";

/** JWS algorithms (RFC 7518 §3, RFC 8037) that users' tokens may be signed with. */
export const JWT_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "HS256",
] as const;

export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number];

export interface AccessConfig {
  /** Default none. */
  readonly keys: readonly KeyConfig[];
  /** The app's own users. Default none. */
  readonly jwt: readonly JwtConfig[];
  /** Absent, no minted token is taken. */
  readonly tokens?: TokensConfig;
  /** The policy of callers without a credential, who are told apart by address. */
  readonly anonymous?: string;
}

export interface KeyConfig {
  /** Names the caller; several keys of one name are one caller, as in a rotation. */
  readonly name: string;
  /** Of the key, in hex: a random key needs no slow hash. */
  readonly sha256: string;
  /** Default "default". */
  readonly policy: string;
  /** The moment, ISO 8601, from which the key is refused; a bare date begins in UTC. */
  readonly expires?: string;
  /** Known only when it came in GATEWAY_KEYS; kept so that no log line shows it. */
  readonly key?: Secret;
}

/** Tokens of one issuer (RFC 7519). `sub` names the caller. */
export interface JwtConfig {
  /** Equals `iss`, to the letter. */
  readonly issuer: string;
  /** One has to be in `aud`. `*` looks at none: for an issuer that serves this app alone. */
  readonly audience: readonly string[];
  /** Where the issuer publishes its keys (RFC 7517): https, or http on loopback. */
  readonly jwksUrl?: URL;
  /** Or the secret that HS256 tokens are signed with, 32 bytes of UTF-8 or more. */
  readonly secret?: Secret;
  /** What a token may be signed with. Default: all asymmetric ones by JWKS, HS256 by secret. */
  readonly algorithms: readonly JwtAlgorithm[];
  /** Default "default"; with `policyClaim` for tokens without that claim, and default none. */
  readonly policy?: string;
  /** A claim that chooses the policy, nested as in `app_metadata.plan`: a text or a list. */
  readonly policyClaim?: string;
  /** What `policyClaim` may choose; of a list the first that is named here. */
  readonly policies: readonly string[];
  /** For clocks that differ. Default 30. */
  readonly leewaySeconds: number;
}

export interface TokensConfig {
  /** Signs and checks (HS256): 32 bytes or more. */
  readonly secret: Secret;
  /** Checks too, while secrets are rotated. */
  readonly previousSecret?: Secret;
  /** Tokens that are valid for longer are refused. Default 86 400. */
  readonly maxLifetimeSeconds: number;
}
