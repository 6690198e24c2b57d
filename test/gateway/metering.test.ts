// The usage of a stream, asked for behind its client's back: not a byte of the answer shows it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { recordingStore } from "../helpers/recorder.ts";
import { startGateway } from "../helpers/start-gateway.ts";
import { startMock } from "../../src/mock/server.ts";

/** A small linear congruential generator: the same numbers in every run. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}

const TEXTS = [
  "Hello",
  '"usage":null',
  ',\\"usage\\":{"prompt_tokens":1}',
  "日本語 🎉",
  "data: [DONE]\n\n",
  "\r\n\r\n",
  '{"choices":[],"usage":null}',
];
const USAGE = { prompt_tokens: 11, completion_tokens: 22, total_tokens: 33 };

/** OpenAI's stream, as it is with `include_usage` and as it is without. */
function render(seed: number, includesUsage: boolean): string {
  const random = createRandom(seed);
  const lineEnd = random(3) === 0 ? "\r\n" : "\n";
  const event = (data: string): string => `data: ${data}${lineEnd}${lineEnd}`;
  const head = { id: "chatcmpl-1", object: "chat.completion.chunk", model: "gpt-4o-mini" };
  const usage = includesUsage ? { usage: null } : {};
  let text = "";
  for (let chunk = random(20); chunk >= 0; chunk--) {
    const content = TEXTS[random(TEXTS.length)];
    const choices = [{ index: 0, delta: { content, usage: null }, finish_reason: null }];
    const padding = random(2) === 0 ? { obfuscation: "x".repeat(random(9)) } : {};
    text += event(JSON.stringify({ ...head, choices, ...usage, ...padding }));
    if (random(8) === 0) text += `: keep-alive${lineEnd}${lineEnd}`;
  }
  if (includesUsage) text += event(JSON.stringify({ ...head, choices: [], usage: USAGE }));
  return text + event("[DONE]");
}

/** In pieces of random length, each a packet of its own. */
const streams: Script = async (res, { body }) => {
  const { seed, stream_options: options } = JSON.parse((await body).toString());
  const bytes = Buffer.from(render(seed, options?.include_usage === true));
  const random = createRandom(seed + 1);
  res.writeHead(200, { "content-type": "text/event-stream" });
  for (let at = 0; at < bytes.length;) {
    const length = 1 + random(random(4) === 0 ? 5 : 400);
    res.write(bytes.subarray(at, at + length));
    at += length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  res.end();
};

test("whatever pieces it comes in, a metered stream is to the byte what it is unmetered", async (t) => {
  const openai = await fakeOpenAI(t, streams);
  const { record, store } = recordingStore();
  const metered = await startGateway(
    t,
    openai.baseUrl,
    { policies: { default: { budget: "1000/day" } } },
    { store },
  );

  for (let seed = 1; seed <= 100; seed++) {
    const body = { model: "gpt-4o-mini", stream: true, max_tokens: 50, seed };
    const response = await post(`${metered.url}/v1/chat/completions`, body);

    assert.equal(await response.text(), render(seed, false), `seed ${seed}`);
    assert.equal(record.entries.at(-1)?.inputTokens, 11);
    assert.equal(record.entries.at(-1)?.outputTokens, 22);
    assert.equal(record.entries.at(-1)?.estimated, false);
  }
  const [arrival] = openai.arrivals;
  assert.match(String(await arrival?.body), /"stream_options":\{"include_usage":true\}/);
  assert.equal(store.open, 0);
});

for (const types of [["text/event-stream", "text/event-stream"], ["Text/Event-Stream ; a=b"]]) {
  test(`a stream whose type is ${types.join(" twice, ")} is metered like any other`, async (t) => {
    const openai = await fakeOpenAI(t, (res) => {
      res.writeHead(
        200,
        types.flatMap((type) => ["content-type", type]),
      );
      res.end(render(1, true));
    });
    const { record, store } = recordingStore();
    const policies = { default: { budget: "1000/day" } };
    const { url } = await startGateway(t, openai.baseUrl, { policies }, { store });

    const body = { model: "gpt-4o-mini", stream: true, max_tokens: 50 };
    const response = await post(`${url}/v1/chat/completions`, body);

    assert.equal(await response.text(), render(1, false));
    assert.equal(record.entries.at(-1)?.outputTokens, 22);
  });
}

test("whoever asks for the usage gets it, as OpenAI sends it", async (t) => {
  const openai = await fakeOpenAI(t, streams);
  const { record, store } = recordingStore();
  const policies = { default: { budget: "1000/day" } };
  const { url } = await startGateway(t, openai.baseUrl, { policies }, { store });

  for (let seed = 1; seed <= 20; seed++) {
    const options = { stream: true, stream_options: { include_usage: true } };
    const body = { model: "gpt-4o-mini", max_tokens: 50, seed, ...options };
    const response = await post(`${url}/v1/chat/completions`, body);

    assert.equal(await response.text(), render(seed, true), `seed ${seed}`);
    assert.equal(record.entries.at(-1)?.outputTokens, 22);
  }
});

test("callers whose tokens nobody counts are not metered behind their backs", async (t) => {
  const openai = await fakeOpenAI(t, streams);
  const policies = { default: { requestsPerMinute: 1_000, models: ["gpt-*"] } };
  const { url } = await startGateway(t, openai.baseUrl, { policies });
  const body = { model: "gpt-4o-mini", stream: true, seed: 1 };

  const response = await post(`${url}/v1/chat/completions`, body);

  assert.equal(await response.text(), render(1, false));
  assert.equal(String(await openai.arrivals[0]?.body), JSON.stringify(body));
});

for (const [path, body] of [
  ["/chat/completions", { messages: [{ role: "user", content: "Hello" }] }],
  ["/chat/completions", { messages: [{ role: "user", content: "Hello" }], stream: true }],
  ["/completions", { prompt: "Hello" }],
  ["/completions", { prompt: "Hello", stream: true }],
  ["/responses", { input: "Hello" }],
  ["/responses", { input: "Hello", stream: true }],
  ["/embeddings", { input: "Hello" }],
] as const) {
  const how = "stream" in body ? " as a stream" : "";
  test(`what ${path} of the mock has used${how} is in the record`, async (t) => {
    const mock = await startMock({ firstTokenMs: 1, tokenIntervalMs: 1 });
    t.after(() => mock.close());
    const { record, store } = recordingStore();
    const policies = { default: { budget: "1000/day" } };
    const { url } = await startGateway(t, mock.baseUrl, { policies }, { store });
    const model = path === "/embeddings" ? "text-embedding-3-small" : "gpt-4o-mini";

    const response = await post(`${url}/v1${path}`, { model, ...body });

    const text = await response.text();
    // Before they are over, Responses have one that is null.
    if (path !== "/responses") assert.doesNotMatch(text, /"usage":null/);
    const [entry] = record.entries;
    assert.equal(response.status, 200);
    assert.equal(entry?.estimated, false);
    assert.equal(entry.model, model);
    assert.ok(entry.inputTokens > 0, `${entry.inputTokens}`);
    assert.ok(entry.costMicroUsd > 0, `${entry.costMicroUsd}`);
    assert.equal(entry.outputTokens > 0, path !== "/embeddings");
    assert.equal(store.open, 0);
  });
}

test("a stream whose length was announced is not announced longer than it is", async (t) => {
  const whole: Script = async (res, { body }) => {
    const { stream_options: options } = JSON.parse((await body).toString());
    const bytes = Buffer.from(render(7, options?.include_usage === true));
    res.writeHead(200, {
      "content-type": "text/event-stream",
      "content-length": bytes.length,
    });
    res.end(bytes);
  };
  const openai = await fakeOpenAI(t, whole);
  const { record, store } = recordingStore();
  const policies = { default: { budget: "1000/day" } };
  const { url } = await startGateway(t, openai.baseUrl, { policies }, { store });
  const body = { model: "gpt-4o-mini", stream: true, max_tokens: 50 };

  const response = await post(`${url}/v1/chat/completions`, body);

  assert.equal(response.headers.get("content-length"), null);
  assert.equal(await response.text(), render(7, false));
  assert.equal(record.entries[0]?.outputTokens, 22);
});

test("what a policy puts into a body and what metering does stand side by side", async (t) => {
  const openai = await fakeOpenAI(t, streams);
  const limits = { maxOutputTokens: 40, safetyIdentifier: true, storedState: false };
  const policies = { default: { budget: "1000/day", ...limits } };
  const { url } = await startGateway(t, openai.baseUrl, { policies });
  const asked = { model: "gpt-4o-mini", stream: true, seed: 3 };

  const response = await post(`${url}/v1/chat/completions`, asked);

  assert.equal(await response.text(), render(3, false));
  const { safety_identifier: identifier, ...sent } = JSON.parse(
    String(await openai.arrivals[0]?.body),
  );
  assert.match(identifier, /^[\da-f]{64}$/);
  assert.deepEqual(sent, {
    ...asked,
    max_completion_tokens: 40,
    store: false,
    stream_options: { include_usage: true },
  });
});
