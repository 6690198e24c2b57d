// Small calls: what one costs in CPU time, and how long it takes under load.
import { cpuSeconds } from "../proc.mjs";
import { smallCalls } from "../wrk.mjs";

const CONNECTIONS = 32;

/**
 * One turn, of which the first half does not count: whoever has waited for its turn finds its code
 * and data gone from the caches. A program without a process of its own has no CPU time.
 */
export async function measureCalls(program, { seconds }) {
  await smallCalls(program, CONNECTIONS, seconds);
  const before = program.pid && cpuSeconds(program.pid);
  const calls = await smallCalls(program, CONNECTIONS, seconds);
  const { requests, p50Ms, p99Ms } = calls;
  const figures = { callsPerSecond: requests / calls.seconds, p50Ms, p99Ms };
  if (!program.pid) return figures;
  return { ...figures, callsPerCpuSecond: requests / (cpuSeconds(program.pid) - before) };
}
