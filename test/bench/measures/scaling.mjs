// Whether cost grows as the work: small calls while ever more streams are open.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuSeconds, residentBytes } from "../proc.mjs";
import { ask } from "../processes.mjs";
import { start } from "../programs.mjs";
import { smallCalls } from "../wrk.mjs";

const LEVELS = [10, 100, 1_000, 5_000];
const CONNECTIONS = 16;
const PACE_MS = 1_000;
const SETTLE_MS = 500;
const WATCH_MS = 1_000;
/** Node raises its soft limit to this hard one by itself. NaN where there is none. */
const FILES = Number(/open files +\S+ +(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]);

/** How many streams are open: all that `ulimit -Hn` allows a proxy, with two sockets for each. */
export function levels({ quick }) {
  return LEVELS.filter((streams) => !(2 * streams + 200 > FILES) && (!quick || streams <= 100));
}

/** One turn, on a process of its own. @returns figures by number of streams */
export async function measureScaling(program, tools) {
  const { seconds, warmUpRounds, upstreamPort, readers } = tools;
  const running = await start(program, upstreamPort);
  const { port, headers, pid } = running;
  await smallCalls(running, CONNECTIONS, 2 * warmUpRounds * seconds);
  const figures = new Map();
  let opened = 0;
  for (const streams of levels(tools)) {
    const stream = { events: 1_000, paceMs: PACE_MS };
    await ask(readers, { task: "open", count: streams - opened, port, headers, ...stream });
    opened = streams;
    await sleep(SETTLE_MS);
    const cpuBefore = cpuSeconds(pid);
    await sleep(WATCH_MS);
    const streamsCpuShare = (cpuSeconds(pid) - cpuBefore) / (WATCH_MS / 1_000);
    const calls = await smallCalls(running, CONNECTIONS, seconds);
    figures.set(streams, {
      streamsCpuShare,
      callsPerSecond: calls.requests / calls.seconds,
      p99Ms: calls.p99Ms,
      residentBytes: residentBytes(pid),
    });
  }
  await ask(readers, { task: "leave" });
  await running.stop();
  return figures;
}
