// A host with little memory: the built program with a heap of 64 MB carries what a busy day brings,
// by either transport. Bounds are of resident memory, what a cgroup would count, with headroom.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  Agent,
  createServer,
  request,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import { describe, test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { portOf } from "../helpers/fake-openai.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { environmentFor, makeDirectory } from "../helpers/run-cli.ts";

const PROGRAM = fileURLToPath(new URL("../../dist/index.js", import.meta.url));
const HEAP_MB = 64;
const MB = 1_000_000;

const STREAMS = 500;
const EVENTS = 10;
const SLOW_READERS = 100;
const UPLOAD_PIECES = 200;
const UPLOAD_PIECE = Buffer.alloc(MB, "the same again, ");
/** The default of `server.maxConnections`; fewer where the system does not give so many. */
const CONNECTIONS = Math.min(10_000, openFilesLimit() - 500);

/** Of resident memory. The most that was measured on Node 20 to 26, by either transport: 216 MB. */
const PEAK_BYTES = 300 * MB;
/** 58 MB; as much for an upload of any size. */
const UPLOAD_GROWTH_BYTES = 100 * MB;
/** 15 500. */
const CONNECTION_BYTES = 25_000;
/** While all of these are open. 220 ms. */
const SMALL_CALL_MS = 2_000;

const ONLY_LINUX = process.platform === "linux" ? false : "memory is read from /proc";

describe(`${HEAP_MB} MB of heap`, { skip: ONLY_LINUX }, () => {
  test(
    `${STREAMS} open streams get every event, and small calls still answer`,
    { timeout: 40_000 },
    async (t) => {
      const streams: ServerResponse[] = [];
      const upstream = await startUpstream(t, (_, res) => {
        streams.push(res.writeHead(200, { "content-type": "text/event-stream" }));
        res.flushHeaders();
      });
      const gateway = await startGateway(t, upstream);
      const readers = await Promise.all(
        Array.from({ length: STREAMS }, () => gateway.open("/v1/responses")),
      );
      const read = Promise.all(readers.map(readAll));

      const times: number[] = [];
      for (let index = 0; index < EVENTS; index++) {
        for (const stream of streams) stream.write(toEvent(index));
        times.push(await gateway.timeSmallCall());
      }
      for (const stream of streams) stream.end();

      const whole = Array.from({ length: EVENTS }, (_, index) => toEvent(index)).join("");
      assert.equal((await read).filter((text) => text === whole).length, STREAMS);
      gateway.checkPeak(t, PEAK_BYTES);
      checkTimes(t, times);
    },
  );

  test(
    `${SLOW_READERS} clients that stop reading hold neither memory nor others up`,
    { timeout: 40_000 },
    async (t) => {
      const piece = Buffer.alloc(64 * 1024, "x");
      let given = 0;
      const upstream = await startUpstream(t, (_, res) => {
        const give = (): void => {
          do given += piece.length;
          while (res.write(piece));
        };
        res.writeHead(200, { "content-type": "application/octet-stream" });
        res.on("drain", give);
        give();
      });
      const gateway = await startGateway(t, upstream);
      await Promise.all(
        Array.from({ length: SLOW_READERS }, () => gateway.open("/v1/audio/speech")),
      );
      for (let before = -1; before < given; await pause(500)) before = given;

      const times: number[] = [];
      for (let count = 0; count < 20; count++) times.push(await gateway.timeSmallCall());

      t.diagnostic(`OpenAI could send ${toMb(given)} until all stood still`);
      gateway.checkPeak(t, PEAK_BYTES);
      checkTimes(t, times);
    },
  );

  test(
    `an upload of ${toMb(UPLOAD_PIECES * MB)} passes through and does not stay`,
    { timeout: 40_000 },
    async (t) => {
      const arrived = createHash("sha256");
      const upstream = await startUpstream(t, (req, res) => {
        req.on("data", (piece: Buffer) => arrived.update(piece)).on("end", () => res.end("{}"));
      });
      const gateway = await startGateway(t, upstream);
      await gateway.timeSmallCall();
      const before = gateway.memory("VmRSS");
      const sent = createHash("sha256");

      const call = gateway.post("/v1/audio/transcriptions");
      for (let count = 0; count < UPLOAD_PIECES; count++) {
        sent.update(UPLOAD_PIECE);
        if (!call.write(UPLOAD_PIECE)) await once(call, "drain");
      }
      call.end();
      const [response]: IncomingMessage[] = await once(call, "response");

      assert.equal(response?.statusCode, 200);
      assert.equal(arrived.digest("hex"), sent.digest("hex"));
      const growth = gateway.memory("VmHWM") - before;
      t.diagnostic(`grew by ${toMb(growth)} from ${toMb(before)}`);
      assert.ok(growth <= UPLOAD_GROWTH_BYTES, `it grew by ${toMb(growth)}`);
    },
  );
});

// Of these the transport knows nothing.
test(
  `${CONNECTIONS} idle connections cost little each; one more is closed, those go on`,
  { timeout: 40_000, skip: ONLY_LINUX },
  async (t) => {
    const upstream = await startUpstream(t, () => {});
    const gateway = await startGateway(t, upstream, CONNECTIONS);
    await gateway.timeSmallCall();
    const before = gateway.memory("VmRSS");

    const sockets = await openIdle(t, gateway.port, CONNECTIONS - 1);
    const each = (gateway.memory("VmRSS") - before) / sockets.length;
    const oneMore = await openSocket(gateway.port);
    await once(oneMore, "close");
    const times: number[] = [];
    for (let count = 0; count < 20; count++) times.push(await gateway.timeSmallCall());
    const kept = sockets.filter((socket) => !socket.destroyed);

    assert.equal(kept.length, CONNECTIONS - 1);
    t.diagnostic(`${Math.round(each)} bytes each`);
    assert.ok(each <= CONNECTION_BYTES, `${Math.round(each)} bytes each`);
    checkTimes(t, times);
  },
);

/** Answers small calls; what else is asked is the listener's. */
async function startUpstream(t: TestContext, listener: RequestListener): Promise<number> {
  const server = createServer((req, res) => {
    if (req.url === "/v1/embeddings") req.resume().on("end", () => res.end("{}"));
    else listener(req, res);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return portOf(server);
}

async function startGateway(t: TestContext, upstreamPort: number, maxConnections = 10_000) {
  const { NODE_V8_COVERAGE: _, ...inherited } = environmentFor(); // It takes memory of its own.
  const server = { port: 0, maxConnections, maxBodyBytes: 2 * UPLOAD_PIECES * UPLOAD_PIECE.length };
  const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MB}`, PROGRAM], {
    cwd: makeDirectory(t, { "gateway.json": JSON.stringify({ server }) }),
    env: {
      ...inherited,
      OPENAI_API_KEY: "sk-test-0123456789abcdef",
      OPENAI_BASE_URL: `http://127.0.0.1:${upstreamPort}/v1`,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => {
    child.kill("SIGKILL");
    agent.destroy();
  });
  const port = await portIn(child.stdout);

  const memory = (name: "VmRSS" | "VmHWM"): number => {
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    return Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
  };
  const post = (path: string, by: Agent | false = false) => {
    const call = request({ port, host: "127.0.0.1", method: "POST", path, agent: by });
    return call.on("error", () => {});
  };
  return {
    port,
    memory,
    post,
    /** Nothing of the answer's body is read yet. */
    async open(path: string): Promise<IncomingMessage> {
      const [response]: IncomingMessage[] = await once(post(path).end("{}"), "response");
      assert.ok(response?.statusCode === 200, `status ${response?.statusCode}`);
      t.after(() => response.destroy());
      return response.on("error", () => {});
    },
    /** @returns milliseconds, on a connection of its own that stays open. */
    async timeSmallCall(): Promise<number> {
      const startedAt = performance.now();
      const [response] = await once(post("/v1/embeddings", agent).end("{}"), "response");
      assert.equal(await readAll(response), "{}");
      return performance.now() - startedAt;
    },
    checkPeak(t: TestContext, limitBytes: number): void {
      const peak = memory("VmHWM");
      t.diagnostic(`resident memory at its peak: ${toMb(peak)}`);
      assert.ok(peak <= limitBytes, `resident memory reached ${toMb(peak)}`);
    },
  };
}

async function portIn(stdout: NodeJS.ReadableStream): Promise<number> {
  for await (const line of createInterface(stdout)) {
    const [, port] = /"listening on http:\/\/127\.0\.0\.1:(\d+)"/.exec(line) ?? [];
    if (port === undefined) continue;
    stdout.resume();
    return Number(port);
  }
  throw new Error("it ended instead of listening");
}

/** Connections that have made one call each. Reset at the end: so many would linger in TIME_WAIT. */
async function openIdle(t: TestContext, port: number, count: number): Promise<readonly Socket[]> {
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach((socket) => socket.resetAndDestroy()));
  let left = count;
  const open = async (): Promise<void> => {
    while (left-- > 0) {
      const socket = await openSocket(port);
      sockets.push(socket);
      socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
      await once(socket, "data");
    }
  };
  await Promise.all(Array.from({ length: 100 }, open));
  return sockets;
}

async function readAll(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const piece of response.setEncoding("utf8")) text += String(piece);
  return text;
}

function checkTimes(t: TestContext, times: readonly number[]): void {
  const slowest = Math.max(...times);
  t.diagnostic(`slowest small call: ${slowest.toFixed(0)} ms`);
  assert.ok(slowest <= SMALL_CALL_MS, `a small call took ${slowest.toFixed(0)} ms`);
}

/** As large as the events of a chat completion. */
function toEvent(index: number): string {
  return `data: {"index":${index},"delta":"${"x".repeat(200)}"}\n\n`;
}

function openFilesLimit(): number {
  if (process.platform !== "linux") return 0;
  const limits = readFileSync("/proc/self/limits", "utf8"); // Node raises the soft one to the hard.
  const [, hard] = /Max open files\s+\d+\s+(\d+)/.exec(limits) ?? [];
  return Number(hard ?? Infinity);
}

function toMb(bytes: number): string {
  return `${(bytes / MB).toFixed(0)} MB`;
}
