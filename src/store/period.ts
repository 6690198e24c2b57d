// Budgets' periods: hours, days and months of UTC.
import type { BudgetPeriod } from "../config/config.ts";

const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** When the period began that a moment is in; milliseconds since the epoch, as all of them. */
export function startOf(per: BudgetPeriod, nowMs: number): number {
  if (per === "hour") return nowMs - (nowMs % HOUR_MS);
  if (per === "day") return nowMs - (nowMs % DAY_MS);
  if (per === "month") return monthOf(nowMs, 0);
  return 0;
}

/** When the period is over. */
export function endOf(per: BudgetPeriod, nowMs: number): number {
  if (per === "total") return Infinity;
  if (per === "month") return monthOf(nowMs, 1);
  return startOf(per, nowMs) + (per === "hour" ? HOUR_MS : DAY_MS);
}

function monthOf(nowMs: number, later: number): number {
  const now = new Date(nowMs);
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + later);
}

/** The day that was asked for last: most calls are of one. */
let known = { start: NaN, name: "" };

/** `2026-11-23` */
export function toDay(ms: number): string {
  const start = startOf("day", ms);
  if (start !== known.start) known = { start, name: new Date(ms).toISOString().slice(0, 10) };
  return known.name;
}
