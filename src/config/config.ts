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

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Config {
  readonly server: ServerConfig;
  readonly cors: CorsConfig;
  /** Where calls go. Exactly one for now. */
  readonly upstreams: readonly [UpstreamConfig];
  readonly timeouts: TimeoutConfig;
  /** By name. `default` always exists and is what callers get in open mode. */
  readonly policies: { readonly default: PolicyConfig; readonly [name: string]: PolicyConfig };
  readonly log: LogConfig;
}

export interface ServerConfig {
  /** Address to listen on. Default 127.0.0.1: whoever reaches an open gateway can spend. */
  readonly host: string;
  /** 0 takes any free port. Default 3000. */
  readonly port: number;
  /** CIDR ranges of the proxies in front whose `x-forwarded-for` is believed. Default none. */
  readonly trustedProxies: readonly string[];
  /** Largest request body, bytes received. Default 64 MiB. */
  readonly maxBodyBytes: number;
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

export interface PolicyConfig {
  /**
   * Class names, `METHOD /path/{template}` patterns, `*` (all but the administrative ones) or
   * `admin`. Default: the stateless inference classes.
   */
  readonly endpoints: readonly string[];
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
