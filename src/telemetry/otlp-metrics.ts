// Calls summed up as OpenTelemetry's metrics: cumulative, with labels from closed sets alone.
import type { Clock } from "../clock.ts";
import { isApiCall, type CallReport } from "./call-report.ts";
import { bool, text, toJsonList, toKeyValues, toNanos, type Origin } from "./otlp-json.ts";
import { hasUsage, toErrorType, toOperation } from "./otlp-span.ts";

/** Points of one metric; beyond it, all are one, as in OpenTelemetry's own SDKs. */
const MAX_POINTS = 1_000;

// Both from the conventions.
const SECONDS = Array.from({ length: 14 }, (_, index) => 2 ** index / 100);
const TOKENS = Array.from({ length: 14 }, (_, index) => 4 ** index);
const OVERHEAD_SECONDS = [1, 2.5, 5, 10, 25, 50, 100, 250, 1_000, 10_000].map((ms) => ms / 1e4);

interface Point {
  /** In the order of the metric's labels; nothing for the one of all that came too late. */
  readonly labels: readonly (string | undefined)[] | undefined;
  count: number;
  sum: number;
  /** Of a histogram, one more than bounds. */
  readonly buckets: number[];
}

interface Shape {
  readonly name: string;
  readonly unit: string;
  readonly labels: readonly string[];
  /** Of a histogram, ascending; a sum has none. */
  readonly bounds?: readonly number[];
}

class Metric {
  readonly shape: Shape;
  readonly #points = new Map<string, Point>();

  constructor(shape: Shape) {
    this.shape = shape;
  }

  add(value: number, ...labels: readonly (string | undefined)[]): void {
    if (!(value >= 0 && value < Infinity)) return; // One NaN in a sum would be for ever.
    const point = this.#find(labels);
    point.count++;
    point.sum += value;
    const { bounds } = this.shape;
    if (bounds === undefined) return;
    const above = bounds.findIndex((bound) => value <= bound);
    const bucket = above < 0 ? bounds.length : above;
    point.buckets[bucket] = (point.buckets[bucket] ?? 0) + 1;
  }

  get points(): readonly Point[] {
    return [...this.#points.values()];
  }

  #find(labels: readonly (string | undefined)[]): Point {
    const wanted = labels.join("\n");
    const room = this.#points.size < MAX_POINTS - 1;
    const key = room || this.#points.has(wanted) ? wanted : "overflow";
    const known = this.#points.get(key);
    if (known !== undefined) return known;
    const buckets = this.shape.bounds === undefined ? [] : [...this.shape.bounds, 0].fill(0);
    const point = { labels: key === wanted ? labels : undefined, count: 0, sum: 0, buckets };
    this.#points.set(key, point);
    return point;
  }
}

const OPERATION = "gen_ai.operation.name";
const MODEL = "gen_ai.request.model";
const ERROR = "error.type";

export class OtlpMetrics {
  readonly #startedAt: string;
  readonly #clock: Clock;
  readonly #duration = new Metric({
    name: "gen_ai.client.operation.duration",
    unit: "s",
    labels: [OPERATION, MODEL, ERROR],
    bounds: SECONDS,
  });
  readonly #firstChunk = new Metric({
    name: "gen_ai.client.operation.time_to_first_chunk",
    unit: "s",
    labels: [OPERATION, MODEL],
    bounds: SECONDS,
  });
  readonly #tokens = new Metric({
    name: "gen_ai.client.token.usage",
    unit: "{token}",
    labels: [OPERATION, MODEL, "gen_ai.token.type"],
    bounds: TOKENS,
  });
  readonly #cost = new Metric({
    name: "openai_gateway.cost",
    unit: "{USD}",
    labels: [OPERATION, MODEL],
  });
  readonly #overhead = new Metric({
    name: "openai_gateway.overhead",
    unit: "s",
    labels: [OPERATION],
    bounds: OVERHEAD_SECONDS,
  });
  readonly #requests = new Metric({
    name: "openai_gateway.requests",
    unit: "{request}",
    labels: ["openai_gateway.route_class", ERROR],
  });

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = toNanos(clock.now());
  }

  /** A few additions. */
  observe(call: CallReport): void {
    this.#requests.add(1, call.routeClass, toErrorType(call));
    if (!isApiCall(call)) return;
    const operation = toOperation(call);
    const model = call.pricedModel ?? "other";
    if (call.firstByteMs !== undefined && call.upstreamMs !== undefined) {
      this.#overhead.add(call.gatewayMs / 1_000, operation);
    }
    // What was refused is no operation of OpenAI's, and would be a lie about how fast they are.
    if (call.attempts === 0) return;
    this.#duration.add(call.durationMs / 1_000, operation, model, toErrorType(call));
    if (call.stream && call.firstByteMs !== undefined) {
      this.#firstChunk.add(call.firstByteMs / 1_000, operation, model);
    }
    if (call.costMicroUsd > 0) this.#cost.add(call.costMicroUsd / 1e6, operation, model);
    if (!hasUsage(call)) return;
    this.#tokens.add(call.inputTokens, operation, model, "input");
    this.#tokens.add(call.outputTokens, operation, model, "output");
  }

  /** An ExportMetricsServiceRequest; nothing where there was no call yet. */
  async encode({ resource, scope }: Origin): Promise<string | undefined> {
    const all = [this.#duration, this.#firstChunk, this.#tokens];
    const own = [this.#cost, this.#overhead, this.#requests];
    const used = [...all, ...own].filter(({ points }) => points.length > 0);
    if (used.length === 0) return undefined;
    const metrics: string[] = [];
    for (const metric of used) metrics.push(await this.#encodeMetric(metric));
    const scoped = `{"scope":${JSON.stringify(scope)},"metrics":[${metrics.join(",")}]}`;
    const head = `{"resourceMetrics":[{"resource":${JSON.stringify(resource)}`;
    return `${head},"scopeMetrics":[${scoped}]}]}`;
  }

  async #encodeMetric({ shape, points }: Metric): Promise<string> {
    const { name, unit, bounds } = shape;
    const now = toNanos(this.#clock.now());
    const head = JSON.stringify({ name, unit }).slice(0, -1);
    const list = await toJsonList(points, (point) => ({
      attributes: toLabels(shape, point),
      startTimeUnixNano: this.#startedAt,
      timeUnixNano: now,
      ...(bounds === undefined
        ? { asDouble: point.sum }
        : {
            count: String(point.count),
            sum: point.sum,
            bucketCounts: point.buckets.map(String),
            explicitBounds: bounds,
          }),
    }));
    const body = `{"aggregationTemporality":2,"dataPoints":${list}`;
    return bounds === undefined
      ? `${head},"sum":${body},"isMonotonic":true}}`
      : `${head},"histogram":${body}}}`;
  }
}

function toLabels({ labels: names }: Shape, { labels }: Point): object {
  if (labels === undefined) return toKeyValues({ "otel.metric.overflow": bool(true) });
  const values = names.map((name, index) => [name, text(labels[index])] as const);
  const provider = names.includes(OPERATION) ? { "gen_ai.provider.name": text("openai") } : {};
  return toKeyValues({ ...Object.fromEntries(values), ...provider });
}
