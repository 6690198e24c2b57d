// What operators see: owns the metrics, the traces, the live feed and the routes to them.
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { InFlight } from "../pipeline/in-flight.ts";
import type { KnownCallers } from "../pipeline/known-callers.ts";
import type { Store } from "../store/store.ts";
import type { Observer } from "../telemetry/call-report.ts";
import { createCallLog } from "../telemetry/call-log.ts";
import { GatewayMetrics } from "../telemetry/gateway-metrics.ts";
import { LiveFeed } from "../telemetry/live-feed.ts";
import type { Log } from "../telemetry/log.ts";
import type { OtlpExporter } from "../telemetry/otlp-exporter.ts";
import type { Agent } from "../upstream/agent.ts";
import type { Attempt } from "../upstream/attempt.ts";
import { UpstreamHealth } from "../upstream/health.ts";
import { version } from "../version.ts";
import { createAdmin, type Admin } from "./admin.ts";
import { Events } from "./events.ts";

export interface OperationsParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly inFlight: InFlight;
  readonly callers: KnownCallers;
  readonly agent: Agent | undefined;
}

export class Operations {
  readonly admin: Admin;
  /** To be told of every request. */
  readonly observers: readonly Observer[];
  /** Resolves when everybody is there to be told. */
  readonly ready: Promise<void>;
  readonly #parts: OperationsParts;
  readonly #health: UpstreamHealth;
  readonly #metrics: GatewayMetrics;
  readonly #events: Events;
  readonly #startedAtMs: number;
  #otlp: OtlpExporter | undefined;

  constructor(parts: OperationsParts) {
    const { config, clock, log, store, inFlight, callers, agent } = parts;
    this.#parts = parts;
    this.#startedAtMs = clock.now();
    this.#health = new UpstreamHealth(clock);
    const feed = new LiveFeed(clock);
    this.#events = new Events({
      feed,
      clock,
      introduce: () => this.#introduce(),
      describe: () => ({ now: this.#now(), upstream: this.#upstream() }),
    });
    this.#metrics = new GatewayMetrics({
      ...this.#gauges(),
      dashboards: () => this.#events.viewers,
      draining: () => inFlight.draining,
      storeProblem: () => store.problem,
      upstream: config.upstreams[0].name,
      openConnections: () => agent?.openConnections ?? 0,
      connectionsOpened: () => agent?.connectionsOpened ?? 0,
      version,
    });
    // The log last: an embedder's may throw.
    this.observers = [this.#metrics.observe, feed.observe, this.#observe, createCallLog(log)];
    this.ready = this.#startExport(parts);
    this.ready.catch(() => {}); // Those who do not wait for it do without.
    this.admin = createAdmin({
      config,
      clock,
      store,
      callers,
      version,
      events: this.#events,
      upstream: () => this.#upstream(),
      metrics: () => this.#metrics.write(),
      endCallsOf: (caller) => inFlight.cancelOf(caller),
    });
  }

  /** Sees what becomes of the attempts to reach OpenAI. */
  watch(attempt: Attempt): Attempt {
    return this.#health.watch(attempt, (outcome, seconds) => {
      this.#metrics.attempt(outcome, seconds);
    });
  }

  /** Lets go of whoever looks, and tells the collector the rest: some seconds at most. */
  async close(): Promise<void> {
    this.#events.close();
    this.#metrics.close();
    await this.#otlp?.close();
  }

  /** Few settings ask for it: it is not loaded otherwise. */
  async #startExport({ config, clock, log }: OperationsParts): Promise<void> {
    const { otlp, upstreams } = config;
    if (otlp === undefined) return;
    const { OtlpExporter } = await import("../telemetry/otlp-exporter.ts");
    const upstream = upstreams[0].baseUrl;
    const options = { clock, warn: log.warn, version: version(), upstream };
    this.#otlp = new OtlpExporter(otlp, options);
  }

  readonly #observe: Observer = (call) => {
    this.#otlp?.observe(call);
    if (call.attempts < 2) return;
    this.#health.retries++;
    this.#metrics.retried();
  };

  #gauges() {
    const { inFlight } = this.#parts;
    return {
      inFlight: () => inFlight.size,
      streams: () => inFlight.count(({ stream }) => stream),
      webSockets: () => inFlight.count(({ route = "" }) => route.startsWith("WEBSOCKET ")),
    };
  }

  #introduce(): object {
    const { access, upstreams } = this.#parts.config;
    return {
      version: version(),
      node: process.version,
      startedAtMs: this.#startedAtMs,
      open: access === undefined || access.anonymous !== undefined,
      mock: upstreams[0].name === "mock",
    };
  }

  #now(): object {
    const { inFlight, store } = this.#parts;
    const { inFlight: calls, streams, webSockets } = this.#gauges();
    return {
      inFlight: calls(),
      streams: streams(),
      webSockets: webSockets(),
      dashboards: this.#events.viewers,
      rssBytes: process.memoryUsage.rss(),
      eventLoopDelayMs: this.#metrics.eventLoopDelayMs(),
      draining: inFlight.draining,
      problem: store.problem ?? null,
    };
  }

  #upstream(): object {
    const { config, agent } = this.#parts;
    const { name, baseUrl } = config.upstreams[0];
    const { healthy, attempts, retries, lastAnswerAtMs, lastFailure } = this.#health;
    return {
      name,
      host: baseUrl.host,
      healthy,
      attempts,
      retries,
      openConnections: agent?.openConnections ?? 0,
      connectionsOpened: agent?.connectionsOpened ?? 0,
      lastAnswerAtMs: lastAnswerAtMs ?? null,
      lastFailure: lastFailure ?? null,
    };
  }
}
