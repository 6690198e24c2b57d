// The store of one process: the contract, and what only its own clock can show.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Clock } from "../../src/clock.ts";
import { MemoryHistory } from "../../src/store/memory-history.ts";
import { ACCOUNT_LIMIT, MemoryStore } from "../../src/store/memory-store.ts";
import { DAY_MS, endOf } from "../../src/store/period.ts";
import { StoreError, type Budget, type Quota } from "../../src/store/store.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { refused, settle, toClaim } from "./claims.ts";
import { storeContract } from "./contract.ts";

function open(t: TestContext) {
  const clock = new ManualClock();
  // Somewhere in the middle of every period.
  clock.advance(17 * DAY_MS + 5_000_123);
  const startMs = clock.now();
  // Monotonic clocks count from somewhere near.
  const elapsed = (): number => clock.elapsed() - startMs;
  const after: Clock["after"] = (delayMs, run) => clock.after(delayMs, run);
  const store = new MemoryStore({ now: () => clock.now(), elapsed, after }, new MemoryHistory());
  t.after(() => store.close());
  return { store, clock };
}

storeContract("memory", async (t) => {
  const { store, clock } = open(t);
  return { store, now: () => clock.now(), pass: async (ms) => clock.advance(ms) };
});

test("after the wait that it was told a call is admitted, and not before", async (t) => {
  const { store, clock } = open(t);
  const requests = { scope: "a", requestsPerMinute: 7 };
  const tokens = { scope: "b", tokensPerMinute: 13 };
  for (let count = 0; count < 7; count++) await store.admit(toClaim(requests));
  const spent = toClaim(tokens, { tokens: 13 });
  await store.admit(spent);
  await settle(store, spent, { tokens: 13 });

  const claims = [() => toClaim(requests), () => toClaim(tokens, { tokens: 5 })];
  for (const claim of claims) {
    const { waitMs = NaN } = refused(await store.admit(claim()));
    clock.advance(waitMs - 0.01);
    assert.equal((await store.admit(claim())).kind, "refused");
    clock.advance(0.02);
    assert.equal((await store.admit(claim())).kind, "admitted");
  }
});

test("a budget is whole again with every period, and only with it", async (t) => {
  for (const per of ["hour", "day", "month"] as const) {
    const { store, clock } = open(t);
    const budgets: readonly Budget[] = [{ limitMicroUsd: 100, per }];
    const quota: Quota = { scope: "a", budgets };
    const claim = toClaim(quota, { costMicroUsd: 100 });
    await store.admit(claim);
    await settle(store, claim, { costMicroUsd: 100 });

    const { waitMs = NaN } = refused(await store.admit(toClaim(quota)));
    assert.equal(waitMs, endOf(per, clock.now()) - clock.now());
    clock.advance(waitMs - 1);
    assert.equal(refused(await store.admit(toClaim(quota))).waitMs, 1);
    clock.advance(1);
    assert.equal((await store.admit(toClaim(quota, { costMicroUsd: 100 }))).kind, "admitted");
  }
});

test("money for all time is never given back", async (t) => {
  const { store, clock } = open(t);
  const quota: Quota = { scope: "a", budgets: [{ limitMicroUsd: 100, per: "total" }] };
  const claim = toClaim(quota, { costMicroUsd: 100 });
  await store.admit(claim);
  await settle(store, claim, { costMicroUsd: 99 });
  clock.advance(400 * DAY_MS);

  assert.equal(refused(await store.admit(toClaim(quota, { costMicroUsd: 2 }))).left, 1);
});

test("what a call holds it keeps over the end of a period", async (t) => {
  const { store, clock } = open(t);
  const quota: Quota = { scope: "a", budgets: [{ limitMicroUsd: 100, per: "hour" }] };
  const claim = toClaim(quota, { costMicroUsd: 80 });
  await store.admit(claim);
  clock.advance(3_600_000);

  assert.equal(refused(await store.admit(toClaim(quota, { costMicroUsd: 30 }))).held, true);
  await settle(store, claim, { costMicroUsd: 80 });

  // Paid in the hour in which it ended.
  assert.equal(refused(await store.admit(toClaim(quota, { costMicroUsd: 30 }))).left, 20);
  assert.equal(store.open, 0);
});

test("what drained while calls were open is not given back: there is no second burst", async (t) => {
  const { store, clock } = open(t);
  const quota = { scope: "a", tokensPerMinute: 1_000 };
  const long = [];
  for (let minute = 0; minute < 3; minute++) {
    const claim = toClaim(quota, { tokens: 1_000 });
    assert.equal((await store.admit(claim)).kind, "admitted");
    long.push(claim);
    clock.advance(60_000);
  }

  const burst = toClaim(quota, { tokens: 1_000 });
  assert.equal((await store.admit(burst)).kind, "admitted");
  await settle(store, burst, { tokens: 1_000 });
  for (const claim of long) await settle(store, claim, { tokens: 0 });

  assert.equal((await store.admit(toClaim(quota, { tokens: 1 }))).kind, "refused");
});

test("what has not drained yet is given back, however long others were open before", async (t) => {
  const { store, clock } = open(t);
  const quota = { scope: "a", tokensPerMinute: 1_000 };
  const before = toClaim(quota, { tokens: 500 });
  await store.admit(before);
  const claim = toClaim(quota, { tokens: 300 });
  await store.admit(claim);
  clock.advance(15_000);

  await settle(store, claim, { tokens: 0 });

  const { levels } = await store.admit(toClaim(quota, { tokens: 0 }));
  assert.equal(levels.tokens?.remaining, 750, "500 less what 15 seconds drained");
});

test("who has spent something before is known, however many they are; only strangers are turned away", async () => {
  const history = new MemoryHistory();
  const scopes = Array.from({ length: ACCOUNT_LIMIT + 1 }, (_, index) => `caller:${index}`);
  const store = new MemoryStore(new ManualClock(), {
    restore: (tell) => tell({ atMs: 0, scopes, costMicroUsd: 0 }),
    add: (entry) => history.add(entry),
    rows: (from, to) => history.rows(from, to),
    problem: undefined,
    close: () => history.close(),
  });
  const budgets: readonly Budget[] = [{ limitMicroUsd: 100, per: "day" }];

  // They have spent nothing that counts, so room is made.
  assert.equal((await store.admit(toClaim({ scope: "stranger", budgets }))).kind, "admitted");

  const rich = new MemoryStore(new ManualClock(), {
    restore: (tell) => tell({ atMs: Date.now(), scopes, costMicroUsd: 1 }),
    add: (entry) => history.add(entry),
    rows: (from, to) => history.rows(from, to),
    problem: undefined,
    close: () => history.close(),
  });
  await assert.rejects(rich.admit(toClaim({ scope: "stranger", budgets })), StoreError);
  const known = toClaim({ scope: "caller:7", budgets }, { costMicroUsd: 100 });
  assert.equal(refused(await rich.admit(known)).left, 99);
});

test("whoever is refused by one budget is not forgotten by the others", async () => {
  const clock = new ManualClock();
  const others = Array.from({ length: ACCOUNT_LIMIT - 1 }, (_, index) => `caller:${index}`);
  const store = new MemoryStore(clock, {
    restore: (tell) => {
      tell({ atMs: clock.now(), scopes: ["a"], costMicroUsd: 1_000 });
      tell({ atMs: clock.now(), scopes: others, costMicroUsd: 0 });
    },
    add: async () => {},
    rows: async () => [],
    problem: undefined,
    close: async () => {},
  });
  const budgets: readonly Budget[] = [
    { limitMicroUsd: 500, per: "day" },
    { limitMicroUsd: 1_000, per: "month" },
  ];
  assert.equal(refused(await store.admit(toClaim({ scope: "a", budgets }))).per, "day");
  clock.advance(DAY_MS);

  // Makes room, for which idle ones are forgotten.
  await store.admit(toClaim({ scope: "stranger", budgets }));

  assert.equal(refused(await store.admit(toClaim({ scope: "a", budgets }))).per, "month");
});

test("a claim whose own accounts make room for each other leaves nothing set aside", async () => {
  const clock = new ManualClock();
  const others = Array.from({ length: ACCOUNT_LIMIT - 2 }, (_, index) => `caller:${index}`);
  const store = new MemoryStore(clock, {
    restore: (tell) => tell({ atMs: clock.now(), scopes: others, costMicroUsd: 1 }),
    add: async () => {},
    rows: async () => [],
    problem: undefined,
    close: async () => {},
  });
  const quotas = ["a", "b"].map((scope) => ({ scope, concurrentRequests: 1 }));
  const third = { scope: "c", concurrentRequests: 1 };

  const claim = toClaim([...quotas, third]);
  const admission = await store.admit(claim).catch((error: unknown) => error);
  if (Object(admission).kind === "admitted") await settle(store, claim);

  const one = toClaim(quotas[0] ?? []);
  assert.equal((await store.admit(one)).kind, "admitted", "its place was not lost");
});
