// A wrong value as a message shows it.
import { Expanded } from "./expanded.ts";

/** Whole or not at all: of half a secret nobody would know that it is one. */
export function show(value: unknown): string {
  const text = toJson(value);
  return text !== undefined && text.length <= 60 ? text : kindOf(value);
}

/** None for what is nested deeper than a stack is high. */
function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

function kindOf(value: unknown): string {
  if (typeof value === "string" || value instanceof Expanded) return "a text";
  if (Array.isArray(value)) return "a list";
  return value === null ? "null" : `a ${typeof value}`.replace("a object", "an object");
}
