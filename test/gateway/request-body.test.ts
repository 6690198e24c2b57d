// The body's own promises, without a gateway around it: what it keeps, and when it lets go.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { test, type TestContext } from "node:test";
import { Cancellation } from "../../src/cancellation.ts";
import { GatewayError } from "../../src/errors.ts";
import { Allowance } from "../../src/http/allowance.ts";
import { RequestBody } from "../../src/http/body.ts";
import { portOf } from "../helpers/fake-openai.ts";
import { openSocket } from "../helpers/raw-client.ts";

/** A request whose head has come, and the socket that its body comes from. */
async function arriving(
  t: TestContext,
  head = "transfer-encoding: chunked",
  allowance = new Allowance(1_000),
) {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const socket = await openSocket(portOf(server));
  t.after(() => socket.destroy());
  socket.write(`POST / HTTP/1.1\r\nhost: x\r\n${head}\r\n\r\n`);
  const [req]: IncomingMessage[] = await once(server, "request");
  assert.ok(req);
  const told: string[] = [];
  const cancellation = new Cancellation();
  const body = new RequestBody(req, {
    limitBytes: 100,
    keepBytes: 8,
    allowance,
    cancellation,
    invite: () => told.push("invited"),
    watcher: {
      waiting: () => told.push("waiting"),
      moving: () => told.push("moving"),
      failed: ({ code }) => told.push(code),
    },
  });
  const send = (text: string): boolean =>
    socket.write(`${text.length.toString(16)}\r\n${text}\r\n`);
  return { body, send, socket, told, cancellation };
}

async function take(pass: AsyncIterator<Uint8Array>): Promise<string | undefined> {
  const { value } = await pass.next();
  return value === undefined ? undefined : String(Buffer.from(value));
}

test("a second pass begins with the first byte while no more than the limit has come", async (t) => {
  const { body, send } = await arriving(t);
  const first = body.pass();
  send("12345678");
  await take(first);
  await first.return(undefined);

  const second = body.pass();

  assert.equal(body.replayable, true);
  assert.equal(await take(second), "12345678");
});

test("a piece that a former pass still waits for goes to the new one", async (t) => {
  const { body, send } = await arriving(t);
  const abandoned = body.pass().next();
  // Not an end: whoever took it for one would take half a body for the whole.
  const rejected = assert.rejects(abandoned, { name: "Superseded" });

  const second = body.pass();
  const next = take(second);
  send("late");

  assert.equal(await next, "late");
  await rejected;
});

test("what passes the limit is not kept, and still comes in order", async (t) => {
  const { body, send, socket } = await arriving(t);
  const pass = body.pass();

  send("123456");
  assert.equal(await take(pass), "123456");
  assert.equal(body.replayable, true);
  send("789");
  assert.equal(await take(pass), "789");
  socket.write("0\r\n\r\n");

  assert.equal(await take(pass), undefined);
  assert.deepEqual([body.replayable, body.bytes], [false, 9]);
});

test("its watcher hears whom it waits for, until the body is released", async (t) => {
  const { body, send, told } = await arriving(t);
  const pass = body.pass();
  const first = take(pass);
  send("1");
  await first;

  body.release();
  const second = take(pass);
  send("2");
  await second;

  assert.deepEqual(told.slice(0, 2), ["invited", "waiting"]);
  assert.equal(told.at(-1), "moving");
  assert.equal(told.filter((event) => event === "moving").length, 1);
});

test("a body over its limit fails once, with 413, and says so", async (t) => {
  const { body, send, told } = await arriving(t);
  const pass = body.pass();
  const taken = take(pass);

  send("x".repeat(101));

  await assert.rejects(taken, { code: "request_too_large" });
  assert.equal(told.at(-1), "request_too_large");
  assert.equal(await take(pass), undefined);
});

test("a client that leaves in the middle ends the pass with client_gone", async (t) => {
  const { body, send, socket } = await arriving(t);
  const pass = body.pass();
  const first = take(pass);
  send("1");
  await first;

  const second = take(pass);
  socket.resetAndDestroy();

  await assert.rejects(second, { code: "client_gone" });
});

test("what was only looked at is there again from its first byte, however long", async (t) => {
  const { body, send } = await arriving(t);
  const look = body.look();
  for (const text of ["123456", "789012", "345678"]) {
    send(text);
    assert.equal(await take(look), text);
  }
  await look.return(undefined);

  const pass = body.pass();

  assert.deepEqual([await take(pass), await take(pass)], ["123456", "789012"]);
  assert.equal(body.replayable, false, "18 bytes are more than the 8 that a pass keeps");
  assert.equal(await take(pass), "345678");
});

test("held bodies share one allowance, and give it back when they are let go", async (t) => {
  const allowance = new Allowance(20);
  const first = await arriving(t, undefined, allowance);
  const second = await arriving(t, undefined, allowance);
  const third = await arriving(t, undefined, allowance);
  for (const { send } of [first, second, third]) send("fifteen bytes..");
  await take(first.body.look());

  await assert.rejects(take(second.body.look()), { code: "overloaded" });
  first.body.release();
  first.body.release();

  assert.equal(await take(third.body.look()), "fifteen bytes..");
  assert.deepEqual(second.told.at(-1), "overloaded");
});

test("a body that is alone may be larger than the allowance", async (t) => {
  const { body, send } = await arriving(t, undefined, new Allowance(5));
  const look = body.look();
  for (const text of ["123456", "789012"]) {
    send(text);
    assert.equal(await take(look), text);
  }
});

test("bodies take turns: two go on in one turn of the event loop, the others later", async () => {
  const allowance = new Allowance(1);
  const gone: number[] = [];
  const turns = Array.from({ length: 5 }, async (_, body) => {
    await allowance.turn();
    gone.push(body);
  });
  const seen: number[] = [];
  const look = (): void => {
    seen.push(gone.length);
    if (gone.length < 5) setImmediate(look);
  };
  setImmediate(look);

  await Promise.all(turns);

  assert.deepEqual(gone, [0, 1, 2, 3, 4]);
  assert.deepEqual(seen.slice(0, 2), [2, 4]);
});

for (const way of ["look", "pass"] as const) {
  test(`a ${way} at a body that no longer comes ends with its call`, async (t) => {
    const { body, send, cancellation } = await arriving(t);
    const pieces = body[way]();
    send("begun");
    await take(pieces);
    const next = assert.rejects(take(pieces), { message: "The call is over." });

    cancellation.cancel(new GatewayError("client_gone", "The call is over."));

    await next;
  });
}

test("what a pass has handed on is given back at once, not when the call ends", async (t) => {
  const allowance = new Allowance(1_000);
  const { body, send, socket } = await arriving(t, undefined, allowance);
  const look = body.look();
  for (const text of ["123456", "789012"]) {
    send(text);
    await take(look);
  }
  socket.write("0\r\n\r\n");
  const other = (bytes: number) => () => allowance.take(bytes, 0);
  assert.throws(other(900), { code: "overloaded" });

  const pass = body.pass();
  while ((await take(pass)) !== undefined);

  assert.doesNotThrow(other(900));
});
