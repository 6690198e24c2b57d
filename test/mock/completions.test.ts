// Text completions, the older API, answer every prompt.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused, at, items, openMock } from "./support.ts";

test("completes text, one choice for each prompt", async (t) => {
  const mock = await openMock(t);
  const body = { model: "m", prompt: ["Once upon", [1, 2, 3]], n: 2, max_tokens: null };

  const reply = await mock.ask("/completions", body);

  assert.equal(at(reply, "object"), "text_completion");
  assert.equal(items(at(reply, "choices")).length, 4);
  assert.match(String(at(reply, "choices", 0, "text")), /“Once upon”/);
  assert.equal(at(reply, "choices", 3, "finish_reason"), "stop");
  assert.equal(at(reply, "usage", "prompt_tokens"), 3 + 3);
});

test("streams text completions with usage", async (t) => {
  const mock = await openMock(t);
  const options = { stream: true, stream_options: { include_usage: true } };
  const body = { model: "m", max_tokens: 3, ...options };

  const events = await mock.stream("/completions", body);

  assert.equal(events.length, 3 + 1 + 1 + 1);
  assert.equal(at(events[3], "choices", 0, "finish_reason"), "length");
  assert.equal(at(events[4], "usage", "completion_tokens"), 3);
});

test("refuses more text completions than it cares to write", async (t) => {
  const mock = await openMock(t);
  const prompt = Array.from({ length: 17 }, () => "x");

  await assertRefused(await mock.post("/completions", { model: "m", prompt }), 400, {
    param: "prompt",
  });
});
