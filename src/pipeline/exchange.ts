// Everything learned of one request, filled on the way and reported once. Nobody branches on it.
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Caller } from "../access/caller.ts";
import { sentCredentials } from "../access/credential.ts";
import type { Clock } from "../clock.ts";
import type { GatewayError } from "../errors.ts";
import type { Asked } from "../openai/endpoints.ts";
import { redact } from "../telemetry/log.ts";
import type { Reply } from "../upstream/attempt.ts";
import type { Total } from "./bill.ts";

export interface Exchange {
  readonly id: string;
  /** On the monotonic clock. */
  readonly startedAt: number;
  readonly method: string;
  /** The template, never the raw path: `POST /chat/completions`, `GET /healthz`. */
  route?: string;
  caller?: string;
  /** The name of the caller's policy. */
  policy?: string;
  /** As the path, the request or OpenAI's answer names it. */
  model?: string | undefined;
  /** What the call came to. */
  total?: Total;
  status?: number;
  requestBytes: number;
  responseBytes: number;
  attempts: number;
  /** When OpenAI was called and when its first byte came. */
  calledAt?: number;
  answeredAt?: number;
  /** When our first byte left. */
  firstByteAt?: number;
  upstreamRequestId?: string;
  error?: GatewayError;
}

export function createExchange({ method = "" }: IncomingMessage, clock: Clock): Exchange {
  return {
    id: `gw_${randomUUID().replaceAll("-", "")}`,
    startedAt: clock.elapsed(),
    method,
    requestBytes: 0,
    responseBytes: 0,
    attempts: 0,
  };
}

export function noteAsked(
  exchange: Exchange,
  { method, path, operation }: Asked,
  { headers }: IncomingMessage,
): void {
  exchange.route = `${method} ${operation?.template ?? "/*"}`;
  if (operation?.template !== "/models/{model}") return;
  // A client may have put its key there by mistake.
  exchange.model = redact(path.slice("/models/".length), sentCredentials(headers));
}

export function noteCaller(exchange: Exchange, { id, policy }: Caller): void {
  exchange.caller = id;
  exchange.policy = policy.name;
}

export function noteAttempt(exchange: Exchange, clock: Clock): void {
  exchange.calledAt ??= clock.elapsed();
  exchange.attempts++;
}

export function noteAnswer(exchange: Exchange, reply: Reply, clock: Clock): void {
  exchange.answeredAt = clock.elapsed();
  if (reply.requestId !== undefined) exchange.upstreamRequestId = reply.requestId;
}

export function noteChunk(exchange: Exchange, chunk: Uint8Array, clock: Clock): void {
  exchange.firstByteAt ??= clock.elapsed();
  exchange.responseBytes += chunk.length;
}

export function noteTotal(exchange: Exchange, total: Total | undefined): void {
  if (total === undefined) return;
  exchange.total = total;
  exchange.model ??= total.model;
}

/** `Server-Timing` (W3C), written with the headers: milliseconds until now, ours and OpenAI's. */
export function toServerTiming(exchange: Exchange, clock: Clock): string {
  const { gatewayMs, upstreamMs } = shares(exchange, clock.elapsed());
  return `gateway;dur=${gatewayMs.toFixed(1)}, upstream;dur=${upstreamMs.toFixed(1)}`;
}

/** How much of the time until now, in milliseconds, was OpenAI's and how much ours. */
export function shares(exchange: Exchange, until: number) {
  const { startedAt, calledAt = until, answeredAt = until } = exchange;
  const upstreamMs = answeredAt - calledAt;
  return { upstreamMs, gatewayMs: until - startedAt - upstreamMs };
}
