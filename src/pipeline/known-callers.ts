// Who has called lately, for the operator to see. Nobody's rights depend on it.
import type { Caller } from "../access/caller.ts";
import type { Identify } from "../access/identify.ts";
import type { Clock } from "../clock.ts";

/** The latest; one takes some hundred bytes, and more where a token brings limits of its own. */
const LIMIT = 1_000;

export interface KnownCaller {
  readonly caller: Caller;
  /** Milliseconds since 1970. */
  readonly lastSeenMs: number;
}

export class KnownCallers {
  readonly #clock: Clock;
  /** By id, the latest last. */
  readonly #known = new Map<string, KnownCaller>();

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
    return [...this.#known.values()].toReversed();
  }

  #note(caller: Caller): void {
    this.#known.delete(caller.id);
    this.#known.set(caller.id, { caller, lastSeenMs: this.#clock.now() });
    if (this.#known.size <= LIMIT) return;
    const [oldest = ""] = this.#known.keys();
    this.#known.delete(oldest);
  }
}
