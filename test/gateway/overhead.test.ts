// Whose time it was: what the gateway says is its own, what OpenAI's and what the client's.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import type { ConfigInput, LogFields } from "../../src/gateway.ts";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

async function start(
  t: TestContext,
  script: (clock: ManualClock) => Script,
  settings: ConfigInput = {},
) {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, script(clock));
  return { ...(await startGateway(t, openai.baseUrl, settings, { clock })), openai, clock };
}

function timesOf({ gatewayMs, upstreamMs, firstByteMs }: LogFields): readonly unknown[] {
  return [gatewayMs, upstreamMs, firstByteMs];
}

test("OpenAI's time ends with the first byte of its body, not with its head", async (t) => {
  let seen = (): void => {};
  const headSeen = new Promise<void>((resolve) => (seen = resolve));
  const { url, reported } = await start(t, (clock) => async (res, { body }) => {
    await body;
    clock.advance(100);
    res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    await headSeen;
    clock.advance(2_000);
    res.end('data: {"choices":[]}\n\ndata: [DONE]\n\n');
  });

  const response = await post(`${url}/v1/chat/completions`, { stream: true });
  assert.equal(response.headers.get("server-timing"), "gateway;dur=0.0, upstream;dur=100.0");
  seen();
  await readStream(response).rest();

  assert.deepEqual(timesOf(await reported()), [0, 2_100, 2_100]);
});

test("a client that is slow to send is not slow for the gateway", async (t) => {
  const models = { policies: { default: { models: ["gpt-4o-mini"] } } };
  const { port, clock, reported, openai } = await start(
    t,
    () =>
      async (res, { body }) => {
        await body;
        res.end("{}");
      },
    models,
  );
  const text = JSON.stringify({ model: "gpt-4o-mini" });
  const socket = await openSocket(port);
  const head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
  socket.write(`${head}expect: 100-continue\r\ncontent-length: ${text.length}\r\n\r\n`);
  const [invitation] = await once(socket, "data");
  assert.match(String(invitation), /^HTTP\/1\.1 100 Continue/);
  clock.advance(700);
  socket.write(text);
  await openai.next();
  await once(socket, "data");
  socket.destroy();

  const line = await reported();
  assert.deepEqual(timesOf(line), [0, 0, 700]);
  assert.equal(line["status"], 200);
});

test("what fails before OpenAI is called is all the gateway's", async (t) => {
  const models = { policies: { default: { endpoints: ["models"] } } };
  const { url, reported } = await start(t, () => (res) => void res.end("{}"), models);

  await (await post(`${url}/v1/chat/completions`, {})).text();

  const { gatewayMs, upstreamMs, firstByteMs } = await reported();
  assert.deepEqual([gatewayMs, upstreamMs, firstByteMs], [0, undefined, undefined]);
});

test("the time to connect a second time is not the gateway's", async (t) => {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    clock.advance(5);
    res.end("{}");
  });
  let calls = 0;
  const refused = Object.assign(new TypeError("fetch failed"), {
    cause: Object.assign(new Error("refused"), { code: "ECONNREFUSED" }),
  });
  const parts = {
    clock,
    fetch: (url: URL, init: RequestInit) => {
      clock.advance(40);
      if (++calls === 1) {
        setImmediate(() => clock.advance(200));
        return Promise.reject(refused);
      }
      return fetch(url, init);
    },
  };
  const { url, reported } = await startGateway(t, openai.baseUrl, {}, parts);

  await (await post(`${url}/v1/chat/completions`, {})).text();

  const line = await reported();
  assert.deepEqual([line["gatewayMs"], line["attempts"]], [0, 2]);
  assert.deepEqual(timesOf(line).slice(1), [285, 285]);
});

test("a client that is slow to send is not slow for the gateway, without rules either", async (t) => {
  const { port, clock, reported, openai } = await start(t, () => async (res, { body }) => {
    await body;
    res.end("{}");
  });
  const socket = await openSocket(port);
  const head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
  socket.write(`${head}expect: 100-continue\r\ncontent-length: 2\r\n\r\n`);
  const [invitation] = await once(socket, "data");
  assert.match(String(invitation), /^HTTP\/1\.1 100 Continue/);
  clock.advance(700);
  socket.write("{}");
  await openai.next();
  await once(socket, "data");
  socket.destroy();

  assert.deepEqual(timesOf(await reported()), [0, 0, 700]);
});

test("a client that never sends the rest was what took the time", async (t) => {
  const models = { policies: { default: { models: ["gpt-4o-mini"] } } };
  const { port, clock, reported } = await start(t, () => (res) => void res.end("{}"), models);
  const socket = await openSocket(port);
  const head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
  socket.write(`${head}expect: 100-continue\r\ncontent-length: 20\r\n\r\n`);
  await once(socket, "data");
  clock.advance(60_000);

  const line = await reported();
  assert.deepEqual([line["error"], line["gatewayMs"]], ["request_timeout", 0]);
  socket.destroy();
});

test("what OpenAI thinks behind its head is OpenAI's, also where its client leaves", async (t) => {
  const { url, clock, reported } = await start(t, () => async (res, { body }) => {
    await body;
    res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
  });
  const controller = new AbortController();
  const init = { signal: controller.signal };
  await post(`${url}/v1/chat/completions`, { stream: true }, init);
  clock.advance(1_500);
  controller.abort();

  const line = await reported();
  assert.deepEqual(
    [line["error"], line["gatewayMs"], line["upstreamMs"]],
    ["client_gone", 0, 1_500],
  );
});
