// Stores and bare connections on a real Redis, closed after their test.
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../src/clock.ts";
import { parseRedisUrl, type RedisAddress } from "../../src/config/redis-url.ts";
import { createRedisConnection, type RedisConnection } from "../../src/store/redis-connection.ts";
import { RedisStore, type RedisStoreOptions } from "../../src/store/redis-store.ts";
import { StoreError, type Store } from "../../src/store/store.ts";
import { ManualClock } from "../helpers/manual-clock.ts";

/** So patient that a machine that is busy with other tests breaks no promise. */
export function openStore(
  t: TestContext,
  url: string,
  options: Partial<RedisStoreOptions> = {},
): RedisStore {
  const usual = { clock: systemClock, keepDays: 90, timeoutMs: 5_000 };
  const store = new RedisStore(toAddress(url), { ...usual, ...options });
  t.after(() => store.close());
  return store;
}

/** Its connection, leases and retries go by the test's clock; the server has its own. */
export async function openManually(
  t: TestContext,
  url: string,
  options: Partial<RedisStoreOptions> = {},
): Promise<{ readonly store: RedisStore; readonly clock: ManualClock }> {
  const clock = new ManualClock();
  const store = openStore(t, url, { clock, ...options });
  await eventually(() => store.problem === undefined);
  await store.revocations(); // What it looks for by itself is behind it.
  return { store, clock };
}

/** For what a test does behind the store's back. */
export function openConnection(t: TestContext, url: string): RedisConnection {
  const redis = createRedisConnection(toAddress(url), { clock: systemClock, timeoutMs: 5_000 });
  t.after(() => redis.close());
  return redis;
}

/** For what other processes do; the test's own limit ends it. */
export async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(2);
}

/** Lets time pass until the store is well again, and has nothing left to do. */
export async function recover(store: Store, clock: ManualClock): Promise<void> {
  await eventually(() => {
    clock.advance(100);
    return store.problem === undefined;
  });
  await store.revocations(); // What it looks for by itself is behind it.
}

/** What a promise says when it cannot be kept. */
export async function messageOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error("It did not fail."),
    (reason: unknown) => reason,
  );
  if (error instanceof StoreError) return error.message;
  throw error;
}

function toAddress(url: string): RedisAddress {
  const address = parseRedisUrl(url);
  if (typeof address === "string") throw new Error(address);
  return address;
}
