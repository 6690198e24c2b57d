// What the calls of a day came to, as Redis keeps it: a hash of rows, by caller and model.
import type { RedisConnection } from "./redis-connection.ts";
import { toUsageKey } from "./redis-keys.ts";
import { DAY_MS, toDay } from "./period.ts";
import type { CallRecord, UsageRow } from "./store.ts";
import { sum } from "./usage-table.ts";

const OTHER = "other";
/** Kept free for the models of those who come too late for a row of their own. */
const OTHER_ROWS = 100;
/** Of a caller or a model; none is as long. */
const NAME_CHARACTERS = 300;
const MOST_DAYS = 400;
/** Read at one time: calls that wait to be admitted are answered in between. */
const DAYS_AT_ONCE = 10;
const ROWS_AT_ONCE = 200;

/** Under which names a row is counted: under the first that the day has, or has room for. */
export function toRowNames({ caller, model = "unknown" }: CallRecord): readonly string[] {
  return [toRowName(caller, model), toRowName(OTHER, model), toRowName(OTHER, OTHER)];
}

/** How many rows there may be for each of these names to be a new one. The last always is. */
export function toRowLimits(limit: number): readonly number[] {
  return [limit - OTHER_ROWS, limit - 1, Number.MAX_SAFE_INTEGER];
}

/** In the order in which toRow reads them. */
export function toAmounts(record: CallRecord): readonly number[] {
  const { inputTokens, cachedInputTokens, outputTokens, costMicroUsd } = record;
  const failed = record.error !== undefined || record.status >= 400;
  const counts = [1, Number(failed), Number(record.estimated)];
  const sums = [inputTokens, cachedInputTokens, outputTokens, costMicroUsd];
  return [...counts, ...sums.map((each) => sum(0, each))];
}

/** From the first day to the last, of those the latest 400. @throws RedisError */
export async function readUsage(
  redis: RedisConnection,
  fromDay: string,
  toDay: string,
): Promise<readonly UsageRow[]> {
  const days = daysOf(fromDay, toDay);
  const rows: UsageRow[] = [];
  for (let next = 0; next < days.length; next += DAYS_AT_ONCE) {
    const some = days.slice(next, next + DAYS_AT_ONCE);
    const read = await Promise.all(some.map((day) => readDay(redis, day)));
    rows.push(...read.flat());
  }
  return rows;
}

function daysOf(fromDay: string, lastDay: string): readonly string[] {
  const lastMs = Date.parse(lastDay);
  const firstMs = Math.max(Date.parse(fromDay), lastMs - (MOST_DAYS - 1) * DAY_MS);
  const days: string[] = [];
  for (let ms = firstMs; ms <= lastMs; ms += DAY_MS) days.push(toDay(ms));
  return days;
}

/** By and by: a reply must not become large. Some rows may come twice. */
async function readDay(redis: RedisConnection, day: string): Promise<readonly UsageRow[]> {
  const sums = new Map<string, string>();
  let cursor = "0";
  do {
    const key = toUsageKey(day);
    const reply = await redis.command("HSCAN", key, cursor, "COUNT", ROWS_AT_ONCE);
    const [next, items] = Array.isArray(reply) ? reply : [];
    cursor = String(next ?? 0);
    const texts = Array.isArray(items) ? items.map(String) : [];
    for (let at = 0; at < texts.length; at += 2) sums.set(texts[at] ?? "", texts[at + 1] ?? "");
  } while (cursor !== "0");
  return [...sums].map(([name, text]) => toRow(day, name, text)).sort(byName);
}

/** As JSON, so that no two names look the same together; it escapes what UTF-8 cannot say. */
function toRowName(caller: string, model: string): string {
  return JSON.stringify([caller, model].map((name) => name.slice(0, NAME_CHARACTERS)));
}

function toRow(day: string, name: string, text: string): UsageRow {
  const names: unknown = JSON.parse(name);
  const [caller, model] = Array.isArray(names) ? names.map(String) : [];
  const [requests = 0, failed = 0, estimated = 0, ...rest] = text.split(" ").map(Number);
  const [inputTokens = 0, cachedInputTokens = 0, outputTokens = 0, costMicroUsd = 0] = rest;
  return {
    day,
    caller: caller ?? OTHER,
    model: model ?? OTHER,
    requests,
    failed,
    estimated,
    inputTokens,
    cachedInputTokens,
    outputTokens,
    costMicroUsd,
  };
}

function byName(one: UsageRow, other: UsageRow): number {
  const names = [one.caller, one.model].join("\n");
  return names < [other.caller, other.model].join("\n") ? -1 : 1;
}
