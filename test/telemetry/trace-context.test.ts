// `traceparent` as strictly as the W3C has it.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createSpanId,
  createTraceId,
  parseTraceparent,
} from "../../src/telemetry/trace-context.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = "00f067aa0ba902b7";

test("a valid header is read", () => {
  const context = { traceId: TRACE, parentId: PARENT };

  assert.deepEqual(parseTraceparent(`00-${TRACE}-${PARENT}-01`), { ...context, sampled: true });
  assert.deepEqual(parseTraceparent(`00-${TRACE}-${PARENT}-00`), { ...context, sampled: false });
  // Of flags that are not known yet, none is taken for this one.
  assert.deepEqual(parseTraceparent(`00-${TRACE}-${PARENT}-fe`), { ...context, sampled: false });
  assert.deepEqual(parseTraceparent(`00-${TRACE}-${PARENT}-03`), { ...context, sampled: true });
});

test("a later version is read as far as it is known", () => {
  for (const header of [`cc-${TRACE}-${PARENT}-01`, `01-${TRACE}-${PARENT}-01-what-comes-then`]) {
    assert.equal(parseTraceparent(header)?.traceId, TRACE, header);
  }
  for (const header of [`cc-${TRACE}-${PARENT}-01.more`, `cc-${TRACE}-${PARENT}-012`]) {
    assert.equal(parseTraceparent(header), undefined, header);
  }
});

test("anything else is no context at all", () => {
  const wrong = [
    undefined,
    "",
    "00",
    `${TRACE}-${PARENT}-01`,
    `ff-${TRACE}-${PARENT}-01`,
    `00-${TRACE}-${PARENT}-01-`,
    `00-${TRACE}-${PARENT}-01-more`,
    `00-${TRACE}-${PARENT}-1`,
    `00-${TRACE}-${PARENT}`,
    `00-${TRACE}-${PARENT}-zz`,
    `0-${TRACE}-${PARENT}-01`,
    ` 00-${TRACE}-${PARENT}-01`,
    `00-${TRACE}-${PARENT}-01\n`,
    `00-${TRACE.toUpperCase()}-${PARENT}-01`,
    `00-${TRACE}-${PARENT.toUpperCase()}-01`,
    `00-${"0".repeat(32)}-${PARENT}-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `00-${TRACE}0-${PARENT}-01`,
    `00-${TRACE.slice(1)}-${PARENT}-01`,
    // Two headers, as Node joins them.
    `00-${TRACE}-${PARENT}-01, 00-${TRACE}-${PARENT}-01`,
  ];

  for (const header of wrong) {
    assert.equal(parseTraceparent(header), undefined, `${header}`);
  }
});

test("new ids are hexadecimal, and none comes twice", () => {
  const traceIds = Array.from({ length: 1_000 }, () => createTraceId());
  const spanIds = Array.from({ length: 1_000 }, () => createSpanId());

  for (const id of traceIds) assert.match(id, /^[\da-f]{32}$/);
  for (const id of spanIds) assert.match(id, /^[\da-f]{16}$/);
  assert.equal(new Set([...traceIds, ...spanIds]).size, 2_000);
});
