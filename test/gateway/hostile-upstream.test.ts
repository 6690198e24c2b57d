// An upstream that breaks every rule: the client gets its answer faithfully, or an error of ours, or
// a connection that breaks; never silence, never another's bytes, never the end of the process.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { checkAnswer } from "../helpers/attack.ts";
import { fakeOpenAI, portOf } from "../helpers/fake-openai.ts";
import { sendRaw, type RawAnswer } from "../helpers/raw-client.ts";
import { post } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

type Play = (socket: Socket, head: string) => void;

/** Plays raw bytes to every request but that of `/models`, which is answered soundly. */
async function rawUpstream(
  t: TestContext,
  play: Play,
): Promise<{ baseUrl: string; connections: Socket[] }> {
  const connections: Socket[] = [];
  const server = createServer((socket) => {
    connections.push(socket);
    socket.on("error", () => {});
    let head = "";
    socket.on("data", (chunk: Buffer) => {
      head += chunk.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      if (head.includes(" /v1/models "))
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nsound");
      else play(socket, head);
      head = "";
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    connections.forEach((socket) => socket.destroy());
    server.close();
  });
  return { baseUrl: `http://127.0.0.1:${portOf(server)}/v1`, connections };
}

interface Reply {
  readonly name: string;
  /** Default a POST with a body. */
  readonly request?: string;
  /** Written as it stands. */
  readonly bytes: string | Buffer;
  /** Whether the upstream closes then. Default it does. */
  readonly stays?: boolean;
  readonly status: number | readonly number[];
  /** With chunk framing taken away; default not looked at. */
  readonly body?: string | Buffer;
  /** Headers that the client must see, or must not. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Whether the connection breaks under the answer. */
  readonly broken?: boolean;
}

const GET = "GET /v1/models/a HTTP/1.1\r\nhost: x\r\n\r\n";
const POST = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";

function replies(subject: string, cases: readonly Reply[]): void {
  describe(subject, { concurrency: 16 }, () => {
    for (const each of cases) test(each.name, { timeout: 20_000 }, (t) => check(t, each));
  });
}

async function check(
  t: TestContext,
  { request = POST, bytes, stays = false, status, body, headers, broken }: Reply,
): Promise<void> {
  const upstream = await rawUpstream(t, (socket) => {
    socket.write(bytes);
    if (!stays) socket.end();
  });
  const { port, url } = await startGateway(t, upstream.baseUrl);

  const answer = await sendRaw(port, request);
  const afterwards = await fetch(`${url}/v1/models`);

  assert.ok(
    [status].flat().includes(answer.status),
    `${answer.status}: ${answer.text.slice(0, 400)}`,
  );
  if (answer.status === 500 && answer.headers["x-should-retry"] !== undefined) checkAnswer(answer);
  if (body !== undefined) assert.deepEqual(contentOf(answer), Buffer.from(body));
  for (const [name, value] of Object.entries(headers ?? {}))
    assert.equal(answer.headers[name], value, name);
  assert.equal(isWhole(answer), broken !== true, answer.text.slice(-200));
  assert.equal(await afterwards.text(), "sound");
}

/** The body without the framing of its chunks. */
function contentOf({ headers, body }: RawAnswer): Buffer {
  if (headers["transfer-encoding"] !== "chunked") return Buffer.from(body, "latin1");
  let content = "";
  for (let rest = body; rest !== "";) {
    const end = rest.indexOf("\r\n");
    const size = Number.parseInt(rest.slice(0, end), 16);
    if (!(size > 0)) break;
    content += rest.slice(end + 2, end + 2 + size);
    rest = rest.slice(end + 4 + size);
  }
  return Buffer.from(content, "latin1");
}

/** Whether a client would take the answer for complete. */
function isWhole({ status, headers, body }: RawAnswer): boolean {
  if (status === 0) return false;
  if (status === 204 || status === 304) return body === "";
  if (headers["transfer-encoding"] === "chunked") return body.endsWith("0\r\n\r\n");
  return body.length === Number(headers["content-length"]);
}

function reply(headers: readonly string[], body = "{}", line = "HTTP/1.1 200 OK"): string {
  return `${[line, ...headers, `content-length: ${body.length}`].join("\r\n")}\r\n\r\n${body}`;
}

replies("a reply's headers are OpenAI's and the client's business, no one else's", [
  {
    name: "the operator's identity and cookies",
    bytes: reply([
      "set-cookie: a=1",
      "set-cookie: b=2",
      "openai-organization: org-1",
      "OpenAI-Project: proj_1",
      "cf-ray: 1",
      "CF-Cache-Status: x",
      "server: cloudflare",
      "alt-svc: h3",
    ]),
    status: 200,
    body: "{}",
    headers: {
      "set-cookie": undefined,
      "openai-organization": undefined,
      "openai-project": undefined,
      "cf-ray": undefined,
      "cf-cache-status": undefined,
      server: undefined,
      "alt-svc": undefined,
    },
  },
  {
    name: "CORS of its own",
    bytes: reply([
      "access-control-allow-origin: https://evil.example",
      "access-control-allow-credentials: true",
      "access-control-expose-headers: x",
      "access-control-allow-private-network: true",
      "access-control-max-age: 1",
    ]),
    status: 200,
    headers: {
      "access-control-allow-origin": "*",
      "access-control-allow-credentials": undefined,
      "access-control-allow-private-network": undefined,
      "access-control-max-age": undefined,
    },
  },
  {
    name: "hop-by-hop fields, fixed and named",
    bytes: reply([
      "Connection: x-secret, keep-alive",
      "x-secret: 1",
      "Keep-Alive: timeout=1",
      "Proxy-Authenticate: Basic",
      "Upgrade: h2c",
      "TE: x",
      "Trailer: x",
      "Proxy-Connection: y",
      "x-public: 1",
    ]),
    status: 200,
    headers: {
      "x-secret": undefined,
      "proxy-authenticate": undefined,
      upgrade: undefined,
      te: undefined,
      trailer: undefined,
      "proxy-connection": undefined,
      "x-public": "1",
    },
  },
  {
    name: "hop-by-hop fields named in the second of two Connection fields",
    bytes: reply(["connection: keep-alive", "connection: x-hop", "x-hop: 1"]),
    status: 200,
    headers: { "x-hop": undefined },
  },
  {
    name: "a field given twice",
    bytes: reply(["link: <a>", "x-a: 1", "link: <b>"]),
    status: 200,
    headers: { link: "<a>, <b>", "x-a": "1" },
  },
  {
    name: "the content type named in Connection",
    bytes: reply(["Connection: content-type", "content-type: text/plain"]),
    status: 200,
    body: "{}",
    headers: { "content-type": undefined },
  },
  {
    name: "latin1 in a value",
    bytes: Buffer.from(reply(["x-a: caf\xe9"]), "latin1"),
    status: 200,
    headers: { "x-a": "caf\xe9" },
  },
  {
    name: "a control in a value",
    bytes: reply(["x-a: a\x01b", "x-b: c"]),
    status: [200, 500],
    headers: { "x-a": undefined },
  },
  { name: "a NUL in a value", bytes: reply(["x-a: a\0b"]), status: 500 },
  { name: "a bare CR in a value", bytes: reply(["x-a: a\rSet-Cookie: x"]), status: 500 },
  { name: "a space before the colon", bytes: reply(["x-a : b"]), status: [200, 500] },
  {
    name: "names of Object.prototype",
    bytes: reply(["__proto__: a", "constructor: b", "toString: c"]),
    status: 200,
    headers: { constructor: "b" },
  },
  {
    name: "an id of its own for the call",
    bytes: reply(["x-request-id: req_1"]),
    status: 200,
    headers: { "x-request-id": "req_1" },
  },
  {
    name: "one value of 10 000 bytes",
    bytes: reply([`x-a: ${"b".repeat(10_000)}`]),
    status: 200,
    headers: { "x-a": "b".repeat(10_000) },
  },
  {
    name: "headers of 200 000 bytes",
    bytes: reply(Array.from({ length: 200 }, (_, index) => `x-${index}: ${"b".repeat(1_000)}`)),
    status: 500,
  },
  {
    name: "a redirect to another host",
    request: GET,
    bytes: reply(["location: http://evil.invalid/v1"], "moved", "HTTP/1.1 302 Found"),
    status: 302,
    body: "moved",
    headers: { location: "http://evil.invalid/v1" },
  },
  {
    name: "a redirect that keeps the method",
    request: GET,
    bytes: reply(["location: //evil.invalid/v1"], "", "HTTP/1.1 308 Permanent Redirect"),
    status: 308,
    headers: { location: "//evil.invalid/v1" },
  },
  {
    name: "a redirect to nowhere",
    request: GET,
    bytes: reply(["location: http://[/"], "", "HTTP/1.1 301 Moved"),
    status: 301,
  },
]);

replies("a status passes as it came, its text does not", [
  {
    name: "a text of control characters",
    bytes: reply([], "{}", "HTTP/1.1 200 \x01\x02"),
    status: [200, 500],
  },
  {
    name: "a text in latin1",
    bytes: Buffer.from(reply([], "{}", "HTTP/1.1 200 caf\xe9"), "latin1"),
    status: 200,
    body: "{}",
  },
  { name: "no text", bytes: reply([], "{}", "HTTP/1.1 200"), status: 200, body: "{}" },
  {
    name: "a very long text",
    bytes: reply([], "{}", `HTTP/1.1 200 ${"x".repeat(9_000)}`),
    status: 200,
    body: "{}",
  },
  ...[400, 401, 403, 404, 409, 418, 421, 422, 429, 451, 500, 502, 503, 504, 529, 599].map(
    (code) => ({
      name: `status ${code}`,
      bytes: reply(["x-own: 1"], '{"error":"own"}', `HTTP/1.1 ${code} Own`),
      stays: true,
      status: code,
      body: '{"error":"own"}',
    }),
  ),
  // fetch keeps this one, which is between it and a proxy, to itself.
  {
    name: "status 407",
    bytes: reply(["proxy-authenticate: Basic"], "{}", "HTTP/1.1 407 X"),
    status: [407, 500],
    headers: { "proxy-authenticate": undefined },
  },
  { name: "status 999", bytes: reply([], "{}", "HTTP/1.1 999 X"), status: 999, body: "{}" },
  { name: "status 099", bytes: reply([], "{}", "HTTP/1.1 099 X"), status: 500 },
  { name: "status 000", bytes: reply([], "{}", "HTTP/1.1 000 X"), status: 500 },
  { name: "status 1000", bytes: reply([], "{}", "HTTP/1.1 1000 X"), status: 500 },
  { name: "a status of letters", bytes: reply([], "{}", "HTTP/1.1 abc X"), status: 500 },
  {
    name: "204 with a length",
    bytes: "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nabcde",
    status: 204,
    headers: { "content-length": undefined },
  },
  {
    name: "205 with a length and a body",
    bytes: "HTTP/1.1 205 Reset Content\r\ncontent-length: 5\r\n\r\nabcde",
    status: 205,
  },
  {
    name: "304 with a length",
    bytes: "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    status: 304,
  },
  {
    name: "100 before the answer",
    bytes: `HTTP/1.1 100 Continue\r\n\r\n${reply([])}`,
    status: [200, 500],
  },
  {
    name: "102 before the answer",
    bytes: `HTTP/1.1 102 Processing\r\n\r\n${reply([])}`,
    status: 200,
    body: "{}",
  },
  {
    name: "103 before the answer",
    bytes: `HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n${reply([])}`,
    status: 200,
    body: "{}",
    headers: { link: undefined },
  },
  {
    name: "101 that nobody asked for",
    bytes: "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    status: 500,
  },
  { name: "HTTP/1.0", bytes: reply([], "{}", "HTTP/1.0 200 OK"), status: 200, body: "{}" },
  { name: "HTTP/2.0", bytes: reply([], "{}", "HTTP/2.0 200 OK"), status: [200, 500] },
]);

replies("a body is whole, or its end is no success", [
  {
    name: "chunked",
    bytes:
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n",
    status: 200,
    body: "{}",
  },
  {
    name: "up to the end of the connection",
    bytes: "HTTP/1.1 200 OK\r\n\r\n{}",
    status: 200,
    body: "{}",
  },
  {
    name: "longer than its length",
    bytes:
      "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nqueued!",
    stays: true,
    status: 200,
    body: "{}",
  },
  {
    name: "shorter than its length",
    bytes: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}",
    status: 200,
    body: "{}",
    broken: true,
  },
  {
    name: "chunked without an end",
    bytes: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    status: 200,
    body: "{}",
    broken: true,
  },
  {
    name: "chunked, then garbage",
    bytes: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\nzzz\r\n",
    status: [200, 500],
    broken: true,
  },
  {
    name: "a length and chunks",
    bytes:
      "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    status: 500,
  },
  {
    name: "two lengths",
    bytes: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 9\r\n\r\n{}",
    status: 500,
  },
  {
    name: "a length of letters",
    bytes: "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}",
    status: 500,
  },
  { name: "no reply at all", bytes: "", status: 500 },
  { name: "half a status line", bytes: "HTTP/1.1 20", status: 500 },
  { name: "half the headers", bytes: "HTTP/1.1 200 OK\r\ncontent-le", status: 500 },
  { name: "another protocol", bytes: "SSH-2.0-OpenSSH_9.9\r\n", status: 500 },
  { name: "garbage", bytes: Buffer.from([0, 255, 254, 13, 10, 13, 10]), status: 500 },
  { name: "a frame of HTTP/2", bytes: Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), status: 500 },
  { name: "an endless status line", bytes: `HTTP/1.1 200 ${"x".repeat(200_000)}`, status: 500 },
]);

function coded(coding: string, body: Buffer): Buffer {
  const head = `HTTP/1.1 200 OK\r\ncontent-encoding: ${coding}\r\ncontent-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

const PLAIN = "an ordinary answer, long enough to be worth it ".repeat(20);

function undone(coding: string, body: Buffer) {
  return {
    bytes: coded(coding, body),
    status: 200,
    body: PLAIN,
    headers: { "content-encoding": undefined },
  };
}

replies("a content coding that nobody asked for is undone or named", [
  { name: "gzip", ...undone("gzip", gzipSync(PLAIN)) },
  { name: "gzip in capitals", ...undone("GZIP", gzipSync(PLAIN)) },
  { name: "x-gzip", ...undone("x-gzip", gzipSync(PLAIN)) },
  { name: "br", ...undone("br", brotliCompressSync(PLAIN)) },
  { name: "deflate", ...undone("deflate", deflateSync(PLAIN)) },
  { name: "gzip twice", ...undone("gzip, gzip", gzipSync(gzipSync(PLAIN))) },
  {
    name: "one that nobody knows",
    bytes: coded("compress", Buffer.from("raw")),
    status: 200,
    body: "raw",
    headers: { "content-encoding": "compress", "content-length": "3" },
  },
  {
    name: "one that nobody knows over gzip",
    bytes: coded("gzip, own", gzipSync(PLAIN)),
    status: 200,
    body: gzipSync(PLAIN),
    headers: { "content-encoding": "gzip, own" },
  },
  {
    name: "gzip over one that nobody knows",
    bytes: coded("own, gzip", gzipSync(PLAIN)),
    status: 200,
    body: gzipSync(PLAIN),
    headers: { "content-encoding": "own, gzip" },
  },
  { name: "identity", bytes: coded("identity", Buffer.from(PLAIN)), status: 200, body: PLAIN },
  {
    name: "gzip that is no gzip",
    bytes: coded("gzip", Buffer.from("plain")),
    status: 500,
  },
  {
    name: "gzip that breaks off",
    bytes: coded("gzip", gzipSync(PLAIN).subarray(0, 30)),
    status: [200, 500],
  },
  {
    name: "six layers",
    bytes: coded("gzip, gzip, gzip, gzip, gzip, gzip", Buffer.from("x")),
    status: [200, 500],
  },
]);

test("a redirect is handed on, and nobody follows it with the key", async (t) => {
  const evil = await fakeOpenAI(t);
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(307, { location: `${evil.baseUrl}/models` }).end();
  });
  const { url } = await startGateway(t, openai.baseUrl);

  const get = await fetch(`${url}/v1/models`, { redirect: "manual" });
  const upload = await post(`${url}/v1/embeddings`, {}, { redirect: "manual" });

  assert.equal(get.status, 307);
  // fetch may keep it to itself where it cannot send the body again.
  assert.ok(upload.status === 307 || upload.status === 500, String(upload.status));
  assert.equal(get.headers.get("location"), `${evil.baseUrl}/models`);
  assert.equal(evil.arrivals.length, 0);
});

for (const status of [401, 413]) {
  test(`a ${status} that comes while a body is still being sent reaches the client`, async (t) => {
    const body = `{"error":{"message":"no","type":"t","param":null,"code":"${status}"}}`;
    const upstream = await rawUpstream(t, (socket) =>
      socket.end(reply([], body, `HTTP/1.1 ${status} No`)),
    );
    const { port } = await startGateway(t, upstream.baseUrl);

    const answer = await sendRaw(
      port,
      `POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-length: 30000000\r\n\r\n${"x".repeat(100_000)}`,
    );

    assert.equal(answer.status, status);
    assert.ok(answer.text.includes(body));
  });

  test(`a ${status} that comes after a chunked body reaches the client`, async (t) => {
    const openai = await fakeOpenAI(t, async (res, arrival) => {
      await arrival.body;
      res.writeHead(status, { "content-type": "application/json" }).end('{"error":{}}');
    });
    const { port } = await startGateway(t, openai.baseUrl);

    const answer = await sendRaw(
      port,
      "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    );

    assert.equal(answer.status, status);
    assert.ok(answer.text.includes('{"error":{}}'));
  });
}

test("an upstream that resets every connection costs one error each, and no connection stays", async (t) => {
  const upstream = await rawUpstream(t, (socket) => socket.resetAndDestroy());
  const { url } = await startGateway(t, upstream.baseUrl);

  const responses = await Promise.all(
    Array.from({ length: 50 }, () => post(`${url}/v1/embeddings`, {})),
  );

  const bodies = await Promise.all(responses.map((response) => response.text()));
  assert.deepEqual(new Set(responses.map(({ status }) => status)), new Set([500]));
  assert.deepEqual(
    new Set(bodies.map((body) => JSON.parse(body).error.code)),
    new Set(["upstream_reset"]),
  );
  assert.ok(upstream.connections.every((socket) => socket.destroyed));
});

test("two answers to one request do not become the answer to the next", async (t) => {
  const upstream = await rawUpstream(t, (socket) => {
    socket.write(reply([], "first") + reply([], "poison"));
  });
  const { url } = await startGateway(t, upstream.baseUrl);

  const bodies: string[] = [];
  for (let index = 0; index < 5; index++)
    bodies.push(await (await post(`${url}/v1/embeddings`, {})).text());
  const afterwards = await fetch(`${url}/v1/models`);

  assert.deepEqual(
    bodies,
    Array.from({ length: 5 }, () => "first"),
  );
  assert.equal(await afterwards.text(), "sound");
});

const HANDSHAKE =
  "GET /v1/realtime?model=x HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n" +
  "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SOCKET_REPLIES: Readonly<Record<string, readonly [string | Buffer, readonly number[]]>> = {
  "a refusal": [reply(["content-type: text/plain"], "no", "HTTP/1.1 403 Forbidden"), [403]],
  "a refusal that breaks off": ["HTTP/1.1 403 Forbidden\r\ncontent-length: 100\r\n\r\nno", [403]],
  "a refusal with latin1 in its type": [
    Buffer.from(reply(["content-type: caf\xe9"], "no", "HTTP/1.1 403 X"), "latin1"),
    [403],
  ],
  "a success that is no upgrade": [reply([]), [200]],
  "a redirect": [reply(["location: http://evil.invalid/"], "", "HTTP/1.1 302 Found"), [302]],
  "an upgrade to something else": [
    "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    [101, 500],
  ],
  "an upgrade with cookies": [
    "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\nset-cookie: a=1\r\nopenai-organization: org-1\r\n\r\n",
    [101],
  ],
  nothing: ["", [500]],
  garbage: ["\0\0\0\r\n\r\n", [500]],
  "headers of 200 000 bytes": [reply([`x: ${"y".repeat(200_000)}`]), [500]],
};

describe("a WebSocket's handshake gets an answer too", { concurrency: 16 }, () => {
  for (const [name, [bytes, statuses]] of Object.entries(SOCKET_REPLIES)) {
    test(name, { timeout: 20_000 }, async (t) => {
      const upstream = await rawUpstream(t, (socket) => {
        socket.write(bytes);
        socket.end();
      });
      const { port, url } = await startGateway(t, upstream.baseUrl, {
        policies: { default: { endpoints: ["*"] } },
      });

      const answer = await sendRaw(port, HANDSHAKE);
      const afterwards = await fetch(`${url}/v1/models`);

      assert.ok(statuses.includes(answer.status), answer.text);
      assert.doesNotMatch(answer.text, /set-cookie|org-1|sk-test/i);
      assert.equal(await afterwards.text(), "sound");
    });
  }
});
