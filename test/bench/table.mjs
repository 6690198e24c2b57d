// The tables of the report: ratios, which hold on other machines too, and this machine's figures.

const RATIOS = [
  ["callsPerCpuSecond", "calls per CPU second", ["http-proxy", "nginx", "floor"]],
  ["eventsPerCpuSecond", "SSE events per CPU second", ["http-proxy", "nginx", "floor"]],
  ["idleBytes", "memory, idle", ["http-proxy"]],
  ["bytesPerStream", "memory per open stream", ["http-proxy"]],
];
const FIGURES = [
  ["callsPerCpuSecond", "calls per CPU second", (value) => value.toFixed(0)],
  ["callsPerSecond", "calls/s at 32 at once", (value) => value.toFixed(0)],
  ["p50Ms", "p50 ms", (value) => value.toFixed(2)],
  ["p99Ms", "p99 ms", (value) => value.toFixed(2)],
  ["eventsPerCpuSecond", "SSE events per CPU second", (value) => value.toFixed(0)],
  ["cpuMsPerThousandEvents", "CPU ms per 1 000 events", (value) => value.toFixed(1)],
  ["keptUp", "events kept up with", (value) => `${(Math.min(1, value) * 100).toFixed(0)} %`],
  ["addedP50Ms", "added to first byte, p50 ms", (value) => value.toFixed(2)],
  ["addedP99Ms", "the same, p99 ms", (value) => value.toFixed(2)],
  ["startMs", "start ms", (value) => value.toFixed(0)],
  ["idleBytes", "idle MB", toMb],
  ["bytesPerStream", "KB per stream", (value) => (value / 1e3).toFixed(1)],
];

/** A row a program, a column a metric and base; only what was measured. */
export function ratioTable(results, programs) {
  const columns = RATIOS.flatMap(([metric, title, bases]) => {
    const measured = bases.filter((base) => results.median(base, metric) !== undefined);
    return measured.map((base, index) => ({
      title: index === 0 ? `${title}, × ${base}` : `× ${base}`,
      cell: ({ name }) => toRatio(results.ratio(name, metric, base)),
    }));
  });
  return toTable(programs, columns);
}

/** A row a program, a column a metric, medians of all rounds. */
export function figureTable(results, programs) {
  const columns = FIGURES.map(([metric, title, print]) => ({
    title,
    cell: ({ name }) => {
      const value = results.median(name, metric);
      return value === undefined ? "" : print(value);
    },
  }));
  return toTable(
    programs,
    columns.filter(({ cell }) => programs.some((program) => cell(program) !== "")),
  );
}

/** A row a level of open streams, for each program. */
export function scalingTable(results, programs, levels) {
  const columns = programs.flatMap(({ name, label }) => {
    const at = (streams, metric) => results.median(`${name} at ${streams}`, metric);
    return [
      [`${label}: calls/s`, (streams) => at(streams, "callsPerSecond").toFixed(0)],
      ["p99 ms", (streams) => at(streams, "p99Ms").toFixed(1)],
      ["memory MB", (streams) => toMb(at(streams, "residentBytes"))],
      ["CPU of the streams", (streams) => `${(at(streams, "streamsCpuShare") * 100).toFixed(1)} %`],
    ];
  });
  return markdown(
    ["open streams, an event a second each", ...columns.map(([title]) => title)],
    levels.map((streams) => [String(streams), ...columns.map(([, cell]) => cell(streams))]),
  );
}

/** How many times as much. */
export function toRatio(value) {
  if (value === undefined) return "";
  return `${value.toFixed(value < 10 ? 2 : 1)} ×`;
}

function toTable(programs, columns) {
  return markdown(
    ["program", ...columns.map(({ title }) => title)],
    programs.map((program) => [
      program.ours ? `**${program.label}**` : program.label,
      ...columns.map(({ cell }) => cell(program)),
    ]),
  );
}

function markdown(header, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(header), `|${header.map((_, index) => (index ? "--:|" : "---|")).join("")}`]
    .concat(rows.map(line))
    .join("\n");
}

function toMb(bytes) {
  return (bytes / 1e6).toFixed(0);
}
