// The `openai-mock` header: a caller asks for trouble and gets exactly that.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused, at, openMock, parseEvents } from "./support.ts";

const chat = { model: "m", messages: [{ role: "user", content: "hello" }] };
const stream = { ...chat, stream: true };

const refusals = [
  ["status=400", 400, { type: "invalid_request_error", code: null }],
  ["status=401", 401, { type: "invalid_request_error", code: "invalid_api_key" }],
  ["status=403", 403, { code: "unsupported_country_region_territory" }],
  ["status=404", 404, { type: "invalid_request_error", code: "model_not_found" }],
  ["status=409", 409, { type: "invalid_request_error" }],
  ["status=429", 429, { type: "requests", code: "rate_limit_exceeded" }],
  ["status=500", 500, { type: "server_error", code: null }],
  ["status=503", 503, { type: "server_error", code: "overloaded" }],
  ["status=418; code=teapot", 418, { type: "invalid_request_error", code: "teapot" }],
] as const;

for (const [directive, status, error] of refusals) {
  test(`answers the error of ${directive}`, async (t) => {
    const mock = await openMock(t);

    const reply = await mock.post("/chat/completions", chat, { "openai-mock": directive });

    await assertRefused(reply, status, error);
  });
}

test("says when to come back with 429, unless the money is spent", async (t) => {
  const mock = await openMock(t);
  const ask = (directive: string) => mock.get("/models", { "openai-mock": directive });

  const limited = await ask("status=429");
  const spent = await ask("status=429; code=insufficient_quota");

  assert.equal(limited.headers.get("retry-after"), "1");
  assert.equal(limited.headers.get("retry-after-ms"), "1000");
  assert.equal(spent.headers.get("retry-after"), null);
  await assertRefused(spent, 429, { type: "insufficient_quota", code: "insufficient_quota" });
});

test("names a bad directive and lists the good ones", async (t) => {
  const mock = await openMock(t);
  const bad = ["teapot", "status=200", "status=", "tokens=0", "tokens=1e3", "delay-ms=600001"];
  for (const directive of [...bad, "code=x", "status=400; code=no way", "interval-ms=-1"]) {
    const reply = await mock.get("/models", { "openai-mock": directive });

    const message = String(at(await reply.clone().json(), "error", "message"));
    const culprit = directive.split("; ").at(-1) ?? "";
    await assertRefused(reply, 400, { param: "openai-mock", code: "invalid_mock_directive" });
    assert(message.startsWith(`Bad openai-mock directive '${culprit}'. Allowed: status=400..`));
  }
});

test("takes empty directives and spaces", async (t) => {
  const mock = await openMock(t);

  const reply = await mock.get("/models", { "openai-mock": " ; delay-ms = 0 ;; " });

  assert.equal(reply.status, 200);
});

test("waits before the headers", async (t) => {
  const mock = await openMock(t);
  const startedAt = performance.now();

  const reply = await mock.get("/models", { "openai-mock": "delay-ms=60" });

  assert(performance.now() - startedAt >= 55);
  assert.equal(reply.headers.get("openai-processing-ms"), "60");
});

test("waits between events", async (t) => {
  const mock = await openMock(t);
  const header = { "openai-mock": "interval-ms=10; tokens=4" };
  const startedAt = performance.now();

  const events = await mock.stream("/chat/completions", stream, header);

  assert.equal(events.length, 4 + 3);
  assert(performance.now() - startedAt >= 6 * 9);
});

test("answers at the length that was asked for", async (t) => {
  const mock = await openMock(t);
  for (const tokens of [3, 200]) {
    const header = { "openai-mock": `tokens=${tokens}` };
    const whole = await mock.ask("/chat/completions", chat, header);
    const events = await mock.stream("/responses", { model: "m", stream: true }, header);

    assert.equal(at(whole, "usage", "completion_tokens"), tokens);
    assert.equal(at(whole, "choices", 0, "finish_reason"), "stop");
    assert.equal(at(events.at(-1), "response", "usage", "output_tokens"), tokens);
  }
});

test("lets max_tokens cut the length that was asked for", async (t) => {
  const mock = await openMock(t);

  const capped = { ...chat, max_tokens: 50 };

  const body = await mock.ask("/chat/completions", capped, { "openai-mock": "tokens=99" });

  assert.equal(at(body, "usage", "completion_tokens"), 50);
  assert.equal(at(body, "choices", 0, "finish_reason"), "length");
});

/** Reads what comes until the connection breaks. */
async function readUntilBroken(reply: Response): Promise<string> {
  assert(reply.body !== null);
  const decoder = new TextDecoder();
  let received = "";
  await assert.rejects(async () => {
    for await (const chunk of reply.body ?? []) received += decoder.decode(chunk, { stream: true });
  });
  return received;
}

test("resets the connection after so many events, and those arrive", async (t) => {
  const mock = await openMock(t);
  for (const interval of [0, 5]) {
    const header = { "openai-mock": `break-after=3; interval-ms=${interval}` };

    const received = await readUntilBroken(await mock.post("/chat/completions", stream, header));

    assert.equal(parseEvents(received).length, 3);
  }
});

test("resets the connection after half a body", async (t) => {
  const mock = await openMock(t);

  const reply = await mock.post("/chat/completions", chat, { "openai-mock": "break-after=1" });

  const length = Number(reply.headers.get("content-length"));
  assert.equal(Buffer.byteLength(await readUntilBroken(reply)), Math.floor(length / 2));
});

test("resets the connection before the headers", async (t) => {
  const mock = await openMock(t);
  for (const body of [chat, stream]) {
    await assert.rejects(mock.post("/chat/completions", body, { "openai-mock": "break-after=0" }));
  }
});

test("plays a stream to its end when it breaks only after that", async (t) => {
  const mock = await openMock(t);

  const header = { "openai-mock": "break-after=999" };

  assert.equal((await mock.stream("/chat/completions", stream, header)).at(-1), "[DONE]");
});

test("falls silent after so many events and keeps the connection", async (t) => {
  const mock = await openMock(t);
  const header = { "openai-mock": "hang-after=2; break-after=3" };
  const reply = await mock.post("/chat/completions", stream, header);
  assert(reply.body !== null);
  const reader = reply.body.getReader();
  let received = "";
  while (parseEvents(received).length < 2) {
    received += new TextDecoder().decode((await reader.read()).value);
  }

  const more = reader.read().then(
    () => "more",
    () => "broken",
  );
  // Every other answer of the mock is quick: one whole round trip passes without a third event.
  await (await mock.get("/models")).text();
  const state = await Promise.race([more, Promise.resolve("silent")]);

  assert.equal(state, "silent");
  await mock.close();
  assert.equal(await more, "broken");
});

test("falls silent in the middle of a body", async (t) => {
  const mock = await openMock(t);
  const reply = await mock.post("/chat/completions", chat, { "openai-mock": "hang-after=1" });

  const received = readUntilBroken(reply);
  await (await mock.get("/models")).text();
  await mock.close();

  assert.match(await received, /^{"id":"chatcmpl-/);
});
