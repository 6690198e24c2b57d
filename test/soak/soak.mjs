// Hours in minutes: the built program at half load, among clients and an OpenAI that misbehave, and
// at the end everything as it was at the beginning.
//   npm run build && node test/soak/soak.mjs --minutes 10 --transport direct
// The gateway has the first core where `taskset` exists; the load and the upstream share the second.
// Records of calls go to a directory in TMPDIR: a disk that others keep busy holds the gateway up,
// which the longest lag tells. Prints Markdown; ends with 1 where something does not hold.
import { spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { judge } from "./checks.mjs";
import { Clients } from "./clients.mjs";
import { startGateway } from "./gateway.mjs";
import { Load } from "./load.mjs";
import { startOnlookers } from "./onlookers.mjs";
import { printEnd, printHead, printSample } from "./print.mjs";
import { SCENES } from "./scenes.mjs";
import { startUpstream } from "./upstream.mjs";

const SAMPLE_MS = 10_000;
const CALIBRATION_MS = 8_000;
const WARM_UP_MS = 10_000;
/** Of what was reached at full load: beyond, the load's own core would be measured. */
const LOAD_SHARE = 0.7;
/** Idle connections to OpenAI are kept for 30 s. */
const QUIET_MS = 45_000;
const LOOK_PAUSE_MS = 1_000;

const { values: options } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    transport: { type: "string", default: "fetch" },
    /** Calls per second. Default: about half of what the gateway's core carries. */
    load: { type: "string" },
  },
});

const pinned = pinMyself();
const upstream = await startUpstream();
const gateway = await startGateway({ transport: options.transport, pinned, upstream });
const clients = new Clients(gateway.port);
const load = new Load(SCENES, clients);
try {
  process.exitCode = (await soak()) ? 0 : 1;
} finally {
  clients.close();
  gateway.kill();
  upstream.close();
}

async function soak() {
  const rate = options.load === undefined ? await calibrate() : Number(options.load);
  await warmUp(rate);
  const before = await rest((now, last) => ownFiles(now) === ownFiles(last));
  load.forget();
  upstream.forget();

  printHead({ ...options, pinned, rate });
  const onlookers = startOnlookers(gateway);
  const running = load.keepUp(rate);
  const samples = await sample(Number(options.minutes) * 60_000);
  load.stop();
  await running;
  await onlookers.leave();

  const after = await rest(
    (now) => now.upstreamConnections === 0 && now.openFiles <= ownFiles(before),
  );
  const exit = await gateway.terminate();
  const told = { before, after, samples, exit, onlookers, stderr: gateway.stderr() };
  const verdict = judge({ ...told, ledger: load.ledger, crashes: gateway.crashes(), upstream });
  printEnd({ ...told, load, upstream, verdict });
  return verdict.every(({ holds }) => holds);
}

/** Calls per second that take half of a core, found at full load. */
async function calibrate() {
  await load.pushOn(CALIBRATION_MS / 2); // Until V8 has compiled what is hot.
  const [cpuBefore, startedAt, doneBefore] = [gateway.cpuSeconds(), Date.now(), load.done];
  await load.pushOn(CALIBRATION_MS);
  const done = load.done - doneBefore;
  const perCpuSecond = done / (gateway.cpuSeconds() - cpuBefore);
  const perSecond = done / ((Date.now() - startedAt) / 1_000);
  const carried = `${perCpuSecond.toFixed(0)} calls of this mix per CPU second`;
  console.log(`The gateway carried ${carried}; ${perSecond.toFixed(0)} a second were made.\n`);
  return Math.round(Math.min(perCpuSecond / 2, perSecond * LOAD_SHARE));
}

async function warmUp(rate) {
  const running = load.keepUp(rate);
  await sleep(WARM_UP_MS);
  load.stop();
  await running;
}

/** Waits until nothing is in flight, and more, but not for ever: what is there then. */
async function rest(isOver) {
  clients.hangUp();
  let now = await gateway.look();
  for (const until = Date.now() + QUIET_MS; Date.now() < until;) {
    await sleep(LOOK_PAUSE_MS);
    const last = now;
    now = await gateway.look();
    if (now.inFlight + now.webSockets + now.dashboards === 0 && isOver(now, last)) break;
  }
  return { ...now, ...(await gateway.inspect()) };
}

/** Without those for connections to OpenAI, of which some may wait for a next call. */
function ownFiles({ openFiles, upstreamConnections }) {
  return openFiles - upstreamConnections;
}

async function sample(forMs) {
  const samples = [];
  const startedAt = Date.now();
  let next = startedAt;
  while ((next += SAMPLE_MS) <= startedAt + forMs) {
    await sleep(next - Date.now());
    const seconds = (Date.now() - startedAt) / 1_000;
    const taken = { seconds, cpuSeconds: gateway.cpuSeconds(), ...(await gateway.look()) };
    samples.push({ ...taken, calls: load.done, open: load.open });
    printSample(samples.at(-2), samples.at(-1));
  }
  return samples;
}

function pinMyself() {
  const { status } = spawnSync("taskset", ["-a", "-c", "-p", "1", String(process.pid)]);
  return status === 0;
}
