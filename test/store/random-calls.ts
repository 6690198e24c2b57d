// Hundreds of calls at random, the same ones for a seed, told to a store and to a model of it that
// is as simple as can be: two numbers and a list for each scope.
import assert from "node:assert/strict";
import type { Claim, Quota, Store } from "../../src/store/store.ts";
import { leftOf, refused, settle, toClaim } from "./claims.ts";

const LIMITS = { "caller:a": 1_200_000, "caller:b": 900_000, "policy:p": 1_500_000 };
const OPEN_LIMIT = 7;

type Scope = keyof typeof LIMITS;

interface Call {
  readonly claim: Claim;
  readonly scopes: readonly Scope[];
  heldMicroUsd: number;
}

/** Random numbers below one: mulberry32. */
export function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Model {
  readonly spentMicroUsd = { "caller:a": 0, "caller:b": 0, "policy:p": 0 };
  readonly open: Call[] = [];

  heldMicroUsd(scope: Scope): number {
    const calls = this.open.filter(({ scopes }) => scopes.includes(scope));
    return calls.reduce((sum, call) => sum + call.heldMicroUsd, 0);
  }

  leftMicroUsd(scope: Scope): number {
    return LIMITS[scope] - this.spentMicroUsd[scope] - this.heldMicroUsd(scope);
  }

  /** Where it is that a call has to be refused, and why. */
  inTheWay(scopes: readonly Scope[], wanted: number): readonly [Scope, string] | undefined {
    for (const scope of scopes) {
      const open = this.open.filter((call) => call.scopes.includes(scope)).length;
      if (scope === "policy:p" && open >= OPEN_LIMIT) return [scope, "concurrentRequests"];
      if (this.lacks(scope, wanted)) return [scope, "budget"];
    }
    return undefined;
  }

  lacks(scope: Scope, wanted: number): boolean {
    return wanted > this.leftMicroUsd(scope) || this.spentMicroUsd[scope] >= LIMITS[scope];
  }
}

/** Fails at the first step about which store and model differ. */
export async function play(
  store: Store,
  { seed, steps }: { readonly seed: number; readonly steps: number },
) {
  const model = new Model();
  const random = createRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const refusals = { held: 0, spent: 0, open: 0 };
  const over: Call[] = [];

  const begin = async (): Promise<void> => {
    const caller: Scope = random() < 0.5 ? "caller:a" : "caller:b";
    const scopes: Scope[] = random() < 0.2 ? ["policy:p"] : [caller, "policy:p"];
    const costMicroUsd = below(300_000);
    const claim = toClaim(scopes.map(toQuota), { costMicroUsd });
    const inTheWay = model.inTheWay(scopes, costMicroUsd);
    const admission = await store.admit(claim);
    if (inTheWay === undefined) {
      assert.equal(admission.kind, "admitted");
      model.open.push({ claim, scopes, heldMicroUsd: costMicroUsd });
      return;
    }
    const { scope, rule, left, held } = refused(admission);
    assert.deepEqual([scope, rule], inTheWay);
    if (rule === "budget") {
      assert.equal(left, model.leftMicroUsd(inTheWay[0]));
      refusals[held ? "held" : "spent"]++;
    } else {
      refusals.open++;
    }
  };

  const extend = async (call: Call): Promise<void> => {
    const more = below(150_000);
    const fits = !call.scopes.some((scope) => model.lacks(scope, more));
    assert.equal(await store.extend(call.claim, more), fits);
    if (fits) call.heldMicroUsd += more;
  };

  const end = async (call: Call): Promise<void> => {
    const costMicroUsd = random() < 0.2 ? 0 : below(Math.min(call.heldMicroUsd, 60_000) + 1);
    await settle(store, call.claim, { costMicroUsd });
    model.open.splice(model.open.indexOf(call), 1);
    for (const scope of call.scopes) model.spentMicroUsd[scope] += costMicroUsd;
    over.push(call);
  };

  for (let step = 0; step < steps; step++) {
    const call = model.open[below(model.open.length)];
    const dice = random();
    if (call === undefined || dice < 0.5) await begin();
    else if (dice < 0.6) await extend(call);
    else if (dice < 0.95) await end(call);
    const ended = over[below(over.length)];
    if (dice > 0.9 && ended !== undefined) await settle(store, ended.claim, { costMicroUsd: 9e5 });
    for (const scope of toScopes()) assert.ok(model.leftMicroUsd(scope) >= 0, scope);
  }
  while (model.open[0] !== undefined) await end(model.open[0]);

  for (const scope of toScopes()) {
    // Nothing is held: all that is not spent can be had.
    const left = model.leftMicroUsd(scope);
    assert.equal(left, LIMITS[scope] - model.spentMicroUsd[scope]);
    assert.equal(await leftOf(store, scope, LIMITS[scope]), left);
  }
  return { refusals, spentMicroUsd: model.spentMicroUsd["policy:p"] };
}

function toScopes(): readonly Scope[] {
  return ["caller:a", "caller:b", "policy:p"];
}

function toQuota(scope: Scope): Quota {
  const budgets = [{ limitMicroUsd: LIMITS[scope], per: "total" as const }];
  return scope === "policy:p"
    ? { scope, budgets, concurrentRequests: OPEN_LIMIT }
    : { scope, budgets };
}
