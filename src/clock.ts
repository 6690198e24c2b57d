// Time as a value, so that tests own it.

export interface Timer {
  /** Starts the delay anew. */
  refresh(): void;
  cancel(): void;
}

export interface Clock {
  /** Wall clock, milliseconds since the epoch: for records. */
  now(): number;
  /** Monotonic milliseconds from an arbitrary start: for durations. */
  elapsed(): number;
  /** Runs once after `delayMs`, unless cancelled. A pending timer keeps no process alive. */
  after(delayMs: number, run: () => void): Timer;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  after(delayMs, run) {
    const timeout = setTimeout(run, delayMs).unref();
    return { refresh: () => void timeout.refresh(), cancel: () => clearTimeout(timeout) };
  },
};
