// What an operator may say, one doc comment per setting: this page is the manual's source.
import type { Secret } from "../secret.ts";

/** The classes of OpenAI operations a policy may open by name. */
export const ENDPOINT_CLASSES = [
  // Stateless inference: open unless a policy says otherwise.
  "chat",
  "completions",
  "responses",
  "embeddings",
  "moderations",
  "images",
  "audio",
  "models",
  // Sessions that go on outside a request, and objects that all callers of the key share.
  "realtime",
  "stored_chat",
  "stored_responses",
  "conversations",
  "files",
  "uploads",
  "batches",
  "vector_stores",
  "containers",
  "assistants",
  "threads",
  "evals",
  "skills",
  "chatkit",
  "videos",
  "voices",
  "provenance",
  "decisions",
  "live",
  "agents",
  // Keys, people, money and training of the whole organisation.
  "admin",
] as const;

export type EndpointClass = (typeof ENDPOINT_CLASSES)[number];

/** What a policy allows when it names no endpoints. */
export const INFERENCE_CLASSES = ENDPOINT_CLASSES.slice(0, 8);

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

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Config {
  readonly server: ServerConfig;
  readonly cors: CorsConfig;
  /** Where calls go. Exactly one for now. */
  readonly upstreams: readonly [UpstreamConfig];
  readonly timeouts: TimeoutConfig;
  /** Who may call. Absent, the gateway is open: callers are addresses, with policy `default`. */
  readonly access?: AccessConfig;
  /** By name. `default` always exists and is what callers get in open mode. */
  readonly policies: { readonly default: PolicyConfig; readonly [name: string]: PolicyConfig };
  readonly log: LogConfig;
  /** Absent, `/admin/…` is shut. */
  readonly admin?: AdminConfig;
}

export interface ServerConfig {
  /**
   * Address to listen on. Default 127.0.0.1 while the gateway is open, as whoever reaches it can
   * spend; else 0.0.0.0.
   */
  readonly host: string;
  /** 0 takes any free port. Default 3000. */
  readonly port: number;
  /** CIDR ranges of the proxies in front whose `x-forwarded-for` is believed. Default none. */
  readonly trustedProxies: readonly string[];
  /** Largest request body, bytes received. Default 64 MiB. */
  readonly maxBodyBytes: number;
  /** Of all bodies that are read for a policy's rules at one time. Default 256 MiB. */
  readonly maxHeldBytes: number;
  /** Connections beyond it are closed unanswered. Default 10 000. */
  readonly maxConnections: number;
  /** Calls beyond it are answered 503 `overloaded`. Default 5 000. */
  readonly maxConcurrentRequests: number;
  /** How long an idle connection is kept; longer than the balancer in front does. Default 75. */
  readonly keepAliveSeconds: number;
  /** For open calls after SIGTERM; below the orchestrator's grace time. Default 25. */
  readonly drainSeconds: number;
}

export interface CorsConfig {
  /** Exact origins, or `*`. Default `*`. */
  readonly origins: readonly string[];
  /** Allows cookies and HTTP authentication; needs exact origins. Default false. */
  readonly credentials: boolean;
}

export interface UpstreamConfig {
  /** Default "openai", the one that the OPENAI_… variables describe. */
  readonly name: string;
  /** Ends with the version, as the SDKs have it. Default https://api.openai.com/v1. */
  readonly baseUrl: URL;
  readonly apiKey: Secret;
  /** How the key is sent: `Authorization: Bearer` or Azure's `api-key`. Default "bearer". */
  readonly auth: "bearer" | "api-key";
  /** Sent as `openai-organization`. */
  readonly organization?: string;
  /** Sent as `openai-project`. */
  readonly project?: string;
}

export interface TimeoutConfig {
  /** To connect to OpenAI, TLS included. Default 10 000. */
  readonly connectMs: number;
  /** From the last byte sent to OpenAI to its first byte back. Default 600 000. */
  readonly firstByteMs: number;
  /** Between two pieces of OpenAI's answer. Default 300 000. */
  readonly idleMs: number;
  /** For a client that stops sending its request or reading its answer. Default 60 000. */
  readonly stallMs: number;
}

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

/** What callers may ask. What is absent is not looked at. */
export interface Limits {
  /** Classes, `METHOD /path/{template}` patterns, `*` (all but the administrative) or `admin`. */
  readonly endpoints?: readonly string[];
  /** Names with `*` for any characters. */
  readonly models?: readonly string[];
  /** Caps the tokens that a call asks for, and is asked for where it does not say. */
  readonly maxOutputTokens?: number;
  /** Caps `n` and `best_of`. */
  readonly maxChoices?: number;
  /** Tool types that a call may bring; an empty list for none. */
  readonly tools?: readonly string[];
  /** `false` keeps calls away from what is stored at OpenAI, and stores nothing. */
  readonly storedState?: boolean;
  /** The first is asked for where a call does not say and `auto` is not among them. */
  readonly serviceTiers?: readonly string[];
  /** Below `server.maxBodyBytes`. */
  readonly maxBodyBytes?: number;
  /** Origins of pages that may call; whoever sends none may not. */
  readonly origins?: readonly string[];
  /** `true` sends a keyed hash of the caller as `safety_identifier`, instead of the client's. */
  readonly safetyIdentifier?: boolean;
}

export interface PolicyConfig extends Limits {
  /** Default: the stateless inference classes. */
  readonly endpoints: readonly string[];
}

export interface AdminConfig {
  /** Opens `/admin/…`, as `Authorization: Bearer`. */
  readonly key: Secret;
}

export interface LogConfig {
  /** Default "info": one line per request. */
  readonly level: LogLevel;
}

/** The same shape as plain data, everything optional: the file, and what `createGateway` takes. */
export type ConfigInput = Input<Config>;

type Input<T> = T extends Secret | URL
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Input<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]?: Input<T[Key]> }
      : T;
