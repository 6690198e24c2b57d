// One call as one line of JSON: how it is written, and what is believed of what is read.
import { toEntry, type Entry } from "./history.ts";

/** Of a line, its break included. */
export const LINE_LIMIT_BYTES = 8 * 1024;
/** What is left of each text of a line that would be too long: UTF-16 units of 6 bytes at most. */
const CUT_LENGTH = 100;
/** No call has a trillion of anything. More is damage, from which a budget would never recover. */
const NUMBER_LIMIT = 1e12;

/** @param at when, as ISO 8601 with milliseconds. */
export function toLine(entry: Entry, at: string): string {
  const line = write(entry, at);
  // In UTF-8 a unit of UTF-16 takes three bytes at most.
  if (line.length * 3 <= LINE_LIMIT_BYTES || fits(line)) return line;
  const short = write(cut(entry), at);
  // Who is charged is never cut: it would be somebody else. Names are shorter than that by far.
  return fits(short) ? short : write({ ...cut(entry), scopes: [] }, at);
}

// Field by field: to spread an object takes as long as all the rest.
function write(entry: Entry, at: string): string {
  const line = JSON.stringify({
    at,
    id: entry.id,
    caller: entry.caller,
    policy: entry.policy,
    route: entry.route,
    model: entry.model,
    status: entry.status,
    error: entry.error,
    inputTokens: entry.inputTokens,
    cachedInputTokens: entry.cachedInputTokens,
    outputTokens: entry.outputTokens,
    costMicroUsd: entry.costMicroUsd,
    estimated: entry.estimated,
    scopes: entry.scopes,
  });
  return `${line}\n`;
}

function fits(line: string): boolean {
  return Buffer.byteLength(line) <= LINE_LIMIT_BYTES;
}

function cut(entry: Entry): Entry {
  const short = (text: string): string => text.slice(0, CUT_LENGTH);
  return {
    ...entry,
    id: short(entry.id),
    caller: short(entry.caller),
    policy: short(entry.policy),
    route: short(entry.route),
    model: entry.model && short(entry.model),
    error: entry.error && short(entry.error),
  };
}

/** Nothing where the line is no whole entry of that day. */
export function parseLine(line: string, day: string): Entry | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !isLine(value)) return undefined;
  const atMs = toMs(value.at, day);
  if (atMs === undefined) return undefined;
  return toEntry(value, atMs, value.scopes);
}

type Line = Omit<Entry, "atMs"> & { readonly at: string };
type Loose = { readonly [Name in keyof Line]?: unknown };

function isLine(value: Loose): value is Line {
  return (
    isText(value.at) &&
    isText(value.id) &&
    isText(value.caller) &&
    isText(value.policy) &&
    isText(value.route) &&
    (value.model === undefined || isText(value.model)) &&
    isCount(value.status) &&
    (value.error === undefined || isText(value.error)) &&
    isCount(value.inputTokens) &&
    isCount(value.cachedInputTokens) &&
    isCount(value.outputTokens) &&
    isCount(value.costMicroUsd) &&
    typeof value.estimated === "boolean" &&
    isScopes(value.scopes)
  );
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= NUMBER_LIMIT;
}

export function isScopes(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(isText);
}

function toMs(at: string, day: string): number | undefined {
  if (at.length !== 24 || !at.startsWith(day) || !at.endsWith("Z")) return undefined;
  const ms = Date.parse(at);
  return Number.isNaN(ms) ? undefined : ms;
}
