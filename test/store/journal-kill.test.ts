// Processes that are killed in the middle of everything: what they said was recorded is.
import assert from "node:assert/strict";
import { appendFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../src/clock.ts";
import { openJournal } from "../../src/store/journal.ts";
import { readIds, startJournalProcess } from "../helpers/journal-process.ts";
import { makeDirectory } from "../helpers/run-cli.ts";

const ROUNDS = 5;

interface Replay {
  readonly costMicroUsd: number;
  readonly damaged: number;
}

async function replay(directory: string): Promise<Replay> {
  let costMicroUsd = 0;
  let damaged = 0;
  const journal = openJournal(directory, {
    clock: systemClock,
    keepDays: 90,
    sync: "never",
    onProblem: (message) => (damaged += Number(/^(\d+) damaged lines? w/.exec(message)?.[1])),
  });
  journal.restore((spent) => (costMicroUsd += spent.costMicroUsd));
  await journal.close();
  return { costMicroUsd, damaged };
}

/** mulberry32: the same moments whenever the test runs. */
function createRandom(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("loses no call that it said was recorded, whenever it is killed", async (t) => {
  const chains = [1, 2, 3, 4].map(async (seed) => {
    const random = createRandom(seed);
    const directory = makeDirectory(t);
    const said: string[] = [];
    let torn = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const child = startJournalProcess(t, directory, `${seed}.${round}`);
      // The test's own limit ends it.
      while (child.ids().length === 0) await sleep(2);
      await sleep(random() * 60);
      await child.kill();
      said.push(...child.ids());
      if (random() < 0.5) {
        // A kill tears few lines, a power failure more.
        const [calls = ""] = readdirSync(directory).filter((name) => name.startsWith("calls-"));
        appendFileSync(join(directory, calls), '{"at":"2026-');
        torn++;
      }

      const { costMicroUsd, damaged } = await replay(directory);

      const found = readIds(directory);
      const known = new Set(found);
      assert.deepEqual(
        said.filter((id) => !known.has(id)),
        [],
      );
      assert.equal(known.size, found.length);
      assert.equal(costMicroUsd, found.length);
      assert.ok(damaged >= torn && damaged <= torn + round + 1, `${damaged} lines are damaged`);
    }
    assert.ok(said.length > 100, `only ${said.length} calls were recorded`);
  });
  await Promise.all(chains);
});
