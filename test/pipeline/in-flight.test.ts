// Which calls are open: in whatever order they end, the others stay.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { GatewayError } from "../../src/errors.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { createExchange, type Exchange } from "../../src/pipeline/exchange.ts";
import { InFlight, type Cancellable } from "../../src/pipeline/in-flight.ts";
import { IncomingMessage } from "node:http";
import { Socket } from "node:net";

interface Call extends Cancellable {
  readonly name: string;
  readonly exchange: Exchange;
  readonly told: string[];
}

function call(name: string): Call {
  const req = new IncomingMessage(new Socket());
  const exchange = { ...createExchange(req, new ManualClock()), caller: name };
  const told: string[] = [];
  return { name, exchange, told, place: undefined, cancel: ({ code }) => void told.push(code) };
}

function begin(inFlight: InFlight, names: string): readonly Call[] {
  const calls = names.split("").map(call);
  for (const each of calls) inFlight.begin(each, each.exchange);
  return calls;
}

/** Every order in which so many may end. */
function* orders(names: string): Generator<string> {
  if (names === "") yield "";
  for (const name of names) {
    for (const rest of orders(names.replace(name, ""))) yield name + rest;
  }
}

test("in whatever order calls end, those that have not are told that it is over", () => {
  for (const order of orders("abcd")) {
    for (let ended = 0; ended <= order.length; ended++) {
      const inFlight = new InFlight(10);
      const calls = begin(inFlight, "abcd");
      const gone = order.slice(0, ended);
      for (const name of gone) inFlight.end(calls.find((each) => each.name === name) ?? call("?"));

      inFlight.cancelAll();

      const told = calls.filter((each) => each.told.length > 0).map(({ name }) => name);
      const open = calls.map(({ name }) => name).filter((name) => !gone.includes(name));
      assert.deepEqual([told, inFlight.size], [open, open.length], `${order}, ${ended} ended`);
    }
  }
});

test("a call that has ended, or never began, changes nothing when it ends", () => {
  const inFlight = new InFlight(3);
  const [a, b] = begin(inFlight, "ab");
  assert.ok(a !== undefined && b !== undefined, "two calls");

  inFlight.end(a);
  inFlight.end(a);
  inFlight.end(call("c"));

  assert.equal(inFlight.size, 1);
  assert.equal(
    inFlight.count(({ caller }) => caller === "b"),
    1,
  );
});

test("a caller's calls are told, and nobody else's, also when they end meanwhile", () => {
  const inFlight = new InFlight(10);
  const calls = begin(inFlight, "abab").map((each) => {
    const end = (error: GatewayError): void => {
      each.told.push(error.code);
      inFlight.end(each);
    };
    return Object.assign(each, { cancel: end });
  });

  inFlight.cancelOf("a");

  assert.deepEqual(
    calls.map(({ told }) => told.length),
    [1, 0, 1, 0],
  );
  assert.equal(inFlight.size, 2);
});

test("there is room for so many, and again when one has ended", () => {
  const inFlight = new InFlight(2);
  const [a] = begin(inFlight, "ab");
  const c = call("c");

  assert.throws(() => inFlight.begin(c, c.exchange), { code: "overloaded" });
  inFlight.end(c);
  assert.equal(inFlight.size, 2);
  inFlight.end(a ?? c);
  inFlight.begin(c, c.exchange);
  assert.equal(inFlight.size, 2);
});

test("draining is over when the last call is", async () => {
  const inFlight = new InFlight(2);
  const [a, b] = begin(inFlight, "ab");
  let over = false;
  const draining = inFlight.drain().then(() => (over = true));
  const d = call("d");

  assert.throws(() => inFlight.begin(d, d.exchange), { code: "draining" });
  inFlight.end(b ?? d);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(over, false);
  inFlight.end(a ?? d);
  await draining;
});
