// When a gateway says that its calls are open still, and of how many it says so at one time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Leases } from "../../src/store/redis-leases.ts";
import type { Claim } from "../../src/store/store.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { toClaim } from "./claims.ts";

/** With leases of a minute, and what became of them. */
function createLeases() {
  const clock = new ManualClock();
  const renewed: (readonly string[])[] = [];
  const answer = { error: undefined as Error | undefined };
  const renew = async (claims: readonly Claim[]): Promise<void> => {
    renewed.push(claims.map(({ id }) => id));
    if (answer.error !== undefined) throw answer.error;
  };
  const leases = new Leases(clock, { leaseMs: 60_000, renew });
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await setImmediate();
  };
  return { clock, leases, renewed, answer, pass };
}

test("a lease is renewed after a third of it, and not before", async () => {
  const { leases, renewed, pass } = createLeases();
  const claim = toClaim([]);
  leases.add(claim);

  const counts: number[] = [];
  for (let part = 0; part < 12; part++) {
    await pass(5_000);
    counts.push(renewed.length);
  }

  assert.deepEqual(counts, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3]);
});

test("what could not be renewed is tried again soon", async () => {
  const { leases, renewed, answer, pass } = createLeases();
  leases.add(toClaim([]));
  answer.error = new Error("away");
  for (let part = 0; part < 6; part++) await pass(5_000);
  assert.equal(renewed.length, 3);

  answer.error = undefined;
  for (let part = 0; part < 4; part++) await pass(5_000);

  assert.equal(renewed.length, 4);
});

test("many are renewed in batches, without those that are over by then", async () => {
  const { leases, renewed, pass, clock } = createLeases();
  const claims = Array.from({ length: 120 }, () => toClaim([]));
  for (const claim of claims) leases.add(claim);
  const last = claims[119];
  clock.advance(20_000);
  if (last !== undefined) leases.remove(last.id);
  await pass(0);

  assert.deepEqual(
    renewed.map(({ length }) => length),
    [50, 50, 19],
  );
});

test("while no call is open nothing wakes up", async () => {
  const { leases, renewed, pass, clock } = createLeases();
  const claim = toClaim([]);
  leases.add(claim);
  assert.equal(leases.find(claim.id)?.claim, claim);
  assert.equal(leases.remove(claim.id)?.claim, claim);
  assert.equal(leases.remove(claim.id), undefined);
  await pass(60_000);

  assert.deepEqual([renewed.length, clock.pending], [0, 0]);
});
