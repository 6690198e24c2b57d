// A clock that moves only when a test says so.
import type { Clock, Timer } from "../../src/clock.ts";

interface Pending {
  dueAt: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #now = Date.UTC(2026, 0, 1);
  readonly #pending = new Set<Pending>();

  now(): number {
    return this.#now;
  }

  elapsed(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): Timer {
    const pending: Pending = { dueAt: this.#now + delayMs, run };
    this.#pending.add(pending);
    return {
      refresh: () => {
        pending.dueAt = this.#now + delayMs;
        this.#pending.add(pending);
      },
      cancel: () => void this.#pending.delete(pending),
    };
  }

  /** How many timers wait. */
  get pending(): number {
    return this.#pending.size;
  }

  advance(byMs: number): void {
    this.#now += byMs;
    for (const pending of [...this.#pending]) {
      if (pending.dueAt > this.#now) continue;
      this.#pending.delete(pending);
      pending.run();
    }
  }
}
