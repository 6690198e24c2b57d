// Usage that only the gateway asked for is taken out of a stream again, and nothing else is.
import assert from "node:assert/strict";
import { test } from "node:test";
import { findUsage } from "../../src/openai/usage.ts";
import { Meter } from "../../src/usage/meter.ts";
import { hideUsage } from "../../src/usage/hide-usage.ts";
import { createRandom } from "../helpers/json-readers.ts";

function begin(): Meter {
  return new Meter({ contentType: "text/event-stream", contentLength: undefined });
}

function hide(stream: string | Buffer, size = () => Infinity): string {
  const bytes = Buffer.from(stream);
  const meter = begin();
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + Math.max(1, size()));
    const chunk = Buffer.from(bytes.subarray(at, end));
    pieces.push(Buffer.from(hideUsage(meter.push(chunk) ?? [])));
    chunk.fill(0x2a);
    at = end;
  }
  return Buffer.concat([...pieces, hideUsage(meter.end() ?? [])]).toString();
}

/** What comes in, and what goes out, as events of one line of data. */
const CHANGED: readonly (readonly [string, string, string])[] = [
  ["null at the end", '{"choices":[{}],"usage":null}', '{"choices":[{}]}'],
  [
    "null before the padding",
    '{"choices":[{}],"usage":null,"obfuscation":"x"}',
    '{"choices":[{}],"obfuscation":"x"}',
  ],
  ["null in front", '{"usage":null,"choices":[{}]}', '{"choices":[{}]}'],
  ["null alone", '{"usage":null}', "{}"],
  [
    "null with white space all around",
    '{ "id": "a" , "usage" :\t null , "x": [] }',
    '{ "id": "a" , "x": [] }',
  ],
  ["null in front with white space", '{ "usage": null, "id": "a" }', '{ "id": "a" }'],
  ["null at the end with white space", '{ "id": "a", "usage": null }', '{ "id": "a" }'],
  [
    "what Azure begins with",
    '{"choices":[],"prompt_filter_results":[{"usage":null}],"usage":null}',
    '{"choices":[],"prompt_filter_results":[{"usage":null}]}',
  ],
  [
    "usage that is reported with every piece",
    '{"choices":[{"delta":{"content":"a"}}],"usage":{"a":[{}],"b":"}"},"x":1}',
    '{"choices":[{"delta":{"content":"a"}}],"x":1}',
  ],
  ["usage without choices", '{"id":"a","usage":{}}', '{"id":"a"}'],
  [
    "a text with an escaped quote before",
    '{"a":"\\\\\\"","usage":null,"b":"\\"usage\\":null"}',
    '{"a":"\\\\\\"","b":"\\"usage\\":null"}',
  ],
];

for (const [name, before, after] of CHANGED) {
  test(`takes out ${name}`, () => {
    for (const data of ["data: ", "data:", "event: chunk\nid: 7\ndata: ", "\u{feff}data: "]) {
      for (const end of ["\n\n", "\r\n\r\n", "\r\r", ""]) {
        assert.equal(hide(data + before + end), data + after + end);
      }
    }
  });
}

const UNCHANGED: readonly (readonly [string, string])[] = [
  ["usage below the top", 'data: {"choices":[{"usage":null}],"x":{"usage":{}}}\n\n'],
  ["usage in a text", `data: ${JSON.stringify({ text: ',"usage":null' })}\n\n`],
  ["usage as a text", 'data: {"choices":[],"x":"usage"}\n\n'],
  ["usage that is a number or a text", 'data: {"usage":7}\n\ndata: {"usage":"null"}\n\n'],
  ["usage that is a list", 'data: {"choices":[],"usage":[{}]}\n\n'],
  ["two members called usage", 'data: {"usage":null,"usage":null}\n\n'],
  ["JSON that ends early", 'data: {"choices":[],"usage":null\n\n'],
  ["JSON that something follows", 'data: {"usage":null} {"usage":null}\n\n'],
  ["JSON whose texts do not end", 'data: {"usage":null,"a":"b}\n\n'],
  ["a list", 'data: [{"usage":null}]\n\n'],
  ["data in several lines", 'data: {"choices":[],\ndata: "usage":null}\n\n'],
  ["data in several lines, the first of which is JSON", 'data: {"usage":null}\ndata: {}\n\n'],
  ["usage without a value", 'data: {"usage":,"choices":[]}\n\n'],
  ["a comment", ': {"usage":null}\n\n'],
  ["another field", 'datas: {"usage":null}\n\n'],
  ["a name with an escape", 'data: {"\\u0075sage":null}\n\n'],
  ["the end mark, errors and pings", 'data: {"error":{}}\n\n: ping\n\n\n\ndata: [DONE]\n\n'],
  ["an event over the limit", `data: {"usage":null,"a":"${"x".repeat(1_048_576)}"}\n\n`],
];

for (const [name, stream] of UNCHANGED) {
  test(`leaves alone ${name}`, () => {
    for (const text of [stream, stream.replaceAll("\n", "\r\n"), stream.trimEnd()]) {
      assert.equal(hide(text) === text, true, text.slice(0, 100));
    }
  });
}

test("drops the chunk with the usage, blank line and all", () => {
  const usage = '{"id":"a","choices": [ ],"usage":{"prompt_tokens":1,"x":{}},"obfuscation":"b"}';
  for (const end of ["\n\n", "\r\n\r\n", "\r\r"]) {
    const [before, after] = [`data: {"id":"a"}${end}`, `data: [DONE]${end}`];
    assert.equal(hide(`${before}data: ${usage}${end}${after}`), before + after);
    assert.equal(hide(`${before}data:${usage}`), before);
  }
});

test("keeps the comment or the id that shares the event with the usage", () => {
  const usage = 'data: {"choices":[],"usage":{}}';
  assert.equal(hide(`: ping\n${usage}\n\n`), ": ping\n\n");
  assert.equal(hide(`${usage}\r\nid: 8\r\n\r\n`), "id: 8\r\n\r\n");
});

test("holds back nothing but the bytes of an event that is not whole", () => {
  const meter = begin();
  const push = (text: string) => String(hideUsage(meter.push(Buffer.from(text)) ?? []));

  assert.equal(push('data: {"a":1}\n\ndata: {"choices":[],"us'), 'data: {"a":1}\n\n');
  assert.equal(push('age":{}}\n'), "");
  assert.equal(push("\n"), "");
  assert.equal(push("data: [DONE]\n\nda"), "data: [DONE]\n\n");
  assert.equal(String(hideUsage(meter.end() ?? [])), "da");
});

// The property of which all of the above are cases.

type Random = () => number;
type Member = readonly [name: string, json: string];

interface Style {
  readonly newline: string;
  readonly comma: string;
  readonly colon: string;
  readonly data: string;
  /** Where OpenAI puts its usage: so many members from the end. */
  readonly fromEnd: number;
}

const TEXTS = [
  " word",
  '"usage":null',
  ',"usage":null}',
  '\\"usage\\":{',
  '{"usage":{"prompt_tokens":1}}',
  "data: [DONE]\n\n",
  "\\",
  '"',
  "é 你好 👍🏽",
  "[]{}",
  "",
] as const;

function pick<Item>(random: Random, items: readonly [Item, ...Item[]]): Item {
  return items[Math.floor(random() * items.length)] ?? items[0];
}

function writeText(random: Random): string {
  const text = Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(random, TEXTS));
  const json = JSON.stringify(text.join(""));
  if (random() < 0.7) return json;
  return json.replace(/[^\x20-\x7e]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function writeChoice(random: Random): string {
  const text = writeText(random);
  return pick(random, [
    `{"index":0,"delta":{"content":${text}},"logprobs":null,"finish_reason":null}`,
    `{"delta":{"tool_calls":[{"index":0,"function":{"arguments":${text}}}]},"usage":null}`,
    `{"text":${text},"index":0,"x":[{"usage":{"choices":[]}},{ "usage" : null }]}`,
    `{"delta":{"usage":${text}, "role":"usage"},"finish_reason":"stop"}`,
  ]);
}

function writeChunk(random: Random): readonly Member[] {
  const choices = Array.from({ length: pick(random, [0, 1, 1, 1, 2]) }, () => writeChoice(random));
  const members: Member[] = [
    ["id", '"chatcmpl-1"'],
    ["object", '"chat.completion.chunk"'],
    ["model", writeText(random)],
    ["choices", `[${choices.join(",")}]`],
  ];
  if (random() < 0.5) members.push(["obfuscation", writeText(random)]);
  return members;
}

function render(members: readonly Member[], style: Style): string {
  const inside = members.map(([name, json]) => `"${name}"${style.colon}${json}`).join(style.comma);
  return `${style.data}{${inside}}${style.newline.repeat(2)}`;
}

function put(members: readonly Member[], usage: string, { fromEnd }: Style): readonly Member[] {
  return members.toSpliced(Math.max(0, members.length - fromEnd), 0, ["usage", usage]);
}

test("a stream with usage asked for and hidden is the stream without, byte for byte", () => {
  const random = createRandom(20_261_123);
  for (let round = 0; round < 2_000; round++) {
    const style: Style = {
      newline: pick(random, ["\n", "\n", "\r\n"]),
      comma: pick(random, [",", ",", ", ", " ,\t"]),
      colon: pick(random, [":", ":", ": ", " : "]),
      data: pick(random, ["data: ", "data: ", "data:", "id: 1\ndata: "]),
      fromEnd: pick(random, [0, 0, 1, 1, 2, 9]),
    };
    let without = "";
    let within = "";
    const both = (text: string): void => {
      without += text;
      within += text;
    };
    for (let count = Math.floor(random() * 8); count > 0; count--) {
      if (random() < 0.15) both(`: {"usage":null}${style.newline.repeat(2)}`);
      if (random() < 0.05) both(`data: {"error":{"usage":null}}${style.newline.repeat(2)}`);
      const chunk = writeChunk(random);
      without += render(chunk, style);
      within += render(put(chunk, "null", style), style);
    }
    const tokens = [random(), random()].map((each) => Math.floor(each * 1e5));
    const usage = { prompt_tokens: tokens[0], completion_tokens: tokens[1] };
    const last = render(
      put([["choices", "[]"]], JSON.stringify(usage), { ...style, fromEnd: round % 2 }),
      { ...style, data: "data: " },
    );
    within += last;
    both(`data: [DONE]${style.newline.repeat(2)}`);
    const most = pick(random, [1, 7, 80, 1_000, 1e6]);
    const size = (): number => 1 + Math.floor(random() * most);

    assert.equal(hide(within, size), without);
    assert.equal(hide(without, size), without);
    assertMetered(within, without, usage, size);
  }
});

function assertMetered(within: string, without: string, usage: object, size: () => number): void {
  const meters = [within, without].map((stream) => {
    const meter = begin();
    const bytes = Buffer.from(stream);
    for (let at = 0, end = 0; at < bytes.length; at = end) {
      end = at + size();
      meter.push(bytes.subarray(at, end));
    }
    return meter;
  });
  const [metered, plain] = meters;
  assert.deepEqual(metered?.report()?.usage, findUsage({ usage })?.usage);
  assert.equal(plain?.report(), undefined);
  assert.equal(metered?.outputTokens, plain?.outputTokens);
  assert.equal(metered?.complete, true);
}
