// Closing a gateway ends, and ends once.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

test("a call that the deadline cuts before its first byte is not to be repeated", async (t) => {
  const openai = await fakeOpenAI(t, () => {});
  const { gateway, url } = await startGateway(t, openai.baseUrl);
  const call = post(`${url}/v1/chat/completions`, {});
  await (
    await openai.next()
  ).body;

  const closing = gateway.close();
  const response = await call;

  assert.equal(response.status, 503);
  assert.equal(response.headers.get("x-should-retry"), "false");
  assert.match(await response.text(), /"code":"draining"/);
  await closing;
});

test("an open stream that the deadline cuts ends with an error event", async (t) => {
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
  });
  const { gateway, url } = await startGateway(t, openai.baseUrl);
  const reader = readStream(await post(`${url}/v1/chat/completions`, {}));
  await reader.next();

  const closing = gateway.close();

  assert.match(await reader.rest(), /^data: \{"error":\{.*"code":"draining"\}\}\n\n$/);
  await closing;
});

test("closing twice is closing once, for both callers", async (t) => {
  const openai = await fakeOpenAI(t, () => {});
  const { gateway, url } = await startGateway(t, openai.baseUrl);
  const call = post(`${url}/v1/embeddings`, {});
  await openai.next();

  await Promise.all([gateway.close(), gateway.close()]);

  assert.equal((await call).status, 503);
  await assert.rejects(fetch(`${url}/healthz`));
});

test("a gateway listens once", async (t) => {
  const { gateway, url } = await startGateway(t, "http://127.0.0.1:1/v1");

  await assert.rejects(gateway.listen(), /listens already/);

  assert.equal((await fetch(`${url}/healthz`)).status, 200);
});

test("a declined WebSocket whose client never closes keeps no gateway open", async (t) => {
  const openai = await fakeOpenAI(t, (res) => void res.writeHead(401).end("{}"));
  const policies = { default: { endpoints: ["realtime"] } };
  const { gateway, port } = await startGateway(t, openai.baseUrl, { policies });
  const socket = await openSocket(port);
  socket.write(
    "GET /v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n" +
      "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  assert.match(String((await once(socket, "data"))[0]), /^HTTP\/1\.1 401 /);
  socket.pause();

  await gateway.close();
});

test("a log that throws ends no process and leaves no client waiting", async (t) => {
  const openai = await fakeOpenAI(t);
  const fail = (): never => {
    throw new Error("the log is full");
  };
  const log = { debug: fail, info: fail, warn: fail, error: fail };
  const { url } = await startGateway(t, openai.baseUrl, {}, { log });

  const response = await post(`${url}/v1/embeddings`, {});

  assert.equal(response.status, 200);
});
