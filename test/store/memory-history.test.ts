// The history that ends with its process: what reports see of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryHistory } from "../../src/store/memory-history.ts";
import { DAY_MS } from "../../src/store/period.ts";
import { createEntry } from "../helpers/entries.ts";

const FIRST_MS = Date.UTC(2026, 0, 1);

async function daysOf(history: MemoryHistory): Promise<readonly string[]> {
  const rows = await history.rows("0000-01-01", "9999-12-31");
  return [...new Set(rows.map(({ day }) => day))];
}

test("reports the days that are asked for, both included, in order", async () => {
  const history = new MemoryHistory();
  for (const day of [3, 1, 2, 0, 1]) {
    await history.add(createEntry({ atMs: FIRST_MS + day * DAY_MS, costMicroUsd: 1 }));
  }

  const rows = await history.rows("2026-01-02", "2026-01-03");

  assert.deepEqual(
    rows.map(({ day, requests }) => [day, requests]),
    [
      ["2026-01-02", 2],
      ["2026-01-03", 1],
    ],
  );
});

test("keeps 32 days", async () => {
  const history = new MemoryHistory();

  for (let day = 0; day < 40; day++) {
    await history.add(createEntry({ atMs: FIRST_MS + day * DAY_MS }));
  }

  const days = await daysOf(history);
  assert.equal(days.length, 32);
  assert.equal(days[0], "2026-01-09");
});

test("keeps 20 000 rows, those of the latest days", async () => {
  const history = new MemoryHistory();

  for (let day = 0; day < 3; day++) {
    for (let caller = 0; caller < 8_000; caller++) {
      const atMs = FIRST_MS + day * DAY_MS;
      await history.add(createEntry({ atMs, caller: `c${caller}` }));
    }
  }

  assert.deepEqual(await daysOf(history), ["2026-01-02", "2026-01-03"]);
});

test("has nothing to restore, no problem, and closes at once", async () => {
  const history = new MemoryHistory();

  history.restore();
  await history.close();

  assert.equal(history.problem, undefined);
});
