// What the calls of one day came to, by caller and model.
import type { Entry } from "./history.ts";
import type { UsageRow } from "./store.ts";

/** Pairs of caller and model in one table. One takes some 200 bytes. */
export const PAIR_LIMIT = 10_000;
/** Kept free for the models of those who come too late for a row of their own. */
const OTHER_PAIRS = 100;
const OTHER = "other";
const UNKNOWN = "unknown";

type Call = Omit<Entry, "id" | "atMs" | "scopes" | "policy" | "route">;
type Counts = Omit<UsageRow, "day" | "caller" | "model">;
type Sums = { -readonly [Name in keyof Counts]: Counts[Name] };

const COUNTS = [
  "requests",
  "failed",
  "estimated",
  "inputTokens",
  "cachedInputTokens",
  "outputTokens",
  "costMicroUsd",
] as const satisfies readonly (keyof Counts)[];

export class UsageTable {
  readonly #callers = new Map<string, Map<string, Sums>>();
  #size = 0;

  /** How many pairs it has. */
  get size(): number {
    return this.#size;
  }

  add(call: Call): void {
    const sums = this.#find(call.caller, call.model ?? UNKNOWN);
    sums.requests = sum(sums.requests, 1);
    sums.failed = sum(sums.failed, call.error !== undefined || call.status >= 400 ? 1 : 0);
    sums.estimated = sum(sums.estimated, call.estimated ? 1 : 0);
    sums.inputTokens = sum(sums.inputTokens, call.inputTokens);
    sums.cachedInputTokens = sum(sums.cachedInputTokens, call.cachedInputTokens);
    sums.outputTokens = sum(sums.outputTokens, call.outputTokens);
    sums.costMicroUsd = sum(sums.costMicroUsd, call.costMicroUsd);
  }

  /** Adds what another table has counted. */
  addRow(row: Omit<UsageRow, "day">): void {
    const sums = this.#find(row.caller, row.model);
    for (const name of COUNTS) sums[name] = sum(sums[name], row[name]);
  }

  rows(day: string): UsageRow[] {
    return [...this.#callers].flatMap(([caller, models]) =>
      [...models].map(([model, sums]) => ({ day, caller, model, ...sums })),
    );
  }

  #find(caller: string, model: string): Sums {
    return (
      this.#get(caller, model, PAIR_LIMIT - OTHER_PAIRS) ??
      this.#get(OTHER, model, PAIR_LIMIT - 1) ??
      this.#get(OTHER, OTHER, PAIR_LIMIT) ??
      none()
    );
  }

  /** The sums of a pair, which is new where there are fewer than so many. */
  #get(caller: string, model: string, limit: number): Sums | undefined {
    const models = this.#callers.get(caller);
    const known = models?.get(model);
    if (known !== undefined || this.#size >= limit) return known;
    const sums = none();
    if (models === undefined) this.#callers.set(caller, new Map([[model, sums]]));
    else models.set(model, sums);
    this.#size++;
    return sums;
  }
}

function none(): Sums {
  return {
    requests: 0,
    failed: 0,
    estimated: 0,
    inputTokens: 0,
    cachedInputTokens: 0,
    outputTokens: 0,
    costMicroUsd: 0,
  };
}

/** Stays a safe integer, whatever comes: sums beyond are as large as can be. */
export function sum(one: number, other: number): number {
  if (!Number.isSafeInteger(other) || other < 0) return one;
  return Math.min(one + other, Number.MAX_SAFE_INTEGER);
}
