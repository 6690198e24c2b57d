// The calls that are open here. What is set aside for them in Redis is given back after a while,
// for a gateway may die: so long as this one lives, it says that they are open still.
import type { Clock, Timer } from "../clock.ts";
import type { Claim } from "./store.ts";

export interface OpenCall {
  readonly claim: Claim;
  /** All that is set aside. */
  heldMicroUsd: number;
  /** Something that was sent for it may still be on its way to Redis. */
  unsure: boolean;
}

interface Leased extends OpenCall {
  renewedAtMs: number;
}

export interface LeaseOptions {
  readonly leaseMs: number;
  /** Renews the leases of so many calls; where it rejects, it is tried again soon. */
  readonly renew: (claims: readonly Claim[]) => Promise<unknown>;
}

const BATCH = 50;
/** When a lease is renewed, and how often that is looked after, as parts of it. */
const RENEWED = 1 / 3;
const LOOKED = 1 / 12;

export class Leases {
  readonly #clock: Clock;
  readonly #options: LeaseOptions;
  readonly #calls = new Map<string, Leased>();
  #timer: Timer | undefined;
  #renewing = false;

  constructor(clock: Clock, options: LeaseOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  add(claim: Claim): void {
    const { costMicroUsd: heldMicroUsd, id } = claim;
    const renewedAtMs = this.#clock.elapsed();
    this.#calls.set(id, { claim, heldMicroUsd, unsure: false, renewedAtMs });
    this.#schedule();
  }

  find(id: string): OpenCall | undefined {
    return this.#calls.get(id);
  }

  /** @returns the call, if it was open. */
  remove(id: string): OpenCall | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return call;
  }

  close(): void {
    this.#calls.clear();
    this.#timer?.cancel();
  }

  #schedule(): void {
    if (this.#renewing) return;
    this.#timer ??= this.#clock.after(this.#options.leaseMs * LOOKED, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    this.#timer = undefined;
    this.#renewing = true;
    await this.#renewDue().catch(() => undefined);
    this.#renewing = false;
    if (this.#calls.size > 0) this.#schedule();
  }

  async #renewDue(): Promise<void> {
    const nowMs = this.#clock.elapsed();
    const ageMs = this.#options.leaseMs * RENEWED;
    const due = [...this.#calls.values()].filter(({ renewedAtMs }) => nowMs - renewedAtMs >= ageMs);
    for (let next = 0; next < due.length; next += BATCH) {
      // Those before took their time: what is settled meanwhile is not to be held again.
      const batch = due.slice(next, next + BATCH).filter(({ claim }) => this.#calls.has(claim.id));
      if (batch.length === 0) continue;
      await this.#options.renew(batch.map(({ claim }) => claim));
      for (const call of batch) call.renewedAtMs = nowMs;
    }
  }
}
