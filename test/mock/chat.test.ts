// Chat completions answer in OpenAI's formats, the same for the same request.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused, at, items, openMock } from "./support.ts";

const messages = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "What is a reverse proxy?" },
];
const chat = { model: "gpt-4o-mini", messages };

function contentOf(reply: unknown): string {
  return String(at(reply, "choices", 0, "message", "content"));
}

test("quotes the last user message in a complete chat completion", async (t) => {
  const mock = await openMock(t);

  const reply = await mock.ask("/chat/completions", chat);

  assert.match(String(at(reply, "id")), /^chatcmpl-[0-9a-f]{29}$/);
  assert.equal(at(reply, "object"), "chat.completion");
  assert.equal(at(reply, "model"), "gpt-4o-mini");
  assert.equal(at(reply, "choices", 0, "finish_reason"), "stop");
  assert.match(contentOf(reply), /“What is a reverse proxy\?”/);
});

test("gives the same answer to the same request and another to another", async (t) => {
  const mock = await openMock(t);
  const ask = async (body: object) => (await mock.post("/chat/completions", body)).text();

  const answers = [await ask(chat), await ask(chat), await ask({ ...chat, seed: 1 })];

  assert.equal(answers[0], answers[1]);
  assert.notEqual(answers[0], answers[2]);
});

test("shortens a long message and reads a message made of parts", async (t) => {
  const mock = await openMock(t);
  const parts = [{ type: "text", text: "long  🎈".repeat(50) }, { type: "image_url" }, "odd"];
  const body = { model: "m", messages: [{ role: "user", content: parts }, "odd"] };

  const reply = await mock.ask("/chat/completions", body);

  const [quoted = ""] = /“.*”/u.exec(contentOf(reply)) ?? [];
  assert.match(quoted, /^“long 🎈long 🎈.*…”$/u);
  assert.equal(Array.from(quoted).length, 82);
});

test("quotes nothing where no user said anything", async (t) => {
  const mock = await openMock(t);
  const body = { model: "m", messages: messages.slice(0, 1) };

  assert.match(contentOf(await mock.ask("/chat/completions", body)), /You said nothing, /);
});

test("counts usage that adds up", async (t) => {
  const mock = await openMock(t);

  const reply = await mock.ask("/chat/completions", { ...chat, n: 3 });

  assert.equal(items(at(reply, "choices")).length, 3);
  const output = Number(at(reply, "usage", "completion_tokens"));
  assert.equal(at(reply, "usage", "prompt_tokens"), 4 + 3 + 4 + 6);
  assert.equal(at(reply, "usage", "total_tokens"), 4 + 3 + 4 + 6 + output);
  const ratio = (3 * contentOf(reply).length) / output;
  assert(ratio > 3 && ratio < 6, `${ratio} characters a token`);
});

test("streams a role, the pieces, a reason and [DONE], and no usage unless asked", async (t) => {
  const mock = await openMock(t);

  const events = await mock.stream("/chat/completions", { ...chat, stream: true });

  assert.equal(events.at(-1), "[DONE]");
  assert.equal(at(events[0], "object"), "chat.completion.chunk");
  assert.equal(at(events[0], "choices", 0, "delta", "role"), "assistant");
  assert.deepEqual(at(events.at(-2), "choices", 0), {
    index: 0,
    delta: {},
    logprobs: null,
    finish_reason: "stop",
  });
  assert(events.every((event) => at(event, "usage") === undefined));
  const content = events.map((event) => at(event, "choices", 0, "delta", "content") ?? "").join("");
  assert.match(content, /“What is a reverse proxy\?”/);
});

test("sends usage once, in a chunk without choices, and null before", async (t) => {
  const mock = await openMock(t);
  const body = { ...chat, stream: true, stream_options: { include_usage: true } };

  const events = await mock.stream("/chat/completions", body);

  const chunks = events.slice(0, -1);
  const last = chunks.at(-1);
  assert.deepEqual(at(last, "choices"), []);
  const deltas = chunks.filter((chunk) => at(chunk, "choices", 0, "delta", "content"));
  assert.equal(at(last, "usage", "completion_tokens"), deltas.length);
  assert(chunks.slice(0, -1).every((chunk) => at(chunk, "usage") === null));
});

test("takes turns between several choices of a stream", async (t) => {
  const mock = await openMock(t);
  const body = { ...chat, stream: true, n: 2, max_tokens: 2 };

  const events = await mock.stream("/chat/completions", body);

  const order = events.slice(0, -1).map((event) => at(event, "choices", 0, "index"));
  assert.deepEqual(order, [0, 1, 0, 1, 0, 1, 0, 1]);
});

test("stops at the token limit and says so", async (t) => {
  const mock = await openMock(t);
  for (const name of ["max_tokens", "max_completion_tokens"]) {
    const reply = await mock.ask("/chat/completions", { ...chat, [name]: 2 });

    assert.equal(at(reply, "choices", 0, "finish_reason"), "length");
    assert.equal(at(reply, "usage", "completion_tokens"), 2);
  }
});

test("answers JSON where JSON is asked for", async (t) => {
  const mock = await openMock(t);
  const body = { ...chat, response_format: { type: "json_object" } };

  const reply = await mock.ask("/chat/completions", body);

  const content: unknown = JSON.parse(contentOf(reply));
  assert.match(String(at(content, "message")), /reverse proxy/);
});

test("answers a value that fits the JSON schema", async (t) => {
  const mock = await openMock(t);
  const step = {
    type: "object",
    properties: { next: { anyOf: [{ type: "null" }, { $ref: "#/$defs/step" }] } },
  };
  const properties = {
    kind: { const: "recipe" },
    unit: { enum: ["g", "oz"] },
    amount: { type: ["number", "null"], minimum: 5 },
    count: { type: "integer" },
    vegan: { type: "boolean" },
    none: { type: "null" },
    steps: { type: "array", items: { $ref: "#/$defs/step" } },
    title: { allOf: [{ type: "string" }] },
    anything: true,
  };
  const schema = { type: "object", properties, $defs: { step } };
  const response_format = { type: "json_schema", json_schema: { name: "recipe", schema } };

  const reply = await mock.ask("/chat/completions", { ...chat, response_format });

  assert.deepEqual(JSON.parse(contentOf(reply)), {
    kind: "recipe",
    unit: "g",
    amount: 5,
    count: 1,
    vegan: true,
    none: null,
    steps: [{ next: null }],
    title: "mock",
    anything: null,
  });
});

test("survives schemas that refer to themselves without end", async (t) => {
  const mock = await openMock(t);
  const loop = { $ref: "#" };
  const properties = { a: loop, b: loop, c: loop, d: loop, e: loop, f: loop, g: loop, h: loop };
  const loops = [loop, { type: "array", items: loop }, { type: "object", properties }];
  for (const schema of loops) {
    const response_format = { type: "json_schema", json_schema: { schema } };
    const reply = await mock.post("/chat/completions", { ...chat, response_format });

    assert.equal(reply.status, 200);
  }
});

const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = [
  { type: "web_search" },
  { type: "function", function: { name: "now" } },
  { type: "function", function: { name: "weather", parameters } },
];

test("calls the tool that it must call", async (t) => {
  const mock = await openMock(t);
  const ask = async (tool_choice: unknown): Promise<unknown> =>
    mock.ask("/chat/completions", { ...chat, tools, tool_choice });

  const required = await ask("required");
  const named = await ask({ type: "function", function: { name: "weather" } });
  const free = await ask("auto");

  assert.equal(at(required, "choices", 0, "finish_reason"), "tool_calls");
  const [call] = items(at(required, "choices", 0, "message", "tool_calls"));
  assert.equal(at(call, "type"), "function");
  assert.deepEqual(at(call, "function"), { name: "now", arguments: "{}" });
  assert.equal(at(required, "choices", 0, "message", "content"), null);
  // OpenAI says "stop" where the caller named the function.
  assert.equal(at(named, "choices", 0, "finish_reason"), "stop");
  assert.deepEqual(at(named, "choices", 0, "message", "tool_calls", 0, "function"), {
    name: "weather",
    arguments: '{"city":"mock"}',
  });
  assert.equal(at(free, "choices", 0, "message", "tool_calls"), undefined);
});

test("streams the arguments of a tool call", async (t) => {
  const mock = await openMock(t);
  const body = { ...chat, tools: tools.slice(2), tool_choice: "required", stream: true };

  const events = await mock.stream("/chat/completions", body);

  const calls = events.map((event) => at(event, "choices", 0, "delta", "tool_calls", 0));
  assert.equal(at(calls[0], "function", "name"), "weather");
  const parts = calls.map((call) => at(call, "function", "arguments") ?? "");
  assert.equal(parts.join(""), '{"city":"mock"}');
});

test("refuses a chat without model, without messages or with a bad number", async (t) => {
  const mock = await openMock(t);
  const ask = (body: object) => mock.post("/chat/completions", body);
  const missing = { type: "invalid_request_error", code: "missing_required_parameter" };

  await assertRefused(await ask({ messages }), 400, { ...missing, param: "model" });
  await assertRefused(await ask({ model: "m" }), 400, { ...missing, param: "messages" });
  await assertRefused(await ask({ ...chat, n: 17 }), 400, { param: "n", code: "invalid_value" });
  await assertRefused(await ask({ ...chat, max_tokens: "x" }), 400, { param: "max_tokens" });
});
