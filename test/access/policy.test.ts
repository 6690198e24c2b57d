// How a token's limits narrow its policy: what is counted gets smaller, and nothing is given back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compilePolicy } from "../../src/access/policy.ts";
import type { BudgetConfig, Limits, PolicyConfig } from "../../src/config/config.ts";

const DAILY: BudgetConfig = { usd: 5, per: "day" };
const MONTHLY: BudgetConfig = { usd: 20, per: "month" };

function compile(config: Partial<PolicyConfig> = {}) {
  return compilePolicy("user", { endpoints: ["chat"], assumedOutputTokens: 4_096, ...config });
}

for (const field of ["requestsPerMinute", "tokensPerMinute", "concurrentRequests"] as const) {
  test(`of two ${field} the smaller one counts, whoever has it`, () => {
    const narrowed = (one: Limits, other: Limits) => compile(one).narrow(other).limits[field];

    assert.equal(narrowed({ [field]: 3 }, { [field]: 2 }), 2);
    assert.equal(narrowed({ [field]: 3 }, { [field]: 4 }), 3);
    assert.equal(narrowed({ [field]: 3 }, { maxChoices: 1 }), 3);
    assert.equal(narrowed({}, { [field]: 4 }), 4);
    assert.equal(narrowed({}, { maxChoices: 1 }), undefined);
  });
}

test("budgets all have to hold, those of one period too", () => {
  const double: BudgetConfig = { usd: 1, per: "day" };
  const policy = compile({ budget: [DAILY, MONTHLY] });

  assert.deepEqual(policy.limits.budget, [DAILY, MONTHLY]);
  assert.deepEqual(policy.narrow({ budget: [double] }).limits.budget, [DAILY, MONTHLY, double]);
  assert.deepEqual(policy.narrow({ maxChoices: 1 }).limits.budget, [DAILY, MONTHLY]);
  assert.deepEqual(compile().narrow({ budget: [double] }).limits.budget, [double]);
  assert.equal(compile().narrow({ maxChoices: 1 }).limits.budget, undefined);
});

test("narrowing twice keeps what the first time took away", () => {
  const policy = compile({ requestsPerMinute: 10, budget: [MONTHLY] })
    .narrow({ requestsPerMinute: 2, budget: [DAILY] })
    .narrow({ requestsPerMinute: 5 });

  assert.equal(policy.limits.requestsPerMinute, 2);
  assert.deepEqual(policy.limits.budget, [MONTHLY, DAILY]);
});

test("what callers have together, per address or by assumption is no matter of one token", () => {
  const shared = { budget: [MONTHLY] };
  const perAddress = { requestsPerMinute: 7 };
  const policy = compile({ shared, perAddress, assumedOutputTokens: 9 });
  const narrowed = policy.narrow({ requestsPerMinute: 1, budget: [DAILY] });

  for (const { shared: all, perAddress: each, assumedOutputTokens } of [policy, narrowed]) {
    assert.deepEqual([all, each, assumedOutputTokens], [shared, perAddress, 9]);
  }
  assert.deepEqual([compile().shared, compile().perAddress], [undefined, undefined]);
});
