// What has to hold at the end: plain judgements of what was seen.
import { DRAIN_SECONDS } from "./gateway.mjs";
import { SCENES } from "./scenes.mjs";

/** Of resident memory, in the second half of the run. */
const GROWTH_LIMIT = 0.05;
/** Below, V8 is still deciding how large its heap should be. */
const SHORTEST_SECONDS = 300;
/** After garbage collection: what is kept of calls that are over is bounded, not nothing. */
const KEPT_LIMIT_BYTES = 8e6;
/** A connection that OpenAI closes while a call is sent on it: HTTP/1.1 knows no better. */
const LOST = "500 upstream_reset";

/** @returns in words what was looked at, what was found, and whether it holds. */
export function judge({
  before,
  after,
  samples,
  exit,
  onlookers,
  stderr,
  ledger,
  crashes,
  upstream,
}) {
  return [
    ...judgeCalls(ledger, upstream.closings()),
    ...judgeMemory(samples, before, after),
    ...judgeRest(before, after),
    row(
      "what Prometheus and the dashboard could not read",
      list(onlookers.seen.failures),
      "nothing",
    ),
    row("internal errors in the log, crashes", crashes, 0),
    row("on stderr", stderr.trim() || "nothing", "nothing"),
    row("exit code after SIGTERM", exit.code, 0),
    {
      what: "from SIGTERM to the end",
      found: `${exit.tookMs.toFixed(0)} ms`,
      wanted: `≤ ${DRAIN_SECONDS} s`,
      holds: exit.tookMs <= DRAIN_SECONDS * 1_000,
    },
  ];
}

function judgeCalls(ledger, closings) {
  const ended = [...ledger].flatMap(([name, ends]) => {
    const expected = SCENES.find((scene) => scene.name === name).ends;
    return Object.entries(ends).map(([end, count]) => ({ name, end, count, expected }));
  });
  const unexpected = ended.filter(({ end, expected }) => !expected.includes(end));
  const strange = unexpected.filter(({ end }) => end !== LOST);
  const lost = unexpected.reduce((sum, { end, count }) => sum + (end === LOST ? count : 0), 0);
  const found = list(strange.map(({ name, end, count }) => `${name}: ${end} (${count})`));
  return [
    row("calls that hung or ended as they should not", found, "nothing"),
    {
      what: "calls lost as OpenAI closed the connection under them",
      found: lost,
      wanted: `≤ ${closings} such closings`,
      holds: lost <= closings,
    },
  ];
}

function judgeMemory(samples, before, after) {
  const kept = after.keptBytes - before.keptBytes;
  const rows = [
    {
      what: "growth of what garbage collection leaves",
      found: `${mb(kept)} MB, to ${mb(after.keptBytes)} MB`,
      wanted: `≤ ${mb(KEPT_LIMIT_BYTES)} MB`,
      holds: kept <= KEPT_LIMIT_BYTES,
    },
  ];
  const half = samples.slice(Math.floor(samples.length / 2));
  if (half.length < 3) return rows;
  const { slope, mean } = fit(half.map(({ seconds, residentBytes: y }) => [seconds, y]));
  const seconds = half.at(-1).seconds - half[0].seconds;
  const growth = (slope * seconds) / mean;
  const judged = samples.at(-1).seconds >= SHORTEST_SECONDS;
  rows.push({
    what: "growth of resident memory in the second half, least squares",
    found: `${(growth * 100).toFixed(1)} % of ${mb(mean)} MB; ${mb(slope * 3_600)} MB per hour`,
    wanted: judged ? `< ${GROWTH_LIMIT * 100} %` : "too short a run to judge",
    holds: !judged || growth < GROWTH_LIMIT,
  });
  return rows;
}

/** Everything at rest, and connections to OpenAI that were idle at the beginning gone too. */
function judgeRest(before, after) {
  const most = (what, found, limit) => ({
    what,
    found,
    wanted: `≤ ${limit}`,
    holds: found <= limit,
  });
  const openFiles = before.openFiles - before.upstreamConnections;
  const sockets = before.sockets - before.upstreamConnections;
  const timers = ({ resources }) => (resources.Timeout ?? 0) + (resources.Immediate ?? 0);
  const others = ({ resources }) =>
    Object.entries(resources).filter(([name]) => !/^(Timeout|Immediate|TCPSocketWrap)$/.test(name));
  return [
    row("calls in flight", after.inFlight, 0),
    row("streams open", after.streams, 0),
    row("WebSockets open", after.webSockets, 0),
    row("dashboards open", after.dashboards, 0),
    row("connections to OpenAI", after.upstreamConnections, 0),
    most("sockets", after.sockets, sockets),
    most("open files", after.openFiles, openFiles),
    row("sockets that keep the event loop alive", after.resources.TCPSocketWrap ?? 0, 0),
    most("timers that keep the event loop alive", timers(after), timers(before)),
    row("what else keeps it alive", toText(others(after)), toText(others(before))),
  ];
}

function row(what, found, wanted) {
  return { what, found, wanted, holds: found === wanted };
}

function list(things) {
  return things.length === 0 ? "nothing" : things.join(", ");
}

function toText(entries) {
  return entries
    .map(([name, count]) => `${count} ${name}`)
    .toSorted()
    .join(", ");
}

/** The straight line through points by least squares: its rise per x, and the mean of y. */
export function fit(points) {
  const meanOf = (index) => points.reduce((sum, point) => sum + point[index], 0) / points.length;
  const [meanX, mean] = [meanOf(0), meanOf(1)];
  let above = 0;
  let below = 0;
  for (const [x, y] of points) {
    above += (x - meanX) * (y - mean);
    below += (x - meanX) ** 2;
  }
  return { slope: above / below, mean };
}

function mb(bytes) {
  return (bytes / 1e6).toFixed(1);
}
