// What every store promises, however it keeps its figures. Its time may be its own, so that hardly
// any promise waits for some.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { BUDGET_PERIODS } from "../../src/config/config.ts";
import { DAY_MS, endOf, toDay } from "../../src/store/period.ts";
import {
  StoreError,
  type Budget,
  type Quota,
  type Refused,
  type Store,
  type UsageRow,
} from "../../src/store/store.ts";
import { leftOf, refused, settle, toClaim, toRecord } from "./claims.ts";
import { play } from "./random-calls.ts";

export interface OpenedStore {
  readonly store: Store;
  /** What its budgets and days go by; milliseconds since the epoch. */
  now(): number;
  /** Lets a few milliseconds pass, as its rates count them. */
  pass(ms: number): Promise<void>;
}

/** Opens a store that knows nobody, and closes it after the test. */
export type OpenStore = (t: TestContext) => Promise<OpenedStore>;

const DOLLAR = 1_000_000;

export function storeContract(name: string, open: OpenStore, skip: string | false = false): void {
  const promise = (what: string, keep: (opened: OpenedStore) => Promise<void>): void => {
    test(`${name} ${what}`, { skip }, async (t) => keep(await open(t)));
  };

  promise("takes from every quota, or from none", async ({ store }) => {
    const caller = { scope: "caller:a", requestsPerMinute: 10, concurrentRequests: 1 };
    const quotas: Quota[] = [
      { ...caller, tokensPerMinute: 10, budgets: total(500) },
      { scope: "policy:p", budgets: total(400) },
    ];

    const first = refused(await store.admit(toClaim(quotas, { tokens: 10, costMicroUsd: 401 })));
    const second = await store.admit(toClaim(quotas, { tokens: 10, costMicroUsd: 400 }));

    assert.deepEqual([first.rule, first.scope, first.left], ["budget", "policy:p", 400]);
    assert.deepEqual(first.levels, {
      requests: { limit: 10, remaining: 10, resetMs: 0 },
      tokens: { limit: 10, remaining: 10, resetMs: 0 },
    });
    assert.equal(second.kind, "admitted");
    assert.equal(second.levels.requests?.remaining, 9);
    assert.equal(second.levels.tokens?.remaining, 0);
  });

  promise("names the first quota and rule that is in the way", async ({ store }) => {
    const all = { requestsPerMinute: 1, tokensPerMinute: 1, concurrentRequests: 1 };
    const quota = { scope: "a", ...all, budgets: total(1) };
    const rules: string[] = [];
    await store.admit(toClaim(quota, { tokens: 1, costMicroUsd: 1 }));
    const wanted = { tokens: 1, costMicroUsd: 1 };
    const less: Partial<Quota>[] = [{}, { concurrentRequests: undefined }];
    less.push({ ...less[1], requestsPerMinute: undefined });
    less.push({ ...less[2], tokensPerMinute: undefined });

    for (const each of less) {
      const claim = toClaim([{ scope: "b" }, { ...quota, ...each }, quota], wanted);
      const refusal = refused(await store.admit(claim));
      assert.equal(refusal.scope, "a");
      rules.push(refusal.rule);
    }

    const [open, requests, tokens] = ["concurrentRequests", "requestsPerMinute", "tokensPerMinute"];
    assert.deepEqual(rules, [open, requests, tokens, "budget"]);
  });

  promise("admits a minute's requests at once, then one by one", async ({ store }) => {
    const quota = { scope: "a", requestsPerMinute: 7 };
    const remaining: (number | undefined)[] = [];
    for (let count = 0; count < 7; count++) {
      const claim = toClaim(quota);
      const admission = await store.admit(claim);
      assert.equal(admission.kind, "admitted");
      remaining.push(admission.levels.requests?.remaining);
      // What has begun was a request, whatever became of it.
      await settle(store, claim);
    }
    const refusal = refused(await store.admit(toClaim(quota)));

    assert.deepEqual(remaining, [6, 5, 4, 3, 2, 1, 0]);
    const { rule, limit, wanted, left, held, waitMs, levels } = refusal;
    assert.deepEqual([rule, limit, wanted, left, held], ["requestsPerMinute", 7, 1, 0, false]);
    near(waitMs, 60_000 / 7);
    near(levels.requests?.resetMs, 60_000);
    assert.deepEqual([levels.requests?.remaining, levels.tokens], [0, undefined]);
  });

  promise("counts the largest rate to the last request", async ({ store }) => {
    const { levels } = await store.admit(toClaim({ scope: "a", requestsPerMinute: 1e9 }));

    assert.deepEqual(levels.requests?.remaining, 999_999_999);
    near(levels.requests?.resetMs, 0.000_06, 1e-6);
  });

  promise("admits again as a rate drains", async ({ store, pass }) => {
    const quota = { scope: "a", tokensPerMinute: 600_000_000 };
    await store.admit(toClaim(quota, { tokens: 600_000_000 }));
    const early = refused(await store.admit(toClaim({ ...quota }, { tokens: 10_000_000 })));
    await pass(10);
    const later = await store.admit(toClaim(quota, { tokens: 90_000 }));

    // Ten thousand a millisecond.
    near(early.levels.tokens?.resetMs, 60_000, 900);
    assert.ok(early.left < 9_000_000, String(early.left));
    assert.equal(later.kind, "admitted");
  });

  promise("gives back the tokens that were not used", async ({ store }) => {
    const quota = { scope: "a", tokensPerMinute: 10 };
    const claim = toClaim(quota, { tokens: 8 });
    await store.admit(claim);

    const refusal = refused(await store.admit(toClaim(quota, { tokens: 3 })));
    await settle(store, claim, { tokens: 1 });
    const admission = await store.admit(toClaim(quota, { tokens: 9 }));

    const { rule, limit, wanted, left, held, waitMs } = refusal;
    assert.deepEqual([rule, limit, wanted, left, held], ["tokensPerMinute", 10, 3, 2, true]);
    assert.equal(waitMs, 1_000);
    assert.equal(admission.kind, "admitted");
    assert.equal(admission.levels.tokens?.remaining, 0);
  });

  promise("takes the tokens that were used and not foreseen", async ({ store }) => {
    const quota = { scope: "a", tokensPerMinute: 10 };
    const claim = toClaim(quota, { tokens: 9 });
    await store.admit(claim);
    await settle(store, claim, { tokens: 20 });

    const { left, held, waitMs, levels } = refused(
      await store.admit(toClaim(quota, { tokens: 1 })),
    );

    assert.deepEqual([left, held, levels.tokens?.remaining], [0, false, 0]);
    near(levels.tokens?.resetMs, 120_000);
    near(waitMs, 66_000);
  });

  promise("says never to what is larger than all there is", async ({ store }) => {
    const tokens = toClaim({ scope: "a", tokensPerMinute: 10 }, { tokens: 11 });
    const budgets: Budget[] = [{ limitMicroUsd: 10, per: "hour" }];
    const money = toClaim({ scope: "a", budgets }, { costMicroUsd: 11 });

    for (const claim of [tokens, money]) {
      const { left, held, waitMs, wanted } = refused(await store.admit(claim));
      assert.deepEqual([wanted, left, held, waitMs], [11, 10, false, undefined]);
    }
  });

  promise("counts the calls that are open", async ({ store }) => {
    const quota = { scope: "a", concurrentRequests: 2 };
    const claims = [toClaim(quota), toClaim(quota), toClaim(quota)] as const;
    await store.admit(claims[0]);
    await store.admit(claims[1]);

    const { rule, limit, wanted, left, held, waitMs } = refused(await store.admit(claims[2]));
    await settle(store, claims[0]);

    assert.deepEqual([rule, limit, wanted], ["concurrentRequests", 2, 1]);
    assert.deepEqual([left, held, waitMs], [0, true, 1_000]);
    assert.equal((await store.admit(toClaim(quota))).kind, "admitted");
    assert.equal((await store.admit(toClaim(quota))).kind, "refused");
  });

  promise("spends a budget of every period until it is spent", async ({ store, now }) => {
    for (const per of BUDGET_PERIODS) {
      const quota = { scope: `a ${per}`, budgets: [{ limitMicroUsd: DOLLAR, per }] };
      for (const costMicroUsd of [400_000, 600_000]) {
        const claim = toClaim(quota, { costMicroUsd });
        assert.equal((await store.admit(claim)).kind, "admitted");
        await settle(store, claim, { costMicroUsd });
      }

      // Also for a call that costs nothing: what is spent is spent.
      const refusal = refused(await store.admit(toClaim(quota)));

      assert.deepEqual([refusal.rule, refusal.per, refusal.limit], ["budget", per, DOLLAR]);
      assert.deepEqual([refusal.wanted, refusal.left, refusal.held], [0, 0, false]);
      if (per === "total") assert.equal(refusal.waitMs, undefined);
      else near(refusal.waitMs, endOf(per, now()) - now());
    }
  });

  promise("holds every budget of a quota", async ({ store }) => {
    const hour: Budget = { limitMicroUsd: 100, per: "hour" };
    const budgets: Budget[] = [hour, { limitMicroUsd: 150, per: "month" }];
    const quota = { scope: "a", budgets };
    const claim = toClaim(quota, { costMicroUsd: 90 });
    await store.admit(claim);
    await settle(store, claim, { costMicroUsd: 90 });

    const byHour = refused(await store.admit(toClaim(quota, { costMicroUsd: 11 })));
    const more: Quota = {
      scope: "a",
      budgets: [{ ...hour, limitMicroUsd: 200 }, ...budgets.slice(1)],
    };
    const byMonth = refused(await store.admit(toClaim(more, { costMicroUsd: 61 })));

    assert.deepEqual([byHour.per, byHour.left], ["hour", 10]);
    assert.deepEqual([byMonth.per, byMonth.left], ["month", 60]);
  });

  promise("tells money that is held from money that is spent", async ({ store, now }) => {
    const quota: Quota = { scope: "a", budgets: [{ limitMicroUsd: 1_000, per: "day" }] };
    const claim = toClaim(quota, { costMicroUsd: 800 });
    await store.admit(claim);

    const held = refused(await store.admit(toClaim(quota, { costMicroUsd: 300 })));
    await settle(store, claim, { costMicroUsd: 750 });
    const spent = refused(await store.admit(toClaim(quota, { costMicroUsd: 300 })));

    assert.deepEqual([held.held, held.left, held.waitMs], [true, 200, 1_000]);
    assert.deepEqual([spent.held, spent.left], [false, 250]);
    near(spent.waitMs, endOf("day", now()) - now());
    assert.equal((await store.admit(toClaim(quota, { costMicroUsd: 250 }))).kind, "admitted");
  });

  promise("takes what a call cost, also beyond the budget", async ({ store }) => {
    const quota = { scope: "a", budgets: total(1_000) };
    const claim = toClaim(quota, { costMicroUsd: 600 });
    await store.admit(claim);
    await settle(store, claim, { costMicroUsd: 1_300 });

    assert.equal(refused(await store.admit(toClaim(quota))).left, 0);
    assert.equal(await leftOf(store, "a", 2_000), 700);
  });

  promise("sets more money aside for an open call while there is some", async ({ store }) => {
    const own = { scope: "a", requestsPerMinute: 1, concurrentRequests: 1, budgets: total(1_000) };
    const claim = toClaim([own, { scope: "b", budgets: total(5_000) }], { costMicroUsd: 400 });
    await store.admit(claim);

    assert.equal(await store.extend(claim, 500), true);
    assert.equal(await store.extend(claim, 101), false);
    assert.deepEqual(
      [await leftOf(store, "a", 1_000), await leftOf(store, "b", 5_000)],
      [100, 4_100],
    );
    assert.equal(await store.extend(claim, 100), true);
    await settle(store, claim, { costMicroUsd: 10 });
    assert.deepEqual(
      [await leftOf(store, "a", 1_000), await leftOf(store, "b", 5_000)],
      [990, 4_990],
    );
    assert.equal(await store.extend(claim, 1), false);
    assert.equal(await store.extend(toClaim(own), 1), false);
    assert.equal(await leftOf(store, "a", 1_000), 990);
  });

  promise("ends a call once", async ({ store, now }) => {
    const quota = { scope: "a", budgets: total(1_000), tokensPerMinute: 10, concurrentRequests: 1 };
    const claim = toClaim(quota, { costMicroUsd: 600, tokens: 5 });
    await store.admit(claim);

    const used = { costMicroUsd: 100, tokens: 4 };
    await Promise.all([settle(store, claim, used), settle(store, claim, used)]);
    await settle(store, claim, { costMicroUsd: 900 });
    await settle(store, toClaim(quota), { costMicroUsd: 900 });

    assert.equal(await leftOf(store, "a", 1_000), 900);
    const { levels, kind } = await store.admit(toClaim(quota));
    assert.deepEqual([kind, levels.tokens?.remaining], ["admitted", 6]);
    const rows = await store.usage(toDay(now()), toDay(now()));
    assert.deepEqual([sum(rows, "requests"), sum(rows, "costMicroUsd")], [1, 100]);
  });

  promise("takes nothing for what cost nothing", async ({ store }) => {
    const quota = { scope: "a", budgets: total(1_000), tokensPerMinute: 10 };
    const claim = toClaim(quota, { costMicroUsd: 1_000, tokens: 10 });
    await store.admit(claim);
    await settle(store, claim);

    const { kind, levels } = await store.admit(toClaim(quota, { costMicroUsd: 1_000, tokens: 10 }));

    assert.deepEqual([kind, levels.tokens?.remaining], ["admitted", 0]);
  });

  promise("tells of several rates the one of which the least is left", async ({ store }) => {
    const wide = { scope: "a", requestsPerMinute: 100, tokensPerMinute: 8 };
    const tight = { scope: "b", requestsPerMinute: 5, tokensPerMinute: 9 };
    const { levels } = await store.admit(toClaim([wide, tight], { tokens: 2 }));

    assert.deepEqual([levels.requests?.limit, levels.requests?.remaining], [5, 4]);
    assert.deepEqual([levels.tokens?.limit, levels.tokens?.remaining], [8, 6]);
    const none = await store.admit(toClaim({ scope: "c", concurrentRequests: 1 }));
    assert.deepEqual(none.levels, { requests: undefined, tokens: undefined });
  });

  promise("remembers calls that no quota counts", async ({ store, now }) => {
    const claim = toClaim([]);
    assert.equal((await store.admit(claim)).kind, "admitted");
    await settle(store, claim, { costMicroUsd: 7 });

    const rows = await store.usage(toDay(now()), toDay(now()));
    assert.deepEqual([sum(rows, "requests"), sum(rows, "costMicroUsd")], [1, 7]);
  });

  promise("gives a budget to no more of those who race for it", async ({ store }) => {
    const quotas = [
      { scope: "a", concurrentRequests: 70, budgets: total(500_000) },
      { scope: "b" },
    ];
    const claims = Array.from({ length: 200 }, () => toClaim(quotas, { costMicroUsd: 10_000 }));

    const admissions = await Promise.all(claims.map((claim) => store.admit(claim)));
    const admitted = claims.filter((_, index) => admissions[index]?.kind === "admitted");
    await Promise.all(admitted.map((claim) => settle(store, claim, { costMicroUsd: 9_999 })));

    assert.equal(admitted.length, 50);
    const held = admissions.filter((each): each is Refused => each.kind === "refused");
    assert.ok(
      held.every((refusal) => refusal.held && refusal.left === 0),
      "not held",
    );
    assert.equal(await leftOf(store, "a", 500_000), 50);
  });

  promise("agrees with a simple model about hundreds of calls", async ({ store }) => {
    const { refusals, spentMicroUsd } = await play(store, { seed: 20_260_101, steps: 300 });

    // Otherwise the model has seen nothing.
    for (const kind of ["held", "spent", "open"] as const) assert.ok(refusals[kind] > 2, kind);
    assert.ok(spentMicroUsd > DOLLAR / 2, String(spentMicroUsd));
  });

  promise("adds up what calls came to, by day, caller and model", async ({ store, now }) => {
    const today = toDay(now());
    const odd = 'ada","x\n{limits}\u{1f642}';
    const usual = { inputTokens: 10, cachedInputTokens: 4, outputTokens: 3, costMicroUsd: 25 };
    const records = [
      usual,
      { ...usual, estimated: true },
      { ...usual, status: 500 },
      { ...usual, status: 499, error: "client_gone" },
      { ...usual, error: "stream_interrupted" },
      { ...usual, model: undefined },
      { ...usual, caller: odd },
      { ...usual, caller: odd, model: "gpt-5" },
    ];
    for (const [index, over] of records.entries()) {
      const claim = toClaim(index % 2 === 0 ? [] : { scope: "a", concurrentRequests: 1 });
      await store.admit(claim);
      await store.settle(claim, { tokens: 13, costMicroUsd: 25 }, toRecord(claim, over));
    }

    const rows = await store.usage(toDay(now() - DAY_MS), toDay(now() + DAY_MS));

    const one = { day: today, requests: 1, failed: 0, estimated: 0, ...usual };
    const sums = { inputTokens: 50, cachedInputTokens: 20, outputTokens: 15, costMicroUsd: 125 };
    const all = { ...one, requests: 5, failed: 3, estimated: 1, ...sums };
    const ada = "token:ada";
    assert.deepEqual(byName(rows), [
      { ...one, caller: odd, model: "gpt-5" },
      { ...one, caller: odd, model: "gpt-5-mini" },
      { ...all, caller: ada, model: "gpt-5-mini" },
      { ...one, caller: ada, model: "unknown" },
    ]);
    assert.deepEqual(await store.usage(toDay(now() - 3 * DAY_MS), toDay(now() - 2 * DAY_MS)), []);
    assert.deepEqual(await store.usage(toDay(now() + DAY_MS), toDay(now())), []);
  });

  promise("tells how parties stand, in their order, and takes nothing", async ({ store, now }) => {
    const budgets: Budget[] = [
      { limitMicroUsd: 1_000, per: "hour" },
      { limitMicroUsd: 2_000, per: "total" },
    ];
    const rates = { requestsPerMinute: 5, tokensPerMinute: 10 };
    const quota: Quota = { scope: "a", ...rates, concurrentRequests: 3, budgets };
    const over = toClaim(quota, { tokens: 4, costMicroUsd: 300 });
    const still = toClaim(quota, { tokens: 3, costMicroUsd: 100 });
    await store.admit(over);
    await settle(store, over, { tokens: 4, costMicroUsd: 200 });
    await store.admit(still);

    const asked = [{ ...quota, scope: "b" }, quota, { scope: "a" }];
    const standings = [...(await store.peek(asked)), ...(await store.peek(asked))];

    const stands = standings.map(({ scope, requests, tokens, open, budgets: all }) => {
      const money = all.map(({ spentMicroUsd, heldMicroUsd }) => [spentMicroUsd, heldMicroUsd]);
      return [scope, requests?.remaining, tokens?.remaining, open, ...money];
    });
    const whole = ["b", 5, 10, { count: 0, limit: 3 }, [0, 0], [0, 0]];
    const used = ["a", 3, 3, { count: 1, limit: 3 }, [200, 100], [200, 100]];
    const bare = ["a", undefined, undefined, undefined];
    assert.deepEqual(stands, [whole, used, bare, whole, used, bare]);
    const [, known] = standings;
    near(known?.requests?.resetMs, 24_000);
    near(known?.tokens?.resetMs, 42_000);
    near(known?.budgets[0]?.resetMs, endOf("hour", now()) - now());
    assert.deepEqual([known?.budgets[1]?.per, known?.budgets[1]?.resetMs], ["total", undefined]);
    assert.equal(
      (await store.admit(toClaim({ ...quota, scope: "b" }, { tokens: 10 }))).kind,
      "admitted",
    );
    assert.deepEqual(await store.peek([]), []);
  });

  promise("shuts a caller out until its moment, and nobody else", async ({ store, now, pass }) => {
    const callers = ["key:a", "token:ü\u{1f642}", "https://login.example/#u|1", "x".repeat(1_000)];
    const odd = ["half \ud800", "half \udc00", '"', "", "__proto__"];
    for (const caller of [...callers, ...odd]) await store.revoke({ caller, untilMs: Infinity });
    await store.revoke({ caller: "soon over", untilMs: now() + 40 });
    assert.ok(store.revoked("soon over"), "it is over already");
    await pass(50);

    const out = [...callers, ...odd].sort();
    assert.deepEqual(
      out.filter((caller) => !store.revoked(caller)),
      [],
    );
    for (const caller of ["soon over", "key:b", "key:", "KEY:A", "half \ufffd", "toString"]) {
      assert.ok(!store.revoked(caller), `"${caller}" is out`);
    }
    assert.deepEqual(
      await store.revocations(),
      out.map((caller) => ({ caller, untilMs: Infinity })),
    );
  });

  promise("changes a revocation, lifts it, and takes no nonsense", async ({ store, now }) => {
    const untilMs = now() + DAY_MS;
    await store.revoke({ caller: "b", untilMs });
    await store.revoke({ caller: "a", untilMs: 8.64e15 + 1e6 });
    await store.revoke({ caller: "b", untilMs: untilMs + 1 });
    await assert.rejects(store.revoke({ caller: "a", untilMs: NaN }), StoreError);
    const before = await store.revocations();

    await store.revoke({ caller: "a", untilMs: 0 });
    await store.revoke({ caller: "nobody", untilMs: -Infinity });

    assert.deepEqual(before, [
      { caller: "a", untilMs: Infinity },
      { caller: "b", untilMs: untilMs + 1 },
    ]);
    assert.deepEqual([store.revoked("a"), store.revoked("b")], [false, true]);
    assert.deepEqual(await store.revocations(), before.slice(1));
  });

  promise("keeps revocations that are made at once", async ({ store }) => {
    const callers = Array.from({ length: 40 }, (_, index) => `key:${index + 10}`);

    await Promise.all(callers.map((caller) => store.revoke({ caller, untilMs: Infinity })));

    const known = (await store.revocations()).map(({ caller }) => caller);
    assert.deepEqual(known, callers);
  });

  promise("keeps scopes apart, whatever they are called", async ({ store }) => {
    const long = "x".repeat(299);
    const scopes = [
      ...["", " ", "a b", "a  b", "a\tb", "a\nb", "a\r\nb", "a\0b", "a", "A", "a:", "a:b"],
      ...["{limits}", "{a}b", "a}b{", "}{", "*", "a*", "[a]", '"', "'", "\\", "%20", "null", "0"],
      ...["ü", "u\u0308", "\u{1f642}", "日本", "__proto__", "constructor", "toString"],
      ...[`${long}y`, `${long}z`, long, `${long.slice(0, 200)}`, `${long.slice(0, 201)}`],
      ...[`\u{1f642}${long}`, `${"ü".repeat(150)}a`, `${"ü".repeat(150)}b`],
    ];
    const quotas = scopes.map((scope) => ({ scope, concurrentRequests: 1 }));

    const first = await Promise.all(quotas.map((quota) => store.admit(toClaim(quota))));
    const second = await Promise.all(quotas.map((quota) => store.admit(toClaim(quota))));

    assert.ok(
      first.every(({ kind }) => kind === "admitted"),
      "two scopes have one account",
    );
    assert.ok(
      second.every(({ kind }) => kind === "refused"),
      "a scope has two accounts",
    );
    assert.deepEqual(
      second.map((each) => refused(each).scope),
      scopes,
    );
  });
}

function total(limitMicroUsd: number): readonly Budget[] {
  return [{ limitMicroUsd, per: "total" }];
}

function sum(rows: readonly UsageRow[], of: "requests" | "costMicroUsd"): number {
  return rows.reduce((all, row) => all + row[of], 0);
}

function byName(rows: readonly UsageRow[]): readonly UsageRow[] {
  const nameOf = ({ caller, model }: UsageRow): string => JSON.stringify([caller, model]);
  return [...rows].sort((one, other) => (nameOf(one) < nameOf(other) ? -1 : 1));
}

/** A store's own clock goes on while a test asks it. */
function near(actual: number | undefined, expected: number, toleranceMs = 2_000): void {
  const apart = Math.abs((actual ?? NaN) - expected);
  assert.ok(apart <= toleranceMs, `${actual} is not within ${toleranceMs} of ${expected}`);
}
