// How this process does, under the names that Node's services are known by, those of prom-client.
import { readdirSync, statSync } from "node:fs";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { Registry, Shape } from "./metric.ts";

/** Between two looks; whoever scrapes more often sees the same again. */
const SAMPLE_MS = 1_000;
/** How often the event loop is looked at. */
const RESOLUTION_MS = 50;
/** For how long at least a stall of the event loop is told. */
const WINDOW_MS = 60_000;

interface Sample {
  readonly takenAt: number;
  readonly cpu: NodeJS.CpuUsage;
  readonly memory: NodeJS.MemoryUsage;
  readonly openFds: number | undefined;
  readonly loop: LoopReport | undefined;
}

type Read = (sample: Sample) => number | undefined;

const STARTED_AT_SECONDS = performance.timeOrigin / 1_000;

const LAG = "of the event loop in seconds, over the last one to two minutes of being scraped.";

const READINGS: readonly (readonly [Shape, Read])[] = [
  [
    counter("process_cpu_user_seconds_total", "Processor time spent in this program, in seconds."),
    ({ cpu }) => cpu.user / 1e6,
  ],
  [
    counter("process_cpu_system_seconds_total", "Processor time spent in the system, in seconds."),
    ({ cpu }) => cpu.system / 1e6,
  ],
  [
    gauge("process_resident_memory_bytes", "Memory that the process has, in bytes."),
    ({ memory }) => memory.rss,
  ],
  [
    gauge("process_start_time_seconds", "When the process started, in seconds since 1970."),
    () => STARTED_AT_SECONDS,
  ],
  [
    gauge("process_open_fds", "Open files and sockets; only where Linux tells."),
    ({ openFds }) => openFds,
  ],
  [
    gauge("nodejs_heap_size_used_bytes", "Memory that JavaScript's objects take, in bytes."),
    ({ memory }) => memory.heapUsed,
  ],
  [
    gauge("nodejs_heap_size_total_bytes", "Memory that is there for them, in bytes."),
    ({ memory }) => memory.heapTotal,
  ],
  [
    gauge("nodejs_external_memory_bytes", "Memory outside the heap, such as buffers, in bytes."),
    ({ memory }) => memory.external,
  ],
  [gauge("nodejs_eventloop_lag_seconds", `Mean lag ${LAG}`), ({ loop }) => loop?.meanSeconds],
  [gauge("nodejs_eventloop_lag_p50_seconds", `Median lag ${LAG}`), ({ loop }) => loop?.p50Seconds],
  [
    gauge("nodejs_eventloop_lag_p99_seconds", `99th percentile of the lag ${LAG}`),
    ({ loop }) => loop?.p99Seconds,
  ],
  [gauge("nodejs_eventloop_lag_max_seconds", `Most lag ${LAG}`), ({ loop }) => loop?.maxSeconds],
  [
    gauge("nodejs_eventloop_utilization", "Share of the same time that the event loop was busy."),
    ({ loop }) => loop?.utilization,
  ],
];

export const PROCESS_METRICS: readonly Shape[] = READINGS.map(([shape]) => shape);

/** Costs nothing until it is asked, and little then. */
export class ProcessMetrics {
  readonly #elapsed: () => number;
  readonly #loop: LoopWatch;
  #sample: Sample | undefined;

  /** @param elapsed milliseconds from any start. */
  constructor(registry: Registry, elapsed: () => number = () => performance.now()) {
    this.#elapsed = elapsed;
    this.#loop = new LoopWatch(elapsed);
    for (const [shape, read] of READINGS) registry.reading(shape, () => read(this.#take()));
  }

  /** 99th percentile of the last one or two minutes of being asked; 0 the first time. */
  eventLoopDelayMs(): number {
    return (this.#loop.read()?.p99Seconds ?? 0) * 1_000;
  }

  close(): void {
    this.#loop.close();
  }

  #take(): Sample {
    const takenAt = this.#elapsed();
    if (this.#sample !== undefined && takenAt - this.#sample.takenAt < SAMPLE_MS) {
      return this.#sample;
    }
    const [cpu, memory, openFds] = [process.cpuUsage(), process.memoryUsage(), countOpenFiles()];
    return (this.#sample = { takenAt, cpu, memory, openFds, loop: this.#loop.read() });
  }
}

interface LoopReport {
  readonly meanSeconds: number;
  readonly p50Seconds: number;
  readonly p99Seconds: number;
  readonly maxSeconds: number;
  /** 0 to 1. */
  readonly utilization: number;
}

/**
 * The event loop's lag, for several who look each in their own rhythm. To start anew whenever one
 * has looked would hide stalls from the others, and never to start anew would bury them: so two
 * windows take turns, and the older is told. It begins with the first look, as a timer wakes an
 * idle host; the timers fire together, and keep no process alive.
 */
class LoopWatch {
  readonly #elapsed: () => number;
  #windows: readonly [older: LoopWindow, newer: LoopWindow] | undefined;

  constructor(elapsed: () => number) {
    this.#elapsed = elapsed;
  }

  /** Nothing the first time. */
  read(): LoopReport | undefined {
    const now = this.#elapsed();
    if (this.#windows === undefined) {
      this.#windows = [new LoopWindow(now), new LoopWindow(now)];
      return undefined;
    }
    const [older, newer] = this.#windows;
    const report = older.report();
    if (now - newer.startedAt >= WINDOW_MS) {
      older.begin(now);
      this.#windows = [newer, older];
    }
    return report;
  }

  close(): void {
    for (const window of this.#windows ?? []) window.close();
  }
}

class LoopWindow {
  startedAt: number;
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #utilization = performance.eventLoopUtilization();

  constructor(now: number) {
    this.startedAt = now;
    this.#delay.enable();
  }

  begin(now: number): void {
    this.startedAt = now;
    this.#delay.reset();
    this.#utilization = performance.eventLoopUtilization();
  }

  report(): LoopReport {
    const { mean, max } = this.#delay;
    return {
      meanSeconds: toLag(mean),
      p50Seconds: toLag(this.#delay.percentile(50)),
      p99Seconds: toLag(this.#delay.percentile(99)),
      maxSeconds: toLag(max),
      utilization: performance.eventLoopUtilization(this.#utilization).utilization,
    };
  }

  close(): void {
    this.#delay.disable();
  }
}

/** What Node tells is the time between two looks, the wait itself included; at first NaN. */
function toLag(nanoseconds: number): number {
  return Math.max((nanoseconds || 0) / 1e9 - RESOLUTION_MS / 1_000, 0);
}

/** Nothing where there is no /proc, or Node's permission model keeps it shut. */
function countOpenFiles(): number | undefined {
  try {
    // Linux 6.2 and later know the number; before, one has to count.
    return statSync("/proc/self/fd").size || readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

function counter(name: string, help: string): Shape {
  return { name, type: "counter", help, labels: [], limit: 1 };
}

function gauge(name: string, help: string): Shape {
  return { name, type: "gauge", help, labels: [], limit: 1 };
}
