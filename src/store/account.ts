// What one party has used of its quota. Rates are counted by GCRA (the generic cell rate algorithm
// of ATM Forum TM 4.1): for each how long it takes until all that was taken has drained. Not the
// moment, which in months of a monotonic clock loses the digits that high rates need.
import { BUDGET_PERIODS, type BudgetPeriod } from "../config/config.ts";
import { endOf, startOf } from "./period.ts";
import type { Claim, Level, Levels, Quota, Refused, Standing, Used } from "./store.ts";

const MINUTE_MS = 60_000;
/** For those who have to wait for others' calls, whose end nobody knows. */
const HELD_MS = 1_000;
/** What sums of fractions may be off by. */
const SLACK_MS = 1e-6;

/** The two clocks of one moment: monotonic for rates, UTC for budgets. */
export interface Moment {
  readonly elapsedMs: number;
  readonly nowMs: number;
}

/** What is set aside for a call, and when that has drained from its rate of tokens. */
export interface Held extends Used {
  readonly drainedAtMs: number;
}

type Refusal = Omit<Refused, "kind" | "levels" | "scope">;

export class Account {
  /** When the two below were true. */
  #atMs = 0;
  #requestsMs = 0;
  #tokensMs = 0;
  #open = 0;
  #heldTokens = 0;
  #heldMicroUsd = 0;
  readonly #spent = new Spending();

  /** Why a claim cannot be had; nothing if it can. Changes nothing. */
  refuse(quota: Quota, claim: Claim, { elapsedMs, nowMs }: Moment): Refusal | undefined {
    this.#drain(elapsedMs);
    return (
      this.#refuseOpen(quota) ??
      this.#refuseRequest(quota) ??
      this.#refuseTokens(quota, claim.tokens) ??
      this.#refuseMoney(quota, claim.costMicroUsd, nowMs)
    );
  }

  /** To be called for what was not refused. */
  take(quota: Quota, { tokens, costMicroUsd }: Claim, { elapsedMs }: Moment): Held {
    this.#drain(elapsedMs);
    this.#open++;
    this.#heldTokens += tokens;
    this.#heldMicroUsd += costMicroUsd;
    const { requestsPerMinute, tokensPerMinute } = quota;
    if (requestsPerMinute !== undefined) this.#requestsMs += MINUTE_MS / requestsPerMinute;
    if (tokensPerMinute !== undefined) this.#tokensMs += (tokens * MINUTE_MS) / tokensPerMinute;
    return { tokens, costMicroUsd, drainedAtMs: elapsedMs + this.#tokensMs };
  }

  hold(costMicroUsd: number): void {
    this.#heldMicroUsd += costMicroUsd;
  }

  settle(quota: Quota, held: Held, used: Used, { elapsedMs, nowMs }: Moment): void {
    this.#drain(elapsedMs);
    this.#open--;
    this.#heldTokens -= held.tokens;
    this.#heldMicroUsd -= held.costMicroUsd;
    this.#spent.add(used.costMicroUsd, nowMs);
    if (quota.tokensPerMinute === undefined) return;
    const moreMs = ((used.tokens - held.tokens) * MINUTE_MS) / quota.tokensPerMinute;
    // What has drained meanwhile is not given back: it would be somebody's second burst.
    const leftMs = Math.max(0, held.drainedAtMs - elapsedMs);
    this.#tokensMs = Math.max(0, this.#tokensMs + Math.max(moreMs, -leftMs));
  }

  /** What a call of an earlier process has cost. */
  spend(costMicroUsd: number, atMs: number): void {
    this.#spent.add(costMicroUsd, atMs);
  }

  levels({ requestsPerMinute, tokensPerMinute }: Quota, { elapsedMs }: Moment): Levels {
    this.#drain(elapsedMs);
    return {
      requests: toLevel(requestsPerMinute, this.#requestsMs),
      tokens: toLevel(tokensPerMinute, this.#tokensMs),
    };
  }

  /** Changes nothing. */
  standing(quota: Quota, now: Moment): Omit<Standing, "scope"> {
    const { requests, tokens } = this.levels(quota, now);
    const { concurrentRequests: limit, budgets = [] } = quota;
    return {
      requests,
      tokens,
      open: limit === undefined ? undefined : { count: this.#open, limit },
      budgets: budgets.map(({ limitMicroUsd, per }) => ({
        limitMicroUsd,
        per,
        spentMicroUsd: this.#spent.look(per, now.nowMs),
        heldMicroUsd: this.#heldMicroUsd,
        resetMs: per === "total" ? undefined : endOf(per, now.nowMs) - now.nowMs,
      })),
    };
  }

  /**
   * Whether a new account would do as well.
   * @param forever there are budgets that are never whole again.
   */
  isForgettable({ elapsedMs, nowMs }: Moment, forever: boolean): boolean {
    this.#drain(elapsedMs);
    const drained = this.#requestsMs + this.#tokensMs === 0;
    return drained && this.#open === 0 && this.#spent.isForgettable(nowMs, forever);
  }

  #drain(elapsedMs: number): void {
    const passedMs = elapsedMs - this.#atMs;
    this.#atMs = elapsedMs;
    this.#requestsMs = Math.max(0, this.#requestsMs - passedMs);
    this.#tokensMs = Math.max(0, this.#tokensMs - passedMs);
  }

  #refuseOpen({ concurrentRequests: limit }: Quota): Refusal | undefined {
    if (limit === undefined || this.#open < limit) return undefined;
    return { rule: "concurrentRequests", limit, wanted: 1, left: 0, held: true, waitMs: HELD_MS };
  }

  #refuseRequest({ requestsPerMinute: limit }: Quota): Refusal | undefined {
    if (limit === undefined) return undefined;
    const waitMs = toWait(this.#requestsMs, MINUTE_MS / limit);
    if (waitMs === 0) return undefined;
    return { rule: "requestsPerMinute", limit, wanted: 1, left: 0, held: false, waitMs };
  }

  #refuseTokens({ tokensPerMinute: limit }: Quota, wanted: number): Refusal | undefined {
    if (limit === undefined) return undefined;
    const cost = (wanted * MINUTE_MS) / limit;
    const waitMs = toWait(this.#tokensMs, cost);
    if (waitMs === 0) return undefined;
    const left = toLevel(limit, this.#tokensMs).remaining;
    const rule = "tokensPerMinute";
    if (wanted > limit) return { rule, limit, wanted, left, held: false, waitMs: undefined };
    const held = toWait(this.#tokensMs - (this.#heldTokens * MINUTE_MS) / limit, cost) === 0;
    return { rule, limit, wanted, left, held, waitMs: held ? Math.min(HELD_MS, waitMs) : waitMs };
  }

  #refuseMoney({ budgets = [] }: Quota, wanted: number, nowMs: number): Refusal | undefined {
    for (const { per } of budgets) this.#spent.of(per, nowMs); // All of them count from now on.
    for (const { per, limitMicroUsd: limit } of budgets) {
      const spent = this.#spent.of(per, nowMs);
      const left = limit - spent - this.#heldMicroUsd;
      // What is spent is spent, also for a call that would cost nothing.
      if (wanted <= left && spent < limit) continue;
      const held = wanted <= limit - spent && spent < limit;
      const never = wanted > limit || per === "total";
      const waitMs = held ? HELD_MS : never ? undefined : endOf(per, nowMs) - nowMs;
      return { rule: "budget", limit, wanted, left: Math.max(0, left), held, waitMs, per };
    }
    return undefined;
  }
}

/** How long until so much more fits into a minute. */
function toWait(takenMs: number, costMs: number): number {
  const over = Math.max(takenMs, 0) + costMs - MINUTE_MS;
  return over > SLACK_MS ? over : 0;
}

function toLevel(limit: number, takenMs: number): Level;
function toLevel(limit: number | undefined, takenMs: number): Level | undefined;
function toLevel(limit: number | undefined, takenMs: number): Level | undefined {
  if (limit === undefined) return undefined;
  const free = ((MINUTE_MS - takenMs + SLACK_MS) * limit) / MINUTE_MS;
  return { limit, remaining: Math.max(0, Math.floor(free)), resetMs: takenMs };
}

/** Money by period. A period that is over stays over, whatever the clock says later. */
class Spending {
  readonly #microUsd: Record<BudgetPeriod, number> = { hour: 0, day: 0, month: 0, total: 0 };
  readonly #startMs: Record<BudgetPeriod, number> = { hour: 0, day: 0, month: 0, total: 0 };
  #hourEndsMs = 0;
  /** The periods of its budgets, as far as they are known. */
  #asked: readonly BudgetPeriod[] = [];

  of(per: BudgetPeriod, nowMs: number): number {
    if (!this.#asked.includes(per)) this.#asked = [...this.#asked, per];
    return this.#of(per, nowMs);
  }

  /** The same, and it need not be remembered for anybody. */
  look(per: BudgetPeriod, nowMs: number): number {
    return this.#of(per, nowMs);
  }

  add(costMicroUsd: number, nowMs: number): void {
    this.#turn(nowMs);
    for (const per of BUDGET_PERIODS) this.#microUsd[per] += costMicroUsd;
  }

  isForgettable(nowMs: number, forever: boolean): boolean {
    const asked: readonly BudgetPeriod[] = this.#asked.length > 0 ? this.#asked : ["month"];
    const counted = forever ? [...asked, "total" as const] : asked;
    return counted.every((per) => this.#of(per, nowMs) === 0);
  }

  #of(per: BudgetPeriod, nowMs: number): number {
    this.#turn(nowMs);
    return this.#microUsd[per];
  }

  #turn(nowMs: number): void {
    if (nowMs < this.#hourEndsMs) return; // With no hour ends any other period.
    this.#hourEndsMs = endOf("hour", nowMs);
    for (const per of BUDGET_PERIODS) {
      const start = startOf(per, nowMs);
      if (start <= this.#startMs[per]) continue;
      this.#startMs[per] = start;
      this.#microUsd[per] = 0;
    }
  }
}
