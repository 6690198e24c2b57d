// What an operator may say, one doc comment per setting: this page is the manual's source.
import type { Secret } from "../secret.ts";
import type { AccessConfig } from "./access.ts";
import type { OtlpConfig } from "./parse-otlp.ts";
import type { ModelPrice } from "./prices.ts";
import type { RedisAddress } from "./redis-url.ts";

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

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

export const BUDGET_PERIODS = ["hour", "day", "month", "total"] as const;

export type BudgetPeriod = (typeof BUDGET_PERIODS)[number];

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
  /** By model, or by how its name begins: `mine-*`. They win over the list. Default none. */
  readonly prices: { readonly [model: string]: ModelPrice };
  readonly store: StoreConfig;
  readonly log: LogConfig;
  /** Absent, `/admin/…` is shut. */
  readonly admin?: AdminConfig;
  /** Where calls are exported to, as OpenTelemetry's variables say. Absent, nowhere. */
  readonly otlp?: OtlpConfig;
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
  /**
   * "fetch", the default, or "direct": the same agent of Node's below fetch, which costs a fraction
   * of the time. Without an agent to be found it is fetch anyway.
   */
  readonly transport: "fetch" | "direct";
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
  /** Of one caller, as are the next three. A burst is one minute's worth. */
  readonly requestsPerMinute?: number;
  /** Input and output. */
  readonly tokensPerMinute?: number;
  /** Open at one time. */
  readonly concurrentRequests?: number;
  /** Every one has to hold. */
  readonly budget?: readonly BudgetConfig[];
}

/** Dollars that may be spent in a period of UTC. */
export interface BudgetConfig {
  /** 0.000001 to 1 000 000, in whole micro-dollars. */
  readonly usd: number;
  readonly per: BudgetPeriod;
}

/** The limits that somebody else than a single caller can have, too. */
export type Quota = Pick<
  Limits,
  "requestsPerMinute" | "tokensPerMinute" | "concurrentRequests" | "budget"
>;

export interface PolicyConfig extends Limits {
  /** Default: the stateless inference classes. */
  readonly endpoints: readonly string[];
  /** Of all callers of the policy together. */
  readonly shared?: Quota;
  /** Of each client address, whoever calls from it. */
  readonly perAddress?: Quota;
  /** Set aside for the output of a call that has no cap. Default 4 096. */
  readonly assumedOutputTokens: number;
}

/** Where it is kept what callers have used. */
export interface StoreConfig {
  /** Shared by several gateways. Set by `redisUrl`; absent, each counts for itself. */
  readonly redis?: RedisAddress;
  /** Where the records of calls are written. Absent, they are gone with the process. */
  readonly dataDir?: string;
  /** How long the records are kept. Default 90. */
  readonly keepDays: number;
  /** When records are forced to the disk: about once a second by default, "interval". */
  readonly sync: "never" | "interval" | "always";
  /** What becomes of calls while Redis does not answer: "open" lets them through. */
  readonly whenDown: {
    /** Default "open". */
    readonly limits: "open" | "closed";
    /** Default "closed". */
    readonly budgets: "open" | "closed";
  };
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
export type ConfigInput = Input<Omit<Config, "otlp">>;

/** What a minted token may bring. */
export type LimitsInput = Input<Limits>;

/** `5/day` or `$5/day`. */
type OneBudget = string | BudgetConfig;

type Input<T> = T extends Secret | URL | RedisAddress
  ? string
  : T extends readonly BudgetConfig[]
    ? OneBudget | readonly OneBudget[]
    : T extends readonly (infer Item)[]
      ? readonly Input<Item>[]
      : T extends object
        ? { readonly [Key in keyof T as Key extends "redis" ? "redisUrl" : Key]?: Input<T[Key]> }
        : T;
