// What may be sent again is what OpenAI provably never saw; everything else may have been billed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { toFailure } from "../../src/upstream/failure.ts";

function coded(code: string, more: Readonly<Record<string, unknown>> = {}): Error {
  return Object.assign(new Error(`${code} at 10.0.0.1`), { code, ...more });
}

/** As fetch throws it. */
function thrownByFetch(cause: unknown): Error {
  return new TypeError("fetch failed", { cause });
}

const UNREACHED = [
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_HAS_EXPIRED",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
];

for (const code of UNREACHED) {
  test(`${code} is provably before OpenAI saw anything`, () => {
    for (const cause of [
      coded(code),
      thrownByFetch(coded(code)),
      thrownByFetch(thrownByFetch(coded(code))),
    ]) {
      const { reached, error } = toFailure(cause);

      assert.equal(reached, false);
      assert.equal(error.code, "upstream_unreachable");
      assert.equal(error.message, `The gateway could not connect to OpenAI (${code}).`);
      assert.equal(error.details.cause, cause);
    }
  });
}

for (const code of [
  "ECONNRESET",
  "EPIPE",
  "UND_ERR_SOCKET",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
  "HPE_INVALID_CONSTANT",
  "ETIMEDOUT",
  "UND_ERR_HEADERS_OVERFLOW",
  "EPROTO",
  "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH",
  "UND_ERR_INVALID_ARG",
]) {
  test(`${code} may be after OpenAI did the work`, () => {
    const { reached, error } = toFailure(thrownByFetch(coded(code)));

    assert.equal(reached, true);
    assert.equal(error.code, "upstream_reset");
    assert.equal(error.message, `The connection to OpenAI broke (${code}).`);
  });
}

test("a timeout of connect() is before, one of read() may be after", () => {
  assert.equal(toFailure(thrownByFetch(coded("ETIMEDOUT", { syscall: "connect" }))).reached, false);
  assert.equal(toFailure(thrownByFetch(coded("ETIMEDOUT", { syscall: "read" }))).reached, true);
  assert.equal(
    toFailure(thrownByFetch(coded("ECONNRESET", { syscall: "connect" }))).reached,
    false,
  );
});

test("several attempts to connect are before when all of them are", () => {
  const connecting = coded("ETIMEDOUT", { syscall: "connect" });

  assert.equal(
    toFailure(thrownByFetch(new AggregateError([connecting, coded("ENETUNREACH")]))).reached,
    false,
  );
  assert.equal(
    toFailure(thrownByFetch(new AggregateError([connecting, connecting]))).reached,
    false,
  );
  assert.equal(
    toFailure(thrownByFetch(new AggregateError([connecting, coded("ECONNRESET")]))).reached,
    true,
  );
  assert.equal(toFailure(thrownByFetch(new AggregateError([]))).reached, true);
});

test("what is no Error, or has no code, may be after", () => {
  for (const thrown of [
    undefined,
    null,
    "ECONNREFUSED",
    { code: "ECONNREFUSED" },
    new Error("ECONNREFUSED"),
    new TypeError("terminated"),
  ]) {
    const { reached, error } = toFailure(thrown);

    assert.equal(reached, true);
    assert.equal(error.message, "The connection to OpenAI broke.");
  }
});

test("a code that is no text is passed over", () => {
  assert.equal(
    toFailure(Object.assign(new Error("x"), { code: 23 })).error.message,
    "The connection to OpenAI broke.",
  );
});

test("the message names no host and no address", () => {
  for (const cause of [coded("ECONNREFUSED"), coded("ECONNRESET")]) {
    assert.doesNotMatch(toFailure(thrownByFetch(cause)).error.message, /10\.0\.0\.1/);
  }
});

test("errors that are their own cause, or contain themselves, come to an end", () => {
  const own = new Error("own");
  own.cause = own;
  const several = new AggregateError([], "several");
  several.errors.push(several, several);

  assert.equal(toFailure(own).reached, true);
  assert.equal(toFailure(several).reached, true);
});
