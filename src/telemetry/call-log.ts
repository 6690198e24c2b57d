// CallReport -> one log line.
import { FAILURES } from "../errors.ts";
import type { CallReport, Observer } from "./call-report.ts";
import type { Log, LogFields } from "./log.ts";

const LEVELS = { client: "info", upstream: "error", gateway: "error" } as const;

// Asked every few seconds by whoever watches over the process.
const PROBES: ReadonlySet<string> = new Set(["GET /healthz", "GET /readyz", "GET /metrics"]);

export function createCallLog(log: Log): Observer {
  return (call) => {
    const { error, route = "" } = call;
    const level = error === undefined ? "info" : LEVELS[FAILURES[error].fault];
    log[PROBES.has(route) ? "debug" : level]("request", toFields(call));
  };
}

function toFields(call: CallReport): LogFields {
  const used = call.inputTokens + call.costMicroUsd > 0;
  return {
    id: call.id,
    method: call.method,
    route: call.route,
    status: call.status,
    caller: call.caller,
    policy: call.policy,
    model: call.model,
    inputTokens: used ? call.inputTokens : undefined,
    cachedInputTokens: (used && call.cachedInputTokens) || undefined,
    outputTokens: used ? call.outputTokens : undefined,
    costMicroUsd: used ? call.costMicroUsd : undefined,
    estimated: (used && call.estimated) || undefined,
    clamped: (used && call.clamped) || undefined,
    requestBytes: call.requestBytes,
    responseBytes: call.responseBytes,
    durationMs: round(call.durationMs),
    firstByteMs: call.firstByteMs && round(call.firstByteMs),
    gatewayMs: round(call.gatewayMs),
    upstreamMs: call.upstreamMs && round(call.upstreamMs),
    attempts: call.attempts > 1 ? call.attempts : undefined,
    upstreamRequestId: call.upstreamRequestId,
    traceId: call.trace?.traceId,
    error: call.error,
    reason: call.reason,
    cause: call.cause,
  };
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10;
}
