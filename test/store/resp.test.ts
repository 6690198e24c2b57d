// RESP in both directions: any value, split anywhere, and nothing that a server sends hangs us.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  encodeCommand,
  ProtocolError,
  ReplyDecoder,
  ReplyError,
  type Reply,
} from "../../src/store/resp.ts";

/** Everything that these pieces complete. */
function decode(pieces: readonly (string | Buffer)[], limitBytes?: number): readonly Reply[] {
  const decoder = new ReplyDecoder(limitBytes);
  const replies: Reply[] = [];
  for (const piece of pieces) {
    decoder.write(Buffer.from(piece));
    for (let reply = decoder.read(); reply !== undefined; reply = decoder.read()) {
      replies.push(reply);
    }
  }
  return replies;
}

/** Small numbers from a seed (mulberry32). */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

test("a command is an array of strings whose lengths count bytes", () => {
  const encoded = encodeCommand(["SET", "ké", 12, Buffer.from([0, 13, 10, 255]), "", "x"]);

  const expected = Buffer.concat([
    Buffer.from("*6\r\n$3\r\nSET\r\n$3\r\nké\r\n$2\r\n12\r\n$4\r\n"),
    Buffer.from([0, 13, 10, 255]),
    Buffer.from("\r\n$0\r\n\r\n$1\r\nx\r\n"),
  ]);
  assert.deepEqual(encoded, expected);
});

test("a command reads back as what it was made of, unpaired surrogates as what UTF-8 has", () => {
  for (const args of [
    ["GET", "a"],
    ["\ud800", "\udc00"],
    ["€", "", "a\r\nb", "\0"],
  ]) {
    const [command] = decode([encodeCommand(args)]);

    assert.deepEqual(
      command,
      args.map((arg) => Buffer.from(arg)),
    );
  }
});

const REPLIES: readonly (readonly [wire: string, value: Reply])[] = [
  ["+OK\r\n", "OK"],
  ["+\r\n", ""],
  ["+ü\r\n", "ü"],
  [":0\r\n", 0],
  [":-12\r\n", -12],
  [":+12\r\n", 12],
  [":9007199254740991\r\n", 9007199254740991],
  [":9223372036854775807\r\n", "9223372036854775807"],
  ["$0\r\n\r\n", Buffer.alloc(0)],
  ["$4\r\n\r\n\r\n\r\n", Buffer.from("\r\n\r\n")],
  ["$2\r\nü\r\n", Buffer.from("ü")],
  ["$-1\r\n", null],
  ["*-1\r\n", null],
  ["*0\r\n", []],
  ["*2\r\n*2\r\n:1\r\n:2\r\n*1\r\n$1\r\na\r\n", [[1, 2], [Buffer.from("a")]]],
  ["*3\r\n:1\r\n-ERR no\r\n*0\r\n", [1, new ReplyError("ERR no"), []]],
  ["-NOSCRIPT No matching script.\r\n", new ReplyError("NOSCRIPT No matching script.")],
  ["_\r\n", null],
  ["#t\r\n", true],
  ["#f\r\n", false],
  [",1.5e3\r\n", 1500],
  [",inf\r\n", Infinity],
  [",-inf\r\n", -Infinity],
  [",nan\r\n", NaN],
  [
    "(3492890328409238509324850943850943825024385\r\n",
    "3492890328409238509324850943850943825024385",
  ],
  ["!10\r\nERR a\r\nb\r\n\r\n", new ReplyError("ERR a\r\nb\r\n")],
  ["=5\r\ntxt:a\r\n", Buffer.from("a")],
  ["%2\r\n+a\r\n:1\r\n+b\r\n*0\r\n", ["a", 1, "b", []]],
  ["~1\r\n:1\r\n", [1]],
  ["%0\r\n", []],
];

test("every type of RESP2 and RESP3 is read", () => {
  for (const [wire, value] of REPLIES) assert.deepEqual(decode([wire]), [value], wire);
});

test("an error's code is its first word", () => {
  assert.equal(new ReplyError("WRONGPASS invalid username-password pair").code, "WRONGPASS");
  assert.equal(new ReplyError("lower case").code, "ERR");
  assert.equal(new ReplyError("").code, "ERR");
});

test("replies may be split at any byte", () => {
  const wire = Buffer.from(REPLIES.map(([text]) => text).join(""));
  const values = REPLIES.map(([, value]) => value);

  for (let at = 1; at < wire.length; at++) {
    assert.deepEqual(decode([wire.subarray(0, at), wire.subarray(at)]), values, `at ${at}`);
  }
  assert.deepEqual(decode(Array.from(wire, (byte) => Buffer.from([byte]))), values);
});

test("random values in random pieces come back whole, and share no memory with the input", () => {
  const random = createRandom(4);
  const build = (depth: number): { wire: Buffer; value: Reply } => {
    if (depth > 0 && random(3) === 0) {
      const items = Array.from({ length: random(5) }, () => build(depth - 1));
      const head = Buffer.from(`*${items.length}\r\n`);
      const wire = Buffer.concat([head, ...items.map((item) => item.wire)]);
      return { wire, value: items.map((item) => item.value) };
    }
    if (random(2) === 0) return { wire: Buffer.from(`:${random(1e6)}\r\n`), value: 0 };
    const bytes = Buffer.from(Array.from({ length: random(40) }, () => random(256)));
    const head = Buffer.from(`$${bytes.length}\r\n`);
    return { wire: Buffer.concat([head, bytes, Buffer.from("\r\n")]), value: bytes };
  };
  const zeroIntegers = (value: Reply): Reply => {
    return Array.isArray(value) ? value.map(zeroIntegers) : typeof value === "number" ? 0 : value;
  };

  for (let round = 0; round < 300; round++) {
    const built = Array.from({ length: 1 + random(6) }, () => build(4));
    const wire = Buffer.concat(built.map((each) => each.wire));
    const pieces: Buffer[] = [];
    for (let at = 0; at < wire.length;) {
      const length = 1 + random(random(2) === 0 ? 3 : 200);
      pieces.push(wire.subarray(at, at + length));
      at += length;
    }
    const replies = decode(pieces);
    wire.fill(0);

    assert.deepEqual(
      replies.map(zeroIntegers),
      built.map((each) => each.value),
      `round ${round}`,
    );
  }
});

test("push messages and attributes are passed over, whatever they hold", () => {
  const push = ">3\r\n+invalidate\r\n*1\r\n$1\r\na\r\n%1\r\n+a\r\n+b\r\n";
  const attribute = "|1\r\n+ttl\r\n*2\r\n:1\r\n:2\r\n";

  assert.deepEqual(
    decode([`${push}+a\r\n>0\r\n${push}${attribute}*2\r\n:1\r\n|0\r\n${attribute}:2\r\n`]),
    ["a", [1, 2]],
  );
  assert.deepEqual(decode([push.repeat(100), "+a\r\n"], 100), ["a"]);
  assert.throws(() => decode([attribute.repeat(100)], 100), ProtocolError);
});

test("what is not RESP is known at its first byte, and what is malformed at its line", () => {
  const wrong = [
    "H",
    "\n",
    "\x15\x03\x03\x00\x02",
    "+OK\n",
    "$a\r\n",
    "$-2\r\n",
    "$\r\n",
    "$1e3\r\n",
    "$3\r\nabcd\r\n",
    "*-2\r\n",
    "*2a\r\n",
    "*99999999999999999999\r\n",
    ":\r\n",
    ":1.5\r\n",
    ":1a\r\n",
    "#x\r\n",
    ",\r\n",
    "$?\r\n",
    "*?\r\n",
    "*2\r\n:1\r\n>1\r\n:1\r\n",
    "*1\r\nx",
  ];
  for (const wire of wrong) assert.throws(() => decode([wire]), ProtocolError, wire);
});

test("what precedes the damage in the same piece is still read", () => {
  const decoder = new ReplyDecoder();
  decoder.write(Buffer.from("+a\r\n:1\r\n?"));

  assert.equal(decoder.read(), "a");
  assert.equal(decoder.read(), 1);
  assert.throws(() => decoder.read(), ProtocolError);
});

test("no byte sequence does worse than a protocol error", () => {
  const random = createRandom(5);
  const alphabet = "+-:$*_#,(!=%~>|\r\n\r\n\r\n0123456789tfx".split("");
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const length = 1 + random(30);
    const pieces = Array.from({ length }, () => alphabet[random(alphabet.length)] ?? "");
    try {
      decode(pieces);
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `${JSON.stringify(pieces.join(""))}: ${error}`);
      refused++;
    }
  }
  assert.ok(refused > 10_000, `${refused} refused`);
});

test("a reply over the limit is refused when it is announced, or as it grows", () => {
  const nested = "*1\r\n".repeat(17);
  const announced = ["$1048576\r\n", "*400000\r\n", "%200000\r\n", "!999999999\r\n"];
  for (const wire of announced) assert.throws(() => decode([wire]), /over 1048576 bytes/, wire);
  assert.throws(() => decode(["+" + "a".repeat(60), "a".repeat(60)], 100), /over 100 bytes/);
  assert.throws(
    () => decode(["*9\r\n" + "$20\r\n" + "a".repeat(20) + "\r\n".repeat(1)], 30),
    /over 30/,
  );
  assert.throws(() => decode([nested]), /too deep/);

  const bytes = Buffer.alloc(1_000_000, "a");
  assert.deepEqual(decode([`*1\r\n$${bytes.length}\r\n`, bytes, "\r\n"]), [[bytes]]);
  assert.deepEqual(decode(["*1\r\n".repeat(15), ":1\r\n"]).flat(20), [1]);
  // Of each reply, not of all.
  assert.equal(decode(["$80\r\n" + "a".repeat(80) + "\r\n", "+b\r\n".repeat(60)], 100).length, 61);
});

test("a reply that comes byte by byte takes linear time", () => {
  const texts = [`$900000\r\n${"a".repeat(900_000)}\r\n`, `+${"a".repeat(900_000)}\r\n`];
  const pieces = texts.flatMap((text) =>
    Array.from(Buffer.from(text), (byte) => Buffer.from([byte])),
  );
  const beganAt = performance.now();

  const lengths = decode(pieces).map((reply) => String(reply).length);

  const tookMs = performance.now() - beganAt;
  assert.deepEqual(lengths, [900_000, 900_000]);
  // Quadratic would be minutes.
  assert.ok(tookMs < 5_000, `${tookMs} ms`);
});
