// The time of budgets: a clock that is set neither frees money nor takes it twice.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { createSteadyTime } from "../../src/store/steady-time.ts";
import type { CallRecord } from "../../src/store/store.ts";
import type { Clock } from "../../src/clock.ts";

const HOUR_MS = 3_600_000;

/** Two clocks that a test moves apart. */
function twoClocks() {
  let wallMs = Date.UTC(2026, 10, 23, 12);
  let elapsedMs = 0;
  const clock: Clock = {
    now: () => wallMs,
    elapsed: () => elapsedMs,
    after: () => ({ refresh: () => {}, cancel: () => {} }),
  };
  return {
    clock,
    pass(ms: number) {
      wallMs += ms;
      elapsedMs += ms;
    },
    set(byMs: number) {
      wallMs += byMs;
    },
  };
}

test("follows the wall clock while that is steady", () => {
  const { clock, pass } = twoClocks();
  const steady = createSteadyTime(clock);
  for (let minute = 0; minute < 90; minute++) {
    pass(60_000);
    assert.equal(steady(), clock.now());
  }
});

for (const byMs of [-30 * 24 * HOUR_MS, -HOUR_MS, HOUR_MS, 400 * 24 * HOUR_MS]) {
  test(`a clock set by ${byMs / HOUR_MS} hours is followed by one percent of the time that passes`, () => {
    const { clock, pass, set } = twoClocks();
    const steady = createSteadyTime(clock);
    const before = steady();

    set(byMs);
    assert.equal(steady(), before);
    pass(100_000);
    assert.equal(steady() - before, 100_000 + Math.sign(byMs) * 1_000);
  });
}

const record: CallRecord = {
  id: "",
  caller: "a",
  policy: "default",
  route: "POST /chat/completions",
  model: undefined,
  status: 200,
  error: undefined,
  inputTokens: 0,
  cachedInputTokens: 0,
  outputTokens: 0,
  costMicroUsd: 0,
  estimated: false,
};

test("setting the clock a day on and back again opens no second budget", async () => {
  const { clock, pass, set } = twoClocks();
  const store = new MemoryStore(clock);
  let calls = 0;
  const spend = async (): Promise<boolean> => {
    const quotas = [{ scope: "a", budgets: [{ limitMicroUsd: 100, per: "day" as const }] }];
    const claim = { id: `${++calls}`, quotas, tokens: 0, costMicroUsd: 60 };
    const { kind } = await store.admit(claim);
    if (kind === "admitted") await store.settle(claim, { tokens: 0, costMicroUsd: 60 }, record);
    return kind === "admitted";
  };
  assert.equal(await spend(), true);

  for (const byMs of [24 * HOUR_MS, -24 * HOUR_MS, -48 * HOUR_MS, 48 * HOUR_MS]) {
    set(byMs);
    pass(1_000);
    assert.equal(await spend(), false, `${byMs}`);
  }

  pass(12 * HOUR_MS);
  assert.equal(await spend(), true, "the day is over");
});

test("spending that the journal dates into the future counts from now on", async () => {
  const { clock } = twoClocks();
  const later = clock.now() + 48 * HOUR_MS;
  const store = new MemoryStore(clock, {
    restore: (tell) => tell({ atMs: later, scopes: ["a"], costMicroUsd: 100 }),
    add: async () => {},
    rows: async () => [],
    problem: undefined,
    close: async () => {},
  });
  const budgets = [{ limitMicroUsd: 100, per: "day" as const }];

  const claim = { id: "1", quotas: [{ scope: "a", budgets }], tokens: 0, costMicroUsd: 1 };
  const admission = await store.admit(claim);

  assert.equal(admission.kind, "refused");
  assert.equal(admission.kind === "refused" && admission.waitMs, 12 * HOUR_MS);
});
