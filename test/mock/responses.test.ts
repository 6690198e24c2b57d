// Responses answer as an object or as the full sequence of events.

import assert from "node:assert/strict";
import { test } from "node:test";
import { at, items, openMock } from "./support.ts";

const request = { model: "gpt-5-mini", input: "Good morning" };

test("answers a completed response that repeats the settings", async (t) => {
  const mock = await openMock(t);

  const body = { ...request, instructions: "Be kind.", temperature: 0.5 };

  const reply = await mock.ask("/responses", body);

  assert.match(String(at(reply, "id")), /^resp_[0-9a-f]{48}$/);
  assert.equal(at(reply, "object"), "response");
  assert.equal(at(reply, "status"), "completed");
  assert.equal(at(reply, "temperature"), 0.5);
  assert.equal(at(reply, "instructions"), "Be kind.");
  assert.equal(at(reply, "tool_choice"), "auto");
  assert.match(String(at(reply, "output", 0, "content", 0, "text")), /“Good morning”/);
  const output = Number(at(reply, "usage", "output_tokens"));
  assert.equal(at(reply, "usage", "input_tokens"), 4 + 3 + 2);
  assert.equal(at(reply, "usage", "total_tokens"), 4 + 3 + 2 + output);
});

test("streams every event in order, numbered, and ends with the whole response", async (t) => {
  const mock = await openMock(t);

  const events = await mock.stream("/responses", { ...request, stream: true });

  const types = events.map((event) => at(event, "type"));
  const deltas = events.filter((event) => at(event, "type") === "response.output_text.delta");
  assert.deepEqual(
    types.filter((type, index) => type !== types[index - 1]),
    [
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ],
  );
  assert.deepEqual(
    events.map((event) => at(event, "sequence_number")),
    [...events.keys()],
  );
  const whole = at(events.at(-1), "response");
  const joined = deltas.map((event) => at(event, "delta")).join("");
  assert.equal(at(whole, "output", 0, "content", 0, "text"), joined);
  assert.equal(at(whole, "usage", "output_tokens"), deltas.length);
  assert.equal(at(events[0], "response", "usage"), null);
});

test("names the type of each event on its event line", async (t) => {
  const mock = await openMock(t);

  const reply = await mock.post("/responses", { ...request, stream: true });

  assert.match(await reply.text(), /^event: response.created\ndata: {"type":"response.created",/);
});

test("is incomplete when the token limit ends it", async (t) => {
  const mock = await openMock(t);
  const body = { ...request, max_output_tokens: 2, stream: true };

  const events = await mock.stream("/responses", body);

  const last = events.at(-1);
  assert.equal(at(last, "type"), "response.incomplete");
  assert.deepEqual(at(last, "response", "incomplete_details"), { reason: "max_output_tokens" });
  assert.equal(at(last, "response", "usage", "output_tokens"), 2);
});

test("calls the function that it must call", async (t) => {
  const mock = await openMock(t);
  const tools = [{ type: "function", name: "now", parameters: { type: "object" } }];
  const body = { ...request, tools, tool_choice: { type: "function", name: "now" }, stream: true };

  const events = await mock.stream("/responses", body);

  const types = new Set(events.map((event) => at(event, "type")));
  assert(types.has("response.function_call_arguments.delta"));
  assert(types.has("response.function_call_arguments.done"));
  const [call] = items(at(events.at(-1), "response", "output"));
  assert.equal(at(call, "type"), "function_call");
  assert.equal(at(call, "name"), "now");
  assert.equal(at(call, "arguments"), "{}");
});

test("fits a structured output to its schema", async (t) => {
  const mock = await openMock(t);
  const schema = { type: "object", properties: { ok: { type: "boolean" } } };
  const body = { ...request, text: { format: { type: "json_schema", name: "x", schema } } };

  const reply = await mock.ask("/responses", body);

  assert.equal(at(reply, "output", 0, "content", 0, "text"), '{"ok":true}');
});

test("counts the input as a response would", async (t) => {
  const mock = await openMock(t);
  const input = [{ role: "user", content: [{ type: "input_text", text: "Good morning" }] }];

  const counted = await mock.ask("/responses/input_tokens", { ...request, input });

  const answered = await mock.ask("/responses", request);
  assert.deepEqual(counted, {
    object: "response.input_tokens",
    input_tokens: at(answered, "usage", "input_tokens"),
  });
});
