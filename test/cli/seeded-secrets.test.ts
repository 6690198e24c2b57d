// Distinctive secrets go in everywhere; none comes out of the process, whatever happens to the call.
import assert from "node:assert/strict";
import { test } from "node:test";
import { completes, deadUrl, fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { sendRaw } from "../helpers/raw-client.ts";
import { startCli } from "../helpers/run-cli.ts";

// Of no known shape: only what the program knows of them, or does not print, can keep them in.
const SERVER_KEY = "Seeded.Server.0a1b2c3d4e5f";
const CLIENT = {
  authorization: "Seeded.Bearer.1a2b3c4d5e6f",
  apiKey: "Seeded.ApiKey.2a3b4c5d6e7f",
  cookie: "Seeded.Cookie.3a4b5c6d7e8f",
  query: "Seeded.Query.4a5b6c7d8e9f",
  subprotocol: "Seeded.Protocol.5a6b7c8d9e0f",
  body: "Seeded.Content.6a7b8c9d0e1f",
};

const CREDENTIALS =
  `authorization: Bearer ${CLIENT.authorization}\r\napi-key: ${CLIENT.apiKey}\r\n` +
  `x-api-key: ${CLIENT.apiKey}\r\ncookie: session=${CLIENT.cookie}\r\n`;
const BODY = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"${CLIENT.body}"}]}`;

function request(line: string, fields = "", body = ""): string {
  const [method, path] = line.split(" ");
  const length =
    body === "" ? "" : `content-type: application/json\r\ncontent-length: ${body.length}\r\n`;
  return (
    `${method} ${path}?api_key=${CLIENT.query} HTTP/1.1\r\nhost: localhost\r\n` +
    `${CREDENTIALS}${fields}${length}` +
    `connection: ${fields.startsWith("upgrade:") ? "upgrade" : "close"}\r\n\r\n${body}`
  );
}

const HANDSHAKE =
  "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
  `sec-websocket-protocol: realtime, openai-insecure-api-key.${CLIENT.subprotocol}\r\n`;

/** What is sent, and the status that shows that the case is the one that is meant. */
const CALLS: readonly (readonly [what: string, bytes: string, status: number])[] = [
  ["a good call", request("POST /v1/chat/completions", "", BODY), 200],
  ["one that OpenAI refuses", request("POST /v1/embeddings", "", BODY), 401],
  ["one that OpenAI breaks off", request("POST /v1/completions", "", BODY), 500],
  ["an endpoint that is not open", request("GET /v1/files"), 403],
  ["an unknown path", request("GET /v1/nothing"), 404],
  ["no API at all", request("GET /nothing"), 404],
  ["a wrong method", request("DELETE /v1/chat/completions"), 405],
  [
    "two credentials",
    request("POST /v1/chat/completions", `authorization: ${CLIENT.authorization}\r\n`, BODY),
    400,
  ],
  ["a malformed header", request("GET /v1/models", `x y: ${CLIENT.apiKey}\r\n`), 400],
  ["headers without end", request("GET /v1/models", `x: ${CLIENT.apiKey.repeat(2_000)}\r\n`), 431],
  [
    "a coding that we do not know",
    request("POST /v1/chat/completions", "transfer-encoding: gzip, chunked\r\n"),
    501,
  ],
  ["a WebSocket that OpenAI answers plainly", request("GET /v1/responses", HANDSHAKE), 200],
  ["a WebSocket to nothing", request("GET /v1/nothing", HANDSHAKE), 404],
  ["a probe", request("GET /readyz"), 200],
  [
    "a preflight",
    request("OPTIONS /v1/chat/completions", "origin: https://app.example.com\r\n"),
    204,
  ],
];

const play: Script = async (res, arrival) => {
  await arrival.body;
  if (arrival.url.startsWith("/v1/completions")) res.destroy();
  else if (arrival.url.startsWith("/v1/embeddings")) {
    const headers = { "content-type": "application/json", "set-cookie": `a=${SERVER_KEY}` };
    res
      .writeHead(401, { ...headers, "openai-organization": SERVER_KEY })
      .end('{"error":{"message":"No."}}');
  } else await completes(res, arrival);
};

function assertFree(text: string, secrets: readonly string[], where: string): void {
  for (const secret of secrets) assert.ok(!text.includes(secret), `${where} holds ${secret}`);
}

test("no output of the process and no byte to a client holds a secret", async (t) => {
  const openai = await fakeOpenAI(t, play);
  const allowed = "chat,completions,embeddings,realtime";
  const env = { OPENAI_API_KEY: SERVER_KEY, LOG_LEVEL: "debug", ALLOWED_ENDPOINTS: allowed };
  const good = await startCli(t, { env: { ...env, OPENAI_BASE_URL: openai.baseUrl } });
  const cut = await startCli(t, { env: { ...env, OPENAI_BASE_URL: await deadUrl() } });

  const answers = await Promise.all(
    CALLS.map(async ([what, bytes, status]) => ({
      what,
      status,
      answer: await sendRaw(good.port, bytes),
    })),
  );
  const unreachable = await sendRaw(cut.port, request("POST /v1/chat/completions", "", BODY));
  for (const cli of [good, cut]) cli.stop("SIGTERM");
  const outputs = await Promise.all([good.ended, cut.ended]);

  for (const { what, status, answer } of answers) {
    assert.equal(answer.status, status, `${what}: ${answer.text}`);
    assertFree(answer.text, [SERVER_KEY], `the answer to ${what}`);
  }
  assert.equal(unreachable.status, 500);
  assertFree(unreachable.text, [SERVER_KEY], "the answer of a gateway without OpenAI");
  assert.ok(good.lines().filter(({ message }) => message === "request").length >= CALLS.length - 2);
  for (const { stdout, stderr } of outputs) {
    assertFree(stdout + stderr, [SERVER_KEY, ...Object.values(CLIENT)], "the output");
  }
  const arrived = openai.arrivals
    .map(({ url, rawHeaders }) => `${url} ${rawHeaders.join(" ")}`)
    .join("\n");
  assert.ok(arrived.includes(`Bearer ${SERVER_KEY}`));
  const { authorization, apiKey, cookie, subprotocol } = CLIENT;
  assertFree(arrived, [authorization, apiKey, cookie, subprotocol], "what OpenAI got");
});
