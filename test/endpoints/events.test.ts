// Those who look are many, slow or gone: each of them costs what is stated, and no more.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { Events } from "../../src/endpoints/events.ts";
import { LiveFeed } from "../../src/telemetry/live-feed.ts";
import { callReport } from "../helpers/call-report.ts";
import { portOf } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { openSocket } from "../helpers/raw-client.ts";

async function start(t: TestContext) {
  const clock = new ManualClock();
  const feed = new LiveFeed(clock);
  const events = new Events({ feed, clock, introduce: () => ({}), describe: () => ({}) });
  const server = createServer((_, res) => void events.show(res)).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    events.close();
    server.closeAllConnections();
    server.close();
  });
  const look = async () => {
    const socket = await openSocket(portOf(server));
    socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    return socket;
  };
  return { clock, feed, events, look };
}

test("a viewer that does not read is let go, and the others see all", async (t) => {
  const { clock, feed, events, look } = await start(t);
  const deaf = await look();
  deaf.pause();
  const reader = await look();
  let bytes = 0;
  reader.on("data", (chunk: Buffer) => (bytes += chunk.length));
  while (events.viewers < 2) await new Promise((resolve) => setImmediate(resolve));

  // Some 70 KB a second: what the system takes for a viewer that sleeps is full at some time.
  const reason = "x".repeat(1_000);
  let seconds = 0;
  while (events.viewers === 2 && seconds++ < 500) {
    for (let index = 0; index < 100; index++) feed.observe(callReport({ reason }));
    const before = bytes;
    clock.advance(1_000);
    while (bytes - before < 50_000) await once(reader, "data");
  }

  assert.equal(events.viewers, 1);
  assert.ok(seconds < 300, `it was kept for ${seconds} seconds`);
  deaf.destroy();
  reader.destroy();
});

test("whoever comes when it is closed is told so, and nobody keeps a server open", async (t) => {
  const { clock, events, look } = await start(t);
  const deaf = await look();
  while (events.viewers < 1) await new Promise((resolve) => setImmediate(resolve));
  deaf.pause();

  events.close();
  assert.throws(() => events.show(new ServerResponse(new IncomingMessage(new Socket()))), {
    code: "draining",
  });
  clock.advance(1_000);
  while (events.viewers > 0) await new Promise((resolve) => setImmediate(resolve));
  deaf.destroy();
});

test("a day of seconds leaves nothing behind", async (t) => {
  const { clock, feed, events, look } = await start(t);
  const reader = await look();
  let text = "";
  let ticks = 0;
  reader.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    ticks += text.split("event: tick\n").length - 1;
    text = text.slice(-11);
  });
  while (events.viewers < 1) await new Promise((resolve) => setImmediate(resolve));
  const pending = clock.pending;

  for (let second = 0; second < 86_400; second++) {
    if (second % 60 === 0) feed.observe(callReport());
    clock.advance(1_000);
    if (second % 100 === 99) while (ticks < second - 100) await once(reader, "data");
  }

  assert.equal(clock.pending, pending);
  const { fine, coarse, calls } = feed.past(feed.seen());
  assert.ok(fine.length <= 60 && coarse.length <= 60 && calls.length <= 100, "it has grown");
  reader.destroy();
  while (events.viewers > 0) await new Promise((resolve) => setImmediate(resolve));
});
