// Who is shut out by one gateway is shut out by all that share its Redis, whatever that one loses.
import assert from "node:assert/strict";
import { test } from "node:test";
import { REVOCATION_KEYS } from "../../src/store/redis-keys.ts";
import type { RedisConnection } from "../../src/store/redis-connection.ts";
import { LAST_MS } from "../../src/store/revocations.ts";
import { REVOCATION_LIMIT, StoreError, type Store } from "../../src/store/store.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { startRedis, WITHOUT_REDIS } from "../helpers/redis-server.ts";
import { toClaim } from "./claims.ts";
import {
  eventually,
  messageOf,
  openConnection,
  openManually,
  openStore,
  recover,
} from "./open-redis.ts";
import { startProxy } from "./redis-proxy.ts";

const skip = WITHOUT_REDIS;
const [CALLERS, STATE] = REVOCATION_KEYS;

function revoke(store: Store, ...callers: readonly string[]): Promise<unknown> {
  return Promise.all(callers.map((caller) => store.revoke({ caller, untilMs: Infinity })));
}

function outOf(store: Store, ...callers: readonly string[]): readonly string[] {
  return callers.filter((caller) => store.revoked(caller));
}

/** As many gateways would have made them. */
async function fill(redis: RedisConnection, count: number, untilMs: number): Promise<void> {
  for (let done = 0; done < count; done += 1_000) {
    const some = Array.from({ length: Math.min(1_000, count - done) }, (_, index) => {
      return [JSON.stringify(`many:${done + index}`), untilMs];
    });
    await redis.command("HSET", CALLERS, ...some.flat());
  }
  await redis.command("HSET", STATE, "version", `01234567 ${count} 01234567`);
}

test("another gateway knows within 2 seconds, and one that starts at once", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const [one, other] = [await openManually(t, url), await openManually(t, url)];
  await revoke(one.store, "key:a");
  assert.ok(one.store.revoked("key:a"), "it does not know of its own");
  const third = openStore(t, url);

  await eventually(() => third.revoked("key:a"));
  other.clock.advance(1_999);
  assert.equal(other.clock.pending, 1, "it looks too early");
  other.clock.advance(1);
  await eventually(() => other.store.revoked("key:a"));

  await other.store.revoke({ caller: "key:a", untilMs: 0 });
  assert.ok(!other.store.revoked("key:a"), "it is still out");
  assert.ok(one.store.revoked("key:a"), "it has looked too early");
  one.clock.advance(2_000);
  await eventually(() => !one.store.revoked("key:a"));
});

test("what has not changed costs one small question", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const { store, clock } = await openManually(t, url, { timeoutMs: 1e9 });
  await revoke(store, "key:a");
  const redis = openConnection(t, url);
  await redis.command("CONFIG", "RESETSTAT");
  const readStats = async () => String(await redis.command("INFO", "commandstats"));

  let stats = "";
  await eventually(async () => {
    clock.advance(2_000);
    stats = await readStats();
    return /cmdstat_hget:calls=[5-9],/.test(stats);
  });

  assert.doesNotMatch(stats, /cmdstat_(?:hscan|hgetall|evalsha|eval):/);
});

test("while Redis is away copies hold, and nobody is shut out for nothing", { skip }, async (t) => {
  const server = await startRedis(t);
  const { store, clock } = await openManually(t, server.url());
  await revoke(store, "key:a");
  await server.stop();
  await eventually(() => store.problem !== undefined);

  assert.match(await messageOf(revoke(store, "key:b")), /^Redis is not connected/);
  await assert.rejects(store.revocations(), StoreError);
  clock.advance(60_000);

  assert.deepEqual(outOf(store, "key:a", "key:b"), ["key:a"]);
});

test("a revocation whose reply is lost is known when it is read", { skip }, async (t) => {
  const server = await startRedis(t);
  const proxy = await startProxy(t, server.port);
  await revoke(openStore(t, server.url()), "warm up"); // The server knows the script.
  const { store, clock } = await openManually(t, proxy.url);

  proxy.loseReply();
  assert.match(await messageOf(revoke(store, "key:a")), /ECONNRESET/);
  assert.ok(!store.revoked("key:a"), "it is out although that failed");
  await recover(store, clock);

  assert.ok(store.revoked("key:a"), "it is not out although it is kept");
});

test("a Redis that restarts empty is told again by whoever lives", { skip }, async (t) => {
  const server = await startRedis(t);
  const { store, clock } = await openManually(t, server.url());
  await revoke(store, "key:a", "key:b");
  await store.revoke({ caller: "key:b", untilMs: 0 });

  await server.stop();
  await eventually(() => store.problem !== undefined);
  await server.start();
  await recover(store, clock);

  assert.deepEqual(outOf(store, "key:a", "key:b"), ["key:a"]);
  const later = openStore(t, server.url());
  await eventually(() => later.revoked("key:a"));
  assert.equal((await later.revocations()).length, 1);
});

test("many changes by one that knew of nothing hide no loss", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const { store } = await openManually(t, url);
  await revoke(store, "key:a");
  await openConnection(t, url).command("FLUSHALL");
  const other = openStore(t, url);
  for (const caller of ["x", "y", "z"]) await revoke(other, caller);

  const known = await store.revocations();

  assert.deepEqual(
    known.map(({ caller }) => caller),
    ["key:a", "x", "y", "z"],
  );
  await other.revocations();
  assert.ok(other.revoked("key:a"), "it was not told again");
});

test("a replica that is one change behind hides no loss after one more", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const [one, other] = [await openManually(t, url), await openManually(t, url)];
  await revoke(one.store, "a");
  await other.store.revocations();
  const redis = openConnection(t, url);
  const version = String(await redis.command("HGET", STATE, "version"));
  await revoke(one.store, "b");
  await redis.command("HDEL", CALLERS, '"b"');
  await redis.command("HSET", STATE, "version", version);
  await revoke(other.store, "c");

  await one.store.revocations();
  await other.store.revocations();

  assert.deepEqual(outOf(one.store, "a", "b", "c"), ["a", "b", "c"]);
  assert.deepEqual(outOf(other.store, "a", "b", "c"), ["a", "b", "c"]);
});

test("what could not be told again is told later", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const { store, clock } = await openManually(t, url);
  await revoke(store, "a");
  const redis = openConnection(t, url);
  await redis.command("FLUSHALL");
  const other = openStore(t, url);
  await revoke(other, "b");
  await redis.command("CONFIG", "SET", "maxmemory", "1");
  clock.advance(2_000);
  await eventually(() => /^Revocations cannot be read: .*memory/.test(store.problem ?? ""));
  assert.deepEqual(outOf(store, "a", "b"), ["a", "b"]);

  await redis.command("CONFIG", "SET", "maxmemory", "0");
  await eventually(() => clock.pending === 1);
  clock.advance(2_000);
  await eventually(() => store.problem === undefined);
  await revoke(other, "c");
  await store.revocations();

  assert.deepEqual(outOf(store, "a", "b", "c"), ["a", "b", "c"]);
});

test("after a loss the later of two moments counts", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const { store, clock } = await openManually(t, url);
  const [soon, late] = [clock.now() + 1_000, clock.now() + 2_000];
  await store.revoke({ caller: "a", untilMs: late });
  await store.revoke({ caller: "b", untilMs: soon });
  await openConnection(t, url).command("FLUSHALL");
  const other = openStore(t, url, { clock: new ManualClock() });
  await other.revoke({ caller: "a", untilMs: soon });
  await other.revoke({ caller: "b", untilMs: late });

  const known = await store.revocations();
  await other.revocations();

  const both = ["a", "b"].map((caller) => ({ caller, untilMs: late }));
  assert.deepEqual(known, both);
  assert.deepEqual(await other.revocations(), both);
});

test("a gateway that was away for many changes brings nothing back", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const [one, other] = [await openManually(t, url), await openManually(t, url)];
  await revoke(one.store, "a", "b");
  await other.store.revocations();
  await one.store.revoke({ caller: "b", untilMs: 0 });
  for (let change = 0; change < 120; change++) await revoke(one.store, "c");

  const known = await other.store.revocations();

  assert.deepEqual(
    known.map(({ caller }) => caller),
    ["a", "c"],
  );
  assert.equal((await one.store.revocations()).length, 2);
});

test("more than a reply may hold is read by and by", { skip }, async (t) => {
  const server = await startRedis(t);
  const { store } = await openManually(t, server.url());
  const redis = openConnection(t, server.url());
  const callers = Array.from({ length: 2_000 }, (_, index) => `${"ü".repeat(990)}${index}`);
  const pairs = callers.flatMap((caller) => [JSON.stringify(caller), LAST_MS]);
  await redis.command("HSET", CALLERS, ...pairs);
  await redis.command("HSET", STATE, "version", "01234567 2000 01234567");
  await revoke(store, "one more"); // And all are read.

  const known = await store.revocations();

  assert.equal(known.length, 2_001);
  assert.equal((await store.admit(toClaim({ scope: "a" }))).kind, "admitted");
  await redis.command("FLUSHALL");
  assert.equal((await store.revocations()).length, 2_001);
  assert.equal(await redis.command("HLEN", CALLERS), 2_001);
});

test("there are 10 000 at most, of which those that are over make room", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const { store, clock } = await openManually(t, url);
  const redis = openConnection(t, url);
  await fill(redis, REVOCATION_LIMIT, LAST_MS);
  await redis.command("HSET", CALLERS, '"many:5"', clock.now() + 1);

  assert.match(await messageOf(revoke(store, "one")), /10000 revocations already/);
  assert.ok(!store.revoked("one"), "it is out all the same");
  await revoke(store, "many:7");
  await store.revoke({ caller: "many:3", untilMs: 0 });
  await revoke(store, "one");
  assert.match(await messageOf(revoke(store, "two")), /10000 revocations already/);
  clock.advance(1);
  await revoke(store, "two");

  assert.equal((await store.revocations()).length, REVOCATION_LIMIT);
  assert.deepEqual(outOf(store, "one", "two", "many:3", "many:5"), ["one", "two"]);
});

test("a loss is made good over the limit, too", { skip }, async (t) => {
  const url = (await startRedis(t)).url();
  const { store } = await openManually(t, url);
  await revoke(store, "a1", "a2", "a3");
  const redis = openConnection(t, url);
  await redis.command("FLUSHALL");
  await fill(redis, REVOCATION_LIMIT - 1, LAST_MS);
  const other = openStore(t, url);
  await revoke(other, "one");

  await store.revocations();
  await other.revocations();

  assert.equal(outOf(other, "a1", "a2", "a3", "one", "many:0").length, 5);
});

test("who may not read them is told so", { skip }, async (t) => {
  const server = await startRedis(t);
  const admin = openConnection(t, server.url());
  const rights = ["on", ">secret", "~*", "+@all", "-hget"];
  await admin.command("ACL", "SETUSER", "gateway", ...rights);
  const store = openStore(t, server.url("gateway:secret@"));

  await eventually(() => /^Revocations cannot be read: .*NOPERM/.test(store.problem ?? ""));
  await admin.command("ACL", "SETUSER", "gateway", "+hget");
  await store.revocations();

  assert.equal(store.problem, undefined);
});

test("closing leaves no timer behind, and no look", { skip }, async (t) => {
  const { store, clock } = await openManually(t, (await startRedis(t)).url());
  clock.advance(2_000);

  await store.close();

  await eventually(() => clock.pending === 0);
  clock.advance(10_000);
  assert.equal(clock.pending, 0);
});
