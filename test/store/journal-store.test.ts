// The store of one process that a journal remembers: the same contract.
import type { Clock } from "../../src/clock.ts";
import { openJournal } from "../../src/store/journal.ts";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { DAY_MS } from "../../src/store/period.ts";
import { openRevocations } from "../../src/store/revocations-file.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { makeDirectory } from "../helpers/run-cli.ts";
import { storeContract } from "./contract.ts";

storeContract("journal", async (t) => {
  const manual = new ManualClock();
  // Somewhere in the middle of every period; monotonic clocks count from somewhere near.
  manual.advance(17 * DAY_MS + 5_000_123);
  const startMs = manual.now();
  const clock: Clock = {
    now: () => manual.now(),
    elapsed: () => manual.elapsed() - startMs,
    after: (delayMs, run) => manual.after(delayMs, run),
  };
  const options = { clock, keepDays: 90, sync: "never", onProblem: () => {} } as const;
  const directory = makeDirectory(t);
  const journal = openJournal(directory, options);
  const store = new MemoryStore(clock, journal, false, openRevocations(directory, clock));
  t.after(() => store.close());
  return { store, now: () => manual.now(), pass: async (ms) => manual.advance(ms) };
});
