// Rule 3: replies pass through untouched, chunk by chunk.
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const EVENTS = { "content-type": "text/event-stream; charset=utf-8" };

test("the headers of a stream reach the client before its first event exists", async (t) => {
  let upstream: ServerResponse | undefined;
  const openai = await fakeOpenAI(t, (res) => {
    upstream = res.writeHead(200, EVENTS);
    res.flushHeaders();
  });
  const { url } = await startGateway(t, openai.baseUrl);

  const response = await post(`${url}/v1/chat/completions`, { stream: true });

  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), EVENTS["content-type"]);
  assert.equal(response.headers.get("x-accel-buffering"), "no");
  upstream?.end("data: [DONE]\n\n");
  assert.equal(await readStream(response).rest(), "data: [DONE]\n\n");
});

test("each event reaches the client before the next one is sent", async (t) => {
  const events = ["one", "two", "three", "[DONE]"].map((text) => `data: ${text}\n\n`);
  let proceed = (): void => {};
  const openai = await fakeOpenAI(t, async (res) => {
    res.writeHead(200, EVENTS);
    for (const event of events) {
      res.write(event);
      await new Promise<void>((resolve) => (proceed = resolve));
    }
    res.end();
  });
  const { url } = await startGateway(t, openai.baseUrl);
  const reader = readStream(await post(`${url}/v1/responses`, { stream: true }));

  for (const event of events) {
    assert.equal(await reader.next(), event);
    proceed();
  }

  assert.equal(await reader.next(), undefined);
});

test("a stream's bytes pass untouched: comments, CRLF, broken UTF-8, unknown events", async (t) => {
  const bytes = Buffer.concat([
    Buffer.from(
      ': ping\r\n\r\nevent: new.kind\r\nid: 7\r\ndata: {"a":1}\r\ndata: x\r\n\r\nretry: 5\n\ndata:é',
    ),
    Buffer.from([0xff, 0xfe, 0x00, 0x0a, 0x0a]),
  ]);
  const openai = await fakeOpenAI(t, async (res) => {
    res.writeHead(200, EVENTS);
    for (const byte of bytes)
      await new Promise((resolve) => res.write(Buffer.from([byte]), resolve));
    res.end();
  });
  const { url } = await startGateway(t, openai.baseUrl);

  const response = await post(`${url}/v1/chat/completions`, { stream: true });

  assert.deepEqual(Buffer.from(await response.arrayBuffer()), bytes);
});

test("a client that reads slowly slows OpenAI down instead of filling the gateway", async (t) => {
  const chunk = Buffer.alloc(256 * 1024, 120);
  let sentBytes = 0;
  let stopped = (): void => {};
  const full = new Promise<void>((resolve) => (stopped = resolve));
  const openai = await fakeOpenAI(t, async (res) => {
    res.setMaxListeners(0).writeHead(200, { "content-type": "application/octet-stream" });
    for (; sentBytes < 128 * 1024 * 1024; sentBytes += chunk.length) {
      if (res.write(chunk)) continue;
      const timer = setTimeout(stopped, 500);
      await new Promise((resolve) => res.once("drain", resolve).once("close", resolve));
      clearTimeout(timer);
      if (res.destroyed) return;
    }
  });
  const { port } = await startGateway(t, openai.baseUrl);
  const socket = await openSocket(port);

  socket.pause();
  socket.write("GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n");
  await full;

  assert.ok(sentBytes < 32 * 1024 * 1024, `${sentBytes} bytes were taken from OpenAI`);
  socket.destroy();
});

test("an answer of OpenAI's passes with its status, headers and body, errors too", async (t) => {
  const body =
    '{"error":{"message":"Slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}';
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(429, {
      "content-type": "application/json",
      "retry-after": "7",
      "x-ratelimit-reset-requests": "1m30.5s",
      "x-request-id": "req_1",
      "openai-processing-ms": "12",
      "openai-organization": "org-secret",
      "openai-project": "proj_secret",
      "set-cookie": "__cf_bm=1",
      "cf-ray": "9",
      "strict-transport-security": "max-age=1; includeSubDomains",
    });
    res.end(body);
  });
  const { url } = await startGateway(t, openai.baseUrl);

  const response = await post(`${url}/v1/chat/completions`, {});

  assert.equal(response.status, 429);
  assert.equal(await response.text(), body);
  const expected = {
    "retry-after": "7",
    "x-ratelimit-reset-requests": "1m30.5s",
    "x-request-id": "req_1",
    "openai-processing-ms": "12",
  };
  for (const [name, value] of Object.entries(expected))
    assert.equal(response.headers.get(name), value);
  for (const name of [
    "openai-organization",
    "openai-project",
    "set-cookie",
    "cf-ray",
    "strict-transport-security",
  ]) {
    assert.equal(response.headers.get(name), null, name);
  }
  assert.match(response.headers.get("x-gateway-request-id") ?? "", /^gw_[0-9a-f]{32}$/);
  assert.match(
    response.headers.get("server-timing") ?? "",
    /^gateway;dur=[\d.]+, upstream;dur=[\d.]+$/,
  );
});

test("binary answers, empty answers and HEAD pass", async (t) => {
  const audio = Buffer.from(Array.from({ length: 1024 }, (_, index) => index % 256));
  const openai = await fakeOpenAI(t, (res, { method, url }) => {
    if (url === "/v1/audio/speech") res.writeHead(200, { "content-type": "audio/mpeg" }).end(audio);
    else if (method === "HEAD") res.writeHead(200, { "content-length": "42" }).end();
    else res.writeHead(204).end();
  });
  const { url } = await startGateway(t, openai.baseUrl);

  const speech = await post(`${url}/v1/audio/speech`, {});
  const empty = await post(`${url}/v1/moderations`, {});
  const head = await fetch(`${url}/v1/models`, { method: "HEAD" });

  assert.deepEqual(Buffer.from(await speech.arrayBuffer()), audio);
  assert.deepEqual([empty.status, await empty.text()], [204, ""]);
  assert.deepEqual([head.status, head.headers.get("content-length")], [200, "42"]);
});
