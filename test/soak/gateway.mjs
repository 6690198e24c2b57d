// The gateway's process, with all that it can do switched on, and what can be seen of it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("../../dist/index.js", import.meta.url));
const PROBE = new URL("probe.mjs", import.meta.url).href;
const CLOSING_MS = 50;
const TICKS_PER_SECOND = 100; // USER_HZ on Linux
export const DRAIN_SECONDS = 10;
export const ADMIN = { authorization: "Bearer soak-admin-key-0123456789" };
export const CALLER = { authorization: "Bearer gwk_soak-caller-key-0123456789abcdef" };

/** High enough that nobody is refused. */
const LIMITS = {
  REQUESTS_PER_MINUTE: "1000000000",
  TOKENS_PER_MINUTE: "1000000000",
  CONCURRENT_REQUESTS: "100000",
  BUDGET: "1000000/day",
  MAX_OUTPUT_TOKENS: "4000",
  ALLOWED_MODELS: "gpt-*,whisper-*",
};
/** WebSockets cannot be counted, so whoever has a budget has none: they are for strangers. */
const FILE = {
  server: { drainSeconds: DRAIN_SECONDS },
  access: { anonymous: "sockets" },
  policies: { sockets: { endpoints: ["realtime"] } },
};

/** Resolves when it listens. */
export async function startGateway({ transport, pinned, upstream }) {
  const directory = mkdtempSync(join(tmpdir(), "gateway-soak-"));
  writeFileSync(join(directory, "gateway.json"), JSON.stringify(FILE));
  const command = [process.execPath, "--import", PROBE, PROGRAM];
  const [program, ...args] = pinned ? ["taskset", "-c", "0", ...command] : command;
  const child = spawn(program, args, {
    cwd: directory,
    env: {
      PATH: process.env.PATH,
      ...LIMITS,
      PORT: "0",
      HOST: "127.0.0.1",
      OPENAI_API_KEY: "soak-key-0123456789",
      OPENAI_BASE_URL: `http://127.0.0.1:${upstream.port}/v1`,
      UPSTREAM_TRANSPORT: transport,
      GATEWAY_KEYS: `caller:${CALLER.authorization.slice("Bearer ".length)}`,
      ADMIN_KEY: ADMIN.authorization.slice("Bearer ".length),
      DATA_DIR: join(directory, "data"),
    },
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const ended = once(child, "close").then(() => {
    throw new Error(`The gateway ended before it listened:\n${stderr}`);
  });
  const log = await Promise.race([readLog(child.stdout), ended]);
  ended.catch(() => {});
  const told = createInterface(child.stdio[3]);

  return {
    port: log.port,
    /** How it is now, but for the connection that asks. */
    async look() {
      const metrics = await readMetrics(log.port);
      await sleep(CLOSING_MS);
      return { ...metrics, ...readProc(child.pid, upstream) };
    },
    /** After a full collection of garbage. */
    async inspect() {
      child.kill("SIGUSR2");
      const [line] = await once(told, "line");
      return JSON.parse(line);
    },
    cpuSeconds() {
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ");
      return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    },
    crashes: () => log.crashes,
    stderr: () => stderr,
    /** As an orchestrator would. */
    async terminate() {
      const startedAt = performance.now();
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), 3 * DRAIN_SECONDS * 1_000);
      const [code, signal] = await once(child, "exit");
      clearTimeout(force);
      return { code: code ?? signal, tookMs: performance.now() - startedAt };
    },
    kill() {
      child.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Reads it as an operator's collector would, and goes on for as long as it lasts. */
function readLog(stdout) {
  const log = { port: undefined, crashes: 0 };
  return new Promise((resolve) => {
    createInterface(stdout).on("line", (line) => {
      if (/"internal_error"|"message":"crashed"/.test(line)) log.crashes++;
      const [, port] = /"listening on http:\/\/127\.0\.0\.1:(\d+)"/.exec(line) ?? [];
      if (port === undefined) return;
      log.port = Number(port);
      resolve(log);
    });
  });
}

async function readMetrics(port) {
  const text = await scrape(port);
  const read = (name) => Number(new RegExp(`^${name}(?:\\{.*\\})? (.*)$`, "m").exec(text)?.[1]);
  return {
    inFlight: read("openai_gateway_requests_in_flight"),
    streams: read("openai_gateway_streams_open"),
    webSockets: read("openai_gateway_websockets_open"),
    dashboards: read("openai_gateway_dashboards_open"),
    heapBytes: read("nodejs_heap_size_used_bytes"),
    externalBytes: read("nodejs_external_memory_bytes"),
    lagSeconds: read("nodejs_eventloop_lag_max_seconds"),
  };
}

/** What Prometheus gets, on a connection of its own. */
export function scrape(port) {
  return new Promise((resolve, reject) => {
    const options = { port, host: "127.0.0.1", path: "/metrics", headers: ADMIN, agent: false };
    const call = get(options, async (res) => {
      if (res.statusCode !== 200) reject(new Error(`/metrics answers ${res.statusCode}`));
      let text = "";
      res.setEncoding("utf8").on("data", (piece) => (text += piece));
      res.on("end", () => resolve(text)).on("error", reject);
    });
    call.on("error", reject);
  });
}

function readProc(pid, upstream) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const files = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return undefined; // Closed meanwhile.
    }
  });
  const open = files.filter((file) => file !== undefined);
  return {
    residentBytes: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024,
    openFiles: open.length,
    sockets: open.filter((file) => file.startsWith("socket:")).length,
    upstreamConnections: upstream.connections(),
  };
}
