// Header rules that hold for any proxy.
import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { GatewayError } from "../../src/errors.ts";
import { checkRequestHeaders, hasBody, hopByHop, isWritable } from "../../src/http/headers.ts";

type Fields = readonly (readonly [string, string])[];

/** As Node's parser would hand it over. */
function toRequest(method: string, fields: Fields, httpVersion = "1.1"): IncomingMessage {
  const headers: Record<string, string> = {};
  for (const [name, value] of fields) headers[name.toLowerCase()] ??= value;
  const made: unknown = { method, httpVersion, headers, rawHeaders: fields.flat() };
  return made as IncomingMessage;
}

function refusalOf(method: string, fields: Fields, httpVersion?: string): string | undefined {
  try {
    checkRequestHeaders(toRequest(method, fields, httpVersion));
    return undefined;
  } catch (error) {
    assert.ok(error instanceof GatewayError);
    return error.code;
  }
}

const HOST = ["Host", "x"] as const;

test("an ordinary request passes", () => {
  assert.equal(
    refusalOf("POST", [
      HOST,
      ["Content-Type", "a/b"],
      ["Content-Length", "2"],
      ["X-A", "1"],
      ["x-a", "2"],
    ]),
    undefined,
  );
  assert.equal(refusalOf("POST", [HOST, ["Transfer-Encoding", "Chunked"]]), undefined);
  assert.equal(refusalOf("GET", [HOST, ["Content-Length", "0"]]), undefined);
  assert.equal(refusalOf("DELETE", [HOST, ["Content-Length", "2"]]), undefined);
  assert.equal(refusalOf("GET", [], "1.0"), undefined);
});

for (const name of [
  "Host",
  "Authorization",
  "Api-Key",
  "Content-Type",
  "Content-Length",
  "Origin",
]) {
  test(`two fields called ${name} are refused, in any spelling`, () => {
    const others = name === "Host" ? [] : [HOST];
    assert.equal(
      refusalOf("POST", [...others, [name, "1"], ["x-a", "b"], [name.toUpperCase(), "1"]]),
      "invalid_request",
    );
  });
}

test("what Node's parser lets through, and another reader might not, is refused", () => {
  assert.equal(
    refusalOf("POST", [HOST, ["Transfer-Encoding", "gzip, chunked"]]),
    "not_implemented",
  );
  assert.equal(refusalOf("POST", [HOST, ["Transfer-Encoding", ""]]), "not_implemented");
  assert.equal(refusalOf("POST", [HOST, ["Transfer-Encoding", "chunked "]]), "not_implemented");
  assert.equal(refusalOf("GET", [HOST, ["Content-Length", "1"]]), "invalid_request");
  assert.equal(refusalOf("HEAD", [HOST, ["Transfer-Encoding", "chunked"]]), "invalid_request");
  assert.equal(refusalOf("GET", []), "invalid_request");
  assert.equal(refusalOf("GET", [HOST], "0.9"), "invalid_request");
  assert.equal(refusalOf("GET", [HOST], "2.0"), "invalid_request");
});

test("as many fields as an old Node keeps may hide others, and are refused", () => {
  const fields = (count: number): Fields =>
    Array.from({ length: count }, (_, index) => [`a${index}`, "b"] as const);

  assert.equal(refusalOf("GET", [HOST, ...fields(998)]), undefined);
  assert.equal(refusalOf("GET", [HOST, ...fields(999)]), "headers_too_large");
});

test("hop-by-hop are the fixed names and those that Connection lists, in any spelling", () => {
  const fixed = hopByHop(undefined);
  const listed = hopByHop("close, X-Secret ,,\tAuthorization");

  for (const name of [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
    "proxy-authenticate",
  ]) {
    assert.ok(fixed.has(name) && listed.has(name), name);
  }
  assert.ok(listed.has("x-secret") && listed.has("authorization"));
  assert.ok(!fixed.has("x-secret"), "one request's names stay that request's");
  assert.equal(hopByHop(null), fixed);
});

test("writable is what Node does not throw at", () => {
  assert.ok(isWritable("x-a!#$%&'*+-.^_`|~9", "a\tb \x80\xff~"));
  assert.ok(isWritable("x", ""));
  for (const name of ["", "a b", "a:b", "a\n", "\xe9", "a(", "[a]"])
    assert.ok(!isWritable(name, "x"), name);
  for (const value of ["a\nb", "a\rb", "a\0", "\x1f", "\x7f", "\u0100", "a\n"])
    assert.ok(!isWritable("x", value), value);
});

test("a body is announced by a length above nothing or by a transfer coding", () => {
  assert.ok(hasBody({ "content-length": "1" }));
  assert.ok(hasBody({ "transfer-encoding": "chunked" }));
  assert.ok(!hasBody({ "content-length": "0" }));
  assert.ok(!hasBody({}));
});
