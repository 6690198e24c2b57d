// Measures the floors that the project promises, and prints them beside what was measured.
//   npm run build && node test/bench/floors.mjs
// One gateway at a time, pinned to the first core where `taskset` exists; the load and the upstream
// share the second. Ratios are of two programs by turns in this one run.
import { fork, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { Agent, get, request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const GATEWAY = [join(ROOT, "dist/index.js")];
const FLOOR = [join(ROOT, "test/bench/floor.mjs")];
/** `UPSTREAM_TRANSPORT=direct` measures that one, which promises less memory. */
const DIRECT = process.env.UPSTREAM_TRANSPORT === "direct";
const CAN_PIN = spawnSync("taskset", ["-c", "0", "true"]).status === 0;
const TICKS_PER_SECOND = 100; // USER_HZ on Linux
const WARM_UP_CALLS = 3_000;
const SLICES = 20;
const SLICE_CALLS = 1_000;
const ADMIN_KEY = "bench-admin-key-0123456789";
const SMALL_BODY = Buffer.from(
  JSON.stringify({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "Say hello in a few words." }],
    max_tokens: 100,
  }),
);

const upstream = fork(join(ROOT, "test/bench/upstream.mjs"));
const closings = [];
upstream.on("message", ({ closedAt }) => closedAt && closings.shift()?.(closedAt));
const [{ port: upstreamPort }] = await once(upstream, "message");
const upstreamUrl = `http://127.0.0.1:${upstreamPort}/v1`;

const sequential = new Agent({ keepAlive: true, maxSockets: 64 });
const rows = [];
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const row = (what, floor, aim, got, holds) => rows.push({ what, floor, aim, got, holds });

try {
  await measureStart();
  await measureMemory();
  await measureUploads();
  await measureLargeBodies();
  await measureCancellation();
  await measureFirstByte();
  await measureCalls();
  await measureLimits();
  measureSize();
  print();
} finally {
  upstream.disconnect();
}

async function measureStart() {
  const times = [];
  for (let run = 0; run < 10; run++) {
    const startedAt = performance.now();
    const gateway = await start(GATEWAY);
    times.push(performance.now() - startedAt);
    await gateway.stop();
  }
  const got = median(times);
  row("start to first answer", "≤ 150 ms", "≤ 80 ms", `${got.toFixed(0)} ms`, got <= 150);
}

async function measureMemory() {
  const gateway = await start(GATEWAY);
  await sleep(500);
  const idle = gateway.residentBytes();
  const [idleFloor, idleAim] = DIRECT ? [60, 48] : [70, 55];
  const held = idle <= idleFloor * 1e6;
  row("resident memory idle", `≤ ${idleFloor} MB`, `≤ ${idleAim} MB`, `${mb(idle)} MB`, held);

  const count = 1_500;
  // The first streams pay for V8's young generation, which grows once; the others show their cost.
  const warm = await openStreams(gateway.port, 500);
  await sleep(1_000);
  const before = gateway.residentBytes();
  const streams = await openStreams(gateway.port, count);
  await sleep(1_000);
  const each = (gateway.residentBytes() - before) / count;
  const [floor, aim] = DIRECT ? [60, 30] : [90, 60];
  const got = `${(each / 1e3).toFixed(0)} KB`;
  row("memory per open stream", `≤ ${floor} KB`, `≤ ${aim} KB`, got, each <= floor * 1e3);
  for (const stream of [...warm, ...streams]) stream.destroy();
  await gateway.stop();
}

async function measureUploads() {
  const gateway = await start(GATEWAY);
  await call(gateway.port, "/v1/chat/completions");
  await sleep(300);
  const before = gateway.residentBytes();
  let peak = before;
  const watch = setInterval(() => (peak = Math.max(peak, gateway.residentBytes())), 5);
  const body = Buffer.alloc(15_000_000, 120);
  await Promise.all(Array.from({ length: 6 }, () => call(gateway.port, "/v1/embeddings", body)));
  clearInterval(watch);
  const ratio = (peak - before) / (6 * body.length);
  const [floor, aim] = DIRECT ? [0.8, 0.4] : [1.4, 1];
  const got = `${ratio.toFixed(2)} ×`;
  row("growth for six uploads of 15 MB", `≤ ${floor} ×`, `≤ ${aim} ×`, got, ratio <= floor);
  await gateway.stop();
}

/** Ten bodies are read for a policy's rules, again and again, while somebody makes small calls. */
async function measureLargeBodies() {
  const gateway = await start(GATEWAY, { ALLOWED_MODELS: "m*", MAX_OUTPUT_TOKENS: "1000" });
  const message = { role: "user", content: `"quoted" and\nbroken into lines ${"x".repeat(450)}` };
  const messages = Array.from({ length: 20_000 }, () => message);
  const body = Buffer.from(JSON.stringify({ messages, model: "m" }));
  const uploads = new Agent({ keepAlive: true, maxSockets: 10 });
  const somebody = fork(join(ROOT, "test/bench/small-calls.mjs"), [String(gateway.port)]);
  await once(somebody, "message");

  let going = true;
  const upload = async () => {
    while (going) await call(gateway.port, "/v1/chat/completions", body, uploads);
  };
  const uploading = Promise.all(Array.from({ length: 10 }, upload));
  somebody.send("begin");
  const [times] = await once(somebody, "message");
  going = false;
  await uploading;
  uploads.destroy();
  const p99 = times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)];
  const got = `p50 ${median(times).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`;
  row("small call while ten 10 MB bodies are read", "p99 ≤ 25 ms", "", got, p99 <= 25);
  await gateway.stop();
}

async function measureCancellation() {
  const gateway = await start(GATEWAY);
  const times = [];
  for (let run = 0; run < 50; run++) {
    const [stream] = await openStreams(gateway.port, 1);
    const closed = new Promise((resolve) => closings.push(resolve));
    const leftAt = performance.timeOrigin + performance.now();
    stream.destroy();
    times.push((await closed) - leftAt);
  }
  const worst = Math.max(...times);
  const got = `p50 ${median(times).toFixed(1)} ms, worst ${worst.toFixed(1)} ms`;
  row("client gone → upstream closed", "≤ 50 ms", "≤ 10 ms", got, worst <= 50);
  await gateway.stop();
}

async function measureFirstByte() {
  const gateway = await start(GATEWAY, { ADMIN_KEY });
  for (let run = 0; run < 300; run++) await call(gateway.port, "/v1/chat/completions");
  const direct = [];
  const through = [];
  for (let run = 0; run < 1_000; run++) {
    direct.push(await call(upstreamPort, "/v1/chat/completions"));
    through.push(await call(gateway.port, "/v1/chat/completions"));
  }
  const added = median(through) - median(direct);
  row(
    "added time to first byte, p50",
    "≤ 2 ms",
    DIRECT ? "≤ 0.4 ms" : "≤ 1 ms",
    `${added.toFixed(2)} ms`,
    added <= 2,
  );

  // The latest hundred, as the gateway tells of them and as they were from outside.
  const latest = await latestCalls(gateway.port);
  const told = median(latest.map(({ gatewayMs }) => gatewayMs));
  const seen = median(through.slice(-latest.length)) - median(direct.slice(-latest.length));
  const ratio = told / seen;
  const what = "overhead as the gateway's metric has it, against that";
  row(what, "0.8 to 1.2 ×", "", `${ratio.toFixed(2)} ×`, ratio >= 0.8 && ratio <= 1.2);
  await gateway.stop();
}

async function measureCalls() {
  const [gateway, floor] = await callsPerCpuSecond([[GATEWAY], [FLOOR]]);
  row(
    "calls per CPU second against the floor proxy",
    "≥ 0.9 ×",
    "",
    `${(gateway / floor).toFixed(2)} ×`,
    gateway / floor >= 0.9,
  );
}

/** The same gateway with and without limits, budget and journal. */
async function measureLimits() {
  const dataDir = mkdtempSync(join(tmpdir(), "gateway-bench-"));
  const limits = {
    REQUESTS_PER_MINUTE: "1000000000",
    TOKENS_PER_MINUTE: "1000000000",
    CONCURRENT_REQUESTS: "1000000",
    BUDGET: "1000000/day",
    DATA_DIR: dataDir,
  };
  const [limited, free] = await callsPerCpuSecond([[GATEWAY, limits], [GATEWAY]]);
  rmSync(dataDir, { recursive: true });
  row(
    "calls per CPU second with limits, budget and journal against without",
    "≥ 0.9 ×",
    "",
    `${(limited / free).toFixed(2)} ×`,
    limited / free >= 0.9,
  );
}

/** All run at once and are called by turns, in short slices: what disturbs one disturbs all. */
async function callsPerCpuSecond(programs) {
  const running = [];
  for (const [script, settings] of programs) {
    const program = await start(script, settings);
    const agent = new Agent({ keepAlive: true, maxSockets: 32 });
    const load = async (calls) => {
      let left = calls;
      const worker = async () => {
        while (left-- > 0) await call(program.port, "/v1/chat/completions", undefined, agent);
      };
      await Promise.all(Array.from({ length: 32 }, worker));
    };
    await load(WARM_UP_CALLS);
    running.push({ program, agent, load, cpuSeconds: 0 });
  }
  for (let slice = 0; slice < SLICES; slice++) {
    for (const each of slice % 2 === 0 ? running : running.toReversed()) {
      const before = each.program.cpuSeconds();
      await each.load(SLICE_CALLS);
      each.cpuSeconds += each.program.cpuSeconds() - before;
    }
  }
  for (const { program, agent } of running) {
    agent.destroy();
    await program.stop();
  }
  return running.map(({ cpuSeconds }) => (SLICES * SLICE_CALLS) / cpuSeconds);
}

function measureSize() {
  const files = readdirSync(join(ROOT, "dist"), { recursive: true }).filter((name) =>
    name.endsWith(".js"),
  );
  const bytes = files.reduce((sum, name) => sum + statSync(join(ROOT, "dist", name)).size, 0);
  row("shipped code", "≤ 400 KB", "≤ 200 KB", `${(bytes / 1e3).toFixed(0)} KB`, bytes <= 400e3);
}

/** Runs a program on a free port until it answers. */
async function start(script, settings = {}) {
  const port = await freePort();
  const [command, ...args] = CAN_PIN
    ? ["taskset", "-c", "0", process.execPath, ...script]
    : [process.execPath, ...script];
  const env = {
    ...process.env,
    PORT: String(port),
    OPENAI_API_KEY: "bench-key-0123456789",
    OPENAI_BASE_URL: upstreamUrl,
    ...settings,
  };
  // Its log goes where an operator's would: to a pipe that somebody reads.
  const child = spawn(command, args, {
    env,
    cwd: join(ROOT, "test/bench"),
    stdio: ["ignore", "pipe", "inherit"],
  });
  child.stdout.resume();
  for (let tries = 0; tries < 2_000; tries++) {
    if (await answers(port)) break;
    await sleep(2);
  }
  return {
    port,
    residentBytes: () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))[1]) * 1024,
    cpuSeconds: () => {
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
      return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    },
    async stop() {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

function answers(port) {
  return new Promise((resolve) => {
    get({ port, host: "127.0.0.1", path: "/" }, (res) => {
      res.resume();
      resolve(true);
    }).on("error", () => resolve(false));
  });
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** Milliseconds to the first byte of the answer, which is read to its end. */
function call(port, path, body = SMALL_BODY, agent = sequential) {
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": body.length };
    const req = request(
      { port, host: "127.0.0.1", path, method: "POST", headers, agent },
      (res) => {
        const tookMs = performance.now() - startedAt;
        if (res.statusCode !== 200) reject(new Error(`status ${res.statusCode}`));
        res.resume().on("end", () => resolve(tookMs));
      },
    );
    req.on("error", reject).end(body);
  });
}

/** What operators are shown of the latest calls. */
function latestCalls(port) {
  const options = { port, host: "127.0.0.1", path: "/admin/events", agent: false };
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  return new Promise((resolve, reject) => {
    const req = request({ ...options, headers }, async (res) => {
      let text = "";
      for await (const chunk of res) {
        text += chunk;
        const [, data] = /^event: hello\ndata: (.*)\n\n/.exec(text) ?? [];
        if (data !== undefined) return resolve(JSON.parse(data).calls);
      }
      reject(new Error("The gateway shows nothing."));
    });
    req.on("error", reject).end();
  });
}

/** Requests whose stream has begun; destroying one is leaving. */
function openStreams(port, count) {
  const open = () =>
    new Promise((resolve, reject) => {
      const req = request(
        { port, host: "127.0.0.1", path: "/v1/responses", method: "POST", agent: false },
        (res) => {
          res.once("data", () => resolve(req));
          res.on("error", () => {});
        },
      );
      req.on("error", reject).end("{}");
    });
  return Promise.all(Array.from({ length: count }, open));
}

function mb(bytes) {
  return (bytes / 1e6).toFixed(0);
}

function print() {
  console.log(
    `Node ${process.version}, ${DIRECT ? "direct" : "fetch"} transport, ${CAN_PIN ? "pinned to one core" : "not pinned"}\n`,
  );
  console.log("| what | floor | aim | measured | holds |\n|---|---|---|---|---|");
  for (const { what, floor, aim, got, holds } of rows) {
    console.log(`| ${what} | ${floor} | ${aim} | ${got} | ${holds ? "yes" : "**no**"} |`);
  }
  process.exitCode = rows.every(({ holds }) => holds) ? 0 : 1;
}
