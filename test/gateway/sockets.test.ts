// WebSockets live the same life: checked, joined to OpenAI's, counted, cut.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { test, type TestContext } from "node:test";
import { deadUrl, portOf } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { openSocket, parseAnswer, sendRaw } from "../helpers/raw-client.ts";
import { recordingStore } from "../helpers/recorder.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";

const settings = { policies: { default: { endpoints: ["realtime"] } } };
const HANDSHAKE = [
  "host: gateway",
  "connection: Upgrade",
  "upgrade: websocket",
  "sec-websocket-version: 13",
  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-protocol: realtime, openai-insecure-api-key.of-the-client",
  "authorization: Bearer of-the-client",
  "origin: https://app.example.com",
  "cookie: a=1",
];
const ACCEPTED =
  "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n" +
  "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: realtime\r\n" +
  "set-cookie: a=1\r\nopenai-organization: org-secret\r\n\r\n";

function handshake(target: string, lines = HANDSHAKE): string {
  return `GET ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
}

/** An OpenAI that agrees to every handshake and leaves the socket to the test. */
async function fakeRealtime(t: TestContext) {
  const server = createServer((_, res) => {
    res
      .writeHead(404, { "content-type": "application/json" })
      .end('{"error":{"code":"model_not_found"}}');
  });
  const joined = new Promise<{ req: IncomingMessage; socket: Duplex }>((resolve) => {
    server.on("upgrade", (req, socket) => {
      socket.on("error", () => {}).on("end", () => socket.end());
      socket.write(`${ACCEPTED}hello`);
      resolve({ req, socket });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
    void joined.then(({ socket }) => socket.destroy());
  });
  return { baseUrl: `http://127.0.0.1:${portOf(server)}/v1`, joined, server };
}

test("a WebSocket is joined to OpenAI's with the server's key, bytes pass both ways", async (t) => {
  const openai = await fakeRealtime(t);
  const { port, reported } = await startGateway(t, openai.baseUrl, settings);
  const client = await openSocket(port);

  client.write(`${handshake("/v1/realtime?model=gpt-realtime")}early`);
  const { req, socket } = await openai.joined;
  assert.equal(String((await once(socket, "data"))[0]), "early");
  let text = "";
  client.on("data", (chunk) => (text += String(chunk)));
  socket.write(" client");
  while (!text.endsWith("hello client")) await once(client, "data");
  client.end(" and bye");

  assert.equal(String((await once(socket, "data"))[0]), " and bye");
  assert.equal(req.url, "/v1/realtime?model=gpt-realtime");
  assert.equal(req.headers.authorization, `Bearer ${API_KEY}`);
  assert.equal(req.headers["sec-websocket-protocol"], "realtime");
  assert.deepEqual([req.headers.cookie, req.headers.origin], [undefined, undefined]);
  const answer = parseAnswer(text);
  assert.equal(answer.status, 101);
  assert.equal(answer.headers["sec-websocket-protocol"], "realtime");
  assert.equal(answer.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  assert.deepEqual(
    [answer.headers["set-cookie"], answer.headers["openai-organization"]],
    [undefined, undefined],
  );
  socket.end();
  const line = await reported();
  assert.deepEqual(
    [line["route"], line["status"], line["requestBytes"], line["responseBytes"], line["error"]],
    ["WEBSOCKET /realtime", 101, 13, 12, undefined],
  );
});

test("either side that leaves closes the other", async (t) => {
  for (const leaver of ["client", "openai"] as const) {
    const openai = await fakeRealtime(t);
    const { port } = await startGateway(t, openai.baseUrl, settings);
    const client = await openSocket(port);
    client.write(handshake("/v1/realtime"));
    const { socket } = await openai.joined;
    await once(client, "data");

    const other = leaver === "client" ? socket : client;
    const closed = once(other.resume(), "close");
    (leaver === "client" ? client : socket).destroy();

    await closed;
  }
});

test("OpenAI's refusal of a handshake reaches the client", async (t) => {
  const openai = await fakeRealtime(t);
  openai.server.removeAllListeners("upgrade");
  const { port } = await startGateway(t, openai.baseUrl, settings);

  const answer = await sendRaw(port, handshake("/v1/realtime?model=none"));

  assert.equal(answer.status, 404);
  assert.equal(answer.body, '{"error":{"code":"model_not_found"}}');
});

test("a socket is refused by the policy, the origin and the path, before OpenAI hears of it", async (t) => {
  const openai = await fakeRealtime(t);
  openai.server.on("upgrade", () => assert.fail("reached OpenAI"));
  const closed = await startGateway(t, openai.baseUrl);
  const picky = await startGateway(t, openai.baseUrl, {
    ...settings,
    cors: { origins: ["https://a.example"] },
  });
  const open = await startGateway(t, openai.baseUrl, settings);

  const answers = [
    await sendRaw(closed.port, handshake("/v1/realtime")),
    await sendRaw(picky.port, handshake("/v1/realtime")),
    await sendRaw(open.port, handshake("/v1/threads")),
    await sendRaw(open.port, handshake("/healthz")),
    await sendRaw(open.port, handshake("//realtime")),
    await sendRaw(
      open.port,
      handshake(
        "/v1/realtime",
        HANDSHAKE.filter((line) => !/-key:/.test(line)),
      ),
    ),
    await sendRaw(open.port, "GET /v1/realtime HTTP/1.1\r\nhost: x\r\n\r\n"),
  ];

  assert.deepEqual(
    answers.map(({ status, body }) => [status, JSON.parse(body).error.code]),
    [
      [403, "endpoint_not_allowed"],
      [403, "origin_not_allowed"],
      [405, "method_not_allowed"],
      [400, "invalid_request"],
      [400, "invalid_request"],
      [400, "invalid_request"],
      [426, "upgrade_required"],
    ],
  );
});

test("an OpenAI that cannot be reached is a 500 before the handshake", async (t) => {
  const { port } = await startGateway(t, await deadUrl(), settings);

  const answer = await sendRaw(port, handshake("/v1/realtime"));

  assert.equal(answer.status, 500);
  assert.equal(JSON.parse(answer.body).error.code, "upstream_unreachable");
});

test("closing the gateway waits for open sockets, then cuts them", async (t) => {
  const clock = new ManualClock();
  const openai = await fakeRealtime(t);
  const { gateway, port, reported } = await startGateway(
    t,
    openai.baseUrl,
    { ...settings, server: { drainSeconds: 5 } },
    { clock },
  );
  const client = await openSocket(port);
  client.write(handshake("/v1/realtime"));
  const { socket } = await openai.joined;
  await once(client, "data");
  const closed = Promise.all([once(client.resume(), "close"), once(socket.resume(), "close")]);

  const closing = gateway.close();
  clock.advance(4_999);
  assert.equal(client.destroyed, false);
  clock.advance(1);

  await Promise.all([closing, closed]);
  assert.equal((await reported())["error"], "draining");
});

test("a client that resets its socket at any moment does no harm", async (t) => {
  const openai = await fakeRealtime(t);
  const { port, url } = await startGateway(t, openai.baseUrl, settings);

  for (let count = 0; count < 20; count++) {
    const client = await openSocket(port);
    client.write(handshake("/v1/realtime"));
    if (count % 2 === 0) await once(client, "data");
    client.resetAndDestroy();
  }

  assert.equal((await fetch(`${url}/healthz`)).status, 200);
});

test("an open WebSocket counts as a request at a time, and its end makes room", async (t) => {
  const openai = await fakeRealtime(t);
  const { record, store } = recordingStore();
  const policies = {
    default: { endpoints: ["realtime"], concurrentRequests: 1, requestsPerMinute: 100 },
  };
  const { port, reported } = await startGateway(t, openai.baseUrl, { policies }, { store });
  const first = await openSocket(port);
  first.write(handshake("/v1/realtime?model=gpt-realtime"));
  const opened = parseAnswer(String((await once(first, "data"))[0]));

  const refused = await sendRaw(port, handshake("/v1/realtime?model=gpt-realtime"));

  assert.equal(opened.status, 101);
  assert.equal(opened.headers["x-ratelimit-remaining-requests"], "99");
  assert.equal(refused.status, 429);
  assert.equal(refused.headers["retry-after-ms"], "1000");
  await reported();
  first.destroy();
  await reported();
  assert.equal(store.open, 0);
  const [entry] = record.entries;
  assert.equal(entry?.route, "WEBSOCKET /realtime");
  assert.equal(entry.status, 101);
  assert.equal(entry.costMicroUsd, 0);
});

test("a handshake that OpenAI refuses makes room, too", async (t) => {
  const openai = await fakeRealtime(t);
  openai.server.removeAllListeners("upgrade");
  const { store } = recordingStore();
  const policies = { default: { endpoints: ["realtime"], concurrentRequests: 1 } };
  const { port, reported } = await startGateway(t, openai.baseUrl, { policies }, { store });

  for (let call = 0; call < 3; call++) {
    const answer = await sendRaw(port, handshake("/v1/realtime?model=gpt-realtime"));
    assert.equal(answer.status, 404);
    await reported();
  }

  assert.equal(store.open, 0);
});

test("how long a conversation lasts is not the gateway's time", async (t) => {
  const openai = await fakeRealtime(t);
  const clock = new ManualClock();
  const { port, reported } = await startGateway(t, openai.baseUrl, settings, { clock });
  const client = await openSocket(port);
  client.write(handshake("/v1/realtime?model=gpt-realtime"));
  const { socket } = await openai.joined;
  await once(client, "data");

  clock.advance(5_000);
  socket.destroy();

  const { durationMs, firstByteMs, gatewayMs } = await reported();
  assert.deepEqual([durationMs, firstByteMs, gatewayMs], [5_000, 0, 0]);
  client.destroy();
});
