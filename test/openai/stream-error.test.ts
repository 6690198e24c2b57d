// An error inside a stream, as the SDK of each endpoint expects it.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EndpointClass } from "../../src/config/config.ts";
import { GatewayError } from "../../src/errors.ts";
import { StreamErrorWriter } from "../../src/openai/stream-error.ts";

const ERROR = new GatewayError("upstream_reset", 'It "broke".\nHere.');
const OBJECT = {
  message: ERROR.message,
  type: "server_error",
  param: null,
  code: "upstream_reset",
};

interface Event {
  readonly name: string | undefined;
  readonly data: unknown;
}

/** Exactly one event, as a parser of the HTML standard reads it. */
function parse(text: string): Event {
  const match = /^(?:event: (\w+)\n)?data: (.*)\n\n$/.exec(text);
  assert.ok(match !== null, text);
  return { name: match[1], data: JSON.parse(match[2] ?? "") };
}

for (const name of ["chat", "completions", undefined] as const) {
  test(`${name ?? "an unknown endpoint"} gets a bare error object, without a name`, () => {
    assert.deepEqual(parse(new StreamErrorWriter(name).encode(ERROR)), {
      name: undefined,
      data: { error: OBJECT },
    });
  });
}

for (const name of ["images", "audio", "threads"] satisfies EndpointClass[]) {
  test(`${name} gets an event called error`, () => {
    assert.deepEqual(parse(new StreamErrorWriter(name).encode(ERROR)), {
      name: "error",
      data: { type: "error", error: OBJECT },
    });
  });
}

/** What the error's number is after these events, fed in pieces of one size. */
function numberAfter(text: string, size: number): unknown {
  const writer = new StreamErrorWriter("responses");
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) writer.push(bytes.subarray(at, at + size));
  const { data } = parse(writer.encode(ERROR));
  assert.ok(typeof data === "object" && data !== null && "sequence_number" in data);
  return data.sequence_number;
}

test("responses get the fields of their specification, flat, and the next number", () => {
  const { name, data } = parse(new StreamErrorWriter("responses").encode(ERROR));

  const { code, message, param } = OBJECT;
  assert.equal(name, "error");
  assert.deepEqual(data, {
    type: "error",
    code,
    message,
    param,
    sequence_number: 0,
    error: OBJECT,
  });
});

const EVENTS =
  'event: a\ndata: {"type":"a","sequence_number":9}\n\nevent: b\ndata: {"type":"b", "sequence_number": 12345,"delta":"x"}\n\n';

test("the number is the next one, however the events were cut", () => {
  for (let size = 1; size <= EVENTS.length; size++)
    assert.equal(numberAfter(EVENTS, size), 12_346, `pieces of ${size}`);
});

test("a model that writes a number does not set it", () => {
  const text = 'data: {"sequence_number":3,"delta":"\\"sequence_number\\":900"}\n\n';

  for (const size of [1, 7, 31, 32, 33, 1_000]) assert.equal(numberAfter(text, size), 4);
});

test("a number that is none is passed over", () => {
  assert.equal(
    numberAfter('data: {"sequence_number":3}\n\ndata: {"sequence_number":"x"}\n\n', 1_000),
    4,
  );
  assert.equal(numberAfter('data: {"sequence_number":', 1_000), 1);
});

test("a megabyte in one event is no obstacle", () => {
  assert.equal(
    numberAfter(`data: {"b64":"${"A".repeat(1_000_000)}","sequence_number":7}\n\n`, 65_536),
    8,
  );
});
