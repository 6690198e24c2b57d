// What one day's calls came to: no row is lost, no table grows without end.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PAIR_LIMIT, UsageTable } from "../../src/store/usage-table.ts";
import { createEntry } from "../helpers/entries.ts";

const DAY = "2026-11-23";

test("adds up by caller and model", () => {
  const table = new UsageTable();
  const tokens = { inputTokens: 10, cachedInputTokens: 4, outputTokens: 3, costMicroUsd: 7 };

  table.add(createEntry({ caller: "a", model: "x", ...tokens }));
  table.add(createEntry({ caller: "a", model: "x", ...tokens, estimated: true }));
  table.add(createEntry({ caller: "a", model: "y", ...tokens }));
  table.add(createEntry({ caller: "b", model: "x", ...tokens }));

  const one = { day: DAY, requests: 1, failed: 0, estimated: 0, ...tokens };
  assert.deepEqual(table.rows(DAY), [
    {
      ...{ day: DAY, caller: "a", model: "x", requests: 2, failed: 0, estimated: 1 },
      ...{ inputTokens: 20, cachedInputTokens: 8, outputTokens: 6, costMicroUsd: 14 },
    },
    { ...one, caller: "a", model: "y" },
    { ...one, caller: "b", model: "x" },
  ]);
});

test("calls a call failed that has an error or a status of 400 and more", () => {
  const table = new UsageTable();

  table.add(createEntry({ status: 399 }));
  table.add(createEntry({ status: 400 }));
  table.add(createEntry({ status: 200, error: "upstream_reset" }));

  assert.deepEqual(
    table.rows(DAY).map(({ requests, failed }) => [requests, failed]),
    [[3, 2]],
  );
});

test("calls the model unknown where none was named", () => {
  const table = new UsageTable();

  table.add(createEntry({ model: undefined }));

  assert.deepEqual(
    table.rows(DAY).map(({ model }) => model),
    ["unknown"],
  );
});

test("counts those who come too late as others, by model while there is room", () => {
  const table = new UsageTable();
  const calls = PAIR_LIMIT * 2;

  for (let each = 0; each < calls; each++) table.add(createEntry({ caller: `c${each}` }));
  for (let each = 0; each < calls; each++) {
    table.add(createEntry({ caller: `d${each}`, model: `m${each}` }));
  }
  table.add(createEntry({ caller: "c0" }));

  const rows = table.rows(DAY);
  const others = rows.filter(({ caller }) => caller === "other");
  assert.equal(rows.length, PAIR_LIMIT);
  assert.equal(
    rows.reduce((sum, { requests }) => sum + requests, 0),
    2 * calls + 1,
  );
  assert.equal(others.find(({ model }) => model === "gpt-4o-mini")?.requests, calls - 9_900);
  assert.equal(others.find(({ model }) => model === "m0")?.requests, 1);
  assert.equal(others.find(({ model }) => model === "other")?.requests, calls - 98);
  assert.equal(rows.find(({ caller }) => caller === "c0")?.requests, 2);
});

test("keeps every sum a safe integer", () => {
  const table = new UsageTable();

  table.add(createEntry({ costMicroUsd: Number.MAX_SAFE_INTEGER, inputTokens: Number.NaN }));
  table.add(createEntry({ costMicroUsd: 5, inputTokens: -3, outputTokens: 0.5 }));

  const [row] = table.rows(DAY);
  assert.equal(row?.costMicroUsd, Number.MAX_SAFE_INTEGER);
  assert.equal(row.inputTokens, 0);
  assert.equal(row.outputTokens, 0);
});

test("adds what another table has counted", () => {
  const one = new UsageTable();
  const other = new UsageTable();
  one.add(createEntry({ costMicroUsd: 3, estimated: true, status: 500 }));
  other.add(createEntry({ costMicroUsd: 4 }));

  for (const row of one.rows(DAY)) other.addRow(row);

  const [row] = other.rows(DAY);
  assert.deepEqual(
    [row?.requests, row?.failed, row?.estimated, row?.costMicroUsd, other.size],
    [2, 1, 1, 7, 1],
  );
});
