// Streams are cut into their events, byte for byte, however they were cut into chunks.
import assert from "node:assert/strict";
import { test } from "node:test";
import { EventSplitter, findDataLines, type EventBytes } from "../../src/http/event-splitter.ts";
import { createRandom } from "../helpers/json-readers.ts";

interface Split {
  readonly events: readonly string[];
  readonly rest: string;
}

/** Each piece is a copy whose memory is used again, as sockets may do. */
function split(bytes: Buffer, sizes: () => number, limitBytes?: number) {
  const splitter = new EventSplitter(limitBytes);
  const items: EventBytes[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = Math.max(1, sizes());
    const chunk = Buffer.from(bytes.subarray(at, at + size));
    for (const item of splitter.push(chunk))
      items.push({ ...item, bytes: Buffer.from(item.bytes) });
    chunk.fill(0x2a);
    at += size;
  }
  return { items, rest: splitter.end() };
}

const CASES: readonly (readonly [string, Split])[] = [
  ["", { events: [], rest: "" }],
  ["data: a\n\n", { events: ["data: a\n\n"], rest: "" }],
  ["data: a\n\ndata: b\n\n", { events: ["data: a\n\n", "data: b\n\n"], rest: "" }],
  [
    "event: x\ndata: a\n\n: ping\n\n",
    { events: ["event: x\ndata: a\n\n", ": ping\n\n"], rest: "" },
  ],
  ["data: a\r\n\r\ndata: b\r\n\r\n", { events: ["data: a\r\n\r\n", "data: b\r\n\r\n"], rest: "" }],
  ["a\r\nb\r\n\r\nc", { events: ["a\r\nb\r\n\r\n"], rest: "c" }],
  ["data: a\r\rdata: b\r\r", { events: ["data: a\r\r", "data: b\r\r"], rest: "" }],
  ["a\rb\r\rc\r", { events: ["a\rb\r\r"], rest: "c\r" }],
  ["a\n\r\nb\r\n\nc", { events: ["a\n\r\n", "b\r\n\n"], rest: "c" }],
  ["a\n\rb\r\n\rc", { events: ["a\n\r", "b\r\n\r"], rest: "c" }],
  ["a\rb\n\r\nc", { events: ["a\rb\n\r\n"], rest: "c" }],
  ["a\r\r\nb", { events: ["a\r\r", "\n"], rest: "b" }],
  ["a\n\n\n\r\nb", { events: ["a\n\n", "\n", "\r\n"], rest: "b" }],
  ["\r\na\n", { events: ["\r\n"], rest: "a\n" }],
  ["\na\n \n\n", { events: ["\n", "a\n \n\n"], rest: "" }],
  ["\u{feff}data: é\n\nd", { events: ["\u{feff}data: é\n\n"], rest: "d" }],
];

for (const [text, expected] of CASES) {
  test(`cuts ${JSON.stringify(text)} in its events, in chunks of any size`, () => {
    const bytes = Buffer.from(text);
    for (let size = 1; size <= bytes.length + 1; size++) {
      const { items, rest } = split(bytes, () => size);
      const events = items.map((item) => item.bytes.toString());
      assert.deepEqual({ events, rest: rest.toString() }, expected, `chunks of ${size}`);
      assert.ok(
        items.every(({ whole, last }) => whole && last),
        "all of them are whole",
      );
    }
  });
}

test("random bytes come out as they went in, in the same events whatever the chunks", () => {
  const random = createRandom(7);
  const alphabet = ["\n", "\n", "\r", "\r", "\r\n", "data: x", "{}", ":", "é"];
  for (let round = 0; round < 2_000; round++) {
    const parts = Array.from({ length: Math.floor(random() * 30) }, () => {
      return alphabet[Math.floor(random() * alphabet.length)] ?? "";
    });
    const bytes = Buffer.from(parts.join(""));
    const limitBytes = round % 2 === 0 ? 12 : undefined;
    const once = split(bytes, () => bytes.length, limitBytes);
    const often = split(bytes, () => Math.floor(random() * 5), limitBytes);

    for (const { items, rest } of [once, often]) {
      assert.deepEqual(Buffer.concat([...items.map((item) => item.bytes), rest]), bytes);
    }
    const whole = ({ items }: typeof once) => items.filter((item) => item.whole).map(toText);
    assert.deepEqual(whole(often), whole(once));
    const ends = ({ items }: typeof once) => items.filter(({ last }) => last).length;
    assert.equal(ends(often), ends(once));
  }
});

function toText({ bytes }: EventBytes): string {
  return bytes.toString();
}

test("an event is given with the chunk that ends it, not with the next", () => {
  for (const end of ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n"]) {
    const splitter = new EventSplitter();
    assert.deepEqual(splitter.push(Buffer.from("data: a")), []);
    assert.equal(splitter.push(Buffer.from(end)).length, 1, JSON.stringify(end));
    assert.equal(splitter.heldBytes, 0);
  }
});

test("an event that lies in one chunk is not copied", () => {
  const chunk = Buffer.alloc(14, "xa\n\ndata: b\n\nc");
  const [first, second] = new EventSplitter().push(chunk.subarray(1));

  assert.deepEqual([first?.bytes.buffer, second?.bytes.buffer], [chunk.buffer, chunk.buffer]);
  assert.equal(second?.bytes.byteOffset, 4);
});

test("an event over the limit comes in pieces that say so, those around it do not", () => {
  const large = `data: ${"x".repeat(100)}\n\n`;
  const bytes = Buffer.from(`data: a\n\n${large}data: b\n\n`);
  for (let size = 1; size <= bytes.length; size++) {
    const { items } = split(bytes, () => size, 50);
    const pieces = items.slice(1, -1);

    assert.deepEqual([items[0], items.at(-1)].map(told), ["data: a\n\n!.", "data: b\n\n!."]);
    assert.equal(pieces.map(({ bytes: piece }) => piece.toString()).join(""), large);
    assert.ok(
      pieces.every(({ whole }) => !whole),
      "no piece is whole",
    );
    assert.deepEqual(
      pieces.map(({ last }) => last),
      pieces.map((_, index) => index === pieces.length - 1),
    );
  }
});

function told(item: EventBytes | undefined): string {
  return `${item?.bytes.toString()}${item?.whole ? "!" : ""}${item?.last ? "." : ""}`;
}

test("a limit is not reached by as many bytes", () => {
  const bytes = Buffer.from("data: a\n\n");
  assert.deepEqual(split(bytes, () => 4, bytes.length).items.map(told), ["data: a\n\n!."]);
  assert.equal(split(bytes, () => 4, bytes.length - 1).items[0]?.whole, false);
});

test("a megabyte that comes byte by byte takes linear time and is never held twice", () => {
  const splitter = new EventSplitter();
  const byte = Buffer.from("x");
  let given = 0;
  let most = 0;
  for (let count = 0; count < 1_500_000; count++) {
    for (const { bytes } of splitter.push(byte)) given += bytes.length;
    most = Math.max(most, splitter.heldBytes);
  }

  assert.equal(given, 1_500_000);
  assert.equal(most, 1_048_576);
});

test("the lines with an event's data are found, with or without a space", () => {
  const find = (event: string) =>
    findDataLines(Buffer.from(event)).map(({ start, next, from, to }) => [
      event.slice(start, next),
      event.slice(from, to),
    ]);

  assert.deepEqual(find("data: a\n\n"), [["data: a\n", "a"]]);
  assert.deepEqual(find("data:a\r\n\r\n"), [["data:a\r\n", "a"]]);
  assert.deepEqual(find("id: 1\rdata:  a\r\r"), [["data:  a\r", " a"]]);
  assert.deepEqual(find(": data: x\ndatas: y\nevent: data: z\n\n"), []);
  assert.deepEqual(find("data: a\ndata: b"), [
    ["data: a\n", "a"],
    ["data: b", "b"],
  ]);
  assert.equal(findDataLines(Buffer.from("\u{feff}data: a\n\n"))[0]?.from, 9);
});
