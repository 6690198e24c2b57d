// Exchange -> one log line. Never content, never a credential.
import type { Clock } from "../clock.ts";
import type { Log, LogFields } from "../telemetry/log.ts";
import { shares, type Exchange } from "./exchange.ts";

const LEVELS = { client: "info", upstream: "error", gateway: "error" } as const;

// Asked every few seconds by whoever watches over the process.
const PROBES: ReadonlySet<string> = new Set(["GET /healthz", "GET /readyz"]);

export function report(exchange: Exchange, log: Log, clock: Clock): void {
  const { error, firstByteAt, startedAt } = exchange;
  const now = clock.elapsed();
  const { gatewayMs, upstreamMs } = shares(exchange, firstByteAt ?? now);
  const level = error === undefined ? "info" : LEVELS[error.fault];
  log[PROBES.has(exchange.route ?? "") ? "debug" : level]("request", {
    id: exchange.id,
    method: exchange.method,
    route: exchange.route,
    status: exchange.status,
    caller: exchange.caller,
    policy: exchange.policy,
    model: exchange.model,
    ...describeTotal(exchange.total),
    requestBytes: exchange.requestBytes,
    responseBytes: exchange.responseBytes,
    durationMs: round(now - startedAt),
    firstByteMs: firstByteAt && round(firstByteAt - startedAt),
    gatewayMs: round(gatewayMs),
    upstreamMs: exchange.calledAt && round(upstreamMs),
    attempts: exchange.attempts > 1 ? exchange.attempts : undefined,
    upstreamRequestId: exchange.upstreamRequestId,
    ...describe(error),
  });
}

/** Nothing where nothing was used. */
function describeTotal(total: Exchange["total"]): LogFields {
  if (total === undefined || total.usage.inputTokens + total.costMicroUsd === 0) return {};
  const { usage, costMicroUsd, estimated } = total;
  return {
    inputTokens: usage.inputTokens,
    cachedInputTokens: usage.cachedInputTokens || undefined,
    outputTokens: usage.outputTokens,
    costMicroUsd,
    estimated: estimated || undefined,
    clamped: usage.clamped || undefined,
  };
}

function describe(error: Exchange["error"]): LogFields {
  if (error === undefined) return {};
  const { code, message, details } = error;
  return { error: code, reason: message, cause: toChain(details.cause) };
}

/** `TypeError: fetch failed <- Error: connect ECONNREFUSED 127.0.0.1:443`, as deep as it goes. */
function toChain(error: unknown): string | undefined {
  const links: string[] = [];
  for (let each = error; each !== undefined && links.length < 5;) {
    links.push(String(each));
    if (each instanceof AggregateError) links.push(...each.errors.slice(0, 4).map(String));
    each = each instanceof Error ? each.cause : undefined;
  }
  return links.length > 0 ? links.join(" <- ") : undefined;
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10;
}
