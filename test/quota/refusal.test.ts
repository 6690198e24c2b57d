// A refusal as the client hears it.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Refused } from "../../src/store/store.ts";
import { toErrorHeaders } from "../../src/errors.ts";
import { toDuration, toLimitHeaders, toRefusal, toUsd } from "../../src/quota/refusal.ts";

const SPENT: Refused = {
  kind: "refused",
  levels: {},
  rule: "budget",
  scope: "caller:key:a",
  limit: 500_000,
  wanted: 20_000,
  left: 3_000,
  held: false,
  waitMs: 5_400_000,
  per: "day",
};
const RATE: Refused = {
  ...SPENT,
  rule: "tokensPerMinute",
  limit: 1_000,
  wanted: 600,
  waitMs: 1_500.2,
};

for (const [ms, text] of [
  [0, "0ms"],
  [0.2, "1ms"],
  [17, "17ms"],
  [999.5, "1s"],
  [8_640, "8.64s"],
  [59_999.9, "1m0s"],
  [360_000, "6m0s"],
  [90_500, "1m30.5s"],
  [7_205_000, "2h0m5s"],
] as const) {
  test(`${ms} ms is ${text}, as OpenAI writes it`, () => {
    assert.equal(toDuration(ms), text);
  });
}

for (const [microUsd, text] of [
  [500_000, "0.50 USD"],
  [1, "0.000001 USD"],
  [1_234_500, "1.2345 USD"],
  [20_000_000, "20.00 USD"],
  [0, "0.00 USD"],
] as const) {
  test(`${microUsd} micro-dollars are ${text}`, () => {
    assert.equal(toUsd(microUsd), text);
  });
}

for (const [refused, code, message] of [
  [
    SPENT,
    "insufficient_quota",
    "Of your budget of 0.50 USD per day, 0.003 USD is left, and this call may cost 0.02 USD. It begins anew in 1h30m0s.",
  ],
  [
    { ...SPENT, left: 0, per: "total", waitMs: undefined },
    "insufficient_quota",
    "Of your budget of 0.50 USD in total, 0.00 USD is left.",
  ],
  [
    { ...SPENT, scope: "policy:demo", left: 0 },
    "insufficient_quota",
    "Of everybody's common budget of 0.50 USD per day, 0.00 USD is left. It begins anew in 1h30m0s.",
  ],
  [
    { ...SPENT, held: true, waitMs: 1_000 },
    "rate_limit_exceeded",
    "What is left of your budget of 0.50 USD per day is set aside for calls that are open. Try again soon.",
  ],
  [
    RATE,
    "rate_limit_exceeded",
    "Rate limit reached: your limit is 1000 tokens per minute, of which this call needs 600 (tokensPerMinute). Try again in 1.501s.",
  ],
  [
    { ...RATE, scope: "address:192.0.2.1", rule: "requestsPerMinute", limit: 1, wanted: 1 },
    "rate_limit_exceeded",
    "Rate limit reached: your network's limit is 1 requests per minute (requestsPerMinute). Try again in 1.501s.",
  ],
] as const satisfies readonly (readonly [Refused, string, string])[]) {
  test(`says: ${message.slice(0, 80)}`, () => {
    const error = toRefusal(refused);
    assert.equal(error.code, code);
    assert.equal(error.status, 429);
    assert.equal(error.message, message);
  });
}

test("whoever should not come back is told so, and everybody else when", () => {
  const headers = toErrorHeaders(toRefusal(RATE));
  assert.equal(headers["retry-after"], "2");
  assert.equal(headers["retry-after-ms"], "1501");
  assert.equal(headers["x-should-retry"], undefined);

  const never = toErrorHeaders(toRefusal({ ...RATE, wanted: 1_001, waitMs: undefined }));
  assert.equal(never["retry-after"], undefined);
  assert.equal(never["x-should-retry"], "false");

  const spent = toErrorHeaders(toRefusal(SPENT));
  assert.equal(spent["retry-after"], "5400");
  assert.equal(spent["x-should-retry"], "false");
});

test("levels are headers, and what has no level has none", () => {
  assert.deepEqual(toLimitHeaders({ requests: { limit: 60, remaining: 59, resetMs: 1_000 } }), [
    ["x-ratelimit-limit-requests", "60"],
    ["x-ratelimit-remaining-requests", "59"],
    ["x-ratelimit-reset-requests", "1s"],
  ]);
  assert.deepEqual(toLimitHeaders({}), []);
});
