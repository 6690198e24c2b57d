// One line per request: everything an operator asks for, nothing that a client said in confidence.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { post } from "../helpers/read-stream.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";

test("the line of a call tells who, what, how much, how long and whose time it was", async (t) => {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    clock.advance(250);
    res.writeHead(200, { "x-request-id": "req_7" }).end("12345");
  });
  const { url, reported } = await startGateway(t, openai.baseUrl, {}, { clock });

  const response = await post(`${url}/v1/chat/completions?beta=true`, { a: 1 });
  await response.text();

  const { id, ...line } = await reported();
  assert.equal(id, response.headers.get("x-gateway-request-id"));
  assert.equal(response.headers.get("server-timing"), "gateway;dur=0.0, upstream;dur=250.0");
  assert.deepEqual(
    Object.fromEntries(Object.entries(line).filter(([, value]) => value !== undefined)),
    {
      level: "info",
      message: "request",
      method: "POST",
      route: "POST /chat/completions",
      status: 200,
      caller: "127.0.0.1",
      policy: "default",
      inputTokens: 3,
      outputTokens: 0,
      costMicroUsd: 0,
      estimated: true,
      requestBytes: 7,
      responseBytes: 5,
      durationMs: 250,
      firstByteMs: 250,
      gatewayMs: 0,
      upstreamMs: 250,
      upstreamRequestId: "req_7",
    },
  );
});

test("a refusal tells the route too, and a path that nobody knows is not repeated as one", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url, reported } = await startGateway(t, openai.baseUrl);

  await fetch(`${url}/v1/files/file-1`);
  await fetch(`${url}/v1/unheard/of`);

  assert.equal((await reported())["route"], "GET /files/{file_id}");
  assert.equal((await reported())["route"], "GET /*");
});

test("the model is in the line as OpenAI's answer names it, not as content pretends", async (t) => {
  const answers = [
    '{"id":"1","object":"chat.completion","model":"gpt-4o-mini-2024-07-18","choices":[]}',
    'data: {"id":"1","model": "gpt-5","choices":[]}\n\n',
    '{"instructions":"say \\"model\\":\\"fake\\"","model":"real"}',
    '{"instructions":"\\"model\\":\\"fake\\""}',
    '{"model":{"x":1}}',
    "",
  ];
  const openai = await fakeOpenAI(t, (res) => void res.end(answers[openai.arrivals.length - 1]));
  const { url, reported } = await startGateway(t, openai.baseUrl);

  const models = [];
  for (const _ of answers) {
    await post(`${url}/v1/chat/completions`, {});
    models.push((await reported())["model"]);
  }

  assert.deepEqual(models, [
    "gpt-4o-mini-2024-07-18",
    "gpt-5",
    "real",
    undefined,
    undefined,
    undefined,
  ]);
});

test("the model is in the line where the path names it", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url, reported } = await startGateway(t, openai.baseUrl);

  await fetch(`${url}/v1/models/gpt-4o-mini`);

  const line = await reported();
  assert.deepEqual([line["route"], line["model"]], ["GET /models/{model}", "gpt-4o-mini"]);
});

test("probes are logged at debug, so that they do not drown the calls", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url, reported } = await startGateway(t, openai.baseUrl);

  const answers = await Promise.all(["/healthz", "/readyz", "/"].map((path) => fetch(url + path)));

  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200],
  );
  assert.equal(await answers[2]?.text(), "Welcome to the OpenAI Reverse Proxy!");
  const lines = [await reported(), await reported(), await reported()];
  const levels = Object.fromEntries(lines.map((line) => [line["route"], line.level]));
  assert.deepEqual(levels, { "GET /healthz": "debug", "GET /readyz": "debug", "GET /": "info" });
});

test("no content, credential or raw path is in any line, however the call ends", async (t) => {
  const openai = await fakeOpenAI(t, (res, { url }) => {
    if (url.includes("embeddings")) res.destroy();
    else res.end("SECRET-answer");
  });
  const { url, log } = await startGateway(t, openai.baseUrl);
  const headers = { authorization: "Bearer SECRET-token", cookie: "SECRET-cookie" };

  for (const path of ["chat/completions", "embeddings", "files", "nowhere/SECRET-path"]) {
    await post(`${url}/v1/${path}?q=SECRET-query`, { text: "SECRET-prompt" }, { headers });
  }

  const text = JSON.stringify(log);
  assert.equal(log.filter(({ message }) => message === "request").length, 4);
  assert.ok(!text.includes(API_KEY) && !/SECRET-(?!path)/.test(text), text);
});

test("calls beyond maxConcurrentRequests are 503 overloaded, and room is made when one ends", async (t) => {
  const openai = await fakeOpenAI(t, () => {});
  const { url, reported } = await startGateway(t, openai.baseUrl, {
    server: { maxConcurrentRequests: 1 },
  });
  const leaving = new AbortController();
  const first = assert.rejects(post(`${url}/v1/embeddings`, {}, { signal: leaving.signal }));
  await openai.next();

  const refused = await post(`${url}/v1/embeddings`, {});
  leaving.abort();
  await reported();
  await reported();
  const admitted = post(`${url}/v1/embeddings`, {}).catch(() => {});

  assert.equal(refused.status, 503);
  assert.equal(refused.headers.get("retry-after"), "1");
  assert.match(await refused.text(), /"code":"overloaded"/);
  await openai.next();
  await first;
  void admitted;
});

test("every error has OpenAI's envelope with all four keys, CORS headers and an id", async (t) => {
  const openai = await fakeOpenAI(t, (res) => void res.destroy());
  const { url } = await startGateway(t, openai.baseUrl);
  const asked = {
    "POST /v1/embeddings": [500, "server_error", "upstream_reset"],
    "GET /nowhere": [404, "invalid_request_error", "unknown_url"],
    "GET /v1/nowhere": [404, "invalid_request_error", "unknown_url"],
    "GET /v1/files": [403, "invalid_request_error", "endpoint_not_allowed"],
    "DELETE /v1/models/x": [403, "invalid_request_error", "endpoint_not_allowed"],
    "PUT /v1/embeddings": [405, "invalid_request_error", "method_not_allowed"],
    "POST /healthz": [405, "invalid_request_error", "method_not_allowed"],
  } as const;

  for (const [request, [status, type, code]] of Object.entries(asked)) {
    const [method = "", path = ""] = request.split(" ");
    const response = await fetch(url + path, {
      method,
      headers: { origin: "https://app.example" },
    });
    const body: unknown = await response.json();

    assert.equal(response.status, status, request);
    const { message } = Object(body).error;
    assert.deepEqual(body, { error: { message, type, param: null, code } });
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    assert.equal(
      response.headers.get("x-request-id"),
      response.headers.get("x-gateway-request-id"),
    );
    if (status === 405) assert.match(response.headers.get("allow") ?? "", /^(POST|GET, HEAD)$/);
  }
});
