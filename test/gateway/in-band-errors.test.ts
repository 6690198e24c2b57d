// Rule 6: after the first byte an error stays in band.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const error = {
  message: "The connection to OpenAI broke (UND_ERR_SOCKET).",
  type: "server_error",
  param: null,
  code: "upstream_reset",
};
const typed = `event: error\ndata: ${JSON.stringify({ type: "error", error })}\n\n`;
const flat = { code: error.code, message: error.message, param: null, sequence_number: 8 };

const CASES = {
  "/chat/completions": `data: ${JSON.stringify({ error })}\n\n`,
  "/completions": `data: ${JSON.stringify({ error })}\n\n`,
  "/responses": `event: error\ndata: ${JSON.stringify({ type: "error", ...flat, error })}\n\n`,
  "/images/generations": typed,
  "/images/edits": typed,
  "/audio/speech": typed,
  "/audio/transcriptions": typed,
};

for (const [path, lastEvent] of Object.entries(CASES)) {
  test(`a stream of ${path} that breaks ends with an error event in its own format`, async (t) => {
    let cut = (): void => {};
    const openai = await fakeOpenAI(t, (res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write('data: {"sequence_number":7}\n\n');
      cut = () => void res.destroy();
    });
    const { url, reported } = await startGateway(t, openai.baseUrl);
    const reader = readStream(await post(`${url}/v1${path}`, { stream: true }));
    await reader.next();

    cut();

    assert.equal(await reader.rest(), lastEvent);
    const line = await reported();
    assert.deepEqual([line["error"], line["status"], line.level], ["upstream_reset", 200, "error"]);
  });
}

test("an event that was cut in the middle is closed before the error follows", async (t) => {
  let cut = (): void => {};
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" }).write('data: {"choices":[{"del');
    cut = () => void res.destroy();
  });
  const { url } = await startGateway(t, openai.baseUrl);
  const reader = readStream(await post(`${url}/v1/chat/completions`, { stream: true }));
  await reader.next();

  cut();

  assert.equal(await reader.rest(), `\n\ndata: ${JSON.stringify({ error })}\n\n`);
});

test("a stream that was to have a length ends with an error event all the same", async (t) => {
  let cut = (): void => {};
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-type": "text/event-stream", "content-length": 1_000 });
    res.write("data: {}\n\n");
    cut = () => void res.destroy();
  });
  const { url } = await startGateway(t, openai.baseUrl);
  const response = await post(`${url}/v1/chat/completions`, { stream: true });
  const reader = readStream(response);
  await reader.next();

  cut();

  assert.equal(await reader.rest(), `data: ${JSON.stringify({ error })}\n\n`);
  assert.equal(response.headers.get("content-length"), null);
});

test("an event of which only the name came is overruled by the error", async (t) => {
  let cut = (): void => {};
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write("event: response.output_text.delta\n");
    cut = () => void res.destroy();
  });
  const { url } = await startGateway(t, openai.baseUrl);
  const reader = readStream(await post(`${url}/v1/images/edits`, { stream: true }));
  await reader.next();

  cut();

  assert.equal(await reader.rest(), typed);
});

test("an answer without events that breaks before its first byte is a whole 500", async (t) => {
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-length": "10" }).flushHeaders();
    setTimeout(() => res.destroy(), 30);
  });
  const { url } = await startGateway(t, openai.baseUrl);

  const response = await post(`${url}/v1/embeddings`, {});

  assert.deepEqual([response.status, await response.json()], [500, { error }]);
  assert.equal(response.headers.get("x-should-retry"), "false");
});

test("an answer without events that breaks is a broken connection, never a short success", async (t) => {
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-type": "application/json" }).write('{"id":');
    setTimeout(() => res.destroy(), 30);
  });
  const { port } = await startGateway(t, openai.baseUrl);
  const socket = await openSocket(port);
  let text = "";
  socket.on("data", (chunk) => (text += String(chunk)));

  socket.write("GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n");
  await once(socket, "close");

  assert.match(text, /^HTTP\/1\.1 200 [^]*\{"id":\r\n$/);
});

test("a stream that OpenAI ends by itself gets nothing added", async (t) => {
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" }).end("data: 1\n\ndata: no end mark");
  });
  const { url } = await startGateway(t, openai.baseUrl);

  const response = await post(`${url}/v1/chat/completions`, { stream: true });

  assert.equal(await response.text(), "data: 1\n\ndata: no end mark");
});
