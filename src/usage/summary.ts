// What the record says, added up as somebody asks for it.
import { GatewayError } from "../errors.ts";
import type { UsageRow } from "../store/store.ts";

const FIELDS = ["caller", "model", "day"] as const;

type Field = (typeof FIELDS)[number];

export interface UsageQuery {
  /** What the rows are told apart by. */
  readonly by: readonly Field[];
  /** Days of UTC, `2026-11-23`, both included. */
  readonly from: string;
  readonly to: string;
}

export interface UsageTotal {
  readonly requests: number;
  readonly failed: number;
  /** How many of the requests have estimated figures, as OpenAI reported none. */
  readonly estimated: number;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly costUsd: number;
}

export type UsageGroup = { readonly [name in Field]?: string } & UsageTotal;

export interface UsageSummary extends UsageQuery {
  /** By day, the dearest first. */
  readonly rows: readonly UsageGroup[];
  readonly total: UsageTotal;
}

const DAY = /^\d{4}-\d\d-\d\d$/;
const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 30;
const MAX_DAYS = 400;

/**
 * `by=caller,model&from=2026-11-01&to=2026-11-23`. Default: by caller, the last 30 days.
 * @throws GatewayError 400
 */
export function parseUsageQuery(query: URLSearchParams, nowMs: number): UsageQuery {
  for (const name of query.keys()) {
    if (!["by", "from", "to"].includes(name))
      throw wrong(name, "is unknown: by, from and to are not");
    if (query.getAll(name).length > 1) throw wrong(name, "is there twice");
  }
  const by = (query.get("by") ?? "caller").split(",").map((field) => field.trim());
  const unknown = by.find((field) => !FIELDS.some((known) => known === field));
  if (unknown !== undefined) throw wrong("by", `takes ${FIELDS.join(", ")}, with commas between`);
  const to = toDay("to", query.get("to"), nowMs);
  const from = toDay("from", query.get("from"), Date.parse(to) - (DEFAULT_DAYS - 1) * DAY_MS);
  const days = (Date.parse(to) - Date.parse(from)) / DAY_MS;
  if (days < 0) throw wrong("from", `is after ${to}`);
  if (days >= MAX_DAYS) throw wrong("from", `is too early: ask for ${MAX_DAYS} days at most`);
  return { by: FIELDS.filter((field) => by.includes(field)), from, to };
}

export function summarize(rows: readonly UsageRow[], query: UsageQuery): UsageSummary {
  const total = new Sum();
  const groups = new Map<string, readonly [UsageRow, Sum]>();
  for (const row of rows) {
    const key = query.by.map((field) => row[field]).join("\n");
    const known = groups.get(key);
    const [, sum] = known ?? [row, new Sum()];
    if (known === undefined) groups.set(key, [row, sum]);
    sum.add(row);
    total.add(row);
  }
  const summed = Array.from(groups.values(), ([row, sum]): UsageGroup => {
    const names = query.by.map((field) => [field, row[field]]);
    return { ...Object.fromEntries(names), ...sum.toTotal() };
  });
  const sorted = summed.toSorted((one, other) => {
    if (one.day !== other.day) return (one.day ?? "") < (other.day ?? "") ? -1 : 1;
    return other.costUsd - one.costUsd || other.requests - one.requests;
  });
  return { ...query, rows: sorted, total: total.toTotal() };
}

/** A month may have hundreds of thousands of rows: each of them is seen once. */
class Sum {
  #requests = 0;
  #failed = 0;
  #estimated = 0;
  #inputTokens = 0;
  #cachedInputTokens = 0;
  #outputTokens = 0;
  #costMicroUsd = 0;

  add(row: UsageRow): void {
    this.#requests += row.requests;
    this.#failed += row.failed;
    this.#estimated += row.estimated;
    this.#inputTokens += row.inputTokens;
    this.#cachedInputTokens += row.cachedInputTokens;
    this.#outputTokens += row.outputTokens;
    this.#costMicroUsd += row.costMicroUsd;
  }

  toTotal(): UsageTotal {
    return {
      requests: this.#requests,
      failed: this.#failed,
      estimated: this.#estimated,
      inputTokens: this.#inputTokens,
      cachedInputTokens: this.#cachedInputTokens,
      outputTokens: this.#outputTokens,
      costUsd: this.#costMicroUsd / 1_000_000,
    };
  }
}

function toDay(name: string, given: string | null, otherwiseMs: number): string {
  if (given === null) return new Date(otherwiseMs).toISOString().slice(0, 10);
  const ms = DAY.test(given) ? Date.parse(given) : NaN;
  if (new Date(ms || 0).toISOString().slice(0, 10) === given) return given;
  throw wrong(name, "has to be a day, such as 2026-11-23");
}

function wrong(name: string, what: string): GatewayError {
  return new GatewayError("invalid_request", `"${name}" ${what}.`, { param: name });
}
