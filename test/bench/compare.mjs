// Compares the gateway with what people run instead, side by side on this machine.
//   npm run build && npm ci --prefix test/bench && node test/bench/compare.mjs
// All programs run at once and are measured by turns, in short slices, so that what disturbs one
// disturbs all. Prints Markdown tables and draws compare.svg.
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { drawChart } from "./chart.mjs";
import { PINNING, pinMyself } from "./cores.mjs";
import { measureCalls } from "./measures/calls.mjs";
import { measureEvents } from "./measures/events.mjs";
import { measureFirstByte } from "./measures/first-byte.mjs";
import { measureFootprint } from "./measures/footprint.mjs";
import { levels, measureScaling } from "./measures/scaling.mjs";
import { readOptions } from "./options.mjs";
import { ask, runModule } from "./processes.mjs";
import { findPrograms, NAMES, start } from "./programs.mjs";
import { Results } from "./stats.mjs";
import { figureTable, ratioTable, scalingTable } from "./table.mjs";
import { HAS_WRK } from "./wrk.mjs";

/** At most, of what takes long and differs little from one round to the next. */
const FOOTPRINT_ROUNDS = 3;
const SCALING_ROUNDS = 2;
/** What the calls have not warmed up yet. */
const EVENT_WARM_UP_ROUNDS = 2;
const NO_PROXY = { name: "none", label: "no proxy", headers: {} };
const options = readOptions(NAMES);
const { programs, missing } = findPrograms(options.chosen);
const results = new Results();
const startedAt = performance.now();

pinMyself();
const upstream = runModule("upstream", new URL("fake-openai.mjs", import.meta.url));
const readers = runModule("load", new URL("sse-load.mjs", import.meta.url));
const { port: upstreamPort } = await ask(upstream, "port");
const { rounds, seconds } = options;
const tools = { ...options, upstream, upstreamPort, readers };
const footprintRounds = Math.min(rounds, FOOTPRINT_ROUNDS);

await takeTurns("start and memory", footprintRounds, programs, measureFootprint);
await compareRunning();
if (HAS_WRK) await scale();
report();
process.exit();

/** All programs at once: those that do not have the turn are idle. */
async function compareRunning() {
  const running = [];
  for (const program of programs) running.push(await start(program, upstreamPort));
  if (HAS_WRK) {
    await warmUp(options.warmUpRounds, running, measureCalls);
    const withNone = [...running, { ...NO_PROXY, port: upstreamPort }];
    await takeTurns("small calls", rounds, withNone, measureCalls);
  }
  await warmUp(EVENT_WARM_UP_ROUNDS, running, measureEvents);
  await takeTurns("events", rounds, running, measureEvents);
  await takeTurns("first byte", rounds, running, measureFirstByte);
  for (const { stop } of running) await stop();
}

async function warmUp(rounds, programs, measure) {
  for (let round = 1; round <= rounds; round++) {
    for (const program of programs) await measure(program, tools);
  }
}

async function scale() {
  for (let round = 1; round <= Math.min(rounds, SCALING_ROUNDS); round++) {
    for (const program of inTurn(ours(), round)) {
      progress(`scaling, round ${round}: ${program.name}`);
      for (const [streams, figures] of await measureScaling(program, tools)) {
        results.add(`${program.name} at ${streams}`, figures);
      }
    }
  }
}

async function takeTurns(what, rounds, programs, measure) {
  for (let round = 1; round <= rounds; round++) {
    progress(`${what}, round ${round} of ${rounds}`);
    for (const program of inTurn(programs, round)) {
      results.add(program.name, await measure(program, tools));
    }
  }
}

/** Each second round goes backwards: nobody always comes first. */
function inTurn(programs, round) {
  return round % 2 === 1 ? programs : programs.toReversed();
}

function ours() {
  return programs.filter((program) => program.ours);
}

function report() {
  const minutes = (performance.now() - startedAt) / 60_000;
  const known = programs.map(({ label }) => label).join(", ");
  console.log(`## How it compares

Node ${process.version}, ${cpus().length} cores: ${PINNING}. ${rounds} rounds of \
${seconds} s a turn, all programs by turns, ${minutes.toFixed(1)} minutes. Of this gateway
everything is on: keys, limits of requests, tokens and concurrency, a budget, metrics and the log.
A call is a POST over loopback without TLS, its answer 330 bytes; a stream has 300 events of about
220 bytes, one each 10 ms, 100 streams at once. CPU is that of the program alone. Events are cheaper for a program that does
not keep up with them, as it reads several at once.

Measured: ${known}.
${absences()}
### Ratios

Medians of each round's ratio. More calls and events are better, less memory is.

${ratioTable(results, programs)}

### This machine's figures

${figureTable(results, HAS_WRK ? [...programs, NO_PROXY] : programs)}
`);
  if (HAS_WRK && ours().length > 0) {
    console.log(`### Growing with the work\n\n${scalingTable(results, ours(), levels(options))}\n`);
  }
  if (options.picture) writeFileSync(options.picture, drawChart(results, programs));
}

function absences() {
  const missed = [
    ...missing.map(({ label }) => label),
    ...(HAS_WRK ? [] : ["small calls (no wrk)"]),
  ];
  return missed.length === 0 ? "" : `Not here, so not measured: ${missed.join(", ")}.\n`;
}

function progress(what) {
  process.stderr.write(`${((performance.now() - startedAt) / 1_000).toFixed(0)} s: ${what}\n`);
}
