// What is remembered of the calls that are over.
import type { CallRecord, UsageRow } from "./store.ts";

/** A call that is over, and who was charged for it. */
export interface Entry extends CallRecord {
  /** Milliseconds since the epoch, whole. */
  readonly atMs: number;
  readonly scopes: readonly string[];
}

// Field by field: to spread an object takes as long as all the rest of a settlement.
export function toEntry(record: CallRecord, atMs: number, scopes: readonly string[]): Entry {
  return {
    atMs,
    id: record.id,
    caller: record.caller,
    policy: record.policy,
    route: record.route,
    model: record.model,
    status: record.status,
    error: record.error,
    inputTokens: record.inputTokens,
    cachedInputTokens: record.cachedInputTokens,
    outputTokens: record.outputTokens,
    costMicroUsd: record.costMicroUsd,
    estimated: record.estimated,
    scopes,
  };
}

/** What one or many calls have cost. */
export type Spent = Pick<Entry, "atMs" | "scopes" | "costMicroUsd">;

export interface History {
  /** Tells what has been spent before, in the order of time. */
  restore(tell: (spent: Spent) => void): void;
  /** Resolves when killing the process loses nothing of it any more. Never rejects. */
  add(entry: Entry): Promise<void>;
  /** From the first day to the last, both included. */
  rows(fromDay: string, toDay: string): Promise<readonly UsageRow[]>;
  /** Nothing while all is well, else what is not, in words for the operator. */
  readonly problem: string | undefined;
  close(): Promise<void>;
}
