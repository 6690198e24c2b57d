// What the calls of the last hour came to, in buckets of time: every 5 seconds of the last 5
// minutes, every minute of the last hour. Takes some 4 MB at the very most.
import { FAILURES } from "../errors.ts";
import type { CallReport } from "./call-report.ts";

const FINE_MS = 5_000;
const COARSE_MS = 60_000;
/** Of each. */
const BUCKETS = 60;
/** Pairs of caller and model in one bucket; the others are counted together. */
const ROW_LIMIT = 50;
const OTHER = "other";

/** Each step of the times is so much higher than the one before; the first is up to 1 ms. */
export const SCALE = 1.25;
/** 20 minutes. */
const TOP = 63;

/** Counts by step: those in `(SCALE ** (step - 1), SCALE ** step]` milliseconds. */
type Steps = readonly (readonly [step: number, count: number])[];

export interface LiveRow {
  /** Nothing known of it: an empty text. */
  readonly caller: string;
  readonly model: string;
  readonly requests: number;
  readonly failed: number;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly costMicroUsd: number;
  /** Of the calls that got an answer of OpenAI's: our overhead, and their times to first byte. */
  readonly gatewayMs: number;
  readonly waitedMs: number;
  readonly durations: Steps;
  readonly firstBytes: Steps;
  /** By rule, or by the error's code. */
  readonly refused: Readonly<Record<string, number>>;
}

export interface LiveBucket {
  /** When it began, in milliseconds since 1970. */
  readonly atMs: number;
  readonly ms: number;
  readonly rows: readonly LiveRow[];
}

export class LiveSeries {
  #fine: Bucket[] = [];
  #coarse: Bucket[] = [];
  #current = new Bucket(0, FINE_MS);

  add(call: CallReport, nowMs: number): void {
    this.#turn(nowMs);
    this.#current.add(call);
  }

  /** Of 5 seconds, from one on until the one that is being filled, which is always there. */
  since(fromMs: number, nowMs: number): readonly LiveBucket[] {
    this.#turn(nowMs);
    const ended = this.#fine.filter(({ atMs }) => atMs >= fromMs);
    return [...ended, this.#current].map((bucket) => bucket.toJSON());
  }

  /** Of 5 seconds, the oldest first, but for empty ones and the one that is being filled. */
  fine(nowMs: number): readonly LiveBucket[] {
    this.#turn(nowMs);
    return toRecent(this.#fine, nowMs);
  }

  /** Of a minute, the oldest first, but for empty ones and the minute that is not over. */
  coarse(nowMs: number): readonly LiveBucket[] {
    this.#turn(nowMs);
    const minuteMs = startOf(nowMs, COARSE_MS);
    return toRecent(this.#coarse, nowMs).filter(({ atMs }) => atMs < minuteMs);
  }

  /** A clock that goes back a little counts into the bucket that there is. */
  #turn(nowMs: number): void {
    const atMs = startOf(nowMs, FINE_MS);
    if (atMs < this.#current.atMs - FINE_MS) this.#forgetFuture(atMs);
    if (atMs <= this.#current.atMs) return;
    const ended = this.#current;
    this.#current = new Bucket(atMs, FINE_MS);
    if (ended.size === 0) return;
    push(this.#fine, ended);
    const minuteMs = startOf(ended.atMs, COARSE_MS);
    const last = this.#coarse.at(-1);
    const minute = last?.atMs === minuteMs ? last : new Bucket(minuteMs, COARSE_MS);
    if (minute !== last) push(this.#coarse, minute);
    minute.merge(ended);
  }

  /** The clock was wrong before, or is now: what it says counts. */
  #forgetFuture(atMs: number): void {
    this.#fine = this.#fine.filter((bucket) => bucket.atMs < atMs);
    this.#coarse = this.#coarse.filter((bucket) => bucket.atMs < atMs);
    this.#current = new Bucket(atMs, FINE_MS);
  }
}

class Bucket {
  readonly atMs: number;
  readonly ms: number;
  readonly #rows = new Map<string, Row>();

  constructor(atMs: number, ms: number) {
    this.atMs = atMs;
    this.ms = ms;
  }

  get size(): number {
    return this.#rows.size;
  }

  add(call: CallReport): void {
    this.#row(call.caller ?? "", call.model ?? "").add(call);
  }

  merge(other: Bucket): void {
    for (const row of other.#rows.values()) this.#row(row.caller, row.model).merge(row);
  }

  toJSON(): LiveBucket {
    return { atMs: this.atMs, ms: this.ms, rows: [...this.#rows.values()].map(toRow) };
  }

  #row(caller: string, model: string): Row {
    const key = `${caller}\n${model}`;
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    if (this.#rows.size >= ROW_LIMIT - 1 && caller + model !== OTHER + OTHER) {
      return this.#row(OTHER, OTHER);
    }
    const row = new Row(caller, model);
    this.#rows.set(key, row);
    return row;
  }
}

const SUMS = [
  "requests",
  "failed",
  "inputTokens",
  "cachedInputTokens",
  "outputTokens",
  "costMicroUsd",
  "gatewayMs",
  "waitedMs",
] as const;

class Row {
  readonly caller: string;
  readonly model: string;
  requests = 0;
  failed = 0;
  inputTokens = 0;
  cachedInputTokens = 0;
  outputTokens = 0;
  costMicroUsd = 0;
  gatewayMs = 0;
  waitedMs = 0;
  readonly durations = new Map<number, number>();
  readonly firstBytes = new Map<number, number>();
  readonly refused = new Map<string, number>();

  constructor(caller: string, model: string) {
    this.caller = caller;
    this.model = model;
  }

  add(call: CallReport): void {
    this.requests++;
    this.failed += call.status >= 400 || call.error !== undefined ? 1 : 0;
    this.inputTokens += call.inputTokens;
    this.cachedInputTokens += call.cachedInputTokens;
    this.outputTokens += call.outputTokens;
    this.costMicroUsd += call.costMicroUsd;
    count(this.durations, toStep(call.durationMs));
    if (call.firstByteMs !== undefined && call.upstreamMs !== undefined) {
      this.gatewayMs += call.gatewayMs;
      this.waitedMs += call.firstByteMs;
      count(this.firstBytes, toStep(call.firstByteMs));
    }
    const refusal = toRefusal(call);
    if (refusal !== undefined) count(this.refused, refusal);
  }

  merge(other: Row): void {
    for (const name of SUMS) this[name] += other[name];
    for (const name of ["durations", "firstBytes"] as const) {
      for (const [step, times] of other[name]) count(this[name], step, times);
    }
    for (const [reason, times] of other.refused) count(this.refused, reason, times);
  }
}

function toRow({ durations, firstBytes, refused, ...row }: Row): LiveRow {
  return {
    ...row,
    durations: [...durations],
    firstBytes: [...firstBytes],
    refused: Object.fromEntries(refused),
  };
}

/** Why it was not let through: by a rule, or for another fault of the client's. */
function toRefusal({ error, refused, attempts }: CallReport): string | undefined {
  if (error === undefined || attempts > 0) return undefined;
  return refused?.rule ?? (FAILURES[error].fault === "client" ? error : undefined);
}

function count<Key>(counts: Map<Key, number>, key: Key, times = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + times);
}

function toStep(ms: number): number {
  return ms <= 1 ? 0 : Math.min(TOP, Math.ceil(Math.log(ms) / Math.log(SCALE)));
}

function startOf(nowMs: number, ms: number): number {
  return Math.floor(nowMs / ms) * ms;
}

function push(buckets: Bucket[], bucket: Bucket): void {
  buckets.push(bucket);
  if (buckets.length > BUCKETS) buckets.shift();
}

/** Those that began within so many of them. */
function toRecent(buckets: readonly Bucket[], nowMs: number): readonly LiveBucket[] {
  return buckets
    .filter(({ atMs, ms }) => atMs > nowMs - (BUCKETS + 1) * ms)
    .map((bucket) => bucket.toJSON());
}
