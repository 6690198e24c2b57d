// CPU time and memory of a process with all its descendants, as Linux tells them in /proc.
import { readFileSync, readdirSync } from "node:fs";

/** CPU seconds so far, to the nanosecond: the clock ticks of `stat` are too coarse for a turn. */
export function cpuSeconds(pid) {
  let ns = 0;
  for (const [process, thread] of threads(pid)) {
    const [onCpuNs] = readFileSync(`/proc/${process}/task/${thread}/schedstat`, "utf8").split(" ");
    ns += Number(onCpuNs);
  }
  return ns / 1e9;
}

/** Pages that two processes share count twice. */
export function residentBytes(pid) {
  let bytes = 0;
  for (const process of new Set(threads(pid).map(([process]) => process))) {
    const status = readFileSync(`/proc/${process}/status`, "utf8");
    bytes += Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024;
  }
  return bytes;
}

/** Every thread as [process, thread]. nginx works in a child, V8 collects garbage in threads. */
function threads(pid) {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    const children = readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8");
    return [[pid, thread], ...children.split(" ").filter(Boolean).flatMap(threads)];
  });
}
