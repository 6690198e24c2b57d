// What an embedder may write in TypeScript: these compile, and mean what the file would mean.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfigInput, LimitsInput } from "../../src/config/config.ts";
import { parseLimits } from "../../src/config/parse-policies.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { createGateway } from "../../src/gateway.ts";

/** Whether every value of the one type is one of the other. */
type Fits<One, Other> = [One] extends [Other] ? true : false;

type Policy = NonNullable<NonNullable<ConfigInput["policies"]>["default"]>;
type Store = NonNullable<ConfigInput["store"]>;

const BUDGETS: readonly NonNullable<Policy["budget"]>[] = [
  "5/day",
  "$5/day",
  { usd: 5, per: "day" },
  ["5/day"],
  [{ usd: 5, per: "day" }],
];

const EVERYTHING = {
  upstreams: [{ apiKey: "sk-0123456789abcdef" }],
  policies: {
    default: {
      requestsPerMinute: 1,
      budget: ["1/day", { usd: 20, per: "month" }],
      shared: { budget: "100/month", concurrentRequests: 2 },
      perAddress: { tokensPerMinute: 3, budget: { usd: 0.5, per: "hour" } },
      assumedOutputTokens: 100,
    },
    other: { budget: "$1/total" },
  },
  prices: { "my-model": { input: 0.3, audioHour: 1 } },
  store: {
    redisUrl: "redis://127.0.0.1",
    dataDir: "data",
    keepDays: 1,
    sync: "never",
    whenDown: { limits: "closed" },
  },
} satisfies ConfigInput;

test("every form of a budget is an input, and one budget", () => {
  for (const budget of BUDGETS) {
    const limits: LimitsInput = { budget };
    const settings: ConfigInput = { ...EVERYTHING, policies: { default: { budget } } };

    const read = [{ usd: 5, per: "day" }];
    assert.deepEqual(parseLimits(limits).budget, read);
    assert.deepEqual(parseConfig(settings).policies.default.budget, read);
  }
});

test("a number is no input for a budget, nor a period of another name", () => {
  const number: Fits<{ readonly budget: 5 }, Policy> = false;
  const week: Fits<{ readonly budget: { usd: 5; per: "week" } }, Policy> = false;
  const money: Fits<{ readonly shared: { readonly budget: 5 } }, Policy> = false;
  const redis: Fits<"redis", keyof Store> = false;
  const item: Fits<"inputs", keyof NonNullable<ConfigInput["prices"]>[string]> = false;

  assert.deepEqual([number, week, money, redis, item], [false, false, false, false, false]);
});

test("createGateway takes all of it", async () => {
  const gateway = createGateway({ ...EVERYTHING, store: { keepDays: 1 } });
  await gateway.close();

  const { policies, prices, store } = parseConfig(EVERYTHING);

  assert.deepEqual(policies.default.shared?.budget, [{ usd: 100, per: "month" }]);
  assert.deepEqual(prices, EVERYTHING.prices);
  assert.equal(store.redis?.host, "127.0.0.1");
  assert.deepEqual(store.whenDown, { limits: "closed", budgets: "closed" });
});
