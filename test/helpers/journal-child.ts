// A process that records calls for as long as it lives: prints the id of each one when the journal
// says that it is safe, and whatever the journal complains of as `! …`.
import { systemClock } from "../../src/clock.ts";
import { openJournal } from "../../src/store/journal.ts";
import { createEntry } from "./entries.ts";

const [directory = "", name = ""] = process.argv.slice(2);
const TOGETHER = 20;
/** Then it only lives: whoever kills it may be slow, and the disk is everybody's. */
const MOST = 10_000;

const journal = openJournal(directory, {
  clock: systemClock,
  keepDays: 90,
  sync: "interval",
  onProblem: (message) => void process.stdout.write(`! ${message}\n`),
});
journal.restore(() => {});

let count = 0;

async function record(): Promise<void> {
  while (count < MOST) {
    const id = `${name}-${count++}`;
    await journal.add(createEntry({ id, atMs: Date.now(), costMicroUsd: 1 }));
    // To a pipe that is done at once, not when there is time: a process that is killed has none.
    process.stdout.write(`${id}\n`);
    // The journal waits now, so that it does not fill up.
    while (journal.problem !== undefined) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

await Promise.all(Array.from({ length: TOGETHER }, record));
setInterval(() => {}, 60_000);
