// Which cores of this machine carry the program under test, the upstream and the load.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

const CAN_PIN = spawnSync("taskset", ["-c", "-p", String(process.pid)]).status === 0;
const [program, upstream = program, load = upstream] = separateCores();

/** By role. One of two cores is the program's alone. */
export const CORES = { program, upstream, load };

/** Words for the report. */
export const PINNING = CAN_PIN
  ? `program on core ${program}, upstream on ${upstream}, load on ${load}`
  : "not pinned, as there is no `taskset`";

/** The command line that runs another on a role's core. */
export function pinned(role, command) {
  return CAN_PIN ? ["taskset", "-c", String(CORES[role]), ...command] : command;
}

/** The process that measures is part of the load. */
export function pinMyself() {
  if (CAN_PIN) spawnSync("taskset", ["-a", "-c", "-p", String(CORES.load), String(process.pid)]);
}

/** Allowed to us. Two threads of one core slow each other, so one of each comes first. */
function separateCores() {
  const status = readFileSync("/proc/self/status", "utf8");
  const ranges = /Cpus_allowed_list:\s*(.*)/.exec(status)[1].split(",");
  const allowed = ranges.flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  const first = new Set(
    new Map(allowed.toReversed().map((core) => [siblings(core), core])).values(),
  );
  return [
    ...allowed.filter((core) => first.has(core)),
    ...allowed.filter((core) => !first.has(core)),
  ];
}

function siblings(core) {
  try {
    const topology = `/sys/devices/system/cpu/cpu${core}/topology/thread_siblings_list`;
    return readFileSync(topology, "utf8");
  } catch {
    return core;
  }
}
