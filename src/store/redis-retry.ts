// What has to reach Redis in the end, although it may be away now: calls that are over.
import type { Clock, Timer } from "../clock.ts";
import { RedisError } from "./redis-error.ts";

/** @param again whether it may have been done already. */
export type Task = (again: boolean) => Promise<unknown>;

interface Waiting {
  readonly task: Task;
  readonly untilMs: number;
  again: boolean;
}

export interface RetryOptions {
  /** From the first attempt. */
  readonly patienceMs: number;
  /** Of those who wait the oldest are given up beyond this. */
  readonly limit?: number;
}

const LIMIT = 10_000;
const PAUSE_MS = 1_000;
/** Sent together; the connection has room for others, too. */
const BATCH = 50;
/** How long the operator is told of what was given up. */
const TOLD_MS = 3_600_000;

export class RetryQueue {
  readonly #clock: Clock;
  readonly #options: Required<RetryOptions>;
  readonly #waiting: Waiting[] = [];
  #sending = 0;
  #timer: Timer | undefined;
  #drained: Promise<void> | undefined;
  #closed = false;
  #lost = 0;
  #lostAtMs = -Infinity;

  constructor(clock: Clock, options: RetryOptions) {
    this.#clock = clock;
    this.#options = { limit: LIMIT, ...options };
  }

  /** Resolves after the first attempt, whatever came of it. Never rejects. */
  async run(task: Task): Promise<void> {
    const entry = this.#toWaiting(task);
    if (!(await this.#attempt(entry))) this.#push(entry);
  }

  /** For what cannot be done now. */
  add(task: Task): void {
    this.#push(this.#toWaiting(task));
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.length + this.#sending;
  }

  /** How many were given up lately. */
  get lost(): number {
    return this.#clock.elapsed() - this.#lostAtMs < TOLD_MS ? this.#lost : 0;
  }

  /** A last attempt, as far as Redis takes them. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#drain();
  }

  #toWaiting(task: Task): Waiting {
    return { task, again: false, untilMs: this.#clock.elapsed() + this.#options.patienceMs };
  }

  #push(entry: Waiting): void {
    this.#waiting.push(entry);
    if (this.size > this.#options.limit) {
      this.#waiting.shift();
      this.#lose(1);
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#closed || this.#drained !== undefined) return;
    this.#timer ??= this.#clock.after(PAUSE_MS, () => {
      this.#timer = undefined;
      void this.#drain();
    });
  }

  #drain(): Promise<void> {
    this.#drained ??= this.#sendAll().finally(() => {
      this.#drained = undefined;
      if (this.#waiting.length > 0) this.#schedule();
    });
    return this.#drained;
  }

  /** Until there is none, or none of a batch could be done. */
  async #sendAll(): Promise<void> {
    for (let stuck = false; !stuck && this.#waiting.length > 0;) {
      const nowMs = this.#clock.elapsed();
      const next = this.#waiting.splice(0, BATCH);
      const batch = next.filter(({ untilMs }) => untilMs > nowMs);
      this.#lose(next.length - batch.length);
      this.#sending = batch.length;
      const done = await Promise.all(batch.map((entry) => this.#attempt(entry)));
      this.#sending = 0;
      this.#waiting.unshift(...batch.filter((_, index) => done[index] !== true));
      stuck = batch.length > 0 && !done.includes(true);
    }
  }

  /** @returns whether it was done. */
  async #attempt(entry: Waiting): Promise<boolean> {
    try {
      await entry.task(entry.again);
      return true;
    } catch (error) {
      const undone = error instanceof RedisError && error.kind === "unavailable";
      entry.again ||= !undone;
      return false;
    }
  }

  #lose(count: number): void {
    if (count === 0) return;
    if (this.lost === 0) this.#lost = 0;
    this.#lost += count;
    this.#lostAtMs = this.#clock.elapsed();
  }
}
