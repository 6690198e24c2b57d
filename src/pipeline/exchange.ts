// Everything learned of one request, filled on the way and reported once. Nobody branches on it.
import type { IncomingMessage } from "node:http";
import type { Caller } from "../access/caller.ts";
import { sentCredentials } from "../access/credential.ts";
import type { Clock } from "../clock.ts";
import type { GatewayError } from "../errors.ts";
import { isEventStream } from "../http/sse.ts";
import type { Asked } from "../openai/endpoints.ts";
import type { RouteClass } from "../telemetry/call-report.ts";
import { redact } from "../telemetry/log.ts";
import { createTraceId, parseTraceparent, type TraceContext } from "../telemetry/trace-context.ts";
import type { Moment, Reply } from "../upstream/attempt.ts";
import type { Total } from "./bill.ts";

export interface Exchange {
  readonly id: string;
  /** On the monotonic clock. */
  readonly startedAt: number;
  readonly method: string;
  /** The template, never the raw path: `POST /chat/completions`, `GET /healthz`. */
  route?: string;
  routeClass: RouteClass;
  readonly trace: TraceContext | undefined;
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
  /** The answer is a stream of events. */
  stream: boolean;
  attempts: number;
  /** How long we waited for the client to send, before OpenAI was called, and until it heard us. */
  waitedMs: number;
  waitedCallingMs: number;
  waitingSince?: number | undefined;
  /** When OpenAI was called, heard us, sent its answer's head and the first byte of its body. */
  calledAt?: number;
  sentAt?: number;
  /** When a connection was asked for, and how long it took to have one. */
  connectingAt?: number;
  connectMs: number;
  answeredAt?: number;
  bodyAt?: number;
  /** When our first byte left. */
  firstByteAt?: number;
  upstreamRequestId?: string;
  error?: GatewayError;
}

export function createExchange({ method = "", headers }: IncomingMessage, clock: Clock): Exchange {
  const startedAt = clock.elapsed();
  return {
    id: `gw_${createTraceId()}`,
    startedAt,
    method,
    routeClass: "none",
    trace: parseTraceparent(headers["traceparent"]?.toString()),
    requestBytes: 0,
    responseBytes: 0,
    stream: false,
    attempts: 0,
    waitedMs: 0,
    waitedCallingMs: 0,
    connectMs: 0,
  };
}

export function noteAsked(
  exchange: Exchange,
  { method, path, operation }: Asked,
  { headers }: IncomingMessage,
): void {
  exchange.route = `${method} ${operation?.template ?? "/*"}`;
  exchange.routeClass = operation?.class ?? "other";
  if (operation?.template !== "/models/{model}") return;
  // A client may have put its key there by mistake.
  exchange.model = redact(path.slice("/models/".length), sentCredentials(headers));
}

export function noteCaller(exchange: Exchange, { id, policy }: Caller): void {
  exchange.caller = id;
  exchange.policy = policy.name;
}

/** The body is waited for, or comes along again. */
export function noteBody(exchange: Exchange, waiting: boolean, clock: Clock): void {
  const { waitingSince, calledAt, sentAt } = exchange;
  if (sentAt !== undefined) return;
  exchange.waitingSince = waiting ? (waitingSince ?? clock.elapsed()) : undefined;
  if (waiting || waitingSince === undefined) return;
  const waited = calledAt === undefined ? "waitedMs" : "waitedCallingMs";
  exchange[waited] += clock.elapsed() - waitingSince;
}

export function noteAttempt(exchange: Exchange, clock: Clock): void {
  exchange.calledAt ??= clock.elapsed();
  exchange.attempts++;
}

/** Of a transport that can see it. */
export function noteMoment(exchange: Exchange, moment: Moment, clock: Clock): void {
  const now = clock.elapsed();
  if (moment === "answered") exchange.answeredAt = now;
  else if (moment === "firstByte") exchange.bodyAt ??= now;
  else if (moment === "connecting") exchange.connectingAt ??= now;
  else if (moment === "connected") exchange.connectMs = now - (exchange.connectingAt ?? now);
  else exchange.sentAt ??= now;
}

export function noteAnswer(exchange: Exchange, reply: Reply, clock: Clock): void {
  exchange.answeredAt ??= clock.elapsed();
  exchange.stream = isEventStream(reply.contentType);
  if (reply.requestId !== undefined) exchange.upstreamRequestId = reply.requestId;
}

export function noteFirstByte(exchange: Exchange, clock: Clock): void {
  exchange.firstByteAt ??= clock.elapsed();
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

/**
 * How much of the time until then, in milliseconds, was OpenAI's and how much ours. OpenAI's is to
 * connect, and from when it heard us to the first byte of its body: before that there is nothing
 * that we could pass on. What the client took to send is nobody's.
 */
export function shares(exchange: Exchange, until: number) {
  const { startedAt, calledAt = until, sentAt, answeredAt = until, attempts } = exchange;
  // Without a body there is nothing to pass on at all.
  const { bodyAt = exchange.firstByteAt === undefined ? until : answeredAt } = exchange;
  const waitedMs = exchange.waitedMs + openWait(exchange, until);
  const answerMs = Math.min(bodyAt, until);
  // A first attempt that failed was OpenAI's time, too; and not every transport tells.
  if (sentAt === undefined || attempts > 1) {
    const upstreamMs = answerMs - calledAt;
    return { upstreamMs, gatewayMs: until - startedAt - waitedMs - upstreamMs };
  }
  const upstreamMs = exchange.connectMs + answerMs - sentAt;
  const clientMs = waitedMs + exchange.waitedCallingMs;
  // To connect and to wait for the client may have been at the same time.
  return { upstreamMs, gatewayMs: Math.max(0, until - startedAt - clientMs - upstreamMs) };
}

/** A wait that nobody has ended, while OpenAI was not called. */
function openWait({ waitingSince, calledAt }: Exchange, until: number): number {
  return waitingSince === undefined || calledAt !== undefined ? 0 : until - waitingSince;
}
