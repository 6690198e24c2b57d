// What the record says, added up as somebody asks for it.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { UsageRow } from "../../src/store/store.ts";
import { parseUsageQuery, summarize } from "../../src/usage/summary.ts";

const NOW = Date.UTC(2026, 10, 23, 15);

function row(day: string, caller: string, model: string, costMicroUsd: number): UsageRow {
  const counts = { requests: 2, failed: 1, estimated: 1 };
  const tokens = { inputTokens: 10, cachedInputTokens: 4, outputTokens: 20 };
  return { day, caller, model, ...counts, ...tokens, costMicroUsd };
}

const ROWS = [
  row("2026-11-21", "ann", "gpt-4o", 1_000_000),
  row("2026-11-22", "ann", "gpt-4o-mini", 500),
  row("2026-11-22", "bob", "gpt-4o", 3_000_000),
];

function ask(query: string) {
  return parseUsageQuery(new URLSearchParams(query), NOW);
}

test("unless asked otherwise it is by caller, for the last 30 days", () => {
  assert.deepEqual(ask(""), { by: ["caller"], from: "2026-10-25", to: "2026-11-23" });
  assert.deepEqual(ask("to=2026-03-01"), { by: ["caller"], from: "2026-01-31", to: "2026-03-01" });
});

test("rows are told apart by what was asked for, the dearest first, and the total is of all", () => {
  const { rows, total } = summarize(ROWS, ask("by=caller"));

  assert.deepEqual(
    rows.map(({ caller, costUsd, requests }) => [caller, costUsd, requests]),
    [
      ["bob", 3, 2],
      ["ann", 1.0005, 4],
    ],
  );
  assert.deepEqual(total, {
    requests: 6,
    failed: 3,
    estimated: 3,
    inputTokens: 30,
    cachedInputTokens: 12,
    outputTokens: 60,
    costUsd: 4.0005,
  });
  assert.ok(!("model" in (rows[0] ?? {})), "it was not asked for");
});

test("by day they are in the order of days", () => {
  const { rows } = summarize(ROWS, ask("by=model,day"));

  assert.deepEqual(
    rows.map(({ day, model }) => `${day} ${model}`),
    ["2026-11-21 gpt-4o", "2026-11-22 gpt-4o", "2026-11-22 gpt-4o-mini"],
  );
});

test("nothing at all adds up to nothing", () => {
  const { rows, total } = summarize([], ask(""));
  assert.deepEqual(rows, []);
  assert.equal(total.requests, 0);
});

for (const [query, param, found] of [
  ["by=color", "by", /takes caller, model, day/],
  ["by=", "by", /takes caller, model, day/],
  ["by=day&by=day", "by", /is there twice/],
  ["since=2026-11-01", "since", /is unknown/],
  ["from=yesterday", "from", /has to be a day/],
  ["from=2026-02-30", "from", /has to be a day/],
  ["from=2026-11-01T00:00", "from", /has to be a day/],
  ["from=2026-11-24", "from", /is after 2026-11-23/],
  ["from=2020-01-01", "from", /400 days at most/],
  ["to=9999999-01-01", "to", /has to be a day/],
] as const) {
  test(`${query} is a clear mistake`, () => {
    assert.throws(
      () => ask(query),
      (error) => {
        const { code, message, details } = Object(error);
        assert.equal(code, "invalid_request");
        assert.equal(details.param, param);
        assert.match(message, found);
        return true;
      },
    );
  });
}
