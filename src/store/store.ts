// The contract of what outlives a call: who has used how much, and what is set aside for the calls
// that are open. Every verb is atomic: nobody reads first and writes afterwards.
import type { BudgetPeriod } from "../config/config.ts";

/** What one party may use: a caller, all callers of a policy together, an address. */
export interface Quota {
  /** Names the party: `caller:key:backend`, `policy:demo`, `address:192.0.2.1`. */
  readonly scope: string;
  /** A burst is one minute's worth. */
  readonly requestsPerMinute?: number | undefined;
  readonly tokensPerMinute?: number | undefined;
  readonly concurrentRequests?: number | undefined;
  /** Each of them has to hold. */
  readonly budgets?: readonly Budget[] | undefined;
}

/** Whole micro-dollars for a period of UTC. */
export interface Budget {
  readonly limitMicroUsd: number;
  readonly per: BudgetPeriod;
}

/** What a call needs: one request, and what it may come to at most. */
export interface Claim {
  /** The call's own, never used again. */
  readonly id: string;
  /** No scope twice. */
  readonly quotas: readonly Quota[];
  readonly tokens: number;
  readonly costMicroUsd: number;
}

/** How far a rate is used up, in OpenAI's terms. */
export interface Level {
  readonly limit: number;
  /** Whole ones that could be had now. */
  readonly remaining: number;
  /** Until all of it could be. */
  readonly resetMs: number;
}

/** Of several quotas the one of which the least is left. */
export interface Levels {
  readonly requests?: Level | undefined;
  readonly tokens?: Level | undefined;
}

export type Admission = Admitted | Refused;

export interface Admitted {
  readonly kind: "admitted";
  readonly levels: Levels;
}

export interface Refused {
  readonly kind: "refused";
  readonly levels: Levels;
  readonly rule: "requestsPerMinute" | "tokensPerMinute" | "concurrentRequests" | "budget";
  readonly scope: string;
  /** Of the rule; a budget's in micro-dollars. */
  readonly limit: number;
  /** How much was wanted: 1, or the tokens, or the micro-dollars. */
  readonly wanted: number;
  /** How much is neither used nor set aside. */
  readonly left: number;
  /** Only because of what is set aside for calls that are open. */
  readonly held: boolean;
  /** Until it may be admitted. Nothing where that is never: too large, or a total that is spent. */
  readonly waitMs: number | undefined;
  readonly per?: BudgetPeriod | undefined;
}

/** What a call came to. */
export interface Used {
  readonly tokens: number;
  readonly costMicroUsd: number;
}

/** A call as it is remembered. */
export interface CallRecord {
  readonly id: string;
  readonly caller: string;
  readonly policy: string;
  /** `POST /chat/completions` */
  readonly route: string;
  readonly model: string | undefined;
  /** The status that the client got, 499 where it left. */
  readonly status: number;
  readonly error: string | undefined;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly costMicroUsd: number;
  /** OpenAI reported nothing: the figures are what was seen of the call. */
  readonly estimated: boolean;
}

/** What the calls of one day, caller and model came to. */
export interface UsageRow {
  /** In UTC: `2026-11-23`. */
  readonly day: string;
  readonly caller: string;
  /** `unknown` where no call named one. */
  readonly model: string;
  readonly requests: number;
  readonly failed: number;
  /** How many of the requests have estimated figures. */
  readonly estimated: number;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly costMicroUsd: number;
}

/** How a party stands with its quota. */
export interface Standing {
  readonly scope: string;
  readonly requests: Level | undefined;
  readonly tokens: Level | undefined;
  /** Calls that are open now, where there is a limit. */
  readonly open: { readonly count: number; readonly limit: number } | undefined;
  readonly budgets: readonly BudgetStanding[];
}

export interface BudgetStanding extends Budget {
  readonly spentMicroUsd: number;
  /** Set aside for calls that are open. */
  readonly heldMicroUsd: number;
  /** Until its period is over; nothing for one that never is. */
  readonly resetMs: number | undefined;
}

/** A caller that is shut out. */
export interface Revocation {
  readonly caller: string;
  /** Milliseconds since 1970, or Infinity. */
  readonly untilMs: number;
}

/** In force at one time. */
export const REVOCATION_LIMIT = 10_000;

/** Of what is over at once: nobody has to wait for it. */
export const DONE: Promise<void> = Promise.resolve();

export interface Store {
  /**
   * Takes a request from every quota and sets tokens and money aside, or does none of it.
   * @throws StoreError when it cannot say.
   */
  admit(claim: Claim): Promise<Admission>;
  /**
   * Sets more money aside for an open call, and says whether there was as much.
   * @throws StoreError when it cannot say.
   */
  extend(claim: Claim, costMicroUsd: number): Promise<boolean>;
  /**
   * Ends a call: gives back what was set aside for its claim, takes what was used, remembers the
   * call. What is ended already stays as it is. Resolves when killing the process loses nothing of
   * it any more, or when that cannot be had; it never rejects.
   */
  settle(claim: Claim, used: Used, record: CallRecord): Promise<void>;
  /**
   * From the first day to the last, both included.
   * @throws StoreError when it cannot say.
   */
  usage(fromDay: string, toDay: string): Promise<readonly UsageRow[]>;
  /**
   * How the parties of these quotas stand, 200 of them at most, in their order. Takes nothing.
   * @throws StoreError when it cannot say.
   */
  peek(quotas: readonly Quota[]): Promise<readonly Standing[]>;
  /**
   * Shuts a caller out until a moment, or lets it in again where that is past. Resolves when it
   * outlives the process, where anything does.
   * @throws StoreError when it cannot be kept, or there are too many; then nothing has changed.
   */
  revoke(revocation: Revocation): Promise<void>;
  /**
   * Whether a caller is shut out, as far as it is known here: stores that are shared tell each
   * other within 2 seconds. One that has not heard of any yet knows of none.
   */
  revoked(caller: string): boolean;
  /** Those in force, by caller. */
  revocations(): Promise<readonly Revocation[]>;
  /** Nothing while all is well, else what is not, in words for the operator. */
  readonly problem: string | undefined;
  /** Where it takes time to open: rejects if it never can be. */
  readonly ready?: Promise<void>;
  close(): Promise<void>;
}

/** The store cannot answer now. The message is for the operator. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}
