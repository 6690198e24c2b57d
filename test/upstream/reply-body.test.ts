// The bytes of an answer between whoever gets them and whoever reads them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ReplyBody } from "../../src/upstream/reply-body.ts";

function begin() {
  const told: string[] = [];
  const body = new ReplyBody(
    () => told.push("resume"),
    () => told.push("cancel"),
  );
  const read = async (): Promise<string | undefined> => {
    const { value } = await body.next();
    return value === undefined ? undefined : Buffer.from(value).toString();
  };
  return { body, told, read };
}

test("what came first is read first, before and after it is waited for", async () => {
  const { body, read } = begin();
  body.push(Buffer.from("a"));
  body.push(Buffer.from("b"));
  const early = [await read(), await read()];
  const late = read();
  body.push(Buffer.from("c"));

  assert.deepEqual([...early, await late], ["a", "b", "c"]);
  assert.equal(body.bytes, 3);
});

test("it says when there is enough, and asks for more when all of it is read", async () => {
  const { body, told, read } = begin();
  const piece = Buffer.alloc(40_000, "x");

  assert.deepEqual([body.push(piece), body.push(piece)], [true, false]);
  await read();
  assert.deepEqual(told, []);
  await read();

  assert.deepEqual(told, ["resume"]);
  assert.equal(body.push(piece), true);
});

test("the end comes behind what is there, and stays", async () => {
  const { body, read } = begin();
  body.push(Buffer.from("a"));
  body.end();

  assert.equal(body.push(Buffer.from("more than there should be")), true);
  assert.deepEqual([await read(), await read(), await read()], ["a", undefined, undefined]);
});

test("an end that is waited for ends the wait", async () => {
  const { body, read } = begin();
  const waiting = read();
  body.end();

  assert.equal(await waiting, undefined);
});

test("a failure ends the wait", async () => {
  const { body, read } = begin();
  const waiting = read();
  body.fail(new Error("It broke."));

  await assert.rejects(waiting, { message: "It broke." });
  await assert.rejects(read(), { message: "It broke." });
});

test("of an answer that broke nothing more is read: it may be cut anywhere", async () => {
  const { body, read } = begin();
  body.push(Buffer.from("half of a charac"));
  body.fail(new Error("It broke."));

  await assert.rejects(read(), { message: "It broke." });
});

test("a failure behind the end is nobody's business", async () => {
  const { body, read } = begin();
  body.end();
  body.fail(new Error("It broke."));

  assert.equal(await read(), undefined);
});

test("whoever stops reading cancels what is not all there", async () => {
  const { body, told } = begin();
  body.push(Buffer.from("a"));
  for await (const piece of body) if (piece.length > 0) break;

  assert.deepEqual(told, ["cancel"]);
});

test("whoever has read all of it cancels nothing", async () => {
  const { body, told } = begin();
  body.push(Buffer.from("a"));
  body.end();
  for await (const piece of body) assert.equal(piece.length, 1);

  assert.deepEqual(told, []);
});
