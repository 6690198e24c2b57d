// Clients that leave, that read slowly, and that are there when the mock closes.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { encodeEvent, toEvents } from "../../src/mock/answer.ts";
import { play } from "../../src/mock/play.ts";
import { at, openMock, parseEvents } from "./support.ts";

const chat = { model: "m", messages: [{ role: "user", content: "hello" }] };

/** A stream of chat, read by nobody yet, over a connection of its own. */
async function openStream(baseUrl: string, directives: string): Promise<IncomingMessage> {
  const headers = { "content-type": "application/json", "openai-mock": directives };
  const call = request(`${baseUrl}/chat/completions`, { method: "POST", headers, agent: false });
  call.end(JSON.stringify({ ...chat, stream: true }));
  const [reply]: IncomingMessage[] = await once(call, "response");
  assert(reply !== undefined);
  reply.on("error", () => {});
  return reply;
}

function countTimers(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
}

async function until(isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 2000;
  while (!isSo()) {
    assert(performance.now() < deadline, "waited in vain");
    await nextTurn();
  }
}

test("clears its timer when the client leaves", async (t) => {
  const mock = await openMock(t);
  const before = countTimers();
  const reply = await openStream(mock.baseUrl, "interval-ms=600000");
  await until(() => countTimers() === before + 1);

  reply.destroy();

  await until(() => countTimers() === before);
});

test("clears its timer when the client leaves before the headers", async (t) => {
  const mock = await openMock(t);
  const before = countTimers();
  const headers = { "openai-mock": "delay-ms=600000" };
  const call = request(`${mock.baseUrl}/models`, { headers, agent: false });
  call.on("error", () => {});
  call.end();
  await until(() => countTimers() === before + 1);

  call.destroy();

  await until(() => countTimers() === before);
});

test("survives a client that leaves in the middle of its upload", async (t) => {
  const mock = await openMock(t);
  const socket = connect(Number(new URL(mock.baseUrl).port), "127.0.0.1");
  await once(socket, "connect");
  socket.write("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{");

  socket.resetAndDestroy();
  await once(socket, "close");

  assert.equal((await mock.get("/models")).status, 200);
});

test("waits for a slow reader and loses nothing", async (t) => {
  const mock = await openMock(t);
  const reply = await openStream(mock.baseUrl, "tokens=20000");
  reply.pause();
  for (let turn = 0; turn < 100; turn += 1) await nextTurn();

  let received = "";
  for await (const chunk of reply.setEncoding("utf8")) received += String(chunk);

  const events = parseEvents(received);
  assert.equal(events.length, 20_003);
  assert.equal(events.at(-1), "[DONE]");
  const content = events.filter((event) => at(event, "choices", 0, "delta", "content"));
  assert.equal(content.length, 20_000);
});

test("makes no more events than its reader takes", async (t) => {
  function* endless(): Iterable<string> {
    for (;;) yield encodeEvent("x".repeat(1000));
  }
  const script = { delayMs: 0, intervalMs: 0, stop: undefined };
  const server = createServer().listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const socket = connect(Object(server.address()).port, "127.0.0.1");
  socket.pause().write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  const res = await new Promise<ServerResponse>((resolve) => {
    server.once("request", (_req, reply) => resolve(reply));
  });
  const gone = new AbortController();
  res.on("close", () => gone.abort());

  const played = play(res, toEvents(endless()), script, gone.signal);
  await nextTurn();
  socket.destroy();

  await assert.rejects(played, { name: "AbortError" });
});

test("ends open streams and hung answers at once when it closes", async (t) => {
  const mock = await openMock(t);
  const replies = await Promise.all([
    openStream(mock.baseUrl, "interval-ms=600000"),
    openStream(mock.baseUrl, "hang-after=1"),
    openStream(mock.baseUrl, "tokens=100000"), // stuck: nobody reads it
  ]);
  const timers = countTimers();

  await mock.close();

  await Promise.all(
    replies.map(async (reply) => {
      reply.resume();
      await until(() => reply.closed);
      assert.equal(reply.complete, false);
    }),
  );
  assert.equal(countTimers(), timers - 1);
});
