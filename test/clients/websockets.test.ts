// The SDK's WebSocket client through the gateway: Express with a mount path in front, frames of all
// kinds in between.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { test, type TestContext } from "node:test";
import express from "express";
import { ResponsesWS } from "openai/resources/responses/ws";
import { WebSocket, WebSocketServer } from "ws";
import { createGateway } from "../../src/gateway.ts";
import { portOf } from "../helpers/fake-openai.ts";
import { inFrontOf, runGateway, UPSTREAM_KEY } from "./gateway-process.ts";
import { createClient, EVERY_BYTE } from "./sdk-calls.ts";

const bounded = { timeout: 20_000 };

test("responses over a WebSocket work with the official SDK", bounded, async (t) => {
  const openai = await fakeSockets(t);
  const env = { ...inFrontOf(openai.baseUrl), ALLOWED_ENDPOINTS: "realtime" };
  const { origin } = await runGateway(t, { env });

  for (const path of ["/v1", "/api/openai/v1"]) {
    const socket = new ResponsesWS(createClient(origin + path));
    t.after(() => socket.close());
    const events: { readonly type: string }[] = [];
    const completed = new Promise<void>((resolve, reject) => {
      socket.on("error", reject);
      socket.on("event", (event) => {
        events.push(event);
        if (event.type === "response.completed") resolve();
      });
    });
    socket.send({ type: "response.create", model: "gpt-5", input: "Hi" });
    await completed;

    assert.deepEqual(
      events.map(({ type }) => type),
      ["response.created", "response.completed"],
    );
  }
  assert.deepEqual(
    openai.handshakes.map(({ url }) => url),
    ["/v1/responses", "/v1/responses"],
  );
  assert.equal(openai.handshakes[0]?.headers.authorization, `Bearer ${UPSTREAM_KEY}`);
});

test(
  "a socket through a mount path of the embedder's server carries bytes both ways",
  bounded,
  async (t) => {
    const openai = await fakeSockets(t);
    const gateway = createGateway({
      upstreams: [{ baseUrl: openai.baseUrl, apiKey: "sk-none" }],
      policies: { default: { endpoints: ["realtime"] } },
      log: { level: "silent" },
      server: { drainSeconds: 0 },
    });
    t.after(() => gateway.close());
    const server = createServer(express().use("/ai", gateway.handle));
    server.on("upgrade", (req, socket, head) => {
      // Express takes the mount path off for requests only.
      req.url = (req.url ?? "").replace(/^\/ai(?=\/)/, "");
      gateway.upgrade(req, socket, head);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => void server.close());

    const url = `ws://127.0.0.1:${portOf(server)}/ai/v1/realtime?model=gpt-realtime`;
    const socket = new WebSocket(url, ["realtime", "openai-insecure-api-key.the-callers-own"]);
    await once(socket, "open");
    socket.send(EVERY_BYTE);
    const [echo, isBinary] = await once(socket, "message");
    socket.close(4_000, "done");
    const [code, reason] = await once(socket, "close");

    assert.deepEqual(echo, EVERY_BYTE);
    assert.equal(isBinary, true);
    assert.equal(socket.protocol, "realtime");
    assert.deepEqual([code, String(reason)], [4_000, "done"]);
    const [handshake] = openai.handshakes;
    assert.equal(handshake?.url, "/v1/realtime?model=gpt-realtime");
    assert.equal(handshake?.headers["sec-websocket-protocol"], "realtime");
  },
);

/** Echoes binary messages; answers a text as `responses` would. */
async function fakeSockets(t: TestContext) {
  const handshakes: IncomingMessage[] = [];
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, handshake) => {
    handshakes.push(handshake);
    socket.on("message", (message, isBinary) => {
      if (isBinary) return void socket.send(message);
      const response = { id: "resp_1", output: [] };
      socket.send(JSON.stringify({ type: "response.created", sequence_number: 0, response }));
      socket.send(JSON.stringify({ type: "response.completed", sequence_number: 1, response }));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets.clients) socket.terminate();
    server.close();
  });
  return { baseUrl: `http://127.0.0.1:${portOf(server)}/v1`, handshakes };
}
