// The command `top`: what it draws, how it leaves the terminal, what it prints where there is none.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { PassThrough, Writable } from "node:stream";
import { test, type TestContext } from "node:test";
import { top, type TopOptions } from "../../src/cli/top.ts";
import { Secret } from "../../src/secret.ts";
import { portOf } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { environmentFor, makeDirectory } from "../helpers/run-cli.ts";

const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const NOW = 1_800_000_000_000;

/** A gateway's admin events, told when the test says so. */
async function startGateway(t: TestContext) {
  const viewers: ServerResponse[] = [];
  const server = createServer((req, res) => {
    if (req.headers.authorization !== "Bearer an-admin-key") {
      res.writeHead(404).end();
      return;
    }
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(toText("hello", { version: "1.2.3", nowMs: NOW, startedAtMs: NOW - 90_000_000 }));
    viewers.push(res);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => void server.closeAllConnections());
  t.after(() => void server.close());
  return {
    url: new URL(`http://127.0.0.1:${portOf(server)}`),
    tick: (tick: object = {}) => viewers.at(-1)?.write(toText("tick", { nowMs: NOW, ...tick })),
    end: () => viewers.at(-1)?.end(),
    server,
  };
}

function toText(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

class FakeOutput extends Writable {
  isTTY = true;
  columns = 100;
  rows = 30;
  readonly writes: string[] = [];
  #wake = (): void => {};

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.writes.push(chunk.toString());
    this.#wake();
    done();
  }

  get text(): string {
    return this.writes.join("");
  }

  /** Resolves as soon as something like it was written last. */
  async last(like: RegExp): Promise<string> {
    while (!like.test(this.writes.at(-1) ?? "")) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.writes.at(-1) ?? "";
  }
}

class FakeInput extends PassThrough {
  isTTY = true;
  readonly modes: boolean[] = [];

  setRawMode(raw: boolean): void {
    this.modes.push(raw);
  }
}

async function start(t: TestContext, options: Partial<TopOptions> = {}) {
  const gateway = await startGateway(t);
  const clock = new ManualClock();
  const output = new FakeOutput();
  const input = new FakeInput();
  const ending = new AbortController();
  const ended = top({
    url: gateway.url,
    key: new Secret("an-admin-key"),
    output,
    input,
    json: false,
    once: false,
    colour: false,
    clock,
    signal: ending.signal,
    ...options,
  });
  const over = ended.catch(() => {});
  t.after(() => (ending.abort(), over));
  return { ...gateway, clock, output, input, ending, ended };
}

/** The lines of a frame without colours. */
function linesOf(frame: string): readonly string[] {
  assert.match(frame, /^\x1b\[H[^]*\x1b\[K\x1b\[J$/);
  const text = frame.slice("\x1b[H".length, -"\x1b[K\x1b[J".length);
  return text.replace(/\x1b\[\d+m/g, "").split("\x1b[K\r\n");
}

function row(caller: string, model: string, requests: number, failed = 0) {
  const spent = { inputTokens: 100, outputTokens: 20 * requests, costMicroUsd: 10_000 / requests };
  const times = { durations: [[20, requests]], firstBytes: [[10, requests]] };
  const ours = { gatewayMs: 3, waitedMs: 300, refused: { budget: failed } };
  return { caller, model, requests, failed, ...spent, ...times, ...ours };
}

function call(caller: string, status: number, error: string | null = null, reason = "It broke.") {
  const times = { atMs: NOW, durationMs: 1_234, firstByteMs: 300, gatewayMs: 1.5 };
  return {
    caller,
    model: "gpt-4o",
    route: "POST /chat/completions",
    status,
    error,
    reason,
    ...times,
  };
}

const upstream = { host: "api.openai.com", healthy: true, lastFailure: null };
const busy = {
  bucket: {
    atMs: NOW,
    ms: 5_000,
    rows: [row("key:backend", "gpt-4o", 12, 1), row("", "o3", 3, 2)],
  },
  calls: [call("key:backend", 200), call("key:web", 500, "upstream_timeout"), call("", 429)],
  now: { inFlight: 3, streams: 2, draining: false, problem: null },
  upstream,
};

test("draws how the gateway is, its callers and the latest calls, in one write", async (t) => {
  const { tick, output, input } = await start(t);
  await output.last(/up 1 d 1 h/);
  tick(busy);

  const lines = linesOf(await output.last(/3 in flight/));

  assert.equal(output.writes[0], ENTER);
  assert.match(
    lines[0] ?? "",
    /^http:\S+  1\.2\.3  up 1 d 1 h  upstream well  3 in flight  2 streams$/,
  );
  assert.match(lines[1] ?? "", /^Last minute: \S+ calls\/s, 20\.0 % failed, \S+ tok\/s, \$\S+\/h$/);
  assert.match(
    lines[2] ?? "",
    /^p50, p95: \S+ ms, \S+ ms; first byte \S+ ms, \S+ ms; overhead 1\.0 %, median 1\.5 ms$/,
  );
  assert.match(
    lines[4] ?? "",
    /^2 callers +calls +failed +refused +p50 +p95 +first +tok\/s +\$\/h$/,
  );
  assert.match(lines[5] ?? "", /^key:backend +12 +1 +1 /);
  assert.match(lines[6] ?? "", /^- +3 +2 +2 /);
  assert.deepEqual(lines.slice(9, 12), [
    "08:00:00   429    1.2 s  -            gpt-4o  POST /chat/completions",
    "08:00:00   500    1.2 s  key:web      gpt-4o  upstream_timeout: It broke.",
    "08:00:00   200    1.2 s  key:backend  gpt-4o  POST /chat/completions",
  ]);
  assert.equal(lines.at(-1), "c callers  m models  s sort: calls  q quit");
  assert.doesNotMatch(output.text, /\x1b\[\d+m/);
  assert.deepEqual(input.modes, [true]);
});

test("keys choose the table and its order; an arrow is none", async (t) => {
  const { tick, output, input } = await start(t);
  await output.last(/up/);
  tick(busy);
  await output.last(/2 callers/);

  input.write("m");
  const models = linesOf(await output.last(/2 models/));
  input.write("s");
  const failed = linesOf(await output.last(/sort: failed/));
  input.write("\x1b[c");
  input.write("c");
  await output.last(/2 callers/);

  assert.deepEqual(
    models.slice(5, 7).map((line) => line.split(" ")[0]),
    ["gpt-4o", "o3"],
  );
  assert.deepEqual(
    failed.slice(5, 7).map((line) => line.split(" ")[0]),
    ["o3", "gpt-4o"],
  );
});

test("troubles have lines of their own, in red", async (t) => {
  const { tick, output } = await start(t, { colour: true });
  await output.last(/up/);
  const lastFailure = { atMs: NOW - 5_000, code: "upstream_timeout", reason: "No answer." };
  const now = { draining: true, problem: "Redis is away." };
  tick({ ...busy, now, upstream: { host: "api.openai.com", healthy: false, lastFailure } });

  const frame = await output.last(/upstream failing/);

  assert.ok(frame.includes("\x1b[31mIt drains: no more calls are taken.\x1b[0m\x1b[K"), frame);
  assert.ok(frame.includes("\x1b[31mStore: Redis is away.\x1b[0m\x1b[K"), frame);
  assert.match(frame, /\x1b\[31mapi\.openai\.com, 5 s ago: upstream_timeout, No answer\.\x1b\[0m/);
  assert.match(frame, /\x1b\[31m08:00:00   500 [^\x1b]+\x1b\[0m/);
  assert.match(frame, /\x1b\[33m08:00:00   429 [^\x1b]+\x1b\[0m/);
});

test("fits the terminal whatever its size, also when that changes", async (t) => {
  const { tick, output } = await start(t);
  const rows = Array.from({ length: 40 }, (_, index) =>
    row(`key:${index}漢字`, "gpt-4o", index + 1),
  );
  const calls = Array.from({ length: 100 }, () => call("key:漢字漢字漢字漢字漢字漢字", 500, "x"));
  await output.last(/up/);
  tick({ ...busy, bucket: { atMs: NOW, ms: 5_000, rows }, calls });
  await output.last(/40 callers/);

  for (const [columns, height] of [
    [200, 60],
    [80, 24],
    [40, 10],
    [10, 5],
    [1, 1],
    [0, 0],
  ] as const) {
    Object.assign(output, { columns, rows: height });
    output.emit("resize");
    const lines = linesOf(output.writes.at(-1) ?? "");
    const widths = lines.map((line) => line.replace(/[\u3400-\u9fff]/g, "xx").length);
    assert.equal(lines.length, height || 24, `${columns} x ${height}`);
    assert.ok(Math.max(...widths) <= Math.max(1, (columns || 80) - 1), `${columns}: ${widths}`);
  }
});

test("no name or reason reaches the terminal as anything but text", async (t) => {
  const { tick, output } = await start(t, { colour: true });
  const evil = "\x1b]0;x\x07\x9b2J\r\n\u202e\u2066👍\ud800";
  await output.last(/up/);
  tick({
    bucket: { atMs: NOW, ms: 5_000, rows: [row(evil, evil, 1)] },
    calls: [{ ...call(evil, 500, evil, evil), model: evil, route: evil }],
    now: { problem: evil },
    upstream: { host: evil, healthy: false, lastFailure: { atMs: NOW, code: evil, reason: evil } },
  });

  const frame = await output.last(/Store: /);

  const plain = linesOf(frame).join("");
  assert.doesNotMatch(plain, /[\p{C}\p{Zl}\p{Zp}]/u);
  assert.match(plain, /\?\]0;x\?\?2J/);
});

test("shows that the gateway is away, and comes back", async (t) => {
  const { tick, end, output, clock } = await start(t);
  await output.last(/up/);
  tick(busy);
  await output.last(/2 callers/);

  end();
  const away = linesOf(await output.last(/Again in 1 s\./));
  clock.advance(1_000);
  await output.last(/0 in flight/);
  tick(busy);
  const back = linesOf(await output.last(/3 in flight/));

  assert.match(away[1] ?? "", /^http:\S+ has ended the connection\. Again in 1 s\.$/);
  assert.ok(
    away.some((line) => line.startsWith("key:backend")),
    "what was known is gone",
  );
  assert.ok(!back.some((line) => line.includes("Again in")), "it still says so");
});

type Started = Awaited<ReturnType<typeof start>>;

const ENDINGS: Readonly<Record<string, (started: Started) => unknown>> = {
  q: ({ input }) => input.write("q"),
  "Ctrl+C": ({ input }) => input.write("\x03"),
  "a signal": ({ ending }) => ending.abort(),
  "a signal while it waits to try again": async ({ end, output, ending }) => {
    end();
    await output.last(/Again in/);
    ending.abort();
  },
  "the end of its input": ({ input }) => input.end(),
};

for (const [what, act] of Object.entries(ENDINGS)) {
  test(`the terminal is as it was after ${what}`, async (t) => {
    const exits = process.listenerCount("exit");
    const started = await start(t);
    const { output, input, ended } = started;
    await output.last(/up/);

    await act(started);
    await ended;

    assert.equal(output.writes[0], ENTER);
    assert.equal(output.writes.at(-1), LEAVE);
    assert.equal(output.text.split(LEAVE).length, 2);
    assert.deepEqual(input.modes, [true, false]);
    assert.equal(input.listenerCount("data"), 0);
    assert.equal(output.listenerCount("resize"), 0);
    assert.equal(process.listenerCount("exit"), exits);
  });
}

test("the terminal is as it was when drawing fails, and when the process exits", async (t) => {
  const failing = await start(t);
  await failing.output.last(/up/);
  Object.defineProperty(failing.output, "columns", {
    get: () => {
      throw new Error("no such terminal");
    },
  });
  failing.tick();
  await assert.rejects(failing.ended, /no such terminal/);
  assert.equal(failing.output.writes.at(-1), LEAVE);
  assert.deepEqual(failing.input.modes, [true, false]);

  const exiting = await start(t);
  await exiting.output.last(/up/);
  const listener = process.listeners("exit").at(-1);
  listener?.call(process, 0);
  assert.equal(exiting.output.writes.at(-1), LEAVE);
  assert.deepEqual(exiting.input.modes, [true, false]);
});

test("ends quietly when nobody reads any more", async (t) => {
  const gone = await start(t);
  await gone.output.last(/up/);
  gone.output.destroy(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
  await gone.ended;
  assert.deepEqual(gone.input.modes, [true, false]);

  const piped = await start(t, { json: true });
  piped.output.destroy();
  await piped.ended;
  assert.equal(piped.output.text, "");
});

test("draws no frame while the one before is not taken", async (t) => {
  const { output } = await start(t);
  await output.last(/up/);
  const before = output.writes.length;
  output.cork();
  output.write("held");

  output.emit("resize");
  output.uncork();

  assert.deepEqual(output.writes.slice(before), ["held"]);
});

test("without a terminal it prints one table and ends, as it does with --once", async (t) => {
  for (const once of [false, true]) {
    const output = Object.assign(new FakeOutput(), { isTTY: once });
    const { tick, server, ended, input } = await start(t, { output, once, colour: true });
    await new Promise((resolve) => server.once("request", resolve));
    tick(busy);
    await ended;

    assert.equal(output.writes.length, 1);
    assert.doesNotMatch(output.text, /\x1b/);
    assert.match(output.text, /^http:\S+  1\.2\.3  up 1 d 1 h  upstream well  3 in flight/);
    assert.match(output.text, /^key:backend +12 +1 +1 /m);
    assert.match(output.text, /  upstream_timeout: It broke\.\n/);
    assert.deepEqual(input.modes, []);
  }
});

test("with --json there is a safe line every second until the reader hangs up", async (t) => {
  const output = Object.assign(new FakeOutput(), { isTTY: false });
  const { tick, end, server, ended, url } = await start(t, { output, json: true });
  await new Promise((resolve) => server.once("request", resolve));
  const name = "\x9b2J\u202e漢";
  tick({ ...busy, calls: [call(name, 200)] });
  const first = JSON.parse(await output.last(/calls/));
  end();
  const away = JSON.parse(await output.last(/lost/));
  output.destroy();
  await ended;

  assert.match(output.text, /^[\n -~]+$/);
  assert.deepEqual([first.gateway, first.version, first.nowMs], [url.origin, "1.2.3", NOW]);
  assert.equal(first.calls[0].caller, name);
  assert.equal(first.lastMinute.requests, 15);
  assert.equal(first.upstream.host, "api.openai.com");
  assert.equal(away.lost.againInMs, 1_000);

  const single = await start(t, { json: true, once: true });
  await new Promise((resolve) => single.server.once("request", resolve));
  single.tick(busy);
  await single.ended;
  assert.equal(single.output.text.split("\n").length, 2);
});

test("says what is wrong before it takes the terminal, and with --once", async (t) => {
  const refused = await start(t, { key: new Secret("a-wrong-key") });
  await assert.rejects(refused.ended, /has another admin key, or none at all/);
  assert.equal(refused.output.text, "");
  assert.deepEqual(refused.input.modes, []);

  const lost = await start(t, { once: true });
  await new Promise((resolve) => lost.server.once("request", resolve));
  lost.end();
  await assert.rejects(lost.ended, /has ended the connection/);
});

const hasScript = spawnSync("script", ["-V"]).status === 0;
const SOURCE = new URL("../../src/", import.meta.url);

const RUNNER = (url: URL): string => `
import { top } from ${JSON.stringify(new URL("cli/top.ts", SOURCE).href)};
import { Secret } from ${JSON.stringify(new URL("secret.ts", SOURCE).href)};
import { systemClock } from ${JSON.stringify(new URL("clock.ts", SOURCE).href)};
const ending = new AbortController();
process.once("SIGTERM", () => ending.abort());
const { stdout: output, stdin: input } = process;
const options = { output, input, json: false, once: false, colour: true, clock: systemClock };
output.write("pid " + process.pid + "\\n");
const url = new URL("${url.href}");
await top({ ...options, url, key: new Secret("an-admin-key"), signal: ending.signal });
output.write("it is over\\n");
`;

for (const [what, keys] of [
  ["q", "q"],
  ["Ctrl+C", "\x03"],
  ["SIGTERM", ""],
] as const) {
  test(`a real terminal is as it was after ${what}`, { skip: !hasScript }, async (t) => {
    const gateway = await startGateway(t);
    const runner = `${makeDirectory(t, { "run.mjs": RUNNER(gateway.url) })}/run.mjs`;
    const words = [process.execPath, "--import", import.meta.resolve("tsx"), runner];
    const command = words.map((word) => `'${word}'`).join(" ");
    const shell = `stty rows 12 cols 60; stty -g; ${command}; stty -g`;
    const child = spawn("script", ["-qec", shell, "/dev/null"], {
      env: { ...environmentFor(), TERM: "xterm" },
      stdio: ["pipe", "pipe", "inherit"],
    });
    t.after(() => void child.kill("SIGKILL"));
    let text = "";
    let step = 0;
    for await (const chunk of child.stdout) {
      text += chunk;
      if (step === 0 && text.includes(" up ")) step = gateway.tick(busy) === undefined ? 0 : 1;
      if (step !== 1 || !text.includes("2 callers")) continue;
      step = 2;
      if (keys === "") process.kill(Number(/pid (\d+)/.exec(text)?.[1]), "SIGTERM");
      else child.stdin.write(keys);
    }

    const [before, drawn = "", after] = text.split(/(\x1b\[\?1049h[^]*\x1b\[\?1049l)/);
    const [mode] = /^[\da-f:]{20,}/m.exec(before ?? "") ?? ["none"];
    assert.ok(drawn.startsWith(ENTER), "it took no terminal");
    assert.ok(drawn.endsWith(LEAVE), "it gave none back");
    assert.match(drawn, /key:backend +12 /);
    assert.equal(after, `it is over\r\n${mode}\r\n`);
  });
}
