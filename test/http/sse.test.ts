// Server-sent events: where a stream stands, however it was cut into chunks.
import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamTail, encodeEvent } from "../../src/http/sse.ts";

/** Fed in pieces of every size: what it says must not depend on them. */
function check(
  text: string | Buffer,
  expected: { readonly atBoundary: boolean; readonly done: boolean },
): void {
  const bytes = Buffer.from(text);
  for (let size = 1; size <= Math.max(1, bytes.length); size++) {
    const tail = new StreamTail();
    for (let at = 0; at < bytes.length; at += size) tail.push(bytes.subarray(at, at + size));
    const { atBoundary, done } = tail;
    assert.deepEqual(
      { atBoundary, done },
      expected,
      `${JSON.stringify(String(text))} in pieces of ${size}`,
    );
  }
}

const WHOLE = { atBoundary: true, done: false };
const BROKEN = { atBoundary: false, done: false };
const DONE = { atBoundary: true, done: true };

test("an event is whole after a blank line: LF, CR or CRLF", () => {
  for (const text of [
    "",
    "data: a\n\n",
    "data: a\r\r",
    "data: a\r\n\r\n",
    "data: a\n\r\n",
    "data: a\r\r\n",
    ": ping\n\n",
    "data: a\n\n\n",
  ]) {
    check(text, WHOLE);
  }
});

test("an event is open until then", () => {
  for (const text of [
    "d",
    "data: a",
    "data: a\n",
    "data: a\r",
    "data: a\r\n",
    "data: a\n\ndata",
    "data: a\n\n ",
    "data: \xe9",
    "\n\nevent: x\r\n",
  ]) {
    check(text, BROKEN);
  }
});

test("OpenAI's end mark is a line of its own, and the last", () => {
  for (const end of ["\n\n", "\r\n\r\n", "\r\r"]) {
    check(`data: {}${end}data: [DONE]${end}`, DONE);
    check(`data: [DONE]${end}`, DONE);
    check(`data: ${"x".repeat(100)}${end}data:[DONE]${end}`, DONE);
  }
  for (const text of ["data: [DONE]\n", "data: [DONE]", "data: [DONE]\r\n"]) check(text, BROKEN);
  for (const text of ["data: [DONE]\n\ndata: {}\n\n", "data: [DONE] \n\n", "data: [DONE]x\n\n"])
    check(text, WHOLE);
});

test("a model that writes the end mark does not end the stream", () => {
  for (const text of [
    'data: {"delta":"data: [DONE]"}\n\n',
    "data: data: [DONE]\n\n",
    "event: data: [DONE]\n\n",
    'data: {"delta":"\\ndata: [DONE]\\n\\n"}\n\n',
  ]) {
    check(text, WHOLE);
  }
});

test("a chunk that is used again afterwards does not change the tail", () => {
  const tail = new StreamTail();
  const chunk = Buffer.from(`data: ${"x".repeat(100)}\n\n`);

  tail.push(chunk);
  chunk.fill(120);

  assert.equal(tail.atBoundary, true);
});

test("an event is written with its name, its data and a blank line", () => {
  assert.equal(encodeEvent("{}"), "data: {}\n\n");
  assert.equal(encodeEvent("{}", "error"), "event: error\ndata: {}\n\n");
});
