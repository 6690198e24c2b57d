// The mock as a server: keys, bad input, headers and closing.

import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { test } from "node:test";
import { startMock } from "../../src/mock/server.ts";
import { assertRefused, openMock } from "./support.ts";

const chat = { model: "m", messages: [{ role: "user", content: "hello" }] };

test("listens on loopback only, under /v1", async (t) => {
  const mock = await openMock(t);

  assert.match(mock.baseUrl, /^http:\/\/127\.0\.0\.1:\d+\/v1$/);
});

test("rejects when its port is taken", async (t) => {
  const mock = await openMock(t);

  await assert.rejects(startMock({ port: Number(new URL(mock.baseUrl).port) }), /EADDRINUSE/);
});

test("accepts only its key where it has one", async (t) => {
  const mock = await openMock(t, { apiKey: "sk-mock" });
  const refused = { type: "invalid_request_error", code: "invalid_api_key" };

  const good = await mock.get("/models", { authorization: "Bearer sk-mock" });

  assert.equal(good.status, 200);
  await assertRefused(await mock.get("/models"), 401, refused);
  await assertRefused(await mock.get("/models", { authorization: "Bearer no" }), 401, refused);
});

test("answers with OpenAI's headers, even to an error", async (t) => {
  const mock = await openMock(t);
  for (const path of ["/models", "/nowhere"]) {
    const { headers } = await mock.get(path);

    assert.match(headers.get("x-request-id") ?? "", /^req_\d{32}$/);
    assert.equal(headers.get("openai-version"), "2020-10-01");
    assert.equal(headers.get("openai-organization"), "org-mock");
    assert.equal(headers.get("openai-processing-ms"), "0");
    const limits = [...headers.keys()].filter((name) => name.startsWith("x-ratelimit-"));
    assert.equal(limits.length, 6);
  }
});

test("knows no other paths and no other methods", async (t) => {
  const mock = await openMock(t);

  await assertRefused(await mock.post("/files", {}), 404, { code: "unknown_url" });
  await assertRefused(await mock.get("/../constructor"), 404, { code: "unknown_url" });
  await assertRefused(await mock.get("/chat/completions"), 405, { code: "method_not_supported" });
  await assertRefused(await mock.post("/models", {}), 405, { code: "method_not_supported" });
});

test("answers an upgrade as any other request: there is no WebSocket here", async (t) => {
  const mock = await openMock(t);
  const headers = { connection: "upgrade", upgrade: "websocket" };
  const call = request(`${mock.baseUrl}/realtime?model=m`, { headers, agent: false });

  call.end();
  const [reply]: IncomingMessage[] = await once(call, "response");

  assert.equal(reply?.resume().statusCode, 404);
});

test("ignores the query", async (t) => {
  const mock = await openMock(t);

  assert.equal((await mock.post("/chat/completions?beta=true", chat)).status, 200);
});

test("refuses what is not a JSON object, or no form", async (t) => {
  const mock = await openMock(t);
  const form = { "content-type": "multipart/form-data; boundary=x" };
  for (const body of ["", "{", "[]", "null", "7", "\u0000", "[".repeat(100_000)]) {
    await assertRefused(await mock.post("/chat/completions", body), 400, {
      type: "invalid_request_error",
    });
  }
  await assertRefused(await mock.post("/images/edits", "--y", form), 400, {
    type: "invalid_request_error",
  });
});

test("survives members of the wrong type", async (t) => {
  const mock = await openMock(t);
  const odd = { stream_options: 7, tools: {}, tool_choice: [], response_format: "x", text: 1 };
  const replies = await Promise.all([
    mock.post("/chat/completions", { ...chat, ...odd }),
    mock.post("/chat/completions", { model: "m", messages: [null, 1, { role: "user" }] }),
    mock.post("/responses", { model: "m", input: 5, ...odd }),
    mock.post("/completions", { model: "m", prompt: {} }),
    mock.post("/moderations", { input: [1, null] }),
  ]);

  assert.deepEqual(
    replies.map(({ status }) => status),
    [200, 200, 200, 200, 200],
  );
});

test("stays up when it is asked to repeat what is nested too deep", async (t) => {
  const mock = await openMock(t);
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  const fields = `"model":"m","metadata":${deep}`;

  await mock.post("/responses", `{${fields}}`);
  await mock.post("/responses", `{${fields},"stream":true}`).catch(() => {});

  assert.equal((await mock.get("/models")).status, 200);
});

test("refuses a body over 32 MiB after reading it", async (t) => {
  const mock = await openMock(t);
  const body = "x".repeat(32 * 1024 * 1024 + 1);

  await assertRefused(await mock.post("/chat/completions", body), 413, {
    code: "request_too_large",
  });
});

test("closes twice without complaint", async (t) => {
  const mock = await openMock(t);

  await Promise.all([mock.close(), mock.close()]);
  await mock.close();
});

test("is plausibly slow by default", async (t) => {
  const { baseUrl, close } = await startMock();
  t.after(close);
  const startedAt = performance.now();

  const reply = await fetch(`${baseUrl}/models`);

  assert.equal(reply.headers.get("openai-processing-ms"), "150");
  assert(performance.now() - startedAt >= 145);
});
