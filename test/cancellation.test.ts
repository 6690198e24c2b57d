// The end of a call before its time, and who is told of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Cancellation } from "../src/cancellation.ts";
import { GatewayError } from "../src/errors.ts";

const GONE = new GatewayError("client_gone", "The client left.");
const LATE = new GatewayError("upstream_timeout", "OpenAI did not begin to answer in time.");

test("the first reason counts, and is thrown", () => {
  const call = new Cancellation();
  call.throwIfCancelled();
  assert.equal(call.reason, undefined);

  call.cancel(GONE);
  call.cancel(LATE);

  assert.equal(call.reason, GONE);
  assert.throws(() => call.throwIfCancelled(), GONE);
});

test("whoever listens is told once, in order; whoever has stopped is not", () => {
  const call = new Cancellation();
  const told: string[] = [];
  const stopped = (): void => void told.push("stopped");
  call.listen(() => told.push("first"));
  call.listen(stopped);
  call.listen(() => told.push("last"));

  call.unlisten(stopped);
  call.unlisten(() => {});
  call.cancel(GONE);
  call.cancel(LATE);

  assert.deepEqual(told, ["first", "last"]);
});

for (const when of ["before", "after"]) {
  test(`a signal that is asked for ${when} the end aborts with its reason`, () => {
    const call = new Cancellation();
    if (when === "after") call.cancel(GONE);
    const { signal } = call;
    assert.equal(signal.aborted, when === "after");
    if (when === "before") call.cancel(GONE);

    assert.equal(signal.aborted, true);
    assert.equal(signal.reason, GONE);
    assert.equal(call.signal, signal);
  });
}
