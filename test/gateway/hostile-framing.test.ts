// Bodies and connections that try to end somewhere else than they say: request smuggling, floods of
// what no one counts, bodies that break off, and requests hidden behind others.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import {
  CLIENT_SECRET,
  attacks,
  checkAnswer,
  checkArrival,
  toRequest,
  type Attack,
} from "../helpers/attack.ts";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { openSocket, sendRaw } from "../helpers/raw-client.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const POST = "POST /v1/chat/completions HTTP/1.1";
const ARRIVES = ["POST /v1/chat/completions"];
const SMUGGLED = `GET /v1/organization/users HTTP/1.1\r\nHost: x\r\nX: ${CLIENT_SECRET}\r\n\r\n`;

/** Headers with a framing, and the bytes behind them. */
function framed(
  name: string,
  fields: readonly string[],
  body: string,
  status: Attack["status"],
  arrives?: readonly string[],
): Attack {
  return { name, bytes: toRequest(POST, fields) + body, status, ...(arrives && { arrives }) };
}

const CHUNKED = ["Transfer-Encoding: chunked"];

attacks("a body ends in one place", [
  framed("length and chunked", ["Content-Length: 5", ...CHUNKED], `0\r\n\r\n${SMUGGLED}`, 400),
  framed("chunked and length", [...CHUNKED, "Content-Length: 200"], `0\r\n\r\n${SMUGGLED}`, 400),
  framed(
    "chunked and a length of nothing",
    [...CHUNKED, "Content-Length: 0"],
    `2\r\n{}\r\n0\r\n\r\n`,
    400,
  ),
  framed("gzip, then chunked", ["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n", 501),
  framed(
    "gzip and chunked on two lines",
    ["Transfer-Encoding: gzip", ...CHUNKED],
    "0\r\n\r\n",
    501,
  ),
  framed("chunked twice", ["Transfer-Encoding: chunked, chunked"], "0\r\n\r\n", 400),
  framed("chunked on two lines", [...CHUNKED, ...CHUNKED], "0\r\n\r\n", 400),
  framed("chunked, then identity", ["Transfer-Encoding: chunked, identity"], "0\r\n\r\n", 400),
  framed("identity", ["Transfer-Encoding: identity"], "{}", 400),
  framed("xchunked", ["Transfer-Encoding: xchunked"], "0\r\n\r\n", 400),
  framed("gzip alone", ["Transfer-Encoding: gzip"], "{}", 400),
  framed("an empty coding", ["Transfer-Encoding:"], "", [400, 501]),
  framed("chunked in quotes", ['Transfer-Encoding: "chunked"'], "0\r\n\r\n", 400),
  framed("chunked behind a comma", ["Transfer-Encoding: ,chunked"], "0\r\n\r\n", 501),
  framed("chunked with a parameter", ["Transfer-Encoding: chunked;q=1"], "0\r\n\r\n", 400),
  framed("chunked behind a vertical tab", ["Transfer-Encoding: \x0bchunked"], "0\r\n\r\n", 400),
  framed(
    "chunked in capitals",
    ["Transfer-Encoding: CHUNKED"],
    "2\r\n{}\r\n0\r\n\r\n",
    200,
    ARRIVES,
  ),
  framed("a length with a sign", ["Content-Length: +2"], "{}", 400),
  framed("a negative length", ["Content-Length: -2"], "{}", 400),
  framed("a hexadecimal length", ["Content-Length: 0x2"], "{}", 400),
  framed("a length with a fraction", ["Content-Length: 2.0"], "{}", 400),
  framed("a length with a space inside", ["Content-Length: 2 2"], "{}", 400),
  framed("a length beyond 64 bits", ["Content-Length: 18446744073709551618"], "{}", 400),
  framed("a length over the limit", ["Content-Length: 9007199254740993"], "{}", 413),
  framed("an empty length", ["Content-Length:"], "{}", 400),
  framed("a length with leading zeros", ["Content-Length: 002"], "{}", 200, ARRIVES),
  {
    name: "a GET with a body",
    bytes: toRequest("GET /v1/models HTTP/1.1", [], SMUGGLED),
    status: 400,
  },
  {
    name: "a GET with a chunked body",
    bytes: `${toRequest("GET /v1/models HTTP/1.1", CHUNKED)}0\r\n\r\n`,
    status: 400,
  },
  {
    name: "a HEAD with a body",
    bytes: toRequest("HEAD /v1/models HTTP/1.1", [], SMUGGLED),
    status: 400,
  },
  {
    name: "a GET with a length of nothing",
    bytes: toRequest("GET /v1/models HTTP/1.1", ["Content-Length: 0"]),
    status: 200,
    arrives: ["GET /v1/models"],
  },
  { name: "a POST without a body", bytes: toRequest(POST), status: 200, arrives: ARRIVES },
  {
    name: "HTTP/1.0 with a chunked body",
    bytes: `${toRequest("POST /v1/embeddings HTTP/1.0", CHUNKED)}0\r\n\r\n`,
    status: 200,
    arrives: ["POST /v1/embeddings"],
  },
]);

attacks("chunks are chunks", [
  framed("a size of no digits", CHUNKED, "xyz\r\n{}\r\n0\r\n\r\n", 400, ARRIVES),
  framed("a negative size", CHUNKED, "-1\r\n{}\r\n0\r\n\r\n", 400, ARRIVES),
  framed("a size with 0x", CHUNKED, "0x2\r\n{}\r\n0\r\n\r\n", 400, ARRIVES),
  framed("a size beyond 64 bits", CHUNKED, "fffffffffffffffff\r\n{}\r\n0\r\n\r\n", 400, ARRIVES),
  framed("a size before a space", CHUNKED, "2 \r\n{}\r\n0\r\n\r\n", 400, ARRIVES),
  framed("a size ended by LF", CHUNKED, "2\n{}\r\n0\r\n\r\n", 400, ARRIVES),
  framed("data longer than its size", CHUNKED, "2\r\n{}{}\r\n0\r\n\r\n", 400, ARRIVES),
  framed("data without its line end", CHUNKED, "2\r\n{}0\r\n\r\n", 400, ARRIVES),
  framed("a last chunk of many zeros", CHUNKED, "2\r\n{}\r\n0000000000\r\n\r\n", 200, ARRIVES),
  framed("a small extension", CHUNKED, '2;a=b;c="d"\r\n{}\r\n0\r\n\r\n', 200, ARRIVES),
  framed(
    "a flood of extensions in one chunk",
    CHUNKED,
    `2;${"a".repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
    413,
    ARRIVES,
  ),
  framed(
    "a flood of extensions over many chunks",
    CHUNKED,
    `1;${"a".repeat(1_000)}\r\n \r\n`.repeat(50) + "0\r\n\r\n",
    200,
    ARRIVES,
  ),
  framed("an extension with a line end of its own", CHUNKED, "2;a=\n{}\r\n0\r\n\r\n", 400, ARRIVES),
  framed(
    "trailers",
    CHUNKED,
    `2\r\n{}\r\n0\r\nAuthorization: ${CLIENT_SECRET}\r\nX-A: b\r\n\r\n`,
    200,
    ARRIVES,
  ),
  framed(
    "a flood of trailers",
    CHUNKED,
    `2\r\n{}\r\n0\r\n${"X-A: b\r\n".repeat(5_000)}\r\n`,
    431,
    ARRIVES,
  ),
  framed("a trailer that is malformed", CHUNKED, "2\r\n{}\r\n0\r\nX A\r\n\r\n", 400, ARRIVES),
]);

attacks("what comes behind a request is another request, or the end", [
  {
    name: "a second request behind a body longer than its length",
    bytes: toRequest(POST, ["Content-Length: 2", "Connection: keep-alive"]) + `{}${SMUGGLED}`,
    status: 200,
    arrives: ARRIVES,
  },
  {
    name: "two sound requests",
    bytes:
      toRequest("GET /v1/models HTTP/1.1", ["Connection: keep-alive"]) +
      toRequest("GET /v1/models/a HTTP/1.1"),
    status: 200,
    arrives: ["GET /v1/models", "GET /v1/models/a"],
  },
  {
    name: "a second request after Connection: close",
    bytes: toRequest("GET /v1/models HTTP/1.1") + toRequest("GET /v1/models/a HTTP/1.1"),
    status: [200, 0],
    arrives: ["GET /v1/models"],
  },
  {
    name: "garbage behind a sound request that is still open",
    bytes: `${toRequest("GET /v1/models HTTP/1.1", ["Connection: keep-alive"])}\0\0\0\r\n\r\n`,
    status: 0,
    arrives: ["GET /v1/models"],
  },
  {
    name: "garbage behind an answered request",
    bytes: `${toRequest("GET / HTTP/1.1", ["Connection: keep-alive"])}\0\0\0\r\n\r\n`,
    status: 200,
  },
  {
    name: "a poisoned length behind a sound request",
    bytes:
      toRequest("GET /v1/models HTTP/1.1", ["Connection: keep-alive"]) +
      toRequest(POST, ["Content-Length: 5", ...CHUNKED]),
    status: 0,
    arrives: ["GET /v1/models"],
  },
  {
    name: "a request behind a refused one",
    bytes:
      toRequest("GET /v1/%2e%2e/x HTTP/1.1", ["Connection: keep-alive"]) +
      toRequest("GET /v1/models HTTP/1.1"),
    status: 400,
    arrives: ["GET /v1/models"],
  },
  {
    name: "a request behind a malformed one",
    bytes:
      toRequest("GET /v1/ models HTTP/1.1", ["Connection: keep-alive"]) +
      toRequest("GET /v1/models HTTP/1.1"),
    status: 400,
  },
  {
    name: "a request in the body of a refused one",
    bytes: toRequest(
      "POST /v1/organization/users HTTP/1.1",
      ["Connection: keep-alive"],
      toRequest("GET /v1/models HTTP/1.1"),
    ),
    status: 403,
  },
  {
    name: "line ends before a request",
    bytes: `\r\n\r\n\r\n${toRequest("GET /v1/models HTTP/1.1")}`,
    status: 200,
    arrives: ["GET /v1/models"],
  },
]);

test("thirty requests on one connection are answered in their order", async (t) => {
  const openai = await fakeOpenAI(t, async (res, { url }) => {
    await new Promise((resolve) => setImmediate(resolve));
    res.end(`<${url}>`);
  });
  const { port } = await startGateway(t, openai.baseUrl);
  const paths = Array.from({ length: 30 }, (_, index) => `/v1/models/m${index}`);

  const answer = await sendRaw(
    port,
    paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`).join(""),
  );

  assert.deepEqual(
    answer.text.match(/<[^>]+>/g),
    paths.map((path) => `<${path}>`),
  );
});

test("a WebSocket's handshake behind an open call does not mix their answers", async (t) => {
  const openai = await fakeOpenAI(t, () => {});
  const { port, url } = await startGateway(t, openai.baseUrl, {
    policies: { default: { endpoints: ["*"] } },
  });
  const handshake = toRequest("GET /v1/realtime HTTP/1.1", [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  ]);
  const first = toRequest("GET /v1/models HTTP/1.1", ["Connection: keep-alive"]);

  const socket = await openSocket(port);
  let answer = "";
  socket.on("data", (chunk: Buffer) => (answer += String(chunk)));
  socket.write(first);
  const arrival = await openai.next();
  socket.write(handshake);
  await once(socket, "close");

  assert.equal(answer, "");
  assert.equal(openai.arrivals.length, 1);
  await arrival.closed;
  assert.equal((await fetch(url)).status, 200);
});

for (const framing of ["content-length: 10", "transfer-encoding: chunked"]) {
  test(`a body that breaks off does not look whole to OpenAI (${framing})`, async (t) => {
    const openai = await fakeOpenAI(t, () => {});
    const { port } = await startGateway(t, openai.baseUrl);
    const socket = await openSocket(port);

    socket.write(
      `POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n${framing}\r\n\r\n${framing.includes("chunked") ? "3\r\nabc\r\n" : "abc"}`,
    );
    const arrival = await openai.next();
    await arrival.received(3);
    socket.destroy();

    await assert.rejects(arrival.body);
    await arrival.closed;
  });
}

test("a body that is half sent is asked for no longer once its chunk is malformed", async (t) => {
  const openai = await fakeOpenAI(t, () => {});
  const { port } = await startGateway(t, openai.baseUrl);

  const answer = await sendRaw(port, toRequest(POST, CHUNKED) + "2\r\n{}\r\nnonsense\r\n");

  assert.equal(answer.status, 400);
  checkAnswer(answer);
  const arrival = await openai.next();
  checkArrival(arrival);
  await assert.rejects(arrival.body);
});
