// Tells an OpenTelemetry collector of every call: spans in batches, metrics now and then. A call
// itself only ever waits for a push and a few additions.
import { setImmediate } from "node:timers/promises";
import type { Clock, Timer } from "../clock.ts";
import type { OtlpConfig, OtlpSampler } from "../config/parse-otlp.ts";
import { isApiCall, type CallReport, type Observer } from "./call-report.ts";
import type { LogWriter } from "./log.ts";
import { describeOrigin, toJsonList, type Origin } from "./otlp-json.ts";
import { OtlpMetrics } from "./otlp-metrics.ts";
import { OtlpSender } from "./otlp-sender.ts";
import { toPeer, toSpan, type Peer } from "./otlp-span.ts";
import { createTraceId, type TraceContext } from "./trace-context.ts";

export interface OtlpParts {
  readonly clock: Clock;
  readonly warn: LogWriter;
  /** The gateway's own. */
  readonly version: string;
  /** Where calls go: the spans' server. */
  readonly upstream: URL;
}

interface Waiting {
  readonly call: CallReport;
  readonly traceId: string;
}

export class OtlpExporter {
  readonly #config: OtlpConfig;
  readonly #origin: Origin;
  readonly #peer: Peer;
  readonly #traces: OtlpSender | undefined;
  readonly #metrics: { readonly sender: OtlpSender; readonly sums: OtlpMetrics } | undefined;
  readonly #queue: Waiting[] = [];
  readonly #timers: readonly Timer[];
  #sendingSpans: Promise<void> | undefined;
  #sendingMetrics: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(config: OtlpConfig, { clock, warn, version, upstream }: OtlpParts) {
    const { traces, metrics } = config;
    this.#config = config;
    this.#origin = describeOrigin(config, version);
    this.#peer = toPeer(upstream);
    if (traces) this.#traces = new OtlpSender(traces, { clock, warn, what: "spans" });
    if (metrics) {
      const sender = new OtlpSender(metrics, { clock, warn, what: "metrics" });
      this.#metrics = { sender, sums: new OtlpMetrics(clock) };
    }
    this.#timers = [
      every(clock, config.spanDelayMs, () => void this.#sendSpans()),
      every(clock, config.metricIntervalMs, () => void this.#sendMetrics()),
    ];
  }

  /** Spans that did not get to the collector. */
  get dropped(): number {
    return this.#traces?.lost ?? 0;
  }

  readonly observe: Observer = (call) => {
    if (this.#closed !== undefined) return;
    this.#metrics?.sums.observe(call);
    if (this.#traces === undefined || !isApiCall(call)) return;
    const traceId = call.trace?.traceId ?? createTraceId();
    if (!isSampled(this.#config.sampler, traceId, call.trace)) return;
    if (this.#queue.length >= this.#config.maxQueuedSpans) this.#traces.lost++;
    else if (this.#queue.push({ call, traceId }) >= this.#config.maxBatchSpans) {
      void this.#sendSpans();
    }
  };

  /** Exports all that has been observed so far, or finds that it cannot be. */
  async flush(): Promise<void> {
    await Promise.all([this.#flushSpans(), this.#flushMetrics()]);
  }

  /** The last flush, which takes a few seconds at most. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    const deadlines = [this.#traces?.finish(), this.#metrics?.sender.finish()];
    await this.flush();
    for (const deadline of deadlines) deadline?.cancel();
  }

  async #flushSpans(): Promise<void> {
    await this.#sendingSpans;
    // Not until it is empty: more may come all the time.
    for (let left = this.#queue.length; left > 0; left -= this.#config.maxBatchSpans) {
      await this.#sendSpans();
    }
  }

  async #flushMetrics(): Promise<void> {
    await this.#sendingMetrics;
    await this.#sendMetrics();
  }

  /** One at a time. Never rejects: an embedder's log may throw. */
  #sendSpans(): Promise<void> {
    return (this.#sendingSpans ??= this.#sendBatches()
      .catch(() => {})
      .finally(() => (this.#sendingSpans = undefined)));
  }

  #sendMetrics(): Promise<void> {
    return (this.#sendingMetrics ??= this.#sendSums()
      .catch(() => {})
      .finally(() => (this.#sendingMetrics = undefined)));
  }

  /** What is queued now, and more as long as whole batches come. */
  async #sendBatches(): Promise<void> {
    const { maxBatchSpans } = this.#config;
    if (this.#traces === undefined) return;
    do {
      await setImmediate(); // The call that filled the batch goes first.
      const batch = this.#queue.splice(0, maxBatchSpans);
      if (batch.length === 0) return;
      const { resource, scope } = this.#origin;
      const spans = await toJsonList(batch, ({ call, traceId }) =>
        toSpan(call, traceId, this.#peer),
      );
      const scoped = `{"scope":${JSON.stringify(scope)},"spans":${spans}}`;
      const head = `{"resourceSpans":[{"resource":${JSON.stringify(resource)}`;
      await this.#traces.send(`${head},"scopeSpans":[${scoped}]}]}`, batch.length);
    } while (this.#queue.length >= maxBatchSpans);
  }

  async #sendSums(): Promise<void> {
    const { sums, sender } = this.#metrics ?? {};
    const json = await sums?.encode(this.#origin);
    if (json !== undefined) await sender?.send(json, 0);
  }
}

function every(clock: Clock, delayMs: number, run: () => void): Timer {
  const timer = clock.after(delayMs, () => {
    timer.refresh();
    run();
  });
  return timer;
}

/** From the last 52 bits that ids are random in, as OpenTelemetry's consistent sampling does. */
function isSampled(
  { parentBased, ratio }: OtlpSampler,
  traceId: string,
  parent: TraceContext | undefined,
): boolean {
  if (parentBased && parent !== undefined) return parent.sampled;
  return Number.parseInt(traceId.slice(-14, -1), 16) >= (1 - ratio) * 2 ** 52;
}
