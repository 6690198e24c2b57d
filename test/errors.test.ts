// One table of failures: what the client sees of each, and what it never sees.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  FAILURES,
  GatewayError,
  toEnvelope,
  toErrorHeaders,
  toGatewayError,
  type ErrorCode,
} from "../src/errors.ts";

const CODES = Object.keys(FAILURES) as ErrorCode[];

for (const code of CODES) {
  test(`${code} has OpenAI's envelope, with all four keys`, () => {
    const error = new GatewayError(code, "A sentence.", { cause: new Error("10.0.0.1 sk-secret") });

    assert.deepEqual(toEnvelope(error), {
      error: { message: "A sentence.", type: FAILURES[code].type, param: null, code },
    });
    assert.equal(error.status, FAILURES[code].status);
    assert.equal(error.fault, FAILURES[code].fault);
    assert.doesNotMatch(
      JSON.stringify([toEnvelope(error), toErrorHeaders(error)]),
      /sk-secret|10\.0\.0\.1/,
    );
  });
}

test("a failure on our side or OpenAI's is 5xx, one of the client's 4xx or a word for what is not spoken", () => {
  for (const code of CODES) {
    const { status, fault } = FAILURES[code];
    assert.equal(fault === "client", status < 500 || status === 501, code);
  }
});

test("no failure is answered with a status whose body CDNs replace", () => {
  assert.deepEqual(
    CODES.filter((code) => [502, 504].includes(FAILURES[code].status)),
    [],
  );
});

test("SDKs are told not to repeat what OpenAI may have billed, and only that", () => {
  const told = CODES.filter(
    (code) => toErrorHeaders(new GatewayError(code, "x"))["x-should-retry"] === "false",
  );

  for (const code of ["upstream_timeout", "upstream_reset"] as const)
    assert.ok(told.includes(code));
  for (const code of ["upstream_unreachable", "overloaded", "draining"] as const)
    assert.ok(!told.includes(code));
});

test("the field at fault is named", () => {
  assert.equal(
    toEnvelope(new GatewayError("invalid_request", "x", { param: "model" })).error.param,
    "model",
  );
});

test("a wait is told in both of the SDKs' headers, rounded up", () => {
  const headers = toErrorHeaders(new GatewayError("overloaded", "x", { retryAfterMs: 1_200.3 }));

  assert.equal(headers["retry-after"], "2");
  assert.equal(headers["retry-after-ms"], "1201");
});

test("a wrong method is told the right ones", () => {
  const headers = toErrorHeaders(
    new GatewayError("method_not_allowed", "x", { allow: ["GET", "POST"] }),
  );

  assert.equal(headers["allow"], "GET, POST");
});

test("what nobody foresaw stays bland and keeps its cause for the log", () => {
  for (const thrown of [
    new TypeError("key sk-secret at 10.0.0.1"),
    "sk-secret",
    undefined,
    null,
    { code: "invalid_request" },
  ]) {
    const error = toGatewayError(thrown);

    assert.equal(error.code, "internal_error");
    assert.equal(error.status, 500);
    assert.doesNotMatch(error.message, /sk-secret|10\.0/);
    assert.equal(error.details.cause, thrown);
  }
});

test("a failure of ours stays what it is", () => {
  const error = new GatewayError("draining", "x");

  assert.equal(toGatewayError(error), error);
});
