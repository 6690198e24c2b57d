// What is known of a request that is over: the one thing that the log, the metrics, the traces and
// the live page are made of, so that all of them tell the same.
import type { EndpointClass } from "../config/config.ts";
import type { ErrorCode, RefusedRule } from "../errors.ts";
import type { TraceContext } from "./trace-context.ts";

export type { RefusedRule };

/**
 * `other`: a path of the API that no operation is known for. `operator`: `/metrics` and `/admin/…`.
 * `none`: no route at all.
 */
export type RouteClass = EndpointClass | "other" | "page" | "operator" | "none";

export interface CallReport {
  /** `gw_…` */
  readonly id: string;
  /** When it came, in milliseconds since 1970. */
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** Until the first byte of the answer's body left. Nothing where none did. */
  readonly firstByteMs: number | undefined;
  /** Of the time to the first byte, or of all where there was none: what was the gateway's. */
  readonly gatewayMs: number;
  /** And what was OpenAI's. Nothing where it was not called. */
  readonly upstreamMs: number | undefined;
  /** As in HTTP, `WEBSOCKET` for a handshake; whatever the client made up. */
  readonly method: string;
  /** A template, never a raw path: `POST /chat/completions`. */
  readonly route: string | undefined;
  readonly routeClass: RouteClass;
  /** What the client got, 499 where it left before there was anything. */
  readonly status: number;
  /** The answer was a stream of events. */
  readonly stream: boolean;
  readonly caller: string | undefined;
  /** The name of the caller's policy. */
  readonly policy: string | undefined;
  /** As the request or OpenAI's answer names it, without keys; a client may make names up. */
  readonly model: string | undefined;
  /** As the price list calls it, `gpt-4o-mini` for `gpt-4o-mini-2024-07-18`; else nothing. */
  readonly pricedModel: string | undefined;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly costMicroUsd: number;
  /** Nobody reported the tokens: they are what was seen of the call. */
  readonly estimated: boolean;
  /** What OpenAI reported was more than there can be. */
  readonly clamped: boolean;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** How often OpenAI was called for it: 0, 1 or 2. */
  readonly attempts: number;
  readonly upstreamRequestId: string | undefined;
  /** Nothing where the call went well, or OpenAI itself answered with an error. */
  readonly error: ErrorCode | undefined;
  /** The error's message, cleaned of secrets. It may quote the client. */
  readonly reason: string | undefined;
  /** Why, for the operator alone. */
  readonly cause: string | undefined;
  readonly refused: RefusedRule | undefined;
  /** Of the client's `traceparent`, where it sent a valid one. */
  readonly trace: TraceContext | undefined;
}

/** Is told of every request once, when it is over. It must not throw. */
export type Observer = (call: CallReport) => void;

/** What became of one attempt to reach OpenAI: its status's class, or why there is none. */
export type AttemptOutcome =
  "1xx" | "2xx" | "3xx" | "4xx" | "5xx" | "unreached" | "failed" | "cancelled";

const OUTSIDE: ReadonlySet<RouteClass> = new Set(["page", "operator", "none"]);

/** Whether it was for OpenAI's API, known or not: no page, probe, scrape or nonsense. */
export function isApiCall({ routeClass }: Pick<CallReport, "routeClass">): boolean {
  return !OUTSIDE.has(routeClass);
}
