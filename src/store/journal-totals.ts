// What the calls of a day that is over came to: all that budgets and reports need of it.
import type { Entry, Spent } from "./history.ts";
import { isScopes } from "./journal-line.ts";
import { DAY_MS } from "./period.ts";
import type { UsageRow } from "./store.ts";
import { sum, UsageTable } from "./usage-table.ts";

/** Sets of scopes told apart. Beyond, each scope is remembered by itself: budgets see no change. */
const SET_LIMIT = 100_000;

type Money = Pick<Spent, "scopes" | "costMicroUsd">;

/** Which lines it has counted. */
export interface Covered {
  /** From the beginning of the file. */
  readonly bytes: number;
  /** How the file begins: another one in its place has not been counted. */
  readonly begin: string;
}

export class DayTotals {
  readonly day: string;
  readonly table = new UsageTable();
  covered: Covered = { bytes: 0, begin: "" };
  readonly #spent = new Map<string, Money>();

  constructor(day: string) {
    this.day = day;
  }

  add(entry: Entry): void {
    this.table.add(entry);
    this.#spend(entry);
  }

  /** By set of scopes, as of the end of the day. */
  *spent(): Generator<Spent> {
    const atMs = Date.parse(this.day) + DAY_MS - 1;
    for (const money of this.#spent.values()) yield { ...money, atMs };
  }

  toText(): string {
    const rows = this.table.rows(this.day).map(({ day: _, ...row }) => row);
    const spent = [...this.#spent.values()];
    return `${JSON.stringify({ day: this.day, ...this.covered, rows, spent })}\n`;
  }

  /** Nothing where the text is not all that was written. */
  static parse(text: string, day: string): DayTotals | undefined {
    const value = parse(text);
    if (value?.day !== day || !isSum(value.bytes) || typeof value.begin !== "string") return;
    if (!isList(value.rows, isRow) || !isList(value.spent, isMoney)) return;
    const totals = new DayTotals(day);
    totals.covered = { bytes: value.bytes, begin: value.begin };
    for (const row of value.rows) totals.table.addRow(row);
    for (const money of value.spent) totals.#spend(money);
    return totals;
  }

  #spend({ scopes, costMicroUsd }: Money): void {
    const key = JSON.stringify(scopes);
    const known = this.#spent.get(key);
    if (known === undefined && this.#spent.size >= SET_LIMIT && scopes.length > 1) {
      for (const scope of scopes) this.#spend({ scopes: [scope], costMicroUsd });
      return;
    }
    const total = sum(known?.costMicroUsd ?? 0, costMicroUsd);
    this.#spent.set(key, { scopes, costMicroUsd: total });
  }
}

type Loose<Of> = { readonly [Name in keyof Of]?: unknown };
type Row = Omit<UsageRow, "day">;

function parse(
  text: string,
): Loose<Covered & Record<"day" | "rows" | "spent", unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function isList<Item>(
  value: unknown,
  isItem: (item: Loose<Item>) => item is Item & Loose<Item>,
): value is readonly Item[] {
  return Array.isArray(value) && value.every((item) => item instanceof Object && isItem(item));
}

function isRow(row: Loose<Row>): row is Row {
  const { caller, model, ...counts } = row;
  const { requests, failed, estimated } = counts;
  const { inputTokens, cachedInputTokens, outputTokens, costMicroUsd } = counts;
  const tokens = [inputTokens, cachedInputTokens, outputTokens];
  return (
    typeof caller === "string" &&
    typeof model === "string" &&
    [requests, failed, estimated, ...tokens, costMicroUsd].every(isSum)
  );
}

function isMoney(money: Loose<Money>): money is Money {
  return isScopes(money.scopes) && isSum(money.costMicroUsd);
}

function isSum(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
