// What the gateway counts for Prometheus. Labels are from closed sets alone: nothing that a client
// makes up becomes a series.
import type { ErrorCode } from "../errors.ts";
import {
  isApiCall,
  type AttemptOutcome,
  type CallReport,
  type Observer,
  type RefusedRule,
} from "./call-report.ts";
import { FAMILIES, MODEL_LIMIT } from "./gateway-families.ts";
import { Registry, type Counter, type Histogram } from "./metric.ts";
import { ProcessMetrics } from "./process-metrics.ts";

const OTHER = "other";

const STATUSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;
const OUTCOMES = [...STATUSES, "unreached", "failed", "cancelled"] as const;

const RULES: Readonly<Record<RefusedRule["rule"], string>> = {
  requestsPerMinute: "requests_per_minute",
  tokensPerMinute: "tokens_per_minute",
  concurrentRequests: "concurrent_requests",
  budget: "budget",
};
const OWNERS = ["caller", "policy", "address"] as const satisfies readonly RefusedRule["of"][];

type CancelledBy = "client" | "deadline" | "shutdown" | "budget" | "revoked";

const CANCELLED: { readonly [code in ErrorCode]?: CancelledBy } = {
  client_gone: "client",
  client_stalled: "deadline",
  request_timeout: "deadline",
  upstream_timeout: "deadline",
};
/** Before OpenAI was called these are refusals. */
const CUT_SHORT: { readonly [code in ErrorCode]?: CancelledBy } = {
  draining: "shutdown",
  insufficient_quota: "budget",
  invalid_api_key: "revoked",
};

/** What is as it is now: asked with every scrape. */
export interface MetricSources {
  readonly inFlight: () => number;
  readonly streams: () => number;
  readonly webSockets: () => number;
  readonly dashboards: () => number;
  readonly draining: () => boolean;
  /** Why the store cannot do all that it should, else nothing. */
  readonly storeProblem: () => string | undefined;
  /** Its name. */
  readonly upstream: string;
  readonly openConnections: () => number;
  /** Ever. */
  readonly connectionsOpened: () => number;
  readonly version: () => string;
}

export class GatewayMetrics {
  readonly #registry = new Registry();
  readonly #requests = this.#registry.counter(FAMILIES.requests);
  readonly #duration = this.#registry.histogram(FAMILIES.duration);
  readonly #firstByte = this.#registry.histogram(FAMILIES.firstByte);
  readonly #overhead = this.#registry.histogram(FAMILIES.overhead);
  readonly #tokens = this.#registry.counter(FAMILIES.tokens);
  readonly #cost = this.#registry.counter(FAMILIES.cost);
  readonly #estimated = this.#registry.counter(FAMILIES.estimated).with();
  readonly #refused = this.#registry.counter(FAMILIES.refused);
  readonly #cancelled = this.#registry.counter(FAMILIES.cancelled);
  readonly #attempts = this.#registry.counter(FAMILIES.attempts);
  readonly #attemptDuration: Histogram;
  readonly #retries: Counter;
  readonly #models = new Set<string>();
  readonly #upstream: string;
  readonly #process: ProcessMetrics;

  constructor(sources: MetricSources) {
    const { upstream } = sources;
    this.#upstream = upstream;
    this.#attemptDuration = this.#registry.histogram(FAMILIES.attemptDuration).with(upstream);
    this.#retries = this.#registry.counter(FAMILIES.retries).with(upstream);
    this.#beginAtZero();
    this.#readFrom(sources);
    this.#process = new ProcessMetrics(this.#registry);
  }

  readonly observe: Observer = (call) => {
    const { routeClass, status, error, refused, attempts } = call;
    this.#requests.with(routeClass, toClass(status), toCode(call)).add();
    if (refused !== undefined) this.#refused.with(RULES[refused.rule], refused.of).add();
    const by = error && (CANCELLED[error] ?? (attempts > 0 ? CUT_SHORT[error] : undefined));
    if (by !== undefined) this.#cancelled.with(by).add();
    if (!isApiCall(call)) return;
    this.#time(call);
    this.#count(call);
  };

  /** @param seconds until its end, or the head of its answer. */
  attempt(outcome: AttemptOutcome, seconds: number): void {
    this.#attempts.with(this.#upstream, outcome).add();
    if (outcome.endsWith("xx")) this.#attemptDuration.observe(seconds);
  }

  retried(): void {
    this.#retries.add();
  }

  write(): string {
    return this.#registry.write();
  }

  /** 99th percentile of the last one or two minutes of being asked; 0 the first time. */
  eventLoopDelayMs(): number {
    return this.#process.eventLoopDelayMs();
  }

  /** Lets go of the event loop. */
  close(): void {
    this.#process.close();
  }

  #time({ routeClass, durationMs, firstByteMs, upstreamMs, gatewayMs }: CallReport): void {
    this.#duration.with(routeClass).observe(durationMs / 1_000);
    if (firstByteMs === undefined) return;
    this.#firstByte.with(routeClass).observe(firstByteMs / 1_000);
    if (upstreamMs !== undefined) this.#overhead.with(routeClass).observe(gatewayMs / 1_000);
  }

  #count(call: CallReport): void {
    const { inputTokens, cachedInputTokens, outputTokens, costMicroUsd } = call;
    if (call.estimated) this.#estimated.add();
    if (inputTokens + outputTokens + costMicroUsd === 0) return;
    const model = this.#toModel(call.pricedModel);
    this.#tokens.with("input", model).add(inputTokens);
    this.#tokens.with("cached_input", model).add(cachedInputTokens);
    this.#tokens.with("output", model).add(outputTokens);
    this.#cost.with(model).add(costMicroUsd / 1e6);
  }

  /** The operator may have added to the price list as much as he likes. */
  #toModel(name = OTHER): string {
    if (this.#models.has(name)) return name;
    if (this.#models.size >= MODEL_LIMIT) return OTHER;
    this.#models.add(name);
    return name;
  }

  /** What nobody has seen yet has no rate: alerts would miss the first of each. */
  #beginAtZero(): void {
    for (const rule of Object.values(RULES)) for (const of of OWNERS) this.#refused.with(rule, of);
    for (const by of ["client", "deadline", "shutdown", "budget", "revoked"])
      this.#cancelled.with(by);
    for (const outcome of OUTCOMES) this.#attempts.with(this.#upstream, outcome);
  }

  #readFrom(sources: MetricSources): void {
    const { upstream, version, draining, storeProblem } = sources;
    const registry = this.#registry;
    registry.reading(FAMILIES.inFlight, sources.inFlight);
    registry.reading(FAMILIES.streams, sources.streams);
    registry.reading(FAMILIES.webSockets, sources.webSockets);
    registry.reading(FAMILIES.dashboards, sources.dashboards);
    registry.reading(FAMILIES.draining, () => Number(draining()));
    registry.reading(FAMILIES.openConnections, sources.openConnections, upstream);
    registry.reading(FAMILIES.connectionsOpened, sources.connectionsOpened, upstream);
    registry.reading(FAMILIES.storeUp, () => Number(storeProblem() === undefined));
    registry.reading(FAMILIES.buildInfo, () => 1, version(), process.version);
  }
}

/** Of an HTTP status. */
function toClass(status: number): string {
  return STATUSES[Math.floor(status / 100) - 1] ?? OTHER;
}

function toCode(call: CallReport): string {
  const { error, status } = call;
  return error ?? (status >= 400 && isApiCall(call) ? "openai_error" : "none");
}
