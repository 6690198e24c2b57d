// Multipart forms: what clients write passes and is read, what could be read in two ways does not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { GatewayError } from "../../src/errors.ts";
import { FormScanner, parseBoundary } from "../../src/http/form-scan.ts";

const BOUNDARY = "----gatewayFormBoundary7MA4YWxk";
const GOVERNED = new Set(["model", "n", "max_tokens"]);
const MODEL = 'Content-Disposition: form-data; name="model"';
const FILE = 'Content-Disposition: form-data; name="file"; filename="a.mp3"';

/** A part is its headers and its content, apart from each other by a blank line. */
function form(...parts: readonly string[]): string {
  return `${parts.map((part) => `--${BOUNDARY}\r\n${part}\r\n`).join("")}--${BOUNDARY}--\r\n`;
}

function part(headers: string | readonly string[], content = "x"): string {
  return `${[headers].flat().join("\r\n")}\r\n\r\n${content}`;
}

const model = part(MODEL, "whisper-1");

/** Mulberry32: the same numbers in every run. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

interface Reading {
  readonly fields: readonly string[];
  readonly error: string | undefined;
  readonly param: string | undefined;
}

/** @param size of the next piece. */
function read(bytes: Buffer, size: () => number, boundary = BOUNDARY): Reading {
  const fields: string[] = [];
  const scanner = new FormScanner(boundary, GOVERNED, (name, value) => {
    fields.push(`${name}=${value}`);
  });
  try {
    for (let at = 0; at < bytes.length;) {
      const end = Math.min(bytes.length, at + size());
      // A copy that is overwritten afterwards, as buffers of a socket are: nothing may be borrowed.
      const piece = Buffer.from(bytes.subarray(at, end));
      scanner.push(piece);
      piece.fill(0x2a);
      at = end;
    }
    scanner.end();
  } catch (error) {
    assert.ok(error instanceof GatewayError, String(error));
    assert.match(error.message, /^[A-Z].*\.$/s);
    return { fields, error: error.code, param: error.details.param };
  }
  return { fields, error: undefined, param: undefined };
}

/** Read in pieces of every size and of random sizes: what it says must not depend on them. */
function readInAllWays(body: string | Buffer, boundary = BOUNDARY): Reading {
  const bytes = Buffer.from(body);
  const whole = read(bytes, () => bytes.length, boundary);
  const random = createRandom(bytes.length);
  const ways = Array.from({ length: bytes.length }, (_, index) => () => index + 1);
  for (let most = 2; most < 50; most++) ways.push(() => 1 + random(most));
  for (const [index, way] of ways.entries()) {
    // Long bodies only in the sizes where something can happen.
    if (index > 400 && index < bytes.length - 10) continue;
    const pieces = read(bytes, way, boundary);
    if (isDeepStrictEqual(pieces, whole)) continue;
    assert.deepEqual(pieces, whole, `${JSON.stringify(bytes.toString())}, way ${index}`);
  }
  return whole;
}

function accept(body: string | Buffer, fields: readonly string[], boundary = BOUNDARY): void {
  const expected = { fields, error: undefined, param: undefined };
  assert.deepEqual(readInAllWays(body, boundary), expected, String(body));
}

/** What Node's own parser finds, where it takes the form. */
async function readWithNode(body: Buffer, boundary: string): Promise<FormData | undefined> {
  const headers = { "content-type": `multipart/form-data; boundary=${boundary}` };
  return new Response(new Uint8Array(body), { headers }).formData().catch(() => undefined);
}

/** @throws when it finds another value, or another number of values, in a governed field. */
async function compareWithNode(body: Buffer, boundary: string): Promise<boolean> {
  const { fields, error } = read(body, () => body.length, boundary);
  const found = await readWithNode(body, boundary);
  if (error !== undefined || found === undefined) return false;
  const values = [...GOVERNED].flatMap((name) =>
    found.getAll(name).map((value) => `${name}=${String(value)}`),
  );
  assert.deepEqual([...fields].sort(), values.sort(), body.toString());
  return true;
}

test("a boundary is read from the content types that clients send", () => {
  for (const [type, boundary] of [
    ["multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", "----WebKitForm…"],
    ["multipart/form-data; boundary=---------------------------9051914041544843365972754266", "-"],
    ["multipart/form-data; boundary=00565d16a39b484502e83f9afaf0840f", "0"],
    ["multipart/form-data; boundary=dart-http-boundary-4+bW.x_Hk", "d"],
    ["Multipart/Form-Data;boundary=alamofire.boundary.0a1b2c3d4e5f6071", "a"],
    ["multipart/form-data; Boundary=Boundary+AF'09", "B"],
    ['multipart/form-data; boundary="7f9a0c5e-1c43-4f0e-9d53-0f2b6a3d4e5f"', "7"],
    [`multipart/form-data; boundary=${"b".repeat(70)}`, "b"],
  ] as const) {
    const read = parseBoundary(type);
    assert.ok(type.replaceAll('"', "").endsWith(`=${read}`), `${type} gives ${read}`);
    assert.ok(read.startsWith(boundary.slice(0, 1)), `${type} gives ${read}`);
  }
});

test("a content type without exactly one plain boundary is refused", () => {
  for (const type of [
    "",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary=""',
    "multipart/form-data; boundary=a; boundary=b",
    "multipart/form-data; boundary=a; charset=utf-16",
    "multipart/form-data; boundary=a, multipart/form-data; boundary=b",
    "multipart/form-data; boundary=a b",
    "multipart/form-data; boundary=a;",
    "multipart/form-data; boundary =a",
    "multipart/form-data; boundary= a",
    "multipart/form-data; boundary*=utf-8''a",
    "multipart/form-data; boundary*0=a; boundary*1=b",
    "multipart/form-data; xboundary=a",
    'multipart/form-data; boundary="a',
    'multipart/form-data; boundary=a"',
    'multipart/form-data; boundary="a\\"b"',
    'multipart/form-data; boundary="a b"',
    "multipart/form-data; boundary=a\r\nb",
    "multipart/form-data; boundary=\u{e9}",
    `multipart/form-data; boundary=${"b".repeat(71)}`,
    "multipart/mixed; boundary=a",
    "application/x-www-form-urlencoded; boundary=a",
    "text/plain, multipart/form-data; boundary=a",
  ]) {
    assert.throws(() => parseBoundary(type), { code: "unsupported_media_type", status: 415 }, type);
  }
});

test("a form that Node's FormData writes is read", async () => {
  const data = new FormData();
  data.append("file", new Blob(["\0\r\n--x\r\n\xff".repeat(40)]), 'v"oi\r\ce \u{1f600}.mp3');
  data.append("model", "whisper-1");
  data.append("prompt", "Grüße\nund -- Küsse");
  data.append("timestamp_granularities[]", "word");
  data.append("timestamp_granularities[]", "segment");
  data.append("n", "2");
  data.append("image[]", new Blob([], { type: "image/png" }), "");
  const response = new Response(data);
  const boundary = parseBoundary(response.headers.get("content-type") ?? "");
  const body = Buffer.from(await response.arrayBuffer());

  accept(body, ["model=whisper-1", "n=2"], boundary);
  assert.ok(await compareWithNode(body, boundary), "Node reads its own form");
});

/** As the client writes it, after its boundary line and before the next. */
const CLIENTS: readonly (readonly [client: string, ...parts: readonly string[]])[] = [
  [
    "a browser",
    part([
      'Content-Disposition: form-data; name="file"; filename="my %22voice%22 \u{e9}\u{1f600}.webm"',
      "Content-Type: audio/webm;codecs=opus",
    ]),
    part('Content-Disposition: form-data; name="language"', "en"),
    part([
      'Content-Disposition: form-data; name="mask"; filename=""',
      "Content-Type: application/octet-stream",
    ]),
    model,
  ],
  [
    "curl",
    model,
    part([
      'Content-Disposition: form-data; name="file"; filename="a\\"b\\\\c.txt"',
      "Content-Type: text/plain",
    ]),
    part(['Content-Disposition: form-data; name="prompt"', "Content-Type: text/plain"]),
  ],
  [
    "requests, with a name in UTF-8 and one in the way of urllib3 1.24",
    model,
    part([
      'Content-Disposition: form-data; name="file"; filename="\u{e9}\\%22x.txt"',
      "Content-Type: text/plain",
    ]),
    part("Content-Disposition: form-data; name=\"mask\"; filename*=utf-8''%C3%A9.png"),
  ],
  [
    "httpx",
    part('Content-Disposition: form-data; name="model"', "whisper-1"),
    part([
      'Content-Disposition: form-data; name="file"; filename="C:\\\\x.mp3"',
      "Content-Type: audio/mpeg",
    ]),
  ],
  [
    "aiohttp",
    part(["Content-Type: text/plain; charset=utf-8", MODEL], "whisper-1"),
    part([
      "Content-Type: application/octet-stream",
      'Content-Disposition: form-data; name="file"; filename="e"; filename*=utf-8\'\'%C3%A9.mp3',
    ]),
  ],
  ["Go", part([FILE, "Content-Type: application/octet-stream"]), model],
  [
    "OkHttp and Retrofit",
    part([MODEL, "Content-Transfer-Encoding: binary", "Content-Length: 9"], "whisper-1"),
    part([MODEL.replace("model", "n"), "Content-Type: text/plain; charset=UTF-8"], "1"),
    part([FILE, "Content-Type: audio/mpeg", "Content-Length: 11"], "x\r\n\r\ny\r\n--z"),
    part([FILE, "Content-Length: 0"], ""),
  ],
  [
    "axios with form-data",
    part('Content-Disposition: form-data; name="model"', "whisper-1"),
    part([
      'Content-Disposition: form-data; name="file"; filename="\u{e9}%22.txt"',
      "Content-Type: text/plain",
    ]),
  ],
  ["Alamofire", part([FILE, "Content-Type: audio/m4a"]), model],
  ["a URLSession in ten lines", part(FILE.replaceAll("; ", ";")), model],
  [
    "Dart",
    part('content-disposition: form-data; name="model"', "whisper-1"),
    part(
      [
        'content-disposition: form-data; name="prompt"',
        "content-type: text/plain; charset=utf-8",
        "content-transfer-encoding: binary",
      ],
      "Grüße",
    ),
    part([
      "content-type: application/octet-stream",
      'content-disposition: form-data; name="file"; filename="a.mp3"',
    ]),
  ],
  [
    ".NET",
    part(
      ["Content-Type: text/plain; charset=utf-8", "Content-Disposition: form-data; name=model"],
      "whisper-1",
    ),
    part("Content-Disposition: form-data; name=file; filename=a.mp3; filename*=utf-8''a.mp3"),
    part("Content-Disposition: form-data; name=mask; filename=\"my =.png\"; filename*=utf-8''m"),
  ],
];

for (const [client, ...parts] of CLIENTS) {
  test(`a form as ${client} writes it passes`, async () => {
    const body = form(...parts);
    const fields = parts.filter((text) => /name="?n"?\r\n/.test(text)).map(() => "n=1");

    accept(body, ["model=whisper-1", ...fields]);
    await compareWithNode(Buffer.from(body), BOUNDARY);
  });
}

test("what is plain passes, at its limits", () => {
  const file = part(FILE);
  const length = (bytes: number) => `X-Long: ${"x".repeat(bytes - FILE.length - 10)}`;
  const headers = Array.from({ length: 31 }, (_, index) => `X-${index}: ${index}`);
  for (const [body, ...fields] of [
    [form(file)],
    [form(part(MODEL, ""), file), "model="],
    [form(part(MODEL, "~".repeat(512))), `model=${"~".repeat(512)}`],
    [form(part(MODEL, 'a "b" -- c')), 'model=a "b" -- c'],
    [form(model).slice(0, -2), "model=whisper-1"],
    [form(part([FILE, ...headers]), model), "model=whisper-1"],
    [form(part([FILE, length(8_192)]), model), "model=whisper-1"],
    [form(part([FILE, "X-Empty:", "X-Blank: "]), model), "model=whisper-1"],
    [form(part([MODEL, 'Content-Type: text/plain;charset="UTF-8"'])), "model=x"],
    [form(part("Content-Disposition:form-data; name=model")), "model=x"],
    [
      form(part('Content-Disposition: form-data; name="_charset_"', "UTF-8"), model),
      "model=whisper-1",
    ],
    [form(part('Content-Disposition: form-data; name="models"'))],
    [form(part('Content-Disposition: form-data; name="session[model]"'))],
    [
      form(part('Content-Disposition: form-data; name="file"; filename="model"'), model),
      "model=whisper-1",
    ],
    [form(part('Content-Disposition: form-data; name="file"; filename="a=b, c"'))],
    [form(part('Content-Disposition: form-data; name="file"; filename="a; b\\\\c"'))],
    // What is like a delimiter, and is none.
    ...[
      "--",
      "\r\n--",
      `\r\n-${BOUNDARY}`,
      `\r\n--${BOUNDARY.slice(0, -1)}`,
      "\r\n",
      "\r\n\r\n",
    ].map((content) => [form(part(FILE, content), model), "model=whisper-1"] as const),
    [
      form(part(FILE, `${MODEL}\r\n\r\nother\r\n--${BOUNDARY.slice(0, -2)}\r\n`), model),
      "model=whisper-1",
    ],
  ] as const satisfies readonly (readonly string[])[]) {
    accept(body, fields);
  }
});

const many = (count: number) =>
  Array.from({ length: count }, () => part('Content-Disposition: form-data; name="a"'));

test("a form has at most 1 000 parts", () => {
  const most = Buffer.from(form(...many(999), model));
  const more = Buffer.from(form(...many(1_000), model));
  for (const size of [1, 77, 65_536]) {
    assert.deepEqual(read(most, () => size).fields, ["model=whisper-1"]);
    assert.equal(read(more, () => size).error, "invalid_form");
  }
});

const disposition = (rest: string) => part(`Content-Disposition: ${rest}`, "evil");
const named = (name: string) => disposition(`form-data; name="${name}"`);
const B = BOUNDARY;

/** Each holds a form that two readers could read in two ways, or that one could not read at all. */
const HOSTILE: Readonly<Record<string, readonly string[]>> = {
  "what is before, behind and between its parts": [
    "",
    "\r\n",
    `--${B}`,
    `--${B}--\r\n`,
    `--${B}--`,
    `preamble\r\n${form(model)}`,
    `\r\n${form(model)}`,
    ` ${form(model)}`,
    `\u{feff}${form(model)}`,
    form(model).replaceAll(B, "another"),
    form(model).replace("--", "-x"),
    form(model, part(FILE)).replace(B, B.replace("7", "8")),
    form(model).slice(0, -4),
    form(model).slice(0, -5),
    form(model).slice(0, -3).concat("x"),
    `${form(model)}\r\n`,
    `${form(model)}\n`,
    `${form(model)} `,
    form(model).slice(0, -2).concat("\r"),
    form(model).slice(0, -2).concat("\n"),
    form(model).slice(0, -2).concat("--"),
    `${form(part(FILE))}${form(model)}`,
    `${form(model)}epilogue`,
  ],
  "delimiters that only some see": [
    form(part(FILE, `\n--${B}\r\n${part(MODEL)}`)),
    form(part(FILE, `\n--${B}\n${MODEL}\n\nx`)),
    form(part(FILE, `\r--${B}\r\n${part(MODEL)}`)),
    form(part(FILE, `x--${B}\r\n${part(MODEL)}`)),
    form(part(FILE, `--${B}\r\n${part(MODEL)}`)),
    form(part(FILE, `a --${B} b`)),
    form(part(FILE, `a\r\n--${B} \r\n${part(MODEL)}`)),
    form(part(FILE, `a\r\n--${B}\t\r\n${part(MODEL)}`)),
    form(part(FILE, `a\r\n--${B}\n${part(MODEL)}`)),
    form(part(FILE, `a\r\n--${B}\r${part(MODEL)}`)),
    form(part(FILE, `a\r\n--${B}x\r\n${part(MODEL)}`)),
    form(part(FILE, `a\r\n--${B}-\r\n${part(MODEL)}`)),
    form(part(FILE, `a\r\n--${B}--\r\n--${B}\r\n${part(MODEL)}`)),
    form(part(FILE, `a\r\n---${B}`)),
    form(part([FILE, `X-Header: --${B}`])),
    form(disposition(`form-data; name="file"; filename="--${B}"`)),
    form(`--${B}\r\n${part(MODEL)}`),
    // Content that has no line end of its own before the delimiter, or no blank line before it.
    `--${B}\r\n${FILE}\r\n\r\n--${B}\r\n${model}\r\n--${B}--\r\n`,
    `--${B}\r\n${FILE}\r\n--${B}\r\n${model}\r\n--${B}--\r\n`,
    form(part(MODEL)).replaceAll("\r\n", "\n"),
  ],
  "headers that are not one plain line each": [
    form("\r\nevil"),
    form("\r\n\r\nevil"),
    form(part("X-Other: 1")),
    form(part(["", MODEL])),
    form(part([MODEL, " folded"])),
    form(part('Content-Disposition: form-data;\r\n name="model"')),
    form(part('Content-Disposition: form-data;\r\n\tname="model"')),
    form(part('X: \t1\r\nContent-Disposition : form-data; name="model"')),
    form(part('Content-Disposition : form-data; name="model"')),
    form(part(' Content-Disposition: form-data; name="model"')),
    form(part('Content_Disposition: form-data; name="model"')),
    form(part('Content-Disposition form-data; name="model"')),
    form(part([": x", FILE])),
    form(part([FILE, "X: a\nContent-Disposition: form-data; name=model"])),
    form(part([FILE, "X: a\rContent-Disposition: form-data; name=model"])),
    form(part([FILE, "X: a\0b"])),
    form(part([FILE, "X: a\u{2028}Content-Disposition: form-data; name=model"])),
    form(part([FILE, "X: a\u{85}Content-Disposition: form-data; name=model"])),
    form(part([FILE, "X-Twice: 1", "x-twice: 2"])),
    form(part([FILE, "Content_Type: multipart/mixed"])),
    form(part([FILE, MODEL])),
    form(part([MODEL, MODEL])),
    form(part([FILE, ...Array.from({ length: 32 }, (_, index) => `X-${index}: ${index}`)])),
    form(part([FILE, `X-Long: ${"x".repeat(8_192 - FILE.length - 9)}`])),
    `--${B}\r\nX: ${"x".repeat(10_000)}`,
  ],
  "a Content-Disposition that only some understand": [
    "",
    "form-data",
    "form-data;",
    'attachment; name="model"',
    'FORM-DATA; name="model"',
    'form-data name="model"',
    'form-data , name="model"',
    'form-data; Name="model"',
    'form-data; name ="model"',
    'form-data; name= "model"',
    "form-data; name='model'",
    'form-data; name="model',
    'form-data; name=model"',
    'form-data; name="model";',
    'form-data; name="model" ',
    'form-data; name="model" x',
    'form-data; name="mo\\del"',
    'form-data; name="a\\b"',
    'form-data; name="a\\"; x="b"',
    'form-data; name="a"; name="model"',
    'form-data; name="a"; Name="model"',
    "form-data; name=\"a\"; name*=utf-8''model",
    "form-data; name*=utf-8''model",
    'form-data; name*0="mo"; name*1="del"',
    'form-data; filename="x"; name="a"',
    'form-data; name="a"; filename="x"; name="model"',
    'form-data; name="a"; filename="x"; filename="y"',
    'form-data; name="a"; filename="x"; size=1',
    'form-data; name="a"; filename="x\\"; name="model"',
    'form-data; name="a"; filename="x\\"; name=model; y=\\""',
    'form-data; name="a"; filename="x; name=model"',
    'form-data; name="a"; filename="x\\"',
    "form-data; name=\"a\"; filename*=utf-16''x",
    'form-data; name="a"; filename*=utf-8\'\'x"; name="model',
    "form-data; name=\"a\"; filename*=utf-8''%zz",
    "form-data; name=\"a\"; filename*=utf-8''a; filename=b",
    'form-data; name=a; filename="model"',
    'form-data; name="a"; filename="x\u{2028}Content-Disposition: form-data; name=model"',
  ].map((rest) => form(disposition(rest))),
  "names that someone could take for another": [
    "Model",
    "MODEL",
    " model",
    "model ",
    "model[]",
    "model[0]",
    "model[x][y]",
    "model[",
    "[model]",
    "model.",
    "_model",
    "N",
    "n[]",
    "max-tokens",
    "max.tokens",
    "max tokens",
    "maxTokens",
    "%6dodel",
    "%256dodel",
    "mode%6C",
    "model%00",
    "model\0",
    "model\0x",
    "\u{ff4d}odel",
    "mod\u{e9}l",
    "mo\u{ad}del",
    "=?utf-8?q?model?=",
    "&#109;odel",
    "a;name=model",
    "",
    "a".repeat(257),
    "_Charset_",
    " _charset_",
  ].map((name) => form(named(name))),
  "fields that are not plain text, once": [
    form(model, model),
    form(model, part(FILE), part(MODEL, "gpt-4o")),
    form(disposition('form-data; name="model"; filename="a"')),
    form(disposition('form-data; name="model"; filename=""')),
    form(disposition('form-data; name="model"; filename=a')),
    form(disposition("form-data; name=\"model\"; filename*=utf-8''a")),
    ...[
      "",
      "text/html",
      "application/json",
      "application/octet-stream",
      "text/plain; charset=utf-16",
      "text/plain; charset=utf-7",
      "text/plain; charset=ibm037",
      "text/plain; charset=utf-8; charset=utf-16",
      "text/plain; format=flowed; delsp=yes",
      "text/plain, text/html",
    ].map((type) => form(part([MODEL, `Content-Type: ${type}`]))),
    form(part(MODEL, "x".repeat(513))),
    ...[
      " gpt",
      "gpt ",
      " ",
      "\tgpt",
      "gpt\n",
      "gpt\r\n",
      "\r\ngpt",
      "g\0pt",
      "gpt\x7f",
      "gp\u{e9}",
    ].map((value) => form(part(MODEL, value))),
    form(part('Content-Disposition: form-data; name="_charset_"', "utf-7"), model),
    form(part('Content-Disposition: form-data; name="_charset_"', ""), model),
    form(part('Content-Disposition: form-data; name="_Charset_"', "utf-8"), model),
    form(part('Content-Disposition: form-data; name="_charset_"; filename="a"', "utf-8"), model),
  ],
  "parts that are coded, nested, or not as long as they say": [
    ...["base64", "quoted-printable", "x-uuencode", "7bit, base64", ""].flatMap((encoding) => [
      form(part([MODEL, `Content-Transfer-Encoding: ${encoding}`], "Z3B0")),
      form(part([FILE, `Content-Transfer-Encoding: ${encoding}`], "Z3B0"), model),
    ]),
    form(part([FILE, "Content-Encoding: gzip"]), model),
    ...[
      "multipart/mixed; boundary=y",
      "Multipart/Mixed",
      "multipart/form-data",
      "message/rfc822",
      'text/plain; name="model"',
      'text/plain; charset=utf-8; Name*0="model"',
      "text/plain; boundary=y",
      'text/plain; a="b\\"; name=model"',
      "jpg",
      "",
    ].map((type) => form(part([FILE, `Content-Type: ${type}`]), model)),
    ...["0", "2", "01", "+1", "1 ", "1, 1", "0x1", "-1", ""].map((length) =>
      form(part([FILE, `Content-Length: ${length}`]), model),
    ),
  ],
};

for (const [kind, bodies] of Object.entries(HOSTILE)) {
  test(`refused are ${kind}`, () => {
    for (const body of bodies) {
      assert.equal(readInAllWays(body).error, "invalid_form", JSON.stringify(body));
    }
  });
}

test("bytes that are not UTF-8 do not hide a name", () => {
  for (const name of ["mo\xadel", "\xc1\xadodel", "model\xff", "\xffmodel", "mo\x80del"]) {
    const body = Buffer.from(form(named(name)), "latin1");
    assert.equal(readInAllWays(body).error, "invalid_form", name);
  }
});

test("a refusal names the field it is about", () => {
  for (const [body, param] of [
    [form(model, model), "model"],
    [form(named("Model")), "Model"],
    [form(part(MODEL, " x")), "model"],
    [form(part([FILE, "Content-Type: multipart/mixed"])), "file"],
    [form(part([FILE, "Content-Length: 7"])), "file"],
    [form(part("X: 1")), undefined],
  ] as const) {
    assert.equal(readInAllWays(body).param, param, body);
  }
});

test("what the listener throws ends the reading", () => {
  const refusal = new GatewayError("model_not_allowed", "Not this one.");
  const scanner = new FormScanner(BOUNDARY, GOVERNED, () => {
    throw refusal;
  });
  assert.throws(() => scanner.push(Buffer.from(form(model, part(FILE)))), refusal);
  assert.throws(() => scanner.end(), { code: "invalid_form" });
});

test("a field is told as soon as its delimiter is complete, whatever comes behind it", () => {
  const fields: string[] = [];
  const scanner = new FormScanner(BOUNDARY, GOVERNED, (name, value) => {
    fields.push(`${name}=${value}`);
  });
  const head = `--${BOUNDARY}\r\n${model}\r\n--${BOUNDARY}\r`;

  scanner.push(Buffer.from(head));
  assert.deepEqual(fields, []);
  scanner.push(Buffer.from("\n"));
  assert.deepEqual(fields, ["model=whisper-1"]);
});

test("a large file passes without being kept", () => {
  const scanner = new FormScanner(BOUNDARY, GOVERNED, () => {});
  const random = createRandom(5);
  const chunk = Buffer.alloc(
    65_536,
    Uint8Array.from({ length: 4_099 }, () => random(256)),
  );
  scanner.push(Buffer.from(`--${BOUNDARY}\r\n${part(FILE, "")}`));
  const before = process.memoryUsage();
  const startedAt = performance.now();

  for (let count = 0; count < 320; count++) scanner.push(chunk);

  const elapsedMs = performance.now() - startedAt;
  const after = process.memoryUsage();
  const grownBytes = after.heapUsed - before.heapUsed + (after.external - before.external);
  scanner.push(Buffer.from(`\r\n--${BOUNDARY}--\r\n`));
  scanner.end();
  assert.ok(grownBytes < 4_000_000, `20 MB of file take ${grownBytes} bytes of memory`);
  assert.ok(elapsedMs < 2_000, `20 MB of file take ${elapsedMs} ms`);
});

test("content made to slow the search down does not", () => {
  for (const [boundary, content] of [
    ["-".repeat(69), "-\n"],
    [`${"a".repeat(69)}b`, "a"],
    [`b${"a".repeat(69)}`, "a"],
    [`b${"a".repeat(69)}`, `--${"a".repeat(69)}`],
    [BOUNDARY, "\r\n--"],
    [BOUNDARY, `\r\n--${BOUNDARY.slice(0, -1)}`],
  ] as const) {
    const scanner = new FormScanner(boundary, GOVERNED, () => {});
    const chunk = Buffer.alloc(65_536, content);
    scanner.push(Buffer.from(`--${boundary}\r\n${part(FILE, "")}`));
    const startedAt = performance.now();
    for (let count = 0; count < 64; count++) scanner.push(chunk);
    const elapsedMs = performance.now() - startedAt;
    scanner.push(Buffer.from(`\r\n--${boundary}--\r\n`));
    scanner.end();
    assert.ok(elapsedMs < 2_000, `4 MB of ${JSON.stringify(content)} take ${elapsedMs} ms`);
  }
});

test("files full of near delimiters are read as Node reads them, or refused", async () => {
  const random = createRandom(2_046);
  const pieces = [
    "\r",
    "\n",
    "\r\n",
    "--",
    "-",
    "\0",
    "x",
    `--${B.slice(0, 9)}`,
    `\r\n--${B.slice(0, -1)}`,
  ];
  const rare = [`--${B}`, `\r\n--${B}`, `\r\n--${B}--`, `\r\n--${B}\r\n${MODEL}\r\n\r\n`, B];
  let accepted = 0;
  let compared = 0;
  for (let round = 0; round < 400; round++) {
    const pick = () =>
      random(25) === 0 ? rare[random(rare.length)] : pieces[random(pieces.length)];
    const file = Array.from({ length: random(40) }, pick).join("");
    const body = Buffer.from(
      form(part(FILE, file), ...(random(2) === 0 ? [model] : []), part(FILE)),
    );
    const whole = read(body, () => body.length);
    for (const limit of [1, 2, 9, 80, 500]) {
      assert.deepEqual(
        read(body, () => 1 + random(limit)),
        whole,
        JSON.stringify(body.toString()),
      );
    }
    // The only true rule: no delimiter inside, unless it makes another whole form.
    if (!file.includes(`--${B}`)) assert.equal(whole.error, undefined, JSON.stringify(file));
    if (whole.error === undefined) accepted++;
    if (await compareWithNode(body, BOUNDARY)) compared++;
  }
  assert.ok(accepted > 200 && accepted < 400, `${accepted} of 400 are taken`);
  assert.ok(compared > 150, `${compared} of 400 are compared`);
});

test("whatever passes after a change at random, Node reads in the same way", async () => {
  const random = createRandom(7_578);
  const base = CLIENTS.map(([, ...parts]) => form(...parts));
  const bits = [
    '"',
    ";",
    "\\",
    "\r\n",
    "\n",
    "=",
    " ",
    "%",
    "name",
    "model",
    "n",
    ": ",
    "--",
    B,
    MODEL,
  ];
  let passed = 0;
  for (let round = 0; round < 3_000; round++) {
    let text = base[random(base.length)] ?? "";
    for (let edits = 1 + random(2); edits > 0; edits--) {
      const at = random(text.length);
      const cut = random(3) === 0 ? random(12) : 0;
      const put = random(4) === 0 ? "" : (bits[random(bits.length)] ?? "");
      text = text.slice(0, at) + put + text.slice(at + cut);
    }
    if (await compareWithNode(Buffer.from(text), BOUNDARY)) passed++;
  }
  assert.ok(passed > 100, `${passed} of 3 000 pass`);
});
