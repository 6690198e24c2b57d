// How callers stand, as operators see it: the same from every store, and nothing is taken by looking.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../src/clock.ts";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { endOf } from "../../src/store/period.ts";
import type { Budget, Quota, Standing, Store } from "../../src/store/store.ts";
import { startRedis, WITHOUT_REDIS } from "../helpers/redis-server.ts";
import { settle, toClaim } from "./claims.ts";
import type { OpenStore } from "./contract.ts";
import { openConnection, openStore } from "./open-redis.ts";
import { createRandom } from "./random-calls.ts";

const BUDGETS: readonly Budget[] = [
  { limitMicroUsd: 1_000, per: "hour" },
  { limitMicroUsd: 5_000, per: "month" },
  { limitMicroUsd: 9_000, per: "total" },
];
const QUOTA: Quota = {
  scope: "caller:a",
  requestsPerMinute: 6,
  tokensPerMinute: 6,
  concurrentRequests: 2,
  budgets: BUDGETS,
};
const NEVER = { requests: undefined, tokens: undefined, open: undefined, budgets: [] };

/** Without times, which go by the store's own clock. Its rates drain in 10 seconds by one. */
function still(standings: readonly Standing[]) {
  return standings.map(({ requests, tokens, budgets, ...rest }) => ({
    ...rest,
    requests: requests?.remaining,
    tokens: tokens?.remaining,
    budgets: budgets.map(({ resetMs: _, ...budget }) => budget),
  }));
}

function near(actual: number | undefined, expected: number): void {
  assert.ok(Math.abs((actual ?? NaN) - expected) < 2_000, `${actual} is not near ${expected}`);
}

const stores: Readonly<Record<string, readonly [OpenStore, string | false]>> = {
  memory: [
    async () => {
      const store = new MemoryStore(systemClock);
      return { store, now: () => Date.now(), pass: (ms) => sleep(ms) };
    },
    false,
  ],
  redis: [
    async (t) => {
      const server = await startRedis(t);
      const store = openStore(t, server.url());
      return { store, now: () => Date.now(), pass: (ms) => sleep(ms) };
    },
    WITHOUT_REDIS,
  ],
};

for (const [name, [open, skip]] of Object.entries(stores)) {
  test(`${name}: somebody who is not known has everything left`, { skip }, async (t) => {
    const { store, now } = await open(t);

    const [standing, other] = await store.peek([QUOTA, { scope: "nobody" }]);

    const none = { spentMicroUsd: 0, heldMicroUsd: 0 };
    assert.deepEqual(still(standing === undefined ? [] : [standing]), [
      {
        scope: "caller:a",
        requests: 6,
        tokens: 6,
        open: { count: 0, limit: 2 },
        budgets: BUDGETS.map((budget) => ({ ...budget, ...none })),
      },
    ]);
    assert.deepEqual(other, { scope: "nobody", ...NEVER });
    assert.deepEqual([standing?.requests?.resetMs, standing?.tokens?.resetMs], [0, 0]);
    const [hour, month, total] = standing?.budgets ?? [];
    near(hour?.resetMs, endOf("hour", now()) - now());
    near(month?.resetMs, endOf("month", now()) - now());
    assert.equal(total?.resetMs, undefined);
    assert.deepEqual(await store.peek([]), []);
  });

  test(`${name}: what is open, set aside and spent shows`, { skip }, async (t) => {
    const { store } = await open(t);
    const claims = [1, 3].map((tokens) => toClaim(QUOTA, { tokens, costMicroUsd: 100 * tokens }));
    for (const claim of claims) await store.admit(claim);
    assert.ok(claims[1] !== undefined && (await store.extend(claims[1], 40)), "no money is left");

    const [before] = still(await store.peek([QUOTA]));
    for (const claim of claims) await settle(store, claim, { tokens: 1, costMicroUsd: 70 });
    const [after] = still(await store.peek([QUOTA]));

    const held = { spentMicroUsd: 0, heldMicroUsd: 440 };
    assert.deepEqual(before, {
      scope: "caller:a",
      requests: 4,
      tokens: 2,
      open: { count: 2, limit: 2 },
      budgets: BUDGETS.map((budget) => ({ ...budget, ...held })),
    });
    const spent = { spentMicroUsd: 140, heldMicroUsd: 0 };
    assert.deepEqual([after?.requests, after?.open?.count], [4, 0]);
    assert.deepEqual(
      after?.budgets,
      BUDGETS.map((budget) => ({ ...budget, ...spent })),
    );
  });

  test(
    `${name}: to look a thousand times takes nothing and remembers nobody`,
    { skip },
    async (t) => {
      const { store } = await open(t);
      await store.admit(toClaim(QUOTA, { tokens: 2, costMicroUsd: 10 }));
      const first = still(await store.peek([QUOTA]));

      for (let round = 0; round < 10; round++) {
        const strangers = Array.from({ length: 100 }, (_, index) => `stranger:${round}:${index}`);
        await store.peek(strangers.map((scope) => ({ ...QUOTA, scope })));
      }

      assert.deepEqual(still(await store.peek([QUOTA])), first);
    },
  );
}

test("memory: a hundred thousand strangers who are looked at keep nobody out", async () => {
  const store = new MemoryStore(systemClock);
  for (let batch = 0; batch < 600; batch++) {
    const quotas = Array.from({ length: 200 }, (_, index) => ({
      ...QUOTA,
      scope: `${batch}:${index}`,
    }));
    await store.peek(quotas);
  }
  assert.equal((await store.admit(toClaim(QUOTA))).kind, "admitted");
});

test("memory and Redis see the same after the same calls", { skip: WITHOUT_REDIS }, async (t) => {
  const server = await startRedis(t);
  const pair: readonly Store[] = [new MemoryStore(systemClock), openStore(t, server.url())];
  const random = createRandom(7);
  const scopes = ["caller:a", "caller:b", "policy:p"];
  // So slow that nothing drains meanwhile.
  const quotas = scopes.map((scope): Quota => {
    return {
      scope,
      requestsPerMinute: 2,
      tokensPerMinute: 2,
      concurrentRequests: 9,
      budgets: BUDGETS,
    };
  });
  const opened: ReturnType<typeof toClaim>[] = [];
  for (let step = 0; step < 150; step++) {
    const some = quotas.filter(() => random() < 0.6);
    const claim = toClaim(some, {
      tokens: random() < 0.2 ? 1 : 0,
      costMicroUsd: (random() * 300) | 0,
    });
    const [one, other] = await Promise.all(pair.map((store) => store.admit(claim)));
    assert.equal(one?.kind, other?.kind);
    if (one?.kind === "admitted") opened.push(claim);
    if (opened.length > 4 || one?.kind === "refused") {
      const over = opened.splice((random() * opened.length) | 0, 1)[0];
      const used = { costMicroUsd: (random() * 60) | 0 };
      if (over !== undefined) for (const store of pair) await settle(store, over, used);
    }

    const [inMemory, inRedis] = await Promise.all(pair.map((store) => store.peek(quotas)));

    assert.deepEqual(still(inRedis ?? []), still(inMemory ?? []), `step ${step}`);
  }
});

test(
  "Redis: what a dead gateway has set aside is not shown",
  { skip: WITHOUT_REDIS },
  async (t) => {
    const server = await startRedis(t);
    const dying = openStore(t, server.url(), { leaseMs: 60 });
    const store = openStore(t, server.url());
    await dying.admit(toClaim(QUOTA, { tokens: 5, costMicroUsd: 500 }));
    await dying.close();
    const redis = openConnection(t, server.url());
    const dump = async (): Promise<unknown> =>
      redis.command("HGETALL", "openai-gateway:{limits}:account:caller:a");

    let [standing] = await store.peek([QUOTA]);
    for (let tries = 0; tries < 200 && standing?.open?.count !== 0; tries++) {
      await sleep(5);
      [standing] = await store.peek([QUOTA]);
    }
    const before = await dump();
    await store.peek([QUOTA]);

    assert.deepEqual([standing?.open?.count, standing?.budgets[0]?.heldMicroUsd], [0, 0]);
    assert.deepEqual(await dump(), before, "to look has changed something");
  },
);
