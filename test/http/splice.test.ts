// Edits land where they belong and nowhere else, however the body comes in pieces.
import assert from "node:assert/strict";
import { test } from "node:test";
import { growthOf, splice, splicePieces, type Edit } from "../../src/http/splice.ts";
import { createRandom } from "../helpers/json-readers.ts";

async function* inPieces(body: Buffer, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const edges = [0, ...cuts, body.length];
  for (const [index, edge] of edges.slice(1).entries()) yield body.subarray(edges[index], edge);
}

async function apply(body: Buffer, edits: readonly Edit[], cuts: readonly number[] = []) {
  const pieces: Uint8Array[] = [];
  for await (const piece of splicePieces(inPieces(body, cuts), edits)) pieces.push(piece);
  const whole = Buffer.concat(pieces);
  assert.deepEqual(splice(body, edits), whole, "one piece is not as many");
  return whole;
}

const everywhere = (length: number) => Array.from({ length: length - 1 }, (_, at) => at + 1);

const BODY = Buffer.from("0123456789");
const put = (at: number, text: string): Edit => ({ start: at, end: at, text });

const cases: readonly { name: string; edits: readonly Edit[]; becomes: string }[] = [
  { name: "no edit changes nothing", edits: [], becomes: "0123456789" },
  { name: "something is put in front", edits: [put(0, "ab")], becomes: "ab0123456789" },
  { name: "something is put in the midst", edits: [put(5, "ab")], becomes: "01234ab56789" },
  {
    name: "of two at one place the first leads",
    edits: [put(5, "a"), put(5, "b")],
    becomes: "01234ab56789",
  },
  { name: "a piece is replaced", edits: [{ start: 2, end: 5, text: "é" }], becomes: "01é56789" },
  { name: "a piece is taken out", edits: [{ start: 2, end: 5, text: "" }], becomes: "0156789" },
  {
    name: "the first byte is replaced",
    edits: [{ start: 0, end: 1, text: "ab" }],
    becomes: "ab123456789",
  },
  {
    name: "the last byte is replaced",
    edits: [{ start: 9, end: 10, text: "ab" }],
    becomes: "012345678ab",
  },
  { name: "all of it is replaced", edits: [{ start: 0, end: 10, text: "ab" }], becomes: "ab" },
  {
    name: "neighbours do not touch each other",
    edits: [
      { start: 2, end: 4, text: "a" },
      { start: 4, end: 6, text: "b" },
    ],
    becomes: "01ab6789",
  },
  {
    name: "their order does not matter",
    edits: [{ start: 7, end: 8, text: "c" }, put(0, "a"), { start: 3, end: 4, text: "b" }],
    becomes: "a012b456c89",
  },
];

for (const { name, edits, becomes } of cases) {
  test(`${name}, wherever the body is cut`, async () => {
    assert.equal(String(await apply(BODY, edits)), becomes);
    for (const cut of everywhere(BODY.length)) {
      assert.equal(String(await apply(BODY, edits, [cut])), becomes, `cut at ${cut}`);
    }
    assert.equal(String(await apply(BODY, edits, everywhere(BODY.length))), becomes);
    assert.equal(BODY.length + growthOf(edits), Buffer.byteLength(becomes));
  });
}

test("random edits of random bodies give what replacing them one by one gives", async () => {
  const random = createRandom(1);
  const below = (limit: number): number => Math.floor(random() * limit);

  for (let round = 0; round < 500; round++) {
    const body = Buffer.from(Array.from({ length: 1 + below(60) }, () => below(256)));
    const edits: Edit[] = [];
    for (let at = below(20); at < body.length; at += 1 + below(20)) {
      const end = Math.min(body.length, at + below(6));
      edits.push({ start: at, end, text: "é".repeat(below(4)) });
      at = end;
    }
    const cuts = Array.from({ length: below(9) }, () => below(body.length)).toSorted(
      (a, b) => a - b,
    );

    const spliced = await apply(body, edits, cuts);

    let expected = body;
    for (const { start, end, text } of edits.toReversed()) {
      const parts = [expected.subarray(0, start), Buffer.from(text), expected.subarray(end)];
      expected = Buffer.concat(parts);
    }
    assert.ok(spliced.equals(expected), `round ${round}: ${JSON.stringify({ edits, cuts })}`);
    assert.equal(spliced.length, body.length + growthOf(edits));
  }
});

test("a list of edits can be used again, for a second attempt", async () => {
  const edits = [put(5, "b"), put(0, "a")];

  assert.equal(String(await apply(BODY, edits)), String(await apply(BODY, edits)));
});

test("nothing is held back: a piece goes on before the next one comes", async () => {
  let asked = 0;
  async function* body(): AsyncGenerator<Uint8Array> {
    for (;;) {
      asked++;
      yield BODY;
    }
  }

  const spliced = splicePieces(body(), [put(5, "ab"), put(25, "cd")]);
  const pieces = [await spliced.next(), await spliced.next(), await spliced.next()];

  assert.equal(
    pieces.map(({ value }) => String(Buffer.from(value ?? []))).join("|"),
    "01234|ab|56789",
  );
  assert.equal(asked, 1);
  await spliced.return();
});
