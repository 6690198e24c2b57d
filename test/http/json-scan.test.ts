// The scanner's own promises: what it finds and where, however the bytes come, and what it refuses.
// The grammar of numbers and of `true`, and what stands in texts, it leaves to OpenAI.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GatewayError } from "../../src/errors.ts";
import { JsonScanner } from "../../src/http/json-scan.ts";
import type { JsonValue } from "../../src/http/json-value.ts";

interface Found extends Omit<JsonValue, "path"> {
  readonly path: string;
}

interface Scan {
  readonly members: readonly string[];
  readonly values: readonly Found[];
  readonly inside: number;
  readonly empty: boolean;
}

/** @param cuts offsets where one piece ends and the next begins. */
function scan(body: string | Buffer, names: readonly string[], cuts: readonly number[] = []): Scan {
  const bytes = Buffer.from(body);
  const members: string[] = [];
  const values: Found[] = [];
  const scanner = new JsonScanner({
    names: new Set(names),
    member: (name) => void members.push(name),
    value: ({ path, ...value }) => void values.push({ path: path.join("."), ...value }),
  });
  const edges = [0, ...cuts, bytes.length];
  // Copies: whoever pushes a piece may use its memory again.
  for (const [index, edge] of edges.slice(1).entries()) {
    scanner.push(Uint8Array.from(bytes.subarray(edges[index], edge)));
  }
  return { members, values, ...scanner.end() };
}

/** The whole scan, or why it failed. */
function outcome(body: string | Buffer, names: readonly string[], cuts?: readonly number[]) {
  try {
    return scan(body, names, cuts);
  } catch (error) {
    assert.ok(error instanceof GatewayError, String(error));
    return `${error.code}: ${error.message}`;
  }
}

const everywhere = (length: number) => Array.from({ length: length - 1 }, (_, at) => at + 1);

const RICH = Buffer.from(
  '\n{ "model" :\t"gpt-4o" ,"n":-1.5E+3, "nested":{"model":null,"list":[{"model":["a",true,{}]}]},' +
    '"text":1,"esc":"a\\"b\\\\","model2":"é😀\\ud83d",' +
    '"deep":[[[{"type":"x","t\\u0079pe":"y"}]]],"model":{}} \r\n',
);

describe("what is asked for is found", () => {
  const at = (body: string, names: readonly string[]): readonly string[] =>
    scan(body, names).values.map(({ path, kind, text }) => `${path} ${kind} ${text ?? "-"}`);

  test("at any depth, in objects and in lists", () => {
    const body = '{"model":"a","x":{"model":1},"y":[{"model":[null,"b",[2],{"model":{}}]}]}';

    assert.deepEqual(at(body, ["model"]), [
      "model text a",
      "x.model literal 1",
      "y.*.model array -",
      "y.*.model.* literal null",
      "y.*.model.* text b",
      "y.*.model.* array -",
      "y.*.model.* object -",
      "y.*.model.*.model object -",
    ]);
  });

  test("and what is not asked for is not", () => {
    assert.deepEqual(at('{"a":"model","Model":1,"mod":2,"models":3,"b":["model"]}', ["model"]), []);
  });

  test("under a name that is written with escapes, or that comes twice", () => {
    const body = '{"x":{"t\\u0079pe":"a","\\u0074\\u0079\\u0070\\u0065":"b","type":"c"}}';

    assert.deepEqual(at(body, ["type"]), ["x.type text a", "x.type text b", "x.type text c"]);
  });

  test("with the offsets of its first byte and behind its last", () => {
    const body = Buffer.from(' {"x":"ü", "a" : "b\\"c" ,"a":[ -1e5 ],"a":{"a":true}}');

    const pieces = scan(body, ["a"]).values.map(({ start, end }) => `${body.subarray(start, end)}`);

    assert.deepEqual(pieces, ['"b\\"c"', "[", "-1e5", "{", "true"]);
  });

  test("and every member of the outermost object is told, in its order", () => {
    const { members } = scan('{"b":1,"a":{"c":1},"":[],"a":2, "~ !":3}', ["c"]);

    assert.deepEqual(members, ["b", "a", "", "a", "~ !"]);
  });

  test("and so is the place for another member", () => {
    const places = ["{}", ' \n{ "a":1}', "{ \t }"].map((body) => {
      const { inside, empty } = scan(body, []);
      return [inside, empty];
    });

    assert.deepEqual(places, [
      [1, true],
      [3, false],
      [1, true],
    ]);
  });
});

describe("a text is told only where every reader sees the same", () => {
  const told: Record<string, string | undefined> = {
    '""': "",
    '"gpt-4o mini~!"': "gpt-4o mini~!",
    [`"${"a".repeat(1_024)}"`]: "a".repeat(1_024),
    [`"${"a".repeat(1_025)}"`]: undefined,
    '"\\u0061"': undefined,
    '"a\\/b"': undefined,
    '"a\\n"': undefined,
    '"é"': undefined,
    '"\u212A"': undefined,
    '"\x7f"': undefined,
    '"a\tb"': undefined,
    '"a\0"': undefined,
    "-1.5E+3": "-1.5E+3",
    nullnull: "nullnull",
    [`${"1".repeat(1_025)}`]: undefined,
  };
  for (const [written, text] of Object.entries(told)) {
    test(JSON.stringify(written.slice(0, 20)), () => {
      const body = `{"a":${written}}`;

      assert.deepEqual(
        scan(body, ["a"]).values.map((value) => value.text),
        [text],
      );
      const length = Buffer.byteLength(body);
      assert.deepEqual(scan(body, ["a"], everywhere(length)), scan(body, ["a"]));
    });
  }

  test("and a byte that is no UTF-8 is not dropped", () => {
    const body = Buffer.from('{"a":"gpt\xff"}', "latin1");

    assert.equal(scan(body, ["a"]).values[0]?.text, undefined);
  });
});

describe("how the bytes come makes no difference", () => {
  test("cut in two at any place", () => {
    const whole = scan(RICH, ["model", "type", "n", "list", "esc"]);

    assert.equal(whole.values.length, 13);
    for (const cut of everywhere(RICH.length)) {
      assert.deepEqual(scan(RICH, ["model", "type", "n", "list", "esc"], [cut]), whole, `${cut}`);
    }
  });

  test("byte by byte, with empty pieces between", () => {
    const names = ["model", "type", "n", "list", "esc"];
    const twice = everywhere(RICH.length).flatMap((at) => [at, at]);

    assert.deepEqual(scan(RICH, names, twice), scan(RICH, names));
  });

  test("also where it is refused: the same reason at the same byte", () => {
    const bodies = [
      '{"a":1 "b"}',
      '{"a":[1}',
      '{"a":"\\',
      '{"\\u006d":1}',
      "{}x",
      '{"a":{"\\q":1}}',
    ];
    for (const body of bodies) {
      const whole = outcome(body, ["a"]);

      assert.match(String(whole), /^invalid_json: .*at byte \d+\.$/);
      for (const cut of everywhere(body.length)) assert.equal(outcome(body, ["a"], [cut]), whole);
      assert.equal(outcome(body, ["a"], everywhere(body.length)), whole);
    }
  });
});

describe("the structure is that of RFC 8259", () => {
  const taken = [
    "{}",
    " \t\r\n{\t}\n",
    '{"a":1}',
    '{"":""}',
    '{"a":[]}',
    '{"a":[[],{}]}',
    '{"a":[1,"b",null,{"c":false}],"d":{}}',
    '{"a" : 1 , "b" : [ 1 , 2 ] }',
    '{"a":1,"a":2}',
    '{"a":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"}',
    '{"a":{"é":1}}',
    '{"a":{"\\ud800":1}}',
    // OpenAI judges these.
    '{"a":01,"b":+1,"c":.5,"d":1.,"e":--,"f":NaN,"g":-Infinity,"h":tru,"i":1e400}',
    '{"a":"\t\u0001"}',
    '{"a":"\\x"}',
    Buffer.from('{"a":"\xff\xc0\x80"}', "latin1"),
  ];
  for (const body of taken) {
    test(`takes ${JSON.stringify(String(body))}`, () => {
      assert.equal(typeof outcome(body, []), "object", String(outcome(body, [])));
    });
  }

  const refused = [
    "",
    " ",
    "[]",
    "1",
    '"a"',
    "null",
    "\ufeff{}",
    "\u00a0{}",
    "\v{}",
    "\f{}",
    "{",
    "}",
    "{]",
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{,"a":1}',
    '{"a":1,,"b":2}',
    '{"a":1;"b":2}',
    '{"a" 1}',
    '{"a"::1}',
    '{"a":1 2}',
    '{"a":1"b":2}',
    '{"a":"b""c":1}',
    '{"a":[1,]}',
    '{"a":[,1]}',
    '{"a":[1 2]}',
    '{"a":[1}',
    '{"a":{"b":1]}',
    '{"a":[1:2]}',
    '{"a":1]',
    '{"a":1}}',
    "{}{}",
    "{} {}",
    '{}"a"',
    "{}\0",
    "{}//",
    "{a:1}",
    "{'a':1}",
    "{\"a\":'b'}",
    '{1:"a"}',
    '{null:"a"}',
    '{["a"]:1}',
    "{{}:1}",
    '{"a":1/**/}',
    '{/**/"a":1}',
    '{"a":1 // b\n}',
    '{"a":1 # b\n}',
    '{"a":\v1}',
    '{"a":\u00a01}',
    '{"a":\ufeff1}',
    '{"a":1\f}',
    '{"a":"b}',
    '{"a":"b\\"}',
    '{"a',
    '{"a":tru',
    '{"a":[',
    '{"a":$1}',
    '{"a":`b`}',
    '{"a":{"\\x":1}}',
    '{"a":{"\\u00":1}}',
    '{"a":{"\\ud8zz":1}}',
    '{"a":{"b\\\n":1}}',
    Buffer.from('{"a":{"\xff":1}}', "latin1"),
    Buffer.from('{"a":{"\xc1\xad":1}}', "latin1"),
    Buffer.from('{"a":{"\xed\xa0\x80":1}}', "latin1"),
    Buffer.from('{"a":1}', "utf16le"),
    Buffer.from('\ufeff{"a":1}', "utf16le"),
    Buffer.from('{"a":1}', "utf16le").swap16(),
    Buffer.from("\0\0\0{\0\0\0}"),
    Buffer.from("{\0\0\0}\0\0\0"),
    Buffer.from([0x1f, 0x8b, 8, 0]),
  ];
  for (const body of refused) {
    test(`refuses ${JSON.stringify(Buffer.from(body).toString("latin1"))}`, () => {
      assert.match(String(outcome(body, [])), /^invalid_json: .*, at byte \d+\.$/);
    });
  }
});

describe("the name of a parameter is plain ASCII, in plain letters", () => {
  const names = ['"mod\\u0065l"', '"a\\/b"', '"mode\u0301l"', '"\u212Aey"', '"a\tb"', '"a\x7f"'];
  for (const name of [...names, `"${"a".repeat(1_025)}"`]) {
    test(JSON.stringify(name.slice(0, 20)), () => {
      assert.match(String(outcome(`{${name}:1}`, [])), /plain ASCII/);
      // Further inside it is any name, and the longest of them no name that anybody asks for.
      assert.equal(typeof outcome(`{"a":{${name}:1}}`, ["a"]), "object");
    });
  }
});

test("an error names the byte where the body leaves the grammar", () => {
  const where = (body: string): string =>
    /at byte (\d+)/.exec(String(outcome(body, [])))?.[1] ?? "";

  // Bytes, not characters: é is two of them.
  const bodies = ['{"a":1,}', '{"a":"é"]', '{"a":{"é":"é"]', "x", '{"a":1} x', '{"a":1'];
  assert.deepEqual(bodies.map(where), ["7", "9", "15", "0", "8", "6"]);
});

test("256 levels are read, and one more is refused before it is followed", () => {
  const nested = (open: string, close: string, levels: number): string =>
    `{"a":${open.repeat(levels - 1)}1${close.repeat(levels - 1)}}`;

  assert.equal(typeof outcome(nested("[", "]", 256), []), "object");
  assert.equal(typeof outcome(nested('{"b":', "}", 256), []), "object");
  assert.match(String(outcome(nested("[", "]", 257), [])), /nested too deeply, at byte 260/);
  assert.match(String(outcome(nested('{"b":', "}", 257), [])), /nested too deeply/);
  assert.match(String(outcome(`{"a":${"[".repeat(100_000)}`, [])), /nested too deeply/);
});

test("texts of nothing but escapes take time in proportion to their length", () => {
  const time = (bytes: number): number => {
    const body = Buffer.from(`{"a":"${"\\n".repeat(bytes / 2)}"}`);
    const startedAt = performance.now();
    scan(body, ["b"]);
    return performance.now() - startedAt;
  };
  time(2 ** 16);

  const short = Math.min(time(2 ** 18), time(2 ** 18), time(2 ** 18));
  const long = time(2 ** 21);

  // Eight times as long; squared it would be 64 times. The first term forgives a slow moment.
  assert.ok(long < 100 + 24 * short, `${long} ms for 2 MiB, ${short} ms for a quarter of one`);
});
