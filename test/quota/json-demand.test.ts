// What a JSON body asks for, as far as it decides what the call can come to.
import assert from "node:assert/strict";
import { test } from "node:test";
import { JsonScanner } from "../../src/http/json-scan.ts";
import { splicePieces } from "../../src/http/splice.ts";
import { findOperation } from "../../src/openai/endpoints.ts";
import { findParameters } from "../../src/openai/parameters.ts";
import { toSizes, type Demand } from "../../src/quota/demand.ts";
import { JsonDemand } from "../../src/quota/json-demand.ts";

function parametersOf(path: string) {
  const parameters = findParameters(findOperation("POST", path));
  assert.ok(typeof parameters === "object", path);
  return parameters;
}

/** Fed byte by byte: where chunks end must not matter. */
function read(body: string, path = "/chat/completions") {
  const demand = new JsonDemand(parametersOf(path));
  const scanner = new JsonScanner(demand);
  for (const byte of Buffer.from(body)) scanner.push(Buffer.of(byte));
  const root = scanner.end();
  return { demand: demand.end(), edit: demand.askForUsage(root) };
}

async function edited(body: string, path?: string): Promise<string> {
  const { edit } = read(body, path);
  const pieces = (async function* () {
    yield Buffer.from(body);
  })();
  const out: Uint8Array[] = [];
  for await (const piece of splicePieces(pieces, edit ? [edit] : [])) out.push(piece);
  return Buffer.concat(out).toString();
}

const NOTHING: Demand = {
  model: undefined,
  serviceTier: undefined,
  outputCap: undefined,
  choices: 1,
  media: 0,
  mediaBytes: 0,
};

for (const [body, demand, path] of [
  ["{}", {}],
  ['{"model":"m"}', { model: "m" }],
  ['{"max_tokens":5}', { outputCap: 5 }],
  ['{"max_tokens":null}', {}],
  ['{"max_tokens":5,"max_completion_tokens":7}', { outputCap: 7 }],
  ['{"n":3}', { choices: 3 }],
  ['{"service_tier":"flex"}', { serviceTier: "flex" }],
  ['{"messages":[{"model":"x","n":9,"max_tokens":9}]}', {}],
  ['{"n":2,"best_of":5}', { choices: 5 }, "/completions"],
  ['{"prompt":["a","b","c"]}', { choices: 3 }, "/completions"],
  ['{"prompt":[[1,2],[3]],"n":2}', { choices: 4 }, "/completions"],
  ['{"prompt":[1,2,3]}', {}, "/completions"],
  ['{"prompt":"a"}', {}, "/completions"],
  ['{"max_output_tokens":9}', { outputCap: 9 }, "/responses"],
  [
    '{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}',
    { media: 1 },
  ],
  ['{"input":[{"content":[{"type":"input_image","image_url":"u"}]}]}', { media: 1 }, "/responses"],
] as const satisfies readonly (readonly [string, Partial<Demand>, string?])[]) {
  test(`demand of ${body.slice(0, 70)}`, () => {
    assert.deepEqual(read(body, path).demand, { ...NOTHING, ...demand });
  });
}

test("a medium that is given counts as one, not by its bytes", () => {
  const url = `data:image/png;base64,${"A".repeat(3_000_000)}`;
  const body = JSON.stringify({
    messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }],
  });
  const demand = new JsonDemand(parametersOf("/chat/completions"));
  const scanner = new JsonScanner(demand);
  scanner.push(Buffer.from(body));
  scanner.end();

  const sizes = toSizes(demand.end(), "text", body.length, undefined, 4_096);

  assert.ok(sizes.inputTokens > 5_500 && sizes.inputTokens < 5_600, `${sizes.inputTokens}`);
  assert.equal(sizes.outputTokens, 4_096);
});

for (const [body, wanted] of [
  ['{"stream":true}', '{"stream_options":{"include_usage":true},"stream":true}'],
  ['{ "stream" : true }', '{"stream_options":{"include_usage":true}, "stream" : true }'],
  [
    '{"stream":true,"stream_options":null}',
    '{"stream":true,"stream_options":{"include_usage":true}}',
  ],
  [
    '{"stream":true,"stream_options":{}}',
    '{"stream":true,"stream_options":{"include_usage":true}}',
  ],
  [
    '{"stream":true,"stream_options":{ \n }}',
    '{"stream":true,"stream_options":{"include_usage":true \n }}',
  ],
  [
    '{"stream_options":{"include_obfuscation":false},"stream":true}',
    '{"stream_options":{"include_usage":true,"include_obfuscation":false},"stream":true}',
  ],
  [
    '{"stream":true,"stream_options":{"x":{},"include_usage":false}}',
    '{"stream":true,"stream_options":{"x":{},"include_usage":true}}',
  ],
  [
    '{"stream":true,"stream_options":{"include_usage":null}}',
    '{"stream":true,"stream_options":{"include_usage":true}}',
  ],
  // The client has asked, or OpenAI will refuse it, or nothing streams.
  ['{"stream":true,"stream_options":{"include_usage":true}}', undefined],
  ['{"stream":true,"stream_options":[]}', undefined],
  ['{"stream":true,"stream_options":{"include_usage":"yes"}}', undefined],
  ['{"stream":false}', undefined],
  ['{"stream":"true"}', undefined],
  ['{"messages":[{"stream":true}]}', undefined],
  ["{}", undefined],
] as const) {
  test(`asks for the usage of ${JSON.stringify(body)}`, async () => {
    assert.equal(await edited(body), wanted ?? body);
  });
}

test("Responses report their usage unasked", async () => {
  assert.equal(await edited('{"stream":true}', "/responses"), '{"stream":true}');
});

for (const body of [
  '{"model":"a","model":"b"}',
  '{"Model":"a"}',
  '{"max_tokens":0}',
  '{"max_tokens":1.5}',
  '{"max_tokens":1e9}',
  '{"n":"2"}',
  '{"model":["a"]}',
  '{"model":"\\u0061"}',
  '{"service_tier":{}}',
  '{"stream":true,"stream_options":{"include_usage":false,"include_usage":true}}',
]) {
  test(`what two readers could read in two ways is refused: ${body}`, () => {
    assert.throws(() => read(body), { code: "invalid_request" });
  });
}

for (const [output, bodyBytes, expected] of [
  ["nothing", 300, { inputTokens: 100, outputTokens: 0 }],
  ["text", 300, { inputTokens: 100, outputTokens: 1_000 }],
  ["images", 300, { inputTokens: 100, outputTokens: 8_192 }],
  ["speech", 300, { inputTokens: 100, outputTokens: 600 }],
  ["transcript", 4_000_000, { inputTokens: 10_000, outputTokens: 1_000, audioMs: 1_000_000 }],
  ["transcript", undefined, { inputTokens: 65_536, outputTokens: 1_000, audioMs: 6_553_600 }],
] as const) {
  test(`${output} of ${bodyBytes ?? "unknown"} bytes sets aside what it may come to`, () => {
    assert.deepEqual(toSizes(NOTHING, output, bodyBytes, undefined, 1_000), expected);
  });
}

test("the smaller of the call's cap and the policy's counts, for every choice", () => {
  const demand = { ...NOTHING, outputCap: 500, choices: 3 };
  assert.equal(toSizes(demand, "text", 0, 200, 4_096).outputTokens, 600);
  assert.equal(toSizes(demand, "text", 0, 800, 4_096).outputTokens, 1_500);
});

test("a file may be all text, and is weighed as such", () => {
  const body = JSON.stringify({
    input: [{ role: "user", content: [{ type: "input_file", file_data: "A".repeat(750_000) }] }],
  });
  const { demand } = read(body, "/responses");

  const { inputTokens } = toSizes(demand, "text", body.length, undefined, 4_096);

  assert.ok(inputTokens > 180_000 && inputTokens < 200_000, `${inputTokens}`);
});
