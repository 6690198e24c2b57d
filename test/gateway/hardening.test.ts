// Clients that dawdle, leave at any moment, or never close: the gateway answers in OpenAI's shape
// where it can, keeps nothing open for them, and goes on.
import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, createServer, request, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import type { GatewayError } from "../../src/errors.ts";
import { createHttpServer, listen } from "../../src/http/server.ts";
import { checkAnswer } from "../helpers/attack.ts";
import { fakeOpenAI, portOf, type Script } from "../helpers/fake-openai.ts";
import { openSocket, parseAnswer, sendRaw } from "../helpers/raw-client.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const POST = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n";
const HANDSHAKE =
  "GET /v1/realtime?model=x HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n" +
  "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const EVERYTHING = { policies: { default: { endpoints: ["*"] } } };

interface Listening {
  readonly server: Server;
  readonly port: number;
  readonly refused: GatewayError[];
}

/** The listening side alone: requests are answered "ok" when their body is here. */
async function startServer(
  t: TestContext,
  settings: Readonly<Record<string, number>> = {},
): Promise<Listening> {
  const upstreams = [{ apiKey: "sk-test" }];
  const { server: config } = parseConfig({ upstreams, server: { port: 0, ...settings } });
  const refused: GatewayError[] = [];
  const server = createHttpServer(config, {
    request: (req, res) => void req.resume().on("end", () => res.end("ok")),
    upgrade: (_, socket) => void socket.destroy(),
    refused: (error) => refused.push(error),
  });
  const { port } = await listen(server, config);
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, port, refused };
}

/** A client that does not close when the other side does. */
async function openStubborn(
  t: TestContext,
  port: number,
  { paused = false }: { readonly paused?: boolean } = {},
): Promise<{ socket: Socket; received: () => string }> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {});
  t.after(() => socket.destroy());
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  if (paused) socket.pause();
  await once(socket, "connect");
  return { socket, received: () => text };
}

async function connectionsOf(server: Server): Promise<number> {
  return await new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
}

/** Waits for the last connection to be gone, on the server's side. */
async function emptied(server: Server): Promise<void> {
  while ((await connectionsOf(server)) > 0) await new Promise((resolve) => setTimeout(resolve, 10));
}

const MALFORMED: Readonly<Record<string, readonly [string, number, string]>> = {
  "no HTTP": ["nonsense\r\n\r\n", 400, "invalid_request"],
  "a bad header": ["GET / HTTP/1.1\r\nhost x\r\n\r\n", 400, "invalid_request"],
  "too many bytes of headers": [
    `GET / HTTP/1.1\r\nx: ${"y".repeat(20_000)}\r\n\r\n`,
    431,
    "headers_too_large",
  ],
  "a bad chunk": [`${POST}transfer-encoding: chunked\r\n\r\nxyz\r\n`, 400, "invalid_request"],
  "too many bytes of chunk extensions": [
    `${POST}transfer-encoding: chunked\r\n\r\n1;${"x".repeat(20_000)}\r\n`,
    413,
    "request_too_large",
  ],
};

for (const [name, [bytes, status, code]] of Object.entries(MALFORMED)) {
  test(`what the parser refuses is answered in OpenAI's envelope: ${name}`, async (t) => {
    const { port, refused } = await startServer(t);

    const answer = await sendRaw(port, bytes);

    assert.equal(answer.status, status);
    assert.equal(JSON.parse(answer.body).error.code, code);
    assert.equal(answer.headers["connection"], "close");
    checkAnswer(answer);
    assert.deepEqual(
      refused.map((error) => error.code),
      [code],
    );
  });
}

const SLOW: Readonly<Record<string, string>> = {
  "says nothing": "",
  "sends half a line": "POST /v1/emb",
  "sends half its headers": POST,
};

describe("slow clients", { concurrency: 8 }, () => {
  for (const [name, bytes] of Object.entries(SLOW)) {
    test(
      `a client that ${name} gets 408 and loses its connection`,
      { timeout: 20_000 },
      async (t) => {
        const { server, port } = await startServer(t);
        server.headersTimeout = 200;
        const { socket, received } = await openStubborn(t, port);

        socket.write(bytes);
        await once(socket, "end");

        const answer = parseAnswer(received());
        assert.equal(answer.status, 408);
        assert.equal(JSON.parse(answer.body).error.code, "request_timeout");
        await emptied(server);
      },
    );
  }

  test("a client that drips its headers is cut all the same", { timeout: 20_000 }, async (t) => {
    const { server, port } = await startServer(t);
    server.headersTimeout = 200;
    const socket = await openSocket(port);
    socket.write("GET / HTTP/1.1\r\nhost: x\r\n");

    const drip = setInterval(() => socket.write("a: b\r\n"), 20);
    t.after(() => clearInterval(drip));
    await new Promise((resolve) => socket.once("close", resolve));

    await emptied(server);
  });

  test(
    "a body that takes longer than a request may take is answered 408",
    { timeout: 20_000 },
    async (t) => {
      const { server, port } = await startServer(t);
      server.requestTimeout = 200;
      server.headersTimeout = 200;
      const { socket, received } = await openStubborn(t, port);

      socket.write(`${POST}content-length: 100\r\n\r\n{`);
      await once(socket, "end");

      assert.equal(parseAnswer(received()).status, 408);
      await emptied(server);
    },
  );

  test(
    "an error reaches a client that is still sending, instead of a reset",
    { timeout: 20_000 },
    async (t) => {
      const { server, port } = await startServer(t);
      // Paused from the start, so that the answer waits in the kernel, where a reset would wipe it.
      const { socket, received } = await openStubborn(t, port, { paused: true });

      for (let index = 0; index < 20; index++) {
        socket.write(`GET / HTTP/1.1\r\nx: ${"y".repeat(20_000)}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      socket.resume();
      await new Promise((resolve) => socket.once("close", resolve).once("end", resolve));

      assert.equal(parseAnswer(received()).status, 431);
      await emptied(server);
    },
  );
});

const NEVER_CLOSED: Readonly<Record<string, string>> = {
  "a malformed request": "nonsense\r\n\r\n",
  "a malformed handshake": HANDSHAKE.replace("13", "8"),
  "a handshake on a page": HANDSHAKE.replace("/v1/realtime?model=x", "/"),
  "a handshake that is not allowed": HANDSHAKE.replace("/v1/realtime", "/v1/organization"),
};

describe("stubborn clients", { concurrency: 8 }, () => {
  for (const [name, bytes] of Object.entries(NEVER_CLOSED)) {
    test(
      `a client that never closes after ${name} keeps nothing open`,
      { timeout: 20_000 },
      async (t) => {
        const openai = await fakeOpenAI(t);
        const { gateway, port } = await startGateway(t, openai.baseUrl, EVERYTHING);
        const { socket, received } = await openStubborn(t, port);

        socket.write(bytes);
        await once(socket, "end");
        await gateway.close();

        assert.ok(parseAnswer(received()).status >= 400);
      },
    );
  }
});

test("a connection beyond the limit is closed and told to the log, and the others go on", async (t) => {
  const { port, refused } = await startServer(t, { maxConnections: 2 });
  const sockets = [await openSocket(port), await openSocket(port)];
  const third = await openSocket(port);

  await once(third, "close");
  sockets[0]?.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  const [answer] = await once(sockets[0] as Socket, "data");

  assert.deepEqual(
    refused.map(({ code }) => code),
    ["overloaded"],
  );
  assert.match(String(answer), /^HTTP\/1\.1 200 /);
  sockets.forEach((socket) => socket.destroy());
});

test("a place is free again as soon as a connection has gone", async (t) => {
  const { server, port } = await startServer(t, { maxConnections: 1 });
  const first = await openSocket(port);

  first.destroy();
  await emptied(server);
  const answer = await sendRaw(port, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");

  assert.equal(answer.status, 200);
});

test("a thousand calls on one connection leave no listener behind", async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on("warning", onWarning);
  t.after(() => process.off("warning", onWarning));
  const upstream = createServer((_, res) => res.end()).listen(0, "127.0.0.1");
  await once(upstream, "listening");
  t.after(() => upstream.close());
  const { port } = await startGateway(t, `http://127.0.0.1:${portOf(upstream)}/v1`);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const ports = new Set<number | undefined>();

  for (let index = 0; index < 1_000; index++) {
    const call = request({ port, agent, path: "/v1/models" }).end();
    const [response] = await once(call, "response");
    ports.add(response.socket.localPort);
    await once(response.resume(), "end");
  }

  assert.equal(ports.size, 1);
  assert.deepEqual(warnings, []);
});

/** Where a client may be when its connection is reset. */
const STAGES: Readonly<
  Record<string, { readonly bytes: string; readonly script?: Script; readonly reaches: boolean }>
> = {
  "before its headers": { bytes: "", reaches: false },
  "in the middle of its headers": { bytes: "POST /v1/embed", reaches: false },
  "behind its headers": { bytes: `${POST}content-length: 5\r\n\r\n`, reaches: false },
  "in the middle of its body": {
    bytes: `${POST}content-length: 5\r\n\r\n{`,
    script: () => {},
    reaches: true,
  },
  "in the middle of a chunk": {
    bytes: `${POST}transfer-encoding: chunked\r\n\r\n5\r\n{}`,
    script: () => {},
    reaches: true,
  },
  "before its answer": {
    bytes: `${POST}content-length: 2\r\n\r\n{}`,
    script: () => {},
    reaches: true,
  },
  "behind the headers of its answer": {
    bytes: "GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
    script: (res) => void res.flushHeaders(),
    reaches: true,
  },
  "in the middle of its answer": {
    bytes: "GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
    script: (res) => void res.write("half"),
    reaches: true,
  },
  "in the middle of events": {
    bytes: `${POST}content-length: 2\r\n\r\n{}`,
    script: (res) =>
      void res.writeHead(200, { "content-type": "text/event-stream" }).write("data: {}\n\n"),
    reaches: true,
  },
  "behind a handshake": { bytes: HANDSHAKE, reaches: false },
  "in the middle of a handshake": { bytes: HANDSHAKE.slice(0, -20), reaches: false },
};

for (const [stage, { bytes, script, reaches }] of Object.entries(STAGES)) {
  for (const way of ["resets", "ends"] as const) {
    test(
      `a client that ${way} ${stage} leaves no call open upstream`,
      { timeout: 20_000 },
      async (t) => {
        const openai = await fakeOpenAI(t, script);
        const { gateway, port } = await startGateway(t, openai.baseUrl, EVERYTHING);
        const socket = await openSocket(port);

        socket.write(bytes);
        if (reaches) await openai.next();
        if (way === "resets") socket.resetAndDestroy();
        else socket.end();
        await Promise.all(openai.arrivals.map(({ closed }) => closed));

        const answer = await sendRaw(
          port,
          "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        );
        assert.equal(answer.status, 200);
        await gateway.close();
      },
    );
  }
}

test("a hundred sockets that are upgraded and reset at once end nothing", async (t) => {
  const openai = await fakeOpenAI(t);
  const { port } = await startGateway(t, openai.baseUrl, EVERYTHING);

  await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      const socket = await openSocket(port);
      socket.write(index % 2 === 0 ? HANDSHAKE : HANDSHAKE.replace("13", "8"));
      await new Promise((resolve) => setImmediate(resolve));
      socket.resetAndDestroy();
    }),
  );

  const answer = await sendRaw(port, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  assert.equal(answer.status, 200);
});

test(
  "a client that sends its body for ever after an early answer is cut",
  { timeout: 30_000 },
  async (t) => {
    const openai = await fakeOpenAI(t);
    const { port } = await startGateway(t, openai.baseUrl);
    const call = request({
      port,
      method: "POST",
      path: "/v1/files",
      headers: { "content-length": 1e9 },
    });
    call.on("error", () => {});
    call.on("response", (response) => response.resume());

    const drip = setInterval(() => call.write("x".repeat(1_000)), 50);
    t.after(() => clearInterval(drip));
    await new Promise((resolve) => call.once("close", resolve));

    assert.equal(openai.arrivals.length, 0);
  },
);
