// The store of one process. What it forgets with the process, a journal remembers.
import type { Clock } from "../clock.ts";
import { Account, type Held, type Moment } from "./account.ts";
import { toEntry, type History } from "./history.ts";
import { Revocations } from "./revocations.ts";
import { createSteadyTime } from "./steady-time.ts";
import {
  DONE,
  StoreError,
  type Admission,
  type CallRecord,
  type Claim,
  type Level,
  type Levels,
  type Quota,
  type Revocation,
  type Standing,
  type Store,
  type UsageRow,
  type Used,
} from "./store.ts";

/** Parties known at one time. One takes some 400 bytes. */
export const ACCOUNT_LIMIT = 100_000;
const SWEEP_MS = 1_000;

interface Open {
  /** For each quota of the claim. */
  readonly held: readonly Held[];
  /** Beside that, from extensions. */
  moreMicroUsd: number;
}

export class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #history: History | undefined;
  readonly #forever: boolean;
  readonly #revocations: Revocations;
  readonly #steadyTime: () => number;
  readonly #accounts = new Map<string, Account>();
  readonly #open = new Map<string, Open>();
  #sweptAtMs = -Infinity;

  /**
   * @param history absent, no call is remembered.
   * @param forever there are budgets in total: nobody who has spent something is ever forgotten.
   */
  constructor(
    clock: Clock,
    history?: History,
    forever = false,
    revocations = new Revocations(clock),
  ) {
    this.#forever = forever;
    this.#revocations = revocations;
    this.#clock = clock;
    this.#history = history;
    this.#steadyTime = createSteadyTime(clock);
    // The future is what a clock that was wrong has left behind.
    const nowMs = clock.now();
    history?.restore(({ scopes, costMicroUsd, atMs }) => {
      for (const scope of scopes) {
        const account = this.#accounts.get(scope) ?? this.#begin(scope);
        account.spend(costMicroUsd, Math.min(atMs, nowMs));
      }
    });
  }

  get problem(): string | undefined {
    return this.#history?.problem;
  }

  async admit(claim: Claim): Promise<Admission> {
    const now = this.#moment();
    // All of them first: to make room for one may forget another that is idle.
    const accounts = claim.quotas.map(({ scope }) => this.#account(scope));
    for (const [index, quota] of claim.quotas.entries()) {
      const { scope } = quota;
      const refusal = accounts[index]?.refuse(quota, claim, now);
      if (refusal === undefined) continue;
      return { kind: "refused", scope, ...refusal, levels: this.#levels(claim.quotas, now) };
    }
    const held = claim.quotas.flatMap((quota, index) => {
      const account = accounts[index];
      if (account === undefined) return [];
      this.#accounts.set(quota.scope, account);
      return [account.take(quota, claim, now)];
    });
    this.#open.set(claim.id, { held, moreMicroUsd: 0 });
    return { kind: "admitted", levels: this.#levels(claim.quotas, now) };
  }

  async extend({ id, quotas }: Claim, costMicroUsd: number): Promise<boolean> {
    const open = this.#open.get(id);
    if (open === undefined) return false;
    const now = this.#moment();
    const more = { id, quotas, tokens: 0, costMicroUsd };
    const fits = quotas.every(({ scope, budgets }) => {
      return this.#account(scope).refuse({ scope, budgets }, more, now) === undefined;
    });
    if (!fits) return false;
    for (const { scope } of quotas) this.#account(scope).hold(costMicroUsd);
    open.moreMicroUsd += costMicroUsd;
    return true;
  }

  settle({ id, quotas }: Claim, used: Used, record: CallRecord): Promise<void> {
    const now = this.#moment();
    const open = this.#open.get(id);
    if (open === undefined && quotas.length > 0) return DONE;
    this.#open.delete(id);
    open?.held.forEach((held, index) => {
      const quota = quotas[index];
      if (quota === undefined) return;
      const account = this.#account(quota.scope);
      account.settle(quota, held, used, now);
      if (open.moreMicroUsd > 0) account.hold(-open.moreMicroUsd);
    });
    if (this.#history === undefined) return DONE;
    const scopes = quotas.map(({ scope }) => scope);
    return this.#history.add(toEntry(record, Math.round(now.nowMs), scopes));
  }

  async usage(fromDay: string, toDay: string): Promise<readonly UsageRow[]> {
    return this.#history?.rows(fromDay, toDay) ?? [];
  }

  async peek(quotas: readonly Quota[]): Promise<readonly Standing[]> {
    const now = this.#moment();
    return quotas.map((quota) => {
      const account = this.#accounts.get(quota.scope) ?? new Account();
      return { scope: quota.scope, ...account.standing(quota, now) };
    });
  }

  revoke(revocation: Revocation): Promise<void> {
    return this.#revocations.put(revocation);
  }

  revoked(caller: string): boolean {
    return this.#revocations.has(caller);
  }

  async revocations(): Promise<readonly Revocation[]> {
    return this.#revocations.list();
  }

  async close(): Promise<void> {
    await Promise.all([this.#history?.close(), this.#revocations.close()]);
  }

  /** What is set aside now: for tests, in which nothing may be left. */
  get open(): number {
    return this.#open.size;
  }

  #moment(): Moment {
    return { elapsedMs: this.#clock.elapsed(), nowMs: this.#steadyTime() };
  }

  #levels(quotas: readonly Quota[], now: Moment): Levels {
    const levels = quotas.map((quota) => this.#account(quota.scope).levels(quota, now));
    return { requests: least(levels, "requests"), tokens: least(levels, "tokens") };
  }

  #account(scope: string): Account {
    const known = this.#accounts.get(scope);
    if (known !== undefined) return known;
    if (this.#accounts.size >= ACCOUNT_LIMIT) this.#sweep();
    return this.#begin(scope);
  }

  #begin(scope: string): Account {
    const account = new Account();
    this.#accounts.set(scope, account);
    return account;
  }

  /** Forgets whoever has used nothing that still counts. Nobody's spending is ever forgotten. */
  #sweep(): void {
    const now = this.#moment();
    if (now.elapsedMs - this.#sweptAtMs >= SWEEP_MS) {
      this.#sweptAtMs = now.elapsedMs;
      for (const [scope, account] of this.#accounts) {
        if (account.isForgettable(now, this.#forever)) this.#accounts.delete(scope);
      }
    }
    if (this.#accounts.size < ACCOUNT_LIMIT) return;
    throw new StoreError(
      `More than ${ACCOUNT_LIMIT} callers have used something that still counts.`,
    );
  }
}

function least(levels: readonly Levels[], of: keyof Levels): Level | undefined {
  let least: Level | undefined;
  for (const { [of]: level } of levels) {
    if (level !== undefined && level.remaining < (least?.remaining ?? Infinity)) least = level;
  }
  return least;
}
