// Calls to be remembered.
import type { Entry } from "../../src/store/history.ts";

let count = 0;

/** A call of the first moment of 2026, as far as nothing else is said. */
export function createEntry(told: Partial<Entry> = {}): Entry {
  return {
    atMs: Date.UTC(2026, 0, 1),
    id: `call-${++count}`,
    caller: "key:backend",
    policy: "user",
    route: "POST /chat/completions",
    model: "gpt-4o-mini",
    status: 200,
    error: undefined,
    inputTokens: 0,
    cachedInputTokens: 0,
    outputTokens: 0,
    costMicroUsd: 0,
    estimated: false,
    scopes: ["caller:key:backend"],
    ...told,
  };
}
