// The command `usage`: what was spent, as a table for people or as JSON.
import { readdir } from "node:fs/promises";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { loadDay, toDays } from "../store/journal-files.ts";
import { RedisStore } from "../store/redis-store.ts";
import type { UsageRow } from "../store/store.ts";
import {
  parseUsageQuery,
  summarize,
  type UsageGroup,
  type UsageSummary,
  type UsageTotal,
} from "../usage/summary.ts";
import { align } from "./table.ts";

type Row = Partial<Pick<UsageGroup, "caller" | "model" | "day">> & UsageTotal;

const NAMES = ["day", "caller", "model"] as const;

/** Its heading, and what stands below it. */
const COLUMNS: readonly (readonly [string, (row: Row) => string])[] = [
  ["requests", ({ requests }) => count(requests)],
  ["failed", ({ failed }) => count(failed)],
  ["input", ({ inputTokens }) => count(inputTokens)],
  ["cached", ({ cachedInputTokens }) => count(cachedInputTokens)],
  ["output", ({ outputTokens }) => count(outputTokens)],
  ["USD", ({ costUsd }) => costUsd.toFixed(6)],
];

/**
 * Reads what the gateway has written, whether it runs or not.
 * @param options `by`, `from` and `to`, as GET /admin/usage has them.
 * @throws Error that says what is wrong.
 */
export async function readUsage(
  { store }: Config,
  options: ReadonlyMap<string, string>,
): Promise<UsageSummary> {
  const asked = ["by", "from", "to"].flatMap((name) => {
    const value = options.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  const query = parseUsageQuery(new URLSearchParams(asked), systemClock.now());
  return summarize(await readRows(store, query.from, query.to), query);
}

async function readRows(
  { redis, dataDir, keepDays }: Config["store"],
  from: string,
  to: string,
): Promise<readonly UsageRow[]> {
  if (redis !== undefined) {
    const store = new RedisStore(redis, { clock: systemClock, keepDays });
    return store.usage(from, to).finally(() => store.close());
  }
  if (dataDir === undefined) {
    throw new Error(
      "The gateway keeps no record that outlives it: set DATA_DIR or REDIS_URL, or ask the one " +
        "that runs for GET /admin/usage.",
    );
  }
  const names = await readdir(dataDir).catch(() => {
    throw new Error(`There is no record in ${dataDir}.`);
  });
  const days = toDays(names).filter((day) => day >= from && day <= to);
  const loaded = await Promise.all(days.map((day) => loadDay(dataDir, day)));
  return loaded.flatMap(({ totals }) => totals.table.rows(totals.day));
}

/** One line per row, numbers to the right, and the total. */
export function describeUsage(summary: UsageSummary): string {
  const { rows, total, by, from, to } = summary;
  if (rows.length === 0) return `Nothing was used from ${from} to ${to}.\n`;
  const names = NAMES.filter((name) => by.includes(name));
  const toCells = (row: Row): readonly string[] => [
    ...names.map((name) => clean(row[name] ?? "")),
    ...COLUMNS.map(([, show]) => show(row)),
  ];
  const sum = toCells(total).map((cell, index) => (index === 0 && names.length > 0 ? "all" : cell));
  const table = [[...names, ...COLUMNS.map(([name]) => name)], ...rows.map(toCells), sum];
  const lines = align(table, names.length);
  const estimated =
    total.estimated > 0 ? `${count(total.estimated)} requests are estimated.\n` : "";
  return `From ${from} to ${to}, in UTC:\n\n${lines.join("\n")}\n${estimated}`;
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Names are the callers' own: none of them moves a cursor. */
function clean(name: string): string {
  const plain = name.replace(/[\p{C}]/gu, "?");
  return plain.length > 60 ? `${plain.slice(0, 59)}…` : plain;
}
