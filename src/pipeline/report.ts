// Exchange -> CallReport, for everybody who is to know of it. Never content, never a credential.
import type { Clock } from "../clock.ts";
import type { PriceBook } from "../quota/price-book.ts";
import type { CallReport, Observer } from "../telemetry/call-report.ts";
import { shares, type Exchange } from "./exchange.ts";

export interface Reporting {
  readonly clock: Clock;
  readonly prices: PriceBook;
  readonly observers: readonly Observer[];
}

export function report(exchange: Exchange, { clock, prices, observers }: Reporting): void {
  const call = toReport(exchange, prices, clock);
  for (const observe of observers) observe(call);
}

function toReport(exchange: Exchange, prices: PriceBook, clock: Clock): CallReport {
  const { error, firstByteAt, startedAt, calledAt, model, status = 0 } = exchange;
  const { usage, costMicroUsd = 0, estimated = false } = exchange.total ?? {};
  const now = clock.elapsed();
  const { gatewayMs, upstreamMs } = shares(exchange, firstByteAt ?? now);
  return {
    id: exchange.id,
    startedAtMs: clock.now() - (now - startedAt),
    durationMs: now - startedAt,
    firstByteMs: firstByteAt && firstByteAt - startedAt,
    gatewayMs,
    upstreamMs: calledAt && upstreamMs,
    method: exchange.method,
    route: exchange.route,
    routeClass: exchange.routeClass,
    status,
    stream: exchange.stream,
    caller: exchange.caller,
    policy: exchange.policy,
    model,
    pricedModel: prices.find(model)?.name,
    inputTokens: usage?.inputTokens ?? 0,
    cachedInputTokens: usage?.cachedInputTokens ?? 0,
    outputTokens: usage?.outputTokens ?? 0,
    costMicroUsd,
    estimated,
    clamped: usage?.clamped ?? false,
    requestBytes: exchange.requestBytes,
    responseBytes: exchange.responseBytes,
    attempts: exchange.attempts,
    upstreamRequestId: exchange.upstreamRequestId,
    error: error?.code,
    reason: error?.message,
    cause: error && toChain(error.details.cause),
    refused: error?.details.refused,
    trace: exchange.trace,
  };
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
