// Who has called lately, for the operator to see. Nobody's rights depend on it.
import type { Caller } from "../access/caller.ts";
import type { Identify } from "../access/identify.ts";
import type { Clock } from "../clock.ts";

/** So many at least, twice as many at most. One takes some hundred bytes, with own limits more. */
const LIMIT = 1_000;

export interface KnownCaller {
  readonly caller: Caller;
  /** Milliseconds since 1970. */
  readonly lastSeenMs: number;
}

export class KnownCallers {
  readonly #clock: Clock;
  /** By id. */
  readonly #known = new Map<string, { caller: Caller; lastSeenMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Remembers whoever is identified. */
  watch(identify: Identify): Identify {
    return async (req) => {
      const caller = await identify(req);
      this.#note(caller);
      return caller;
    };
  }

  /** The latest first. */
  list(): readonly KnownCaller[] {
    const latest = [...this.#known.values()].toReversed();
    return latest.sort((a, b) => b.lastSeenMs - a.lastSeenMs).slice(0, LIMIT);
  }

  #note(caller: Caller): void {
    const lastSeenMs = this.#clock.now();
    const known = this.#known.get(caller.id);
    if (known !== undefined) {
      known.caller = caller;
      known.lastSeenMs = lastSeenMs;
      return;
    }
    this.#known.set(caller.id, { caller, lastSeenMs });
    if (this.#known.size > 2 * LIMIT) this.#forget();
  }

  #forget(): void {
    const kept = this.list();
    this.#known.clear();
    for (const { caller, lastSeenMs } of kept.toReversed()) {
      this.#known.set(caller.id, { caller, lastSeenMs });
    }
  }
}
