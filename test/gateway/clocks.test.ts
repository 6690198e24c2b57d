// Rule 5: four clocks. Each names whom the call waited for.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { deafPort } from "../helpers/deaf-port.ts";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const timeouts = { firstByteMs: 600_000, idleMs: 300_000, stallMs: 60_000 };

test("an OpenAI that does not begin to answer is 500 upstream_timeout, not to be retried", async (t) => {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, () => {});
  const { url, reported } = await startGateway(t, openai.baseUrl, { timeouts }, { clock });
  const call = post(`${url}/v1/chat/completions`, {});
  const arrival = await openai.next();
  await arrival.body;

  clock.advance(timeouts.firstByteMs - 1);
  assert.equal(clock.pending, 1);
  clock.advance(1);

  const response = await call;
  assert.equal(response.status, 500);
  assert.equal(response.headers.get("x-should-retry"), "false");
  assert.deepEqual(await response.json(), {
    error: {
      message: "OpenAI did not begin to answer in time.",
      type: "server_error",
      param: null,
      code: "upstream_timeout",
    },
  });
  await arrival.closed;
  assert.equal((await reported())["error"], "upstream_timeout");
});

test("an OpenAI that falls silent inside its answer ends the stream with an error", async (t) => {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" }).write("data: {}\n\n");
  });
  const { url } = await startGateway(t, openai.baseUrl, { timeouts }, { clock });
  const reader = readStream(await post(`${url}/v1/chat/completions`, {}));
  await reader.next();

  clock.advance(timeouts.idleMs);

  assert.match(
    await reader.rest(),
    /^data: \{"error":\{"message":"OpenAI fell silent.*"code":"upstream_timeout"\}\}\n\n$/,
  );
  await (
    await openai.next()
  ).closed;
});

test("pieces that come in time never let the idle clock ring", async (t) => {
  const clock = new ManualClock();
  let write = (_: string): void => {};
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    write = (text) => void res.write(text);
    write("data: 0\n\n");
  });
  const { url } = await startGateway(t, openai.baseUrl, { timeouts }, { clock });
  const reader = readStream(await post(`${url}/v1/chat/completions`, {}));
  await reader.next();

  for (let count = 1; count <= 3; count++) {
    clock.advance(timeouts.idleMs - 1);
    write(`data: ${count}\n\n`);
    assert.equal(await reader.next(), `data: ${count}\n\n`);
  }
});

test("a client that stops sending its body is 408, and OpenAI's clock does not run meanwhile", async (t) => {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, () => {});
  const { port } = await startGateway(
    t,
    openai.baseUrl,
    { timeouts: { ...timeouts, firstByteMs: 1_000 } },
    { clock },
  );
  const socket = await openSocket(port);
  socket.write("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345");
  const arrival = await openai.next();
  await arrival.received(5);

  clock.advance(timeouts.stallMs - 1);
  assert.equal(clock.pending, 1);
  clock.advance(1);

  const [answer] = await once(socket, "data");
  assert.match(String(answer), /^HTTP\/1.1 408 [^]*"code":"request_timeout"/);
  await arrival.closed;
  socket.destroy();
});

test("a client that stops reading its answer is cut, and the call to OpenAI with it", async (t) => {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, async (res) => {
    res.writeHead(200, { "content-type": "application/octet-stream" });
    while (!res.destroyed) if (!res.write(Buffer.alloc(65_536))) await once(res, "drain");
  });
  const { port, reported } = await startGateway(t, openai.baseUrl, { timeouts }, { clock });
  const socket = await openSocket(port);
  socket.pause();
  socket.write("GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n");
  const arrival = await openai.next();

  let gone = false;
  void arrival.closed.then(() => (gone = true));
  // The clock stands still until every buffer on the way is full; from then on it rings.
  for (let rounds = 0; !gone && rounds < 10_000; rounds++) {
    await turn();
    if (rounds % 100 === 99) clock.advance(timeouts.stallMs);
  }

  assert.ok(gone);
  assert.equal((await reported())["error"], "client_stalled");
  socket.destroy();
});

test("an OpenAI that does not accept connections is upstream_unreachable after two tries", async (t) => {
  const port = await deafPort(t);
  const { url, reported } = await startGateway(t, `http://127.0.0.1:${port}/v1`, {
    timeouts: { connectMs: 200 },
  });

  const response = await post(`${url}/v1/chat/completions`, {});

  assert.equal(response.status, 500);
  assert.match(await response.text(), /could not connect to OpenAI \(UND_ERR_CONNECT_TIMEOUT\)/);
  assert.equal((await reported())["attempts"], 2);
});

const HALVES = {
  "a JSON body": ["/chat/completions", "application/json", '{"model":'],
  "a form whose model has not come": [
    "/audio/transcriptions",
    "multipart/form-data; boundary=b",
    "--b\r\nContent-",
  ],
} as const;

for (const [name, [path, type, half]] of Object.entries(HALVES)) {
  const policies = { default: { models: ["m"] } };
  const head = `POST /v1${path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\n`;
  const request = `${head}content-length: 1000\r\n\r\n${half}`;

  test(`${name} that stops while a policy's rules read it is 408`, async (t) => {
    const clock = new ManualClock();
    const openai = await fakeOpenAI(t);
    const settings = { timeouts, policies };
    const { port, reported } = await startGateway(t, openai.baseUrl, settings, { clock });
    const socket = await openSocket(port);
    t.after(() => socket.destroy());
    socket.write(request);
    while (clock.pending === 0) await turn();

    clock.advance(timeouts.stallMs);

    const [answer] = await once(socket, "data");
    assert.match(String(answer), /^HTTP\/1\.1 408 [^]*"code":"request_timeout"/);
    assert.equal((await reported())["error"], "request_timeout");
    assert.equal(openai.arrivals.length, 0);
    socket.destroy();
  });

  test(`${name} that stops does not hold up a shutdown, and gives back what it held`, async (t) => {
    const openai = await fakeOpenAI(t);
    const server = { drainSeconds: 0, maxHeldBytes: 300 };
    const { port, url, gateway, reported } = await startGateway(t, openai.baseUrl, {
      server,
      policies,
    });
    const leaving = await openSocket(port);
    leaving.write(request);
    while ((await get(`${url}/healthz`)) !== 200 || leaving.bytesWritten === 0) await turn();
    leaving.destroy();
    while ((await reported())["error"] !== "client_gone");
    const next = await post(`${url}/v1/chat/completions`, { model: "m" });
    assert.equal(next.status, 200);
    const staying = await openSocket(port);
    t.after(() => staying.destroy());
    staying.write(request);
    await get(`${url}/healthz`);

    const closing = gateway.close();
    const [answer] = await once(staying, "data");
    assert.match(String(answer), /^HTTP\/1\.1 503 [^]*"code":"draining"/);
    staying.destroy();
    await closing;

    assert.equal(openai.arrivals.length, 1);
  });
}

async function get(url: string): Promise<number> {
  return (await fetch(url)).status;
}
