// Who is shut out, and until when: what is known of it here, to be asked with every call.
import type { Clock } from "../clock.ts";
import { REVOCATION_LIMIT, StoreError, type Revocation } from "./store.ts";

/** Makes all of them outlive the process. @throws StoreError */
export type KeepRevocations = (revocations: readonly Revocation[]) => void;

export class Revocations {
  readonly #clock: Clock;
  readonly #keep: KeepRevocations;
  #until: ReadonlyMap<string, number>;

  /** @param known from earlier. */
  constructor(clock: Clock, known: readonly Revocation[] = [], keep: KeepRevocations = () => {}) {
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
  put(revocation: Revocation): void {
    const others = this.list().filter(({ caller }) => caller !== revocation.caller);
    const lifted = revocation.untilMs <= this.#clock.now();
    const all = lifted ? others : [...others, revocation];
    if (all.length > REVOCATION_LIMIT) throw tooMany();
    this.#keep(all);
    this.#until = toMap(all);
  }

  /** What others have told: instead of all that was known. */
  replace(revocations: readonly Revocation[]): void {
    this.#until = toMap(revocations);
  }
}

export function tooMany(): StoreError {
  return new StoreError(`There are ${REVOCATION_LIMIT} revocations already: lift some.`);
}

function toMap(revocations: readonly Revocation[]): ReadonlyMap<string, number> {
  return new Map(revocations.map(({ caller, untilMs }) => [caller, untilMs]));
}
