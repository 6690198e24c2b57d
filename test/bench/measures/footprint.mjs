// How soon a program answers after its start, and the memory it takes, idle and for each stream.
import { setTimeout as sleep } from "node:timers/promises";
import { residentBytes } from "../proc.mjs";
import { ask } from "../processes.mjs";
import { start } from "../programs.mjs";

// The first streams pay for V8's young generation, which grows once; the others show their cost.
const WARM_UP_STREAMS = 500;
const STREAMS = 1_500;
const SILENT_MS = 60_000;
const SETTLE_MS = 500;

/** One turn, on a process of its own. */
export async function measureFootprint(program, { upstreamPort, readers, quick }) {
  const { port, headers, pid, startMs, stop } = await start(program, upstreamPort);
  await sleep(SETTLE_MS);
  const idleBytes = residentBytes(pid);
  const open = (count) =>
    ask(readers, { task: "open", count, port, headers, events: 100, paceMs: SILENT_MS });

  const share = quick ? 0.1 : 1;
  await open(WARM_UP_STREAMS * share);
  await sleep(SETTLE_MS);
  const before = residentBytes(pid);
  await open(STREAMS * share);
  await sleep(SETTLE_MS);
  const bytesPerStream = (residentBytes(pid) - before) / (STREAMS * share);
  await ask(readers, { task: "leave" });
  await stop();
  return { startMs, idleBytes, bytesPerStream };
}
