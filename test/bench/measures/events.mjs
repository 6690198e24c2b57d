// SSE events: what one costs in CPU time while many streams are open.
import { setTimeout as sleep } from "node:timers/promises";
import { cpuSeconds } from "../proc.mjs";
import { ask } from "../processes.mjs";

const STREAMS = 100;
const EVENTS_PER_STREAM = 300;
const PACE_MS = 10;

/**
 * One turn, of which the first half does not count, as in that of calls. A stream that ends begins
 * anew, so that the calls count as they would in life.
 */
export async function measureEvents({ pid, port, headers }, { seconds, upstream, readers }) {
  const stream = { events: EVENTS_PER_STREAM, paceMs: PACE_MS, again: true };
  await ask(readers, { task: "open", count: STREAMS, port, headers, ...stream });
  await sleep(seconds * 1_000);
  const before = await count();
  await sleep(seconds * 1_000);
  const after = await count();
  await finish(upstream, readers);

  const got = after.events - before.events;
  const cpu = after.cpu - before.cpu;
  return {
    eventsPerCpuSecond: got / cpu,
    cpuMsPerThousandEvents: (cpu / got) * 1e6,
    // Below one it could not keep up, and reads several events at once: less work for each.
    keptUp: got / (after.sent - before.sent),
  };

  async function count() {
    const cpu = cpuSeconds(pid);
    const { events } = await ask(readers, { task: "count" });
    const { sent } = await ask(upstream, "sent");
    return { cpu, events, sent };
  }
}

/** The upstream ends all streams. To leave would not do: not every proxy tells the upstream. */
async function finish(upstream, readers) {
  let ended = false;
  const ending = ask(readers, { task: "finish" }).finally(() => (ended = true));
  while (!ended) {
    await ask(upstream, "finish");
    await sleep(50);
  }
  await ending;
}
