// A report of a call as it might be. A test says only what it is about.
import type { CallReport } from "../../src/telemetry/call-report.ts";

/** A completion that went well: 200 ms until its first byte, of which 2 were the gateway's. */
export function callReport(given: Partial<CallReport> = {}): CallReport {
  return {
    id: "gw_0",
    startedAtMs: Date.UTC(2026, 0, 1),
    durationMs: 1_000,
    firstByteMs: 200,
    gatewayMs: 2,
    upstreamMs: 198,
    method: "POST",
    route: "POST /chat/completions",
    routeClass: "chat",
    status: 200,
    stream: false,
    caller: "key:backend",
    policy: "default",
    model: "gpt-4o-mini-2024-07-18",
    pricedModel: "gpt-4o-mini",
    inputTokens: 10,
    cachedInputTokens: 4,
    outputTokens: 20,
    costMicroUsd: 7,
    estimated: false,
    clamped: false,
    requestBytes: 100,
    responseBytes: 300,
    attempts: 1,
    upstreamRequestId: "req_0",
    error: undefined,
    reason: undefined,
    cause: undefined,
    refused: undefined,
    trace: undefined,
    ...given,
  };
}
