// What `top` reads: the admin events of a gateway, on a real socket, and how it comes back to them.
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test, type TestContext } from "node:test";
import { Live, watchGateway, type LiveEvent } from "../../src/cli/live-client.ts";
import { systemClock, type Clock } from "../../src/clock.ts";
import { Secret } from "../../src/secret.ts";
import { deadUrl, fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";

const KEY = "an-admin-key-for-tests";
const NOW = 1_800_000_000_000;

function toText(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

function open(res: ServerResponse, ...events: readonly string[]): void {
  res.writeHead(200, { "content-type": "text/event-stream" });
  for (const event of events) res.write(event);
}

const hello = toText("hello", { version: "1.2.3", nowMs: NOW });
const tick = toText("tick", { nowMs: NOW + 1 });

/** The events of a gateway that answers so. */
async function watch(t: TestContext, script: Script, clock: Clock = systemClock) {
  const gateway = await fakeOpenAI(t, script);
  const ending = new AbortController();
  t.after(() => ending.abort());
  const url = new URL(gateway.baseUrl);
  const source = { url, key: new Secret(KEY), clock, signal: ending.signal };
  const events = watchGateway(source);
  const next = async (): Promise<LiveEvent | undefined> => (await events.next()).value ?? undefined;
  return { ...gateway, origin: url.origin, events, ending, next };
}

async function failure(t: TestContext, script: Script): Promise<string> {
  const { next, origin } = await watch(t, script);
  const error: unknown = await next().catch((reason: unknown) => reason);
  assert.ok(error instanceof Error, "it did not fail");
  return error.message.replace(origin, "GATEWAY");
}

test("shows the admin key and gives what comes, however it was cut", async (t) => {
  const last = tick.replaceAll("\n", "\r\n");
  const text = `: a comment\r\n\r\n${hello}event: news\ndata: {}\n\n${last}`;
  const { next, arrivals } = await watch(t, async (res) => {
    open(res);
    for (const byte of Buffer.from(text)) {
      res.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
  });

  const first = await next();
  const second = await next();

  assert.equal(arrivals[0]?.url, "/admin/events");
  assert.equal(arrivals[0]?.headers.authorization, `Bearer ${KEY}`);
  assert.ok(first?.kind === "hello", "no hello");
  assert.equal(first.hello.version, "1.2.3");
  assert.ok(second?.kind === "tick", "no tick");
  assert.equal(second.tick.nowMs, NOW + 1);
  assert.deepEqual(second.told, { nowMs: NOW + 1 });
});

test("takes what is missing or of another type for nothing", async (t) => {
  const wrong = {
    nowMs: "now",
    bucket: { rows: [{ caller: 1, requests: "many", durations: [1, [2, "x"]] }, null] },
    calls: { length: 3 },
    now: null,
    upstream: { healthy: 1, lastFailure: null, __proto__: { host: "x" } },
  };
  const { next } = await watch(t, (res) => open(res, hello, toText("tick", wrong)));

  await next();
  const event = await next();

  assert.ok(event?.kind === "tick", "no tick");
  const { nowMs, bucket, calls, now, upstream } = event.tick;
  assert.deepEqual([nowMs, calls, now.inFlight, now.problem], [0, [], 0, ""]);
  assert.deepEqual([upstream.host, upstream.healthy, upstream.lastFailure.code], ["", false, ""]);
  assert.deepEqual(
    bucket.rows.map(({ caller, requests, durations }) => [caller, requests, durations]),
    [
      ["", 0, [[], [2, 0]]],
      ["", 0, []],
    ],
  );
});

test("says what to do where there is no gateway, or it refuses", async (t) => {
  const answers =
    (status: number, headers = {}): Script =>
    (res) =>
      void res.writeHead(status, headers).end();

  assert.equal(
    await failure(t, answers(404)),
    "GATEWAY has another admin key, or none at all: set the same ADMIN_KEY for it and here.",
  );
  assert.equal(
    await failure(t, answers(429, { "retry-after": "6" })),
    "GATEWAY has seen too many wrong admin keys from here: wait 6 s.",
  );
  assert.match(await failure(t, answers(429, { "retry-after": "\x9b2J" })), /wait 60 s\.$/);
  assert.equal(
    await failure(t, answers(200, { "content-type": "text/html" })),
    "GATEWAY answers 200 to GET /admin/events: set HOST and PORT to where OpenAI Gateway listens.",
  );
  assert.match(await failure(t, answers(503)), /answers 503 .*about to stop, or overloaded\.$/);
  assert.match(
    await failure(t, (res) => void res.destroy()),
    /^The connection to GATEWAY failed \(ECONNRESET\)\.$/,
  );

  const url = new URL(await deadUrl());
  const { signal } = new AbortController();
  const source = { url, key: new Secret(KEY), clock: systemClock, signal };
  await assert.rejects(watchGateway(source).next(), {
    message:
      `Nothing listens at ${url.origin}: ` +
      "start the gateway, or set HOST and PORT to where it does.",
  });
});

test("comes back after 1, 2, 4, 8 and then every 10 seconds, and counts them down", async (t) => {
  const clock = new ManualClock();
  let up = true;
  const { next, origin } = await watch(
    t,
    (res) => {
      if (!up) res.writeHead(502).end();
      if (!up) return;
      open(res, hello);
      res.end(tick);
    },
    clock,
  );
  /** How long each wait was told to be, second by second. */
  const waits = async (count: number): Promise<readonly number[][]> => {
    const told: number[][] = [];
    for (let event = await next(); ; event = await next()) {
      if (event?.kind !== "lost") return told;
      if (event.againInMs > (told.at(-1)?.at(-1) ?? 0)) {
        if (told.length === count) up = true;
        told.push([]);
      }
      told.at(-1)?.push(event.againInMs);
      setImmediate(() => clock.advance(1_000));
    }
  };

  assert.equal((await next())?.kind, "hello");
  assert.equal((await next())?.kind, "tick");
  up = false;
  const told = await waits(5);

  assert.deepEqual(
    told.map(([first]) => first),
    [1_000, 2_000, 4_000, 8_000, 10_000, 10_000],
  );
  assert.deepEqual(told[2], [4_000, 3_000, 2_000, 1_000]);

  assert.equal((await next())?.kind, "tick");
  const lost = await next();
  assert.deepEqual(lost, {
    kind: "lost",
    reason: `${origin} has ended the connection.`,
    againInMs: 1_000,
  });
});

test("leaves a gateway that is silent for 10 seconds", async (t) => {
  const clock = new ManualClock();
  const { next, arrivals } = await watch(t, (res) => open(res, hello), clock);
  await next();

  const pending = next();
  clock.advance(9_999);
  const early = await Promise.race([pending, new Promise((resolve) => setImmediate(resolve, 0))]);
  assert.equal(early, 0);
  clock.advance(1);
  const event = await pending;

  assert.ok(event?.kind === "lost", "it still waits");
  assert.match(event.reason, / is silent for 10 s\.$/);
  await arrivals[0]?.closed;
});

test("ends the connection over an event of more than 8 MiB, or no JSON", async (t) => {
  const huge = `data: ${"x".repeat(1024 * 1024)}\n`;
  const long = await watch(t, (res) => open(res, hello, ...Array<string>(9).fill(huge)));
  await long.next();
  const over = await long.next();
  assert.ok(over?.kind === "lost", "it was taken");
  assert.match(over.reason, / sends more than 8 MiB at once\.$/);
  await long.arrivals[0]?.closed;

  const broken = await watch(t, (res) => open(res, hello, "event: tick\ndata: {\n\n"));
  await broken.next();
  const none = await broken.next();
  assert.ok(none?.kind === "lost", "it was taken");
  assert.match(none.reason, / sends what is no JSON\.$/);
});

test("ends without an error when it is aborted, whatever it waits for", async (t) => {
  const silent = await watch(t, () => silent.ending.abort());
  assert.equal(await silent.next(), undefined);
  await silent.arrivals[0]?.closed;

  const reading = await watch(t, (res) => open(res, hello));
  await reading.next();
  const more = reading.next();
  reading.ending.abort();
  assert.equal(await more, undefined);
  await reading.arrivals[0]?.closed;

  const clock = new ManualClock();
  const lost = await watch(t, (res) => (open(res, hello), void res.end()), clock);
  await lost.next();
  assert.equal((await lost.next())?.kind, "lost");
  const again = lost.next();
  lost.ending.abort();
  assert.equal(await again, undefined);
  assert.equal(clock.pending, 0);

  const whole = await watch(t, (res) => open(res, hello));
  await whole.next();
  await whole.events.return();
  await whole.arrivals[0]?.closed;
});

/** A row as the gateway tells it. */
function row(caller: string, requests: number, step = 20) {
  return {
    caller,
    model: "gpt-4o",
    requests,
    failed: 1,
    inputTokens: 100 * requests,
    cachedInputTokens: 0,
    outputTokens: 20 * requests,
    costMicroUsd: 1_000 * requests,
    gatewayMs: 3,
    waitedMs: 300,
    durations: [[step, requests]],
    firstBytes: [],
    refused: { budget: 2, invalid_json: 1 },
  };
}

test("sums up the last minute; a bucket that is told again is the same one", async (t) => {
  const startedAtMs = NOW - 3_600_000;
  const past = [
    { atMs: NOW - 60_000, ms: 5_000, rows: [row("key:a", 1_000)] },
    { atMs: NOW - 55_000, ms: 5_000, rows: [row("key:a", 5, 30)] },
  ];
  const greeting = { nowMs: NOW - 1_000, startedAtMs, scale: 1.25, fine: past };
  const ticks = [1, 2, 3].map((second) =>
    toText("tick", {
      nowMs: NOW + second * 1_000,
      bucket: { atMs: NOW, ms: 5_000, rows: [row("key:a", second), row("key:b", 4 * second)] },
      calls: [{ route: `call ${second}` }],
    }),
  );
  const { next } = await watch(t, (res) => open(res, toText("hello", greeting), ...ticks));

  const live = new Live();
  for (let count = 0; count < 4; count++) {
    const event = await next();
    assert.ok(event !== undefined, "too few events");
    live.add(event);
  }
  const total = live.total();
  const [a, b] = live.totals("caller");

  assert.deepEqual(
    live.calls.map(({ route }) => route),
    ["call 3", "call 2", "call 1"],
  );
  assert.equal(total.requests, 5 + 3 + 12);
  assert.equal(total.requestsPerSecond, 20 / 58);
  assert.deepEqual([total.failed, total.refused, total.overheadShare], [3, 9, 0.01]);
  assert.equal(total.tokensPerSecond, (20 * 120) / 58);
  assert.ok(Math.abs(total.usdPerHour - (20_000 / 58) * 0.0036) < 1e-9, `${total.usdPerHour}`);
  assert.deepEqual([a?.name, a?.requests, b?.name, b?.requests], ["key:a", 8, "key:b", 12]);
  // 15 calls took up to 1.25 ** 20 ms, 5 up to 1.25 ** 30.
  assert.equal(total.durationP50Ms, 1.25 ** (19 + 10 / 15));
  assert.equal(total.durationP95Ms, 1.25 ** (29 + 4 / 5));
  assert.ok(Number.isNaN(total.firstByteP50Ms), "there was none");
});

test("a gateway that began less than a minute ago is measured from its start", () => {
  const live = new Live();
  const rows = [row("key:a", 10)];
  const bucket = { atMs: NOW, ms: 5_000, rows };
  const greeting = { ...live.hello, nowMs: NOW, startedAtMs: NOW - 2_000, fine: [bucket] };

  live.add({ kind: "hello", hello: greeting });
  const early = live.total().requestsPerSecond;
  live.add({ kind: "hello", hello: { ...greeting, nowMs: NOW - 1_999 } });

  assert.equal(early, 5);
  assert.equal(live.total().requestsPerSecond, 10);
});
