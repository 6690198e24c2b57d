// The bytes of an answer between whoever gets them and whoever takes them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ReplyBody, toReplyBytes } from "../../src/upstream/reply-body.ts";

/** What was done to it is told in the order in which it happened. */
function begin() {
  const told: string[] = [];
  const body: ReplyBody = new ReplyBody(
    () => told.push("resume"),
    () => {
      told.push("cancel");
      body.fail(new Error("It was cancelled."));
    },
  );
  const take = (piece: Buffer): undefined => void told.push(String(piece));
  return { body, told, take };
}

/** Takes what comes, and has no room for more until it is told so. */
function beginSlowly() {
  const { body, told } = begin();
  const waits: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  const reading = body.each((piece) => {
    told.push(piece.length > 8 ? `${piece.length} bytes` : String(piece));
    return new Promise((resolve, reject) => waits.push({ resolve, reject }));
  });
  return { body, told, waits, reading };
}

/** Long enough for whatever follows from a promise that is settled. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what came first is handed over first, before and after somebody takes it", async () => {
  const { body, told, take } = begin();
  body.push(Buffer.from("a"));
  body.push(Buffer.from("b"));
  const reading = body.each(take);
  assert.deepEqual(told, ["a", "b"]);
  body.push(Buffer.from("c"));
  assert.deepEqual(told, ["a", "b", "c"]);
  body.end();

  assert.equal(await reading, undefined);
  assert.equal(body.bytes, 3);
});

test("it says when there is enough, and asks for more when all of it is taken", async () => {
  const { body, told } = begin();
  const piece = Buffer.alloc(40_000, "x");

  assert.deepEqual([body.push(piece), body.push(piece)], [true, false]);
  const reading = body.each(({ length }) => void told.push(`${length} bytes`));

  assert.deepEqual(told, ["40000 bytes", "40000 bytes", "resume"]);
  assert.equal(body.push(piece), true);
  body.end();
  await reading;
});

test("whoever has no room is given nothing until there is some", async () => {
  const { body, told, waits, reading } = beginSlowly();
  const large = Buffer.alloc(70_000);

  assert.deepEqual([body.push(Buffer.from("a")), body.push(large)], [true, false]);
  assert.deepEqual(told, ["a"]);
  waits[0]?.resolve();
  await turn();
  assert.deepEqual(told, ["a", "70000 bytes"]);
  waits[1]?.resolve();
  await turn();
  assert.deepEqual(told, ["a", "70000 bytes", "resume"]);
  body.end();

  await reading;
});

test("the end comes behind what is there, and stays", async () => {
  const { body, told, waits, reading } = beginSlowly();
  body.push(Buffer.from("a"));
  body.push(Buffer.from("b"));
  body.end();
  assert.equal(body.push(Buffer.from("more than there should be")), true);
  const ended = reading.then(() => told.push("end"));
  await turn();
  assert.deepEqual(told, ["a"]);
  waits[0]?.resolve();
  await turn();
  assert.deepEqual(told, ["a", "b"]);
  waits[1]?.resolve();

  await ended;
  assert.deepEqual(told, ["a", "b", "end"]);
});

test("an end that was there before anybody came is one", async () => {
  const { body, told, take } = begin();
  body.push(Buffer.from("a"));
  body.end();
  await body.each(take);

  assert.deepEqual(told, ["a"]);
});

test("a failure ends the wait for more", async () => {
  const { body, take } = begin();
  const reading = body.each(take);
  body.fail(new Error("It broke."));

  await assert.rejects(reading, { message: "It broke." });
});

test("of an answer that broke nothing more is given: it may be cut anywhere", async () => {
  const { body, told, take } = begin();
  body.push(Buffer.from("half of a charac"));
  body.fail(new Error("It broke."));

  await assert.rejects(body.each(take), { message: "It broke." });
  assert.deepEqual(told, []);
});

test("a failure is told when there is room again, not before", async () => {
  const { body, told, waits, reading } = beginSlowly();
  body.push(Buffer.from("a"));
  body.push(Buffer.from("b"));
  body.fail(new Error("It broke."));
  const failed = reading.catch(({ message }) => told.push(message));
  await turn();
  assert.deepEqual(told, ["a"]);
  waits[0]?.resolve();

  await failed;
  assert.deepEqual(told, ["a", "It broke."]);
});

test("a failure behind the end is nobody's business", async () => {
  const { body, take } = begin();
  body.end();
  body.fail(new Error("It broke."));

  await body.each(take);
});

test("whoever throws at a piece is given no more, and what is not all there is cancelled", async () => {
  const { body, told } = begin();
  body.push(Buffer.from("a"));
  body.push(Buffer.from("b"));
  const reading = body.each((piece) => {
    told.push(String(piece));
    throw new Error("Enough.");
  });

  assert.equal(body.push(Buffer.from("c")), true);
  await assert.rejects(reading, { message: "Enough." });
  assert.deepEqual(told, ["a", "cancel"]);
});

test("so is whoever throws while waiting for room", async () => {
  const { body, told, waits, reading } = beginSlowly();
  body.push(Buffer.from("a"));
  body.push(Buffer.from("b"));
  waits[0]?.reject(new Error("Enough."));

  await assert.rejects(reading, { message: "Enough." });
  assert.deepEqual(told, ["a", "cancel"]);
});

test("a resume that throws fails whoever reads, not the process", async () => {
  const refuse = (): void => assert.fail("It is over.");
  const body: ReplyBody = new ReplyBody(refuse, () => body.fail(new Error("It was cancelled.")));
  body.push(Buffer.alloc(70_000));

  await assert.rejects(
    body.each(() => Promise.resolve()),
    { message: "It is over." },
  );
});

test("what is all there cannot be cancelled", async () => {
  const { body, told, take } = begin();
  body.push(Buffer.from("a"));
  body.end();
  body.cancel();
  await body.each(take);

  assert.deepEqual(told, ["a"]);
});

test("bytes that are all there are taken one by one", async () => {
  const { told, take } = begin();
  await toReplyBytes(Buffer.from("a"), Buffer.from("b")).each(take);

  assert.deepEqual(told, ["a", "b"]);
});
