// Rule 1: a body that no rule reads streams to OpenAI as it arrives, byte for byte.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { test } from "node:test";
import { setTimeout as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { fakeOpenAI, portOf } from "../helpers/fake-openai.ts";
import { openSocket, sendRaw } from "../helpers/raw-client.ts";
import { post } from "../helpers/read-stream.ts";
import { startGateway, TRANSPORT } from "../helpers/start-gateway.ts";

for (const framing of ["content-length: 20", "transfer-encoding: chunked"]) {
  test(`half a body has arrived at OpenAI while the client waits with the rest (${framing})`, async (t) => {
    const openai = await fakeOpenAI(t);
    const { port } = await startGateway(t, openai.baseUrl);
    const socket = await openSocket(port);
    const frame = (text: string): string =>
      framing.endsWith("chunked") ? `${text.length.toString(16)}\r\n${text}\r\n` : text;

    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n${framing}\r\n\r\n${frame('{"half":"1')}`,
    );
    const arrival = await openai.next();
    assert.equal(String(await arrival.received(10)), '{"half":"1');
    socket.write(frame('","all":2}') + (framing.endsWith("chunked") ? "0\r\n\r\n" : ""));

    assert.equal(String(await arrival.body), '{"half":"1","all":2}');
    assert.match(String(await once(socket, "data")), /^HTTP\/1.1 200 /);
    socket.destroy();
  });
}

test("malformed JSON, unknown parameters, long integers and every byte value arrive as sent", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl);
  const bodies = [
    '{ "zeta" : 12345678901234567890, "model":"m" , "model":"n", "unknown":[1.0e+2] }',
    '{"broken": ',
    Buffer.from(Array.from({ length: 256 }, (_, index) => index)),
  ];

  for (const body of bodies) {
    await post(`${url}/v1/chat/completions`, undefined, { body });
    assert.deepEqual(await (await openai.next()).body, Buffer.from(body));
  }
});

test("multipart and SDP go up with their own content type, and DELETE may carry a body", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl, {
    policies: { default: { endpoints: ["*"] } },
  });
  const form =
    '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n\0\xff\r\n--b--\r\n';

  await post(`${url}/v1/audio/transcriptions`, undefined, {
    body: Buffer.from(form, "latin1"),
    headers: { "content-type": "multipart/form-data; boundary=b" },
  });
  await post(`${url}/v1/realtime/calls`, undefined, {
    body: "v=0\r\n",
    headers: { "content-type": "application/sdp" },
  });
  await fetch(`${url}/v1/files/file-1?x=%20a+b`, { method: "DELETE", body: "{}" });

  const [upload, call, removal] = [await openai.next(), await openai.next(), await openai.next()];
  assert.equal(upload.headers["content-type"], "multipart/form-data; boundary=b");
  assert.equal((await upload.body).toString("latin1"), form);
  assert.equal(call.headers["content-type"], "application/sdp");
  assert.equal(String(await call.body), "v=0\r\n");
  assert.equal(`${removal.method} ${removal.url}`, "DELETE /v1/files/file-1?x=%20a+b");
  assert.equal(String(await removal.body), "{}");
});

test("only the headers that OpenAI needs go up", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl);

  await post(
    `${url}/v1/chat/completions`,
    {},
    {
      headers: {
        "openai-beta": "assistants=v2",
        "openai-organization": "org-of-the-client",
        "openai-project": "proj_of_the_client",
        "x-stainless-lang": "js",
        "idempotency-key": "once",
        "x-client-request-id": "mine",
        "user-agent": "app/1",
        "api-key": "client-key",
        cookie: "session=1",
        "x-forwarded-for": "1.2.3.4",
        origin: "https://app.example.com",
        referer: "https://app.example.com/",
        "x-other": "1",
      },
    },
  );

  const { rawHeaders } = await openai.next();
  const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  const fetchs = TRANSPORT === "fetch" ? ["accept-language", "sec-fetch-mode"] : [];
  assert.deepEqual(
    names.toSorted(),
    [
      ...fetchs,
      "accept",
      "accept-encoding",
      "authorization",
      "connection",
      "content-length",
      "content-type",
      "host",
      "idempotency-key",
      "openai-beta",
      "user-agent",
      "x-client-request-id",
      "x-stainless-lang",
    ].toSorted(),
  );
});

test("an announced body over the limit is refused before it is read, and never reaches OpenAI", async (t) => {
  const openai = await fakeOpenAI(t);
  const { port } = await startGateway(t, openai.baseUrl, { server: { maxBodyBytes: 1000 } });

  const answer = await sendRaw(
    port,
    "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n",
  );

  assert.equal(answer.status, 413);
  assert.equal(JSON.parse(answer.body).error.code, "request_too_large");
  assert.equal(openai.arrivals.length, 0);
});

test("a chunked body is refused as soon as it passes the limit", async (t) => {
  const openai = await fakeOpenAI(t, async (res, arrival) => {
    await arrival.body;
    res.end();
  });
  const { port, reported } = await startGateway(t, openai.baseUrl, {
    server: { maxBodyBytes: 1000 },
  });
  const chunk = `258\r\n${"x".repeat(600)}\r\n`;
  const socket = await openSocket(port);

  socket.write(
    "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunk,
  );
  const arrival = await openai.next();
  await arrival.received(600);
  socket.write(chunk);
  const [answer] = await once(socket, "data");

  assert.match(String(answer), /^HTTP\/1.1 413 [^]*"code":"request_too_large"/);
  assert.equal((await reported())["error"], "request_too_large");
  await arrival.closed;
  socket.destroy();
});

test("a client that asks for leave is refused without being invited to send", async (t) => {
  const openai = await fakeOpenAI(t);
  const { port } = await startGateway(t, openai.baseUrl);
  const expecting = "host: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";

  const refused = await sendRaw(port, `POST /v1/files HTTP/1.1\r\n${expecting}`);
  const invited = await openSocket(port);
  invited.write(`POST /v1/embeddings HTTP/1.1\r\n${expecting}`);
  const [invitation] = await once(invited, "data");
  invited.write("{}");
  const [answer] = await once(invited, "data");

  assert.equal(refused.status, 403);
  assert.equal(String(invitation), "HTTP/1.1 100 Continue\r\n\r\n");
  assert.match(String(answer), /^HTTP\/1.1 200 /);
  invited.destroy();
});

test("an answer that comes before the body is sent reaches the client, whose connection then ends", async (t) => {
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(401, { "content-type": "application/json" }).end('{"error":{}}');
  });
  const { url } = await startGateway(t, openai.baseUrl);
  const call = request(`${url}/v1/audio/transcriptions`, {
    method: "POST",
    headers: { "content-length": 50_000_000 },
  });
  call.on("error", () => {});

  call.write("x".repeat(1000));
  const [response] = await once(call, "response");

  assert.equal(response.statusCode, 401);
  call.destroy();
});

test("a body that was read before the gateway saw it is a clear error", async (t) => {
  const openai = await fakeOpenAI(t);
  const { gateway } = await startGateway(t, openai.baseUrl);
  const server = createServer((req, res) => {
    req.resume().on("end", () => gateway.handle(req, res));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());

  const response = await post(`http://127.0.0.1:${portOf(server)}/v1/embeddings`, {});

  assert.equal(response.status, 500);
  assert.match(await response.text(), /mount the gateway before body parsers/);
});

test("an upload passes through memory and does not stay there", async (t) => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const server = createServer((req, res) => req.resume().on("end", () => res.end("{}")));
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => server.close());
  const { url } = await startGateway(t, `http://127.0.0.1:${portOf(server)}/v1`);
  const call = request(`${url}/v1/embeddings`, { method: "POST" });
  const piece = Buffer.alloc(1024 * 1024);
  collect();
  const before = process.memoryUsage().arrayBuffers;

  for (let count = 0; count < 48; count++) {
    if (!call.write(piece)) await once(call, "drain");
  }
  for (let count = 0; count < 10; count++, collect()) await turn(10);
  const kept = process.memoryUsage().arrayBuffers - before;
  call.end();
  const [response] = await once(call, "response");
  await once(response.resume(), "end");

  assert.equal(response.statusCode, 200);
  assert.ok(kept < 16 * piece.length, `${kept} bytes are still there`);
});

test("what is not read for a rule takes no room of what is held for rules", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl, {
    server: { drainSeconds: 0, maxHeldBytes: 300 },
  });

  const response = await post(`${url}/v1/chat/completions`, { model: "m", input: "x".repeat(400) });

  assert.equal(response.status, 200);
});
