// The store that several gateways share, on a real Redis: the contract, the same answers as those
// of the memory's, and what it leaves on the server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../src/clock.ts";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { DAY_MS, endOf, startOf, toDay } from "../../src/store/period.ts";
import { toScript, type RedisConnection } from "../../src/store/redis-connection.ts";
import { REVOCATION_KEYS, toScopeKeys, toUsageKey } from "../../src/store/redis-keys.ts";
import { LUA_CALENDAR } from "../../src/store/redis-lua.ts";
import { REVOKE } from "../../src/store/redis-revocations.ts";
import * as scripts from "../../src/store/redis-scripts.ts";
import { PEEK } from "../../src/store/redis-standing.ts";
import type { Admission, Budget, Claim, Quota } from "../../src/store/store.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { startRedis, WITHOUT_REDIS } from "../helpers/redis-server.ts";
import { leftOf, refused, settle, toClaim, toRecord } from "./claims.ts";
import { storeContract } from "./contract.ts";
import { eventually, openConnection, openStore } from "./open-redis.ts";
import { createRandom } from "./random-calls.ts";

const skip = WITHOUT_REDIS;
const PREFIX = "openai-gateway:{limits}:";

storeContract(
  "redis",
  async (t) => {
    const server = await startRedis(t);
    const store = openStore(t, server.url());
    return { store, now: () => Date.now(), pass: (ms) => sleep(ms) };
  },
  skip,
);

test("two stores give away together what one would", { skip }, async (t) => {
  const server = await startRedis(t);
  const stores = [openStore(t, server.url()), openStore(t, server.url())];
  const quota: Quota = { scope: "a", budgets: [{ limitMicroUsd: 500_000, per: "total" }] };
  const claims = Array.from({ length: 200 }, () => toClaim(quota, { costMicroUsd: 10_000 }));

  const admissions = await Promise.all(
    claims.map((claim, index) => stores[index % 2]?.admit(claim)),
  );

  assert.equal(admissions.filter((each) => each?.kind === "admitted").length, 50);
});

/** Rates so slow that what passes between two answers hardly shows. */
function randomQuotas(random: () => number): readonly Quota[] {
  const nameOf = (kind: string, most: number): string => `${kind}:${Math.floor(random() * most)}`;
  const budgets: readonly Budget[] = [
    { limitMicroUsd: 600_000, per: "month" },
    { limitMicroUsd: 900_000, per: "total" },
  ];
  const rates = { requestsPerMinute: 7, tokensPerMinute: 13 };
  const [caller, policy, address] = [nameOf("caller", 12), nameOf("policy", 3), nameOf("ip", 9)];
  const all: readonly Quota[] = [
    { scope: caller, ...rates, budgets },
    { scope: policy, tokensPerMinute: 90, concurrentRequests: 6, budgets: budgets.slice(1) },
    { scope: address, requestsPerMinute: 11, concurrentRequests: 2 },
  ];
  return all.filter(() => random() < 0.7);
}

/** Times within what the answers are apart, counts of draining tokens within one. */
function assertAlike(redis: Admission, memory: Admission, tookMs: number): void {
  const near = (one: number | undefined, other: number | undefined, most: number): void => {
    if (one === undefined || other === undefined) return assert.equal(one, other);
    assert.ok(Math.abs(one - other) <= most, `${one} is not ${other}`);
  };
  for (const rate of ["requests", "tokens"] as const) {
    const [one, other] = [redis.levels[rate], memory.levels[rate]];
    assert.equal(one?.limit, other?.limit);
    near(one?.remaining, other?.remaining, 1);
    near(one?.resetMs, other?.resetMs, tookMs);
  }
  if (redis.kind === "admitted" || memory.kind === "admitted") {
    return assert.equal(redis.kind, memory.kind);
  }
  near(redis.waitMs, memory.waitMs, tookMs);
  near(redis.left, memory.left, redis.rule === "tokensPerMinute" ? 1 : 0);
  const timeless = { levels: {}, waitMs: 0, left: 0 };
  assert.deepEqual({ ...redis, ...timeless }, { ...memory, ...timeless });
}

test("answers as the memory's store does, word for word", { skip }, async (t) => {
  const server = await startRedis(t);
  const redis = openStore(t, server.url());
  const memory = new MemoryStore(systemClock);
  const random = createRandom(77);
  const open: Claim[] = [];
  const answers = new Map<string, number>();

  const began = performance.now();
  for (let step = 0; step < 400; step++) {
    const claim = open[Math.floor(random() * open.length)];
    const dice = random();
    if (claim === undefined || dice < 0.55) {
      const costMicroUsd = Math.floor(random() * random() * 700_000);
      const tokens = Math.floor(random() * random() * 15);
      const next = toClaim(randomQuotas(random), { tokens, costMicroUsd });
      const [one, other] = [await redis.admit(next), await memory.admit(next)];
      // Draining has a tolerance of what both together have taken until now.
      assertAlike(one, other, performance.now() - began);
      const answer = one.kind === "admitted" ? "admitted" : `${one.rule} ${one.held}`;
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
      if (one.kind === "admitted") open.push(next);
    } else if (dice < 0.65) {
      const more = Math.floor(random() * 100_000);
      assert.equal(await redis.extend(claim, more), await memory.extend(claim, more));
    } else {
      const tokens = Math.floor(random() * 1.2 * claim.tokens);
      const used = { tokens, costMicroUsd: Math.floor(random() * claim.costMicroUsd * 0.2) };
      await Promise.all([settle(redis, claim, used), settle(memory, claim, used)]);
      open.splice(open.indexOf(claim), 1);
    }
  }

  const rules = ["requestsPerMinute", "tokensPerMinute", "budget"].map((rule) => `${rule} false`);
  const held = ["tokensPerMinute", "concurrentRequests", "budget"].map((rule) => `${rule} true`);
  assert.deepEqual([...answers.keys()].sort(), ["admitted", ...rules, ...held].sort());
});

test("the periods on the server are those of the calendar", { skip }, async (t) => {
  const redis = openConnection(t, (await startRedis(t)).url());
  const script = toScript(`${LUA_CALENDAR}
    local reply = {}
    for _, ms in ipairs(ARGV) do
      for _, per in ipairs(PERIODS) do
        local start = start_of(per, tonumber(ms))
        reply[#reply + 1] = start
        reply[#reply + 1] = end_of(per, start)
      end
    end
    return reply`);
  const random = createRandom(5);
  const firsts = Array.from({ length: 1_500 }, (_, month) => Date.UTC(1970, month));
  const times = firsts.flatMap((first) => [first, first + 1, first + random() * 32 * DAY_MS]);
  times.push(...firsts.slice(1).map((first) => first - 1));

  for (let next = 0; next < times.length; next += 1_000) {
    const some = times.slice(next, next + 1_000);
    const expected = some.flatMap((ms) =>
      (["hour", "day", "month"] as const).flatMap((per) => [startOf(per, ms), endOf(per, ms)]),
    );
    const reply = await redis.evaluate(script, [], some);
    assert.deepEqual(reply, expected.map(Math.floor));
  }
});

/** Spends a dollar of a thousand, and then changes what the server knows of the spender. */
async function spendThenSet(
  t: Parameters<typeof startRedis>[0],
  per: Budget["per"],
  change: (nowMs: number) => Readonly<Record<string, number>>,
) {
  const url = (await startRedis(t)).url();
  const redis = openConnection(t, url);
  const store = openStore(t, url);
  const quota: Quota = {
    scope: "a",
    requestsPerMinute: 2,
    budgets: [{ limitMicroUsd: 1_000, per }],
  };
  for (const costMicroUsd of [1, 0]) {
    const claim = toClaim(quota, { costMicroUsd });
    await store.admit(claim);
    await settle(store, claim, { costMicroUsd });
  }
  const fields = Object.entries(change(Date.now())).flat();
  await redis.command("HSET", toScopeKeys("a")[0], ...fields);
  const { requestsPerMinute: _, ...budget } = quota;
  const ask = async () => refused(await store.admit(toClaim(budget, { costMicroUsd: 1_000 })));
  return { store, redis, quota, ask };
}

test("a budget is whole again in the next period", { skip }, async (t) => {
  for (const per of ["hour", "day", "month"] as const) {
    const last = (nowMs: number) => ({ [`${per}From`]: startOf(per, startOf(per, nowMs) - 1) });
    const { store, quota } = await spendThenSet(t, per, last);
    const { requestsPerMinute: _, ...budget } = quota;
    const whole = toClaim(budget, { costMicroUsd: 1_000 });
    assert.equal((await store.admit(whole)).kind, "admitted");
  }
});

test("a period that is over stays over when the server's clock goes back", { skip }, async (t) => {
  // As a clock that was an hour ahead leaves it.
  const next = endOf("hour", Date.now());
  const { store, redis, ask } = await spendThenSet(t, "hour", () => ({ hourFrom: next }));

  assert.equal((await ask()).left, 999);
  const claim = toClaim({ scope: "a" });
  await store.admit(claim);
  await settle(store, claim, { costMicroUsd: 9 });

  assert.equal((await ask()).left, 990);
  // Else that hour would begin a second time.
  assert.equal(Number(await redis.command("HGET", toScopeKeys("a")[0], "hourFrom")), next);
});

test("a server's clock that was years ahead stops no budget for years", { skip }, async (t) => {
  for (const per of ["hour", "day", "month"] as const) {
    const years = () => ({ [`${per}From`]: Date.UTC(2090, 0) });
    const { ask } = await spendThenSet(t, per, years);

    const { left, waitMs = Infinity } = await ask();

    assert.equal(left, 999);
    assert.ok(Math.abs(waitMs - (endOf(per, Date.now()) - Date.now())) < 2_000, String(waitMs));
  }
});

test("a server whose clock is behind after a failover locks nobody out", { skip }, async (t) => {
  const ahead = (nowMs: number) => ({ at: (nowMs + 3 * DAY_MS) * 1_000 });
  const { store, quota } = await spendThenSet(t, "total", ahead);

  const { rule, waitMs = Infinity } = refused(await store.admit(toClaim(quota)));

  assert.equal(rule, "requestsPerMinute");
  assert.ok(waitMs <= 30_000, String(waitMs));
});

async function keysOf(redis: RedisConnection): Promise<readonly string[]> {
  const keys = await redis.command("KEYS", "*");
  return Array.isArray(keys) ? keys.map(String).sort() : [];
}

test("every key has the tag, a bounded length and an end", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const redis = openConnection(t, url);
  const store = openStore(t, url, { keepDays: 7 });
  const long = "ü".repeat(1_000);
  const budgets: readonly Budget[] = [{ limitMicroUsd: 10, per: "total" }];
  const quotas: readonly Quota[] = [{ scope: "{a}", requestsPerMinute: 5 }, { scope: long }];
  const open = toClaim(quotas, { tokens: 3 });
  await store.admit(open);
  const over = toClaim({ scope: "for ever", budgets });
  // Before it had its budget.
  await store.admit(toClaim({ scope: "for ever" }));
  await store.admit(over);
  await settle(store, over, { costMicroUsd: 3 });
  await store.revoke({ caller: "key:a", untilMs: Date.now() + 4 * DAY_MS });
  await store.revoke({ caller: "key:b", untilMs: Date.now() + 3 * DAY_MS });

  const keys = await keysOf(redis);
  const ends = await Promise.all(keys.map((key) => redis.command("PTTL", key)));

  assert.equal(keys.length, 9);
  const revocations: readonly string[] = REVOCATION_KEYS;
  for (const [index, key] of keys.entries()) {
    assert.ok(key.startsWith(PREFIX) && key.length < 250, key);
    const days = Number(ends[index]) / DAY_MS;
    if (toScopeKeys("for ever").includes(key)) assert.equal(ends[index], -1);
    else if (key === toUsageKey(toDay(Date.now()))) assert.ok(days > 7.9 && days <= 8, key);
    else if (revocations.includes(key)) assert.ok(days > 35.9 && days <= 36, key);
    else assert.ok(days > 31.9 && days <= 32, key);
  }
});

test("who is refused leaves nothing on the server", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const store = openStore(t, url);
  const quotas = [{ scope: "a" }, { scope: "b", tokensPerMinute: 1 }];

  assert.equal((await store.admit(toClaim(quotas, { tokens: 2 }))).kind, "refused");

  assert.deepEqual(await keysOf(openConnection(t, url)), []);
});

test("a call that is over leaves nothing but what it used", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const redis = openConnection(t, url);
  const store = openStore(t, url);
  const claims = Array.from({ length: 5 }, () => toClaim({ scope: "a" }, { costMicroUsd: 5 }));
  for (const claim of claims) await store.admit(claim);
  const [account, open] = toScopeKeys("a");
  const before = [await redis.command("HLEN", account), await redis.command("ZCARD", open)];
  for (const claim of claims) await settle(store, claim, { costMicroUsd: 1 });

  const after = [await redis.command("HLEN", account), await redis.command("ZCARD", open)];

  assert.deepEqual(
    [before, after],
    [
      [18, 5],
      [13, 0],
    ],
  );
  const held = await redis.command("HMGET", account, "open", "heldTokens", "heldMicroUsd", "total");
  assert.deepEqual(Array.isArray(held) && held.map(String), ["0", "0", "0", "5"]);
});

test("scripts are constant and take all keys from outside", () => {
  const all = [...Object.values(scripts), PEEK, REVOKE];
  assert.equal(all.length, 7);
  for (const { source } of all) {
    assert.ok(!source.includes("openai-gateway") && !source.includes("{limits}"), "a key's name");
    const keys = [...source.matchAll(/redis\.call\("(?!TIME)\w+", ([\w.]+)/g)].map(
      ([, key]) => key,
    );
    const known = ["account.key", "account.calls", "key", "day", "callers", "state"];
    assert.deepEqual(
      [...new Set(keys)].filter((key) => !known.includes(key ?? "")),
      [],
    );
    assert.ok(keys.length > 5, "no keys were found");
  }
});

test("a user who may do no more than it needs is enough", { skip }, async (t) => {
  const server = await startRedis(t);
  const admin = openConnection(t, server.url());
  const reading = ["time", "hget", "hmget", "hlen", "hscan", "zrangebyscore"];
  const writing = ["hset", "hdel", "zadd", "zrem", "pexpire", "persist"];
  const allowed = ["eval", "evalsha", ...reading, ...writing].map((name) => `+${name}`);
  await admin.command("ACL", "SETUSER", "gateway", "on", ">secret", `~${PREFIX}*`, ...allowed);
  const store = openStore(t, server.url("gateway:secret@"), { leaseMs: 20 });
  const quota: Quota = { scope: "a", budgets: [{ limitMicroUsd: 10, per: "total" }] };
  const lost = toClaim(quota, { costMicroUsd: 10 });
  await store.admit(lost);
  await eventually(async () => (await store.admit(toClaim(quota))).kind === "admitted");

  await settle(store, lost, { costMicroUsd: 7 });
  await store.revoke({ caller: "key:a", untilMs: Infinity });
  await store.revoke({ caller: "key:b", untilMs: Infinity });
  await store.revoke({ caller: "key:b", untilMs: 0 });

  assert.equal(await leftOf(store, "a", 10), 3);
  assert.equal((await store.usage(toDay(Date.now()), toDay(Date.now()))).length, 1);
  assert.equal((await store.peek([quota]))[0]?.budgets[0]?.spentMicroUsd, 7);
  const other = openStore(t, server.url("gateway:secret@"));
  await eventually(() => other.revoked("key:a"));
  assert.deepEqual([other.revoked("key:b"), other.problem], [false, undefined]);
});

test("a day has a limit of rows, and counts the rest together", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const store = openStore(t, url, { rowLimit: 103 });
  const count = (caller: string, model: string): Promise<void> => {
    const claim = toClaim([]);
    const record = toRecord(claim, { caller, model, costMicroUsd: 1 });
    return store.settle(claim, { tokens: 0, costMicroUsd: 1 }, record);
  };

  for (let index = 0; index < 120; index++) await count(`caller ${index}`, `model ${index}`);
  for (const caller of ["caller 0", "caller 3", "caller 119"]) await count(caller, "model 0");

  const rows = await store.usage(toDay(Date.now()), toDay(Date.now()));
  assert.equal(rows.length, 103);
  assert.equal(
    rows.reduce((sum, { costMicroUsd }) => sum + costMicroUsd, 0),
    123,
  );
  const requestsOf = (caller: string, model: string): number | undefined =>
    rows.find((row) => row.caller === caller && row.model === model)?.requests;
  assert.deepEqual(
    [requestsOf("caller 0", "model 0"), requestsOf("caller 3", "model 3")],
    [2, undefined],
  );
  assert.deepEqual([requestsOf("other", "model 3"), requestsOf("other", "model 101")], [1, 1]);
  assert.equal(requestsOf("other", "other"), 20);
});

test("usage is read by and by, of 400 days at most", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const redis = openConnection(t, url);
  const clock = new ManualClock();
  const store = openStore(t, url, { clock });
  const today = toDay(clock.now());
  const names = Array.from({ length: 2_500 }, (_, index) => `${"caller".repeat(60)} ${index}`);
  const sums = "1 0 0 2 0 3 4";
  const rowOf = (caller: string): readonly string[] => [JSON.stringify([caller, "m"]), sums];
  await redis.command("HSET", toUsageKey(today), ...names.flatMap(rowOf));
  for (const days of [1, 399, 400, 401]) {
    const day = toDay(clock.now() - days * DAY_MS);
    await redis.command("HSET", toUsageKey(day), ...rowOf("a"));
  }

  const rows = await store.usage("2000-01-01", today);

  const days = [...new Set(rows.map(({ day }) => day))];
  assert.deepEqual(
    days,
    [399, 1, 0].map((back) => toDay(clock.now() - back * DAY_MS)),
  );
  const callers = new Set(rows.filter(({ day }) => day === today).map(({ caller }) => caller));
  assert.equal(callers.size, 2_500);
  assert.equal(rows.length, 2_502);
});
