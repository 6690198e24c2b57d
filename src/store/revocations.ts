// Who is shut out, and until when: what is known of it here, to be asked with every call.
import type { Clock } from "../clock.ts";
import { REVOCATION_LIMIT, StoreError, type Revocation } from "./store.ts";
import { Turns } from "./turns.ts";

/** The last moment that a Date can tell (ECMA-262 §21.4.1.1). Later is for ever. */
export const LAST_MS = 8.64e15;

/** Makes all of them outlive the process. @throws StoreError */
export type KeepRevocations = (revocations: readonly Revocation[]) => Promise<void>;

export class Revocations {
  readonly #clock: Clock;
  readonly #keep: KeepRevocations;
  readonly #turns = new Turns();
  #until: ReadonlyMap<string, number>;

  /** @param known from earlier. */
  constructor(
    clock: Clock,
    known: readonly Revocation[] = [],
    keep: KeepRevocations = async () => {},
  ) {
    this.#clock = clock;
    this.#keep = keep;
    this.#until = toMap(known);
  }

  has(caller: string): boolean {
    if (this.#until.size === 0) return false;
    return (this.#until.get(caller) ?? -Infinity) > this.#clock.now();
  }

  /** In force, by caller. */
  list(): readonly Revocation[] {
    const now = this.#clock.now();
    return Array.from(this.#until, ([caller, untilMs]) => ({ caller, untilMs }))
      .filter(({ untilMs }) => untilMs > now)
      .toSorted((one, other) => (one.caller < other.caller ? -1 : 1));
  }

  /** @throws StoreError when there are too many, or it cannot be kept. */
  put(revocation: Revocation): Promise<void> {
    return this.#turns.take(async () => {
      const all = this.with(toRevocation(revocation));
      if (all.length > REVOCATION_LIMIT) throw tooMany();
      await this.#keep(all);
      this.#until = toMap(all);
    });
  }

  /** What would be in force. */
  with(revocation: Revocation): readonly Revocation[] {
    const others = this.list().filter(({ caller }) => caller !== revocation.caller);
    const lifted = revocation.untilMs <= this.#clock.now();
    return lifted ? others : [...others, revocation];
  }

  /** What others have told: instead of all that was known. */
  replace(revocations: readonly Revocation[]): void {
    this.#until = toMap(revocations);
  }

  /** What is being kept is kept. */
  close(): Promise<void> {
    return this.#turns.take(async () => {});
  }
}

/** @throws StoreError for what is no moment: it must not lift anything. */
export function toRevocation({ caller, untilMs }: Revocation): Revocation {
  if (Number.isNaN(untilMs)) throw new StoreError("A revocation needs a moment at which it ends.");
  return { caller, untilMs: untilMs >= LAST_MS ? Infinity : untilMs };
}

export function tooMany(): StoreError {
  return new StoreError(`There are ${REVOCATION_LIMIT} revocations already: lift some.`);
}

function toMap(revocations: readonly Revocation[]): ReadonlyMap<string, number> {
  return new Map(revocations.map(({ caller, untilMs }) => [caller, untilMs]));
}
