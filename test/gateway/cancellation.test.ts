// Rule 4: leaving cancels.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { deadUrl, fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

/** The promise is 50 ms; the rest is for a busy machine. */
const LIMIT_MS = 250;

const silent: Script = () => {};
const talking: Script = (res) => {
  res.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
};

test("a client that leaves before the first byte closes the call to OpenAI at once", async (t) => {
  const openai = await fakeOpenAI(t, silent);
  const { url, reported } = await startGateway(t, openai.baseUrl);
  const leaving = new AbortController();
  const call = assert.rejects(post(`${url}/v1/chat/completions`, {}, { signal: leaving.signal }));
  const arrival = await openai.next();
  await arrival.body;

  const leftAt = performance.now();
  leaving.abort();
  const tookMs = (await arrival.closed) - leftAt;

  assert.ok(tookMs < LIMIT_MS, `${tookMs} ms`);
  await call;
  const line = await reported();
  assert.deepEqual([line["error"], line["status"], line.level], ["client_gone", 499, "info"]);
});

test("a client that leaves in the middle of a stream closes the call to OpenAI at once", async (t) => {
  const openai = await fakeOpenAI(t, talking);
  const { url, reported } = await startGateway(t, openai.baseUrl);
  const leaving = new AbortController();
  const response = await post(`${url}/v1/chat/completions`, {}, { signal: leaving.signal });
  await readStream(response).next();
  const arrival = await openai.next();

  const leftAt = performance.now();
  leaving.abort();
  const tookMs = (await arrival.closed) - leftAt;

  assert.ok(tookMs < LIMIT_MS, `${tookMs} ms`);
  const line = await reported();
  assert.deepEqual([line["error"], line["status"], line["responseBytes"]], ["client_gone", 200, 9]);
});

test("a client that leaves after garbage was collected closes the call to OpenAI all the same", async (t) => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const openai = await fakeOpenAI(t, talking);
  const { url, reported } = await startGateway(t, openai.baseUrl);
  const leaving = new AbortController();
  const response = await post(`${url}/v1/chat/completions`, {}, { signal: leaving.signal });
  await readStream(response).next();
  for (let count = 0; count < 5; count++, collect()) await delay(5);

  leaving.abort();
  await (
    await openai.next()
  ).closed;

  assert.equal((await reported())["error"], "client_gone");
});

test("a client that leaves while it sends its body closes the call to OpenAI at once", async (t) => {
  const openai = await fakeOpenAI(t, silent);
  const { port, reported } = await startGateway(t, openai.baseUrl);
  const socket = await openSocket(port);
  socket.write(
    "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf",
  );
  const arrival = await openai.next();
  await arrival.received(4);

  socket.resetAndDestroy();
  await arrival.closed;

  assert.equal((await reported())["error"], "client_gone");
});

test("a client that hangs up right after [DONE] has had its answer", async (t) => {
  const openai = await fakeOpenAI(t, (res) => {
    res
      .writeHead(200, { "content-type": "text/event-stream" })
      .write("data: {}\n\ndata: [DONE]\n\n");
  });
  const { url, reported } = await startGateway(t, openai.baseUrl);
  const leaving = new AbortController();
  const response = await post(`${url}/v1/chat/completions`, {}, { signal: leaving.signal });
  await readStream(response).next();
  const arrival = await openai.next();

  leaving.abort();
  await arrival.closed;

  const line = await reported();
  assert.deepEqual([line["error"], line["status"]], [undefined, 200]);
});

test("a client that leaves while the gateway waits to try again ends the call", async (t) => {
  const clock = new ManualClock();
  const { url, reported } = await startGateway(t, await deadUrl(), {}, { clock });
  const leaving = new AbortController();
  const call = assert.rejects(post(`${url}/v1/chat/completions`, {}, { signal: leaving.signal }));
  // The first-byte clock, then the pause.
  while (clock.pending < 2) await turn();

  leaving.abort();

  const line = await reported();
  assert.deepEqual([line["error"], line["attempts"], clock.pending], ["client_gone", undefined, 0]);
  await call;
});

test("every call is reported exactly once, however it ends", async (t) => {
  const scripts: Record<string, Script> = {
    "/v1/chat/completions": talking,
    "/v1/embeddings": (res) => void res.destroy(),
    "/v1/moderations": (res) => void res.end("{}"),
  };
  const openai = await fakeOpenAI(t, (res, arrival) => scripts[arrival.url]?.(res, arrival));
  const { url, log, reported } = await startGateway(t, openai.baseUrl);
  const leaving = new AbortController();

  await post(`${url}/v1/moderations`, {});
  await post(`${url}/v1/embeddings`, {});
  await post(`${url}/v1/files`, {});
  await fetch(`${url}/nowhere`);
  await post(`${url}/v1/chat/completions`, {}, { signal: leaving.signal });
  leaving.abort();
  const errors = [];
  for (let count = 0; count < 5; count++) errors.push((await reported())["error"]);

  assert.deepEqual(errors, [
    undefined,
    "upstream_reset",
    "endpoint_not_allowed",
    "unknown_url",
    "client_gone",
  ]);
  for (let count = 0; count < 20; count++) await turn();
  assert.equal(log.filter(({ message }) => message === "request").length, 5);
});
