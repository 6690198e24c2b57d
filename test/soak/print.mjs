// The report, as Markdown: a line every ten seconds, then what became of the calls, then what holds.
const mb = (bytes) => (bytes / 1e6).toFixed(1);

/** The columns of a sample, by their heads. */
const COLUMNS = {
  s: (now) => now.seconds.toFixed(0),
  calls: (now) => now.calls,
  "CPU %": (now, before) => (before === undefined ? "" : cpuShare(before, now).toFixed(0)),
  "resident MB": (now) => mb(now.residentBytes),
  "heap MB": (now) => mb(now.heapBytes),
  "external MB": (now) => mb(now.externalBytes),
  "open files": (now) => now.openFiles,
  sockets: (now) => now.sockets,
  "to OpenAI": (now) => now.upstreamConnections,
  "in flight": (now) => now.inFlight,
  streams: (now) => now.streams,
  // Of the last one or two minutes.
  "longest lag ms": (now) => (now.lagSeconds * 1_000).toFixed(0),
};

export function printHead({ minutes, transport, pinned, rate }) {
  console.log(
    `Node ${process.version}, ${transport} transport, ${minutes} min at ${rate} calls/s, ` +
      `${pinned ? "the gateway pinned to one core, all else to another" : "not pinned"}\n`,
  );
  const heads = Object.keys(COLUMNS);
  console.log(`| ${heads.join(" | ")} |\n|${"--:|".repeat(heads.length)}`);
}

/** @param before the sample before it, if any. */
export function printSample(before, now) {
  const cells = Object.values(COLUMNS).map((read) => read(now, before));
  console.log(`| ${cells.join(" | ")} |`);
}

function cpuShare(before, now) {
  return ((now.cpuSeconds - before.cpuSeconds) / (now.seconds - before.seconds)) * 100;
}

export function printEnd({ load, upstream, onlookers, verdict }) {
  console.log("\n| call | ended |\n|---|---|");
  for (const [name, ends] of [...load.ledger].toSorted()) {
    const counts = Object.entries(ends).map(([end, count]) => `${end}: ${count}`);
    console.log(`| ${name} | ${counts.toSorted().join(", ")} |`);
  }
  const { scrapes, looks, ticks } = onlookers.seen;
  console.log(
    `\n${scrapes} scrapes; ${looks} dashboards saw ${ticks} ticks; OpenAI closed ` +
      `${upstream.closings()} idle connections. The load itself paused for ` +
      `${load.longestPauseMs.toFixed(0)} ms at most; ${load.held} calls were not begun, as too ` +
      "many were open.",
  );
  console.log("\n| what | found | wanted | holds |\n|---|---|---|---|");
  for (const { what, found, wanted, holds } of verdict) {
    console.log(`| ${what} | ${found} | ${wanted} | ${holds ? "yes" : "**no**"} |`);
  }
}
