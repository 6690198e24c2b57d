// What a reply used is learned while it passes, however it is cut, however large or broken it is.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Answer, Call } from "../../src/mock/answer.ts";
import { answerTranscription, answerTranslation, answerSpeech } from "../../src/mock/audio.ts";
import { answerChat } from "../../src/mock/chat.ts";
import { answerCompletion } from "../../src/mock/completions.ts";
import { answerEmbeddings } from "../../src/mock/embeddings.ts";
import { answerEdit, answerGeneration } from "../../src/mock/images.ts";
import { answerResponse } from "../../src/mock/responses.ts";
import type { Usage } from "../../src/openai/usage.ts";
import { WHOLE_BYTES } from "../../src/usage/json-reader.ts";
import { Meter } from "../../src/usage/meter.ts";
import { HEAD_BYTES, TAIL_BYTES } from "../../src/usage/reply-ends.ts";
import { createRandom } from "../helpers/json-readers.ts";

const JSON_TYPE = "application/json";
const EVENTS = "text/event-stream; charset=utf-8";

interface Metered {
  readonly meter: Meter;
  readonly held: number;
}

/** Pieces whose memory is used again afterwards. */
function pass(contentType: string, text: string | Buffer, size = () => Infinity): Metered {
  const bytes = Buffer.from(text);
  const contentLength = contentType === EVENTS ? undefined : bytes.length;
  const meter = new Meter({ contentType, contentLength });
  let held = 0;
  for (let at = 0, end = 0; at < bytes.length; at = end) {
    end = Math.min(bytes.length, at + Math.max(1, size()));
    const chunk = Buffer.from(bytes.subarray(at, end));
    meter.push(chunk);
    chunk.fill(0x2a);
    held = Math.max(held, meter.heldBytes);
  }
  return { meter, held };
}

function measure(contentType: string, text: string | Buffer, size?: () => number): Meter {
  return pass(contentType, text, size).meter;
}

function sse(...events: readonly unknown[]): string {
  return events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
}

interface Played {
  readonly type: string;
  readonly text: string;
}

function play(endpoint: (call: Call) => Answer, fields: object): Played {
  const call = { path: "", fields: { ...fields }, digest: "0".repeat(64), tokens: 12 };
  const answer = endpoint(call);
  if (answer.kind === "events") return { type: EVENTS, text: [...answer.events].join("") };
  return { type: String(answer.headers["content-type"]), text: String(answer.body) };
}

const ASKED = {
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "Hi" }],
  input: "Hi",
  prompt: "Hi",
};
const STREAM = { ...ASKED, stream: true };
const COUNTED = { ...STREAM, stream_options: { include_usage: true } };
const FILE = { model: "gpt-4o-transcribe", file: new File([new Uint8Array(48_000)], "a.mp3") };
const SAID = "This is what the mock heard in a.mp3.";

/** What the mock answers, with the shapes of OpenAI. */
const REPLIES: readonly (readonly [string, Played, Partial<Usage>, number])[] = [
  ["chat", play(answerChat, ASKED), { outputTokens: 12 }, 12],
  ["a chat stream", play(answerChat, COUNTED), { outputTokens: 12 }, 12],
  ["a completion", play(answerCompletion, ASKED), { inputTokens: 1, outputTokens: 12 }, 12],
  ["a stream of a completion", play(answerCompletion, COUNTED), { outputTokens: 12 }, 12],
  ["a response", play(answerResponse, ASKED), { outputTokens: 12 }, 12],
  ["a stream of a response", play(answerResponse, STREAM), { outputTokens: 12 }, 12],
  [
    "an incomplete response",
    play(answerResponse, { ...STREAM, max_output_tokens: 5 }),
    { outputTokens: 5 },
    5,
  ],
  ["embeddings", play(answerEmbeddings, ASKED), { inputTokens: 1, outputTokens: 0 }, 0],
  [
    "pictures",
    play(answerGeneration, { ...ASKED, n: 2 }),
    { inputTokens: 1, imageOutputTokens: 2112, outputTokens: 2112 },
    0,
  ],
  [
    "a stream of pictures",
    play(answerEdit, { ...STREAM, partial_images: 2 }),
    { inputTokens: 1, imageOutputTokens: 1056 },
    0,
  ],
  ["a transcript", play(answerTranscription, FILE), { inputTokens: 60, audioInputTokens: 60 }, 10],
  [
    "a stream of a transcript",
    play(answerTranscription, { ...FILE, stream: "true" }),
    { inputTokens: 60, audioInputTokens: 60 },
    10,
  ],
  [
    "a transcript that is paid by the second",
    play(answerTranscription, { ...FILE, model: "whisper-1" }),
    { audioMs: 3000 },
    10,
  ],
  [
    "a verbose transcript",
    play(answerTranscription, { ...FILE, response_format: "verbose_json" }),
    { audioMs: 3000 },
    2 * Math.floor(SAID.length / 4),
  ],
  [
    "a stream of speech",
    play(answerSpeech, { ...ASKED, stream_format: "sse" }),
    { inputTokens: 1, outputTokens: 5, audioOutputTokens: 5 },
    0,
  ],
];

for (const [name, { type, text }, usage, tokens] of REPLIES) {
  test(`learns what was used from ${name}`, () => {
    const random = createRandom(text.length);
    for (const most of [Infinity, 1, 3, 64, 700]) {
      const size = most === Infinity ? undefined : () => 1 + Math.floor(random() * most);
      const meter = measure(type, text, size);
      const report = meter.report();

      assert.deepEqual({ ...report?.usage, ...usage }, report?.usage, `chunks of ${most}`);
      assert.equal(report?.usage.clamped, false);
      const near = meter.outputTokens >= tokens && meter.outputTokens <= 2 * tokens;
      assert.equal(near, true, `${meter.outputTokens} tokens where ${tokens} were`);
      assert.deepEqual(
        [meter.begun, meter.complete, meter.bytes],
        [true, true, Buffer.byteLength(text)],
      );
    }
  });
}

test("learns the model and the tier that were used", () => {
  for (const { type, text } of [play(answerChat, ASKED), play(answerResponse, STREAM)]) {
    const report = measure(type, text).report();
    assert.deepEqual([report?.model, report?.serviceTier], ["gpt-4o-mini", "default"]);
  }
});

test("learns nothing where nothing is reported, and estimates the text", () => {
  const chat = measure(EVENTS, play(answerChat, STREAM).text);
  const text = play(answerTranscription, { ...FILE, response_format: "text" });
  const plain = measure(text.type, text.text);
  const subtitles = measure("application/x-subrip", "x".repeat(41));
  const sound = measure("audio/mpeg", Buffer.alloc(5_000));
  const translated = measure(JSON_TYPE, play(answerTranslation, FILE).text);

  const all = [chat, plain, subtitles, sound, translated];
  for (const meter of all) assert.equal(meter.report(), undefined);
  assert.equal(plain.outputTokens, Math.ceil((SAID.length + 1) / 4));
  assert.deepEqual([subtitles.outputTokens, sound.outputTokens, sound.bytes], [11, 0, 5_000]);
  assert.equal(translated.outputTokens, Math.ceil(SAID.length / 4));
  assert.ok(chat.outputTokens >= 12, `${chat.outputTokens} tokens of chat`);
});

const USAGE = { input_tokens: 10, output_tokens: 20, total_tokens: 30 };
const TOKENS = { inputTokens: 10, outputTokens: 20 };

function usageOf(meter: Meter, ...names: readonly (keyof Usage)[]): Partial<Usage> {
  const usage = meter.report()?.usage;
  const fields = ["inputTokens", "outputTokens", ...names] as const;
  return Object.fromEntries(fields.map((name) => [name, usage?.[name]]));
}

test("a response that failed counts as one that did not", () => {
  for (const end of ["completed", "incomplete", "failed"]) {
    const response = { id: "r", object: "response", model: "gpt-5", usage: USAGE };
    const meter = new Meter({ contentType: EVENTS, contentLength: undefined });
    meter.push(Buffer.from(sse({ type: "response.created", response: { usage: null } })));
    assert.equal(meter.complete, false);
    meter.push(Buffer.from(sse({ type: `response.${end}`, response })));

    assert.deepEqual(usageOf(meter), TOKENS);
    assert.deepEqual([meter.complete, meter.report()?.model], [true, "gpt-5"]);
  }
});

test("the last report of a stream counts, and what is none does not undo it", () => {
  const chunk = { object: "chat.completion.chunk", choices: [{ delta: { content: "a" } }] };
  const first = sse(
    { ...chunk, usage: { ...USAGE, output_tokens: 1 } },
    { ...chunk, usage: USAGE },
  );
  const junk = [null, {}, [], "usage", 5, { usage: USAGE }, { prompt_tokens: null }];
  const meter = measure(EVENTS, first + sse(...junk.map((usage) => ({ ...chunk, usage }))));

  assert.deepEqual(usageOf(meter), TOKENS);
});

test("white space, byte-order marks, comments and all line ends make no difference", () => {
  const chunk = JSON.stringify({ object: "x", choices: [], usage: USAGE }, null, 1);
  const spaced = chunk.replaceAll("\n", " ").replaceAll(":", " : ");
  const lines = `data: ${chunk.replaceAll("\n", "\ndata: ")}\n\n`;
  for (const text of [
    `data:${spaced}\n\n`,
    `\u{feff}data: ${spaced}\n\n`,
    `: ping\n\nid: 4\ndata: ${spaced}\nretry: 5\n\n`,
    `data: ${spaced}\r\n\r\n`,
    `data: ${spaced}\r\r`,
    lines,
  ]) {
    const meter = measure(EVENTS, text, () => 5);
    assert.deepEqual([usageOf(meter), meter.complete], [TOKENS, true], text);
  }
  for (const text of [`\u{feff}${chunk}`, ` ${spaced}\n`]) {
    assert.deepEqual(usageOf(measure(JSON_TYPE, text, () => 5)), TOKENS);
  }
  for (const type of ["Application/JSON", "application/problem+json; a=b", ""]) {
    assert.deepEqual(usageOf(measure(type, chunk)), TOKENS, type);
  }
});

test("usage that a model writes about is no report", () => {
  const content = '"usage":{"prompt_tokens":9,"completion_tokens":9} data: [DONE]\n\n';
  const schema = { properties: { usage: { type: "object" } } };
  const meter = measure(
    EVENTS,
    sse(
      { type: "response.created", response: { tools: [schema], usage: null } },
      { object: "x", choices: [{ delta: { content } }], usage: null },
    ),
  );

  assert.equal(meter.report(), undefined);
  assert.equal(measure(JSON_TYPE, JSON.stringify({ content })).report(), undefined);
});

/** Events after which a client may think that it has everything. */
const ENDS: readonly (readonly [string, boolean])[] = [
  ["data: [DONE]\n\n", true],
  ["data:[DONE]\r\n\r\n", true],
  ["event: done\ndata: [DONE]\n\n", true],
  [sse({ object: "x", choices: [], usage: USAGE }), true],
  [sse({ object: "x", choices: [{}], usage: USAGE }), false],
  [sse({ object: "x", choices: [], usage: null }), false],
  [sse({ object: "x", choices: [], usage: {} }), false],
  [sse({ error: { message: "x" } }), true],
  [sse({ choices: [], error: null }), false],
  [sse({ type: "error", message: "x" }), true],
  ["event: error\ndata: {}\n\n", true],
  ["event: response.completed\ndata: {}\n\n", true],
  ["event: message\ndata: {}\n\n", false],
  ...["response.incomplete", "response.failed", "image_generation.completed"].map(
    (type) => [sse({ type }), true] as const,
  ),
  ...["image_edit.completed", "speech.audio.done", "transcript.text.done"].map(
    (type) => [sse({ type }), true] as const,
  ),
  ...["response.output_text.done", "response.created", "image_edit.partial_image"].map(
    (type) => [sse({ type, item: { type: "error" } }), false] as const,
  ),
  [sse({ content: "data: [DONE]\n\n" }), false],
  [`: data: [DONE]\n\n`, false],
];

test("a stream is complete with its end event, and not before the last byte of that", () => {
  for (const [text, complete] of ENDS) {
    const meter = new Meter({ contentType: EVENTS, contentLength: undefined });
    meter.push(Buffer.from(text.slice(0, -1)));
    assert.equal(meter.complete, false, text);
    meter.push(Buffer.from(text.slice(-1)));
    assert.equal(meter.complete, complete, text);
    meter.push(Buffer.from(": ping\n\n"));
    assert.equal(meter.complete, complete, text);
  }
});

test("other replies are complete with the bytes that were announced, or nobody knows", () => {
  const meter = new Meter({ contentType: "audio/mpeg", contentLength: 10 });
  assert.deepEqual([meter.begun, meter.complete], [false, false]);
  meter.push(Buffer.alloc(9));
  assert.deepEqual([meter.begun, meter.complete], [true, false]);
  meter.push(Buffer.alloc(1));
  assert.equal(meter.complete, true);

  const unannounced = new Meter({ contentType: JSON_TYPE, contentLength: undefined });
  unannounced.push(Buffer.from("{}"));
  assert.equal(unannounced.complete, false);
  assert.equal(new Meter({ contentType: "", contentLength: 0 }).complete, true);
});

test("a stream has begun with its first content, not with what announces it", () => {
  const chunk = (delta: object): object => ({ choices: [{ index: 0, delta }] });
  const openings = [
    ": ping\n\n",
    sse(chunk({ role: "assistant", content: "", refusal: null })),
    sse({ type: "response.created", response: { instructions: "x", text: { format: "y" } } }),
    sse({ type: "response.output_text.delta", delta: "" }),
    sse({ type: "response.output_text.done", text: "words" }),
  ];
  const contents = [
    chunk({ content: "a" }),
    chunk({ refusal: "a" }),
    chunk({ reasoning_content: "a" }),
    chunk({ tool_calls: [{ function: { name: "f", arguments: "{" } }] }),
    chunk({ audio: { id: "a", data: "AAAA" } }),
    { choices: [{ text: "a" }] },
    { type: "response.function_call_arguments.delta", delta: "{" },
    { type: "response.audio.delta", delta: "AAAA" },
    { type: "response.image_generation_call.partial_image", partial_image_b64: "AAAA" },
    { type: "image_generation.partial_image", b64_json: "AAAA" },
    { type: "speech.audio.delta", audio: "AAAA" },
    { type: "transcript.text.delta", delta: "a" },
  ];
  for (const content of contents) {
    const meter = measure(EVENTS, openings.join(""));
    assert.equal(meter.begun, false);
    meter.push(Buffer.from(sse(content)));
    assert.equal(meter.begun, true, JSON.stringify(content));
  }
});

test("output is estimated by pieces or by length, whichever is more, and sound is no text", () => {
  const chunk = (content: string): object => ({ choices: [{ delta: { content } }] });
  const tokens = (...events: readonly unknown[]): number =>
    measure(EVENTS, sse(...events)).outputTokens;

  assert.equal(tokens(chunk("a"), chunk(""), chunk("b"), chunk("c")), 3);
  assert.equal(tokens(chunk("a".repeat(41))), 11);
  assert.equal(tokens(chunk('\n"\\\t'.repeat(10))), 10);
  assert.equal(tokens(chunk("你好吗呢".repeat(10))), 30);
  assert.equal(tokens({ type: "speech.audio.delta", audio: "A".repeat(400) }), 0);
  assert.equal(tokens({ type: "response.audio.delta", delta: "A".repeat(400) }), 0);
  assert.equal(tokens({ type: "image_edit.partial_image", b64_json: "A".repeat(400) }), 0);
  const escaped = '{"choices":[{"delta":{"content":"\\u4f60\\u597d\\u5417\\u5462"}}]}';
  assert.equal(measure(EVENTS, `data: ${escaped}\n\n`).outputTokens, 3);
  assert.equal(
    measure(JSON_TYPE, `{"choices":[{"text":"\\u4f60\\u597d", "x":1}]}`).outputTokens,
    2,
  );
});

test("a text is counted once, whatever else of a stream repeats it", () => {
  const text = "a".repeat(400);
  const meter = measure(
    EVENTS,
    sse(
      { type: "response.output_text.delta", delta: text, logprobs: [{ token: text }] },
      { type: "response.output_text.done", text },
      { type: "response.output_item.done", item: { content: [{ text }] } },
      { type: "response.completed", response: { output: [{ content: [{ text }] }] } },
    ),
  );

  assert.equal(meter.outputTokens, 100);
});

test("the estimate of a stream that breaks off grows with it", () => {
  for (const endpoint of [answerChat, answerCompletion, answerResponse]) {
    const { type, text } = play(endpoint, STREAM);
    let tokens = 0;
    for (let end = 0; end <= text.length; end += 97) {
      const meter = measure(type, text.slice(0, end));
      assert.ok(meter.outputTokens >= tokens, `${meter.outputTokens} after ${tokens}`);
      tokens = meter.outputTokens;
    }
    assert.ok(tokens >= 12, `${tokens} tokens in the end`);
  }
});

test("an event whose JSON is cut does not end the estimate", () => {
  const event = sse({ choices: [{ delta: { content: "abcd".repeat(5) } }] });
  const meter = measure(EVENTS, `data: {"content":"\n\n${event}data: {"text":"\\u1\n\n${event}`);

  assert.equal(meter.outputTokens >= 10 && meter.outputTokens <= 12, true);
});

test("what is reported may be asked for again when more has come", () => {
  const meter = new Meter({ contentType: JSON_TYPE, contentLength: undefined });
  meter.push(Buffer.from('{"object":"x",'));
  assert.equal(meter.report(), undefined);
  meter.push(Buffer.from(`"usage":${JSON.stringify(USAGE)}}`));

  assert.deepEqual([usageOf(meter), usageOf(meter)], [TOKENS, TOKENS]);
});

test("the estimate of JSON does not depend on where it is cut", () => {
  const random = createRandom(5);
  const content = 'a\\"\n\u{1f44d} {"text":"b"}'.repeat(20);
  const json = JSON.stringify({ choices: [{ message: { content, refusal: "no" } }] }, null, 2);
  const ascii = json.replace(/[^\x00-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`);
  for (const text of [json, ascii]) {
    const { outputTokens } = measure(JSON_TYPE, text);
    assert.ok(outputTokens > content.length / 5, `${outputTokens} tokens`);
    for (let round = 0; round < 200; round++) {
      const cut = measure(JSON_TYPE, text, () => 1 + random() * 9).outputTokens;
      assert.equal(cut, outputTokens);
    }
  }
});

// Replies that are too large to be kept.

const PICTURE = "A".repeat(1_500_000);
const DETAILS = { ...USAGE, input_tokens_details: { text_tokens: 4, image_tokens: 6 } };

test("pictures of some megabytes are read at their ends, wherever the usage stands", () => {
  const data = [{ b64_json: PICTURE }, { b64_json: PICTURE, revised_prompt: '"usage":{' }];
  const expected = { ...TOKENS, imageInputTokens: 6, imageOutputTokens: 20 };
  for (const reply of [
    { created: 1, data, usage: DETAILS },
    { created: 1, usage: DETAILS, data },
    { created: 1, background: "opaque", usage: DETAILS, data, size: "1024x1024" },
  ]) {
    for (const size of [100, 65_536, Infinity]) {
      const meter = measure(JSON_TYPE, JSON.stringify(reply), () => size);
      assert.deepEqual(usageOf(meter, "imageInputTokens", "imageOutputTokens"), expected);
      assert.deepEqual([meter.outputTokens, meter.complete], [0, true]);
    }
  }
});

test("a usage that comes in two pieces is read, wherever it is cut", () => {
  const reply = (size: number): string =>
    JSON.stringify({ data: [{ b64_json: "A".repeat(size) }], usage: USAGE });
  const around = reply(0).length;
  for (let behind = 1; behind < 80; behind++) {
    const meter = measure(JSON_TYPE, reply(6 * 65_536 + behind - around), () => 65_536);
    assert.deepEqual(usageOf(meter), TOKENS, `${behind} bytes behind the cut`);
  }
});

test("a duration that is cut by the end of what is kept is none", () => {
  const segments = "word ".repeat(60_000);
  for (let size = HEAD_BYTES - 60; size < HEAD_BYTES; size++) {
    const task = "x".repeat(size);
    const meter = measure(JSON_TYPE, JSON.stringify({ text: task, duration: 1234.5, segments }));
    const ms = meter.report()?.usage.audioMs;
    assert.ok(ms === undefined || ms === 1_234_500, `${ms} ms`);
  }
});

test("a stream's picture of some megabytes is read at its ends", () => {
  const completed = { type: "image_edit.completed", b64_json: PICTURE, usage: DETAILS };
  const partial = { type: "image_edit.partial_image", b64_json: PICTURE };
  for (const text of [
    sse(partial, completed),
    `event: ${completed.type}\n${sse({ ...completed, type: undefined })}`,
  ]) {
    for (const size of [1_000, Infinity]) {
      const meter = measure(EVENTS, text, () => size);
      const usage = usageOf(meter, "imageInputTokens", "imageOutputTokens");
      assert.deepEqual(usage, { ...TOKENS, imageInputTokens: 6, imageOutputTokens: 20 });
      assert.deepEqual([meter.begun, meter.complete], [true, true]);
    }
  }
});

test("a response of some megabytes tells its model, its tier, its tools and what they used", () => {
  const response = {
    id: "resp_1",
    object: "response",
    error: null,
    model: "gpt-5.2-2025-12-11",
    output: [{ type: "image_generation_call", result: PICTURE, model: "wrong" }],
    service_tier: "priority",
    tools: [
      { type: "function", parameters: { properties: { usage: { type: "object" } } } },
      { type: "image_generation", model: "gpt-image-1.5" },
    ],
    tool_usage: { image_gen: DETAILS, web_search: { num_requests: 3 } },
    usage: { ...USAGE, output_tokens_details: { reasoning_tokens: 2 } },
    user: null,
    metadata: { usage: "none" },
  };
  for (const meter of [
    measure(EVENTS, sse({ type: "response.completed", sequence_number: 9, response }), () => 999),
    measure(JSON_TYPE, JSON.stringify(response), () => 999),
  ]) {
    const report = meter.report();

    assert.deepEqual(usageOf(meter, "reasoningTokens", "webSearches"), {
      ...TOKENS,
      reasoningTokens: 2,
      webSearches: 3,
    });
    assert.deepEqual([report?.model, report?.serviceTier], ["gpt-5.2-2025-12-11", "priority"]);
    assert.deepEqual(
      report?.others.map(({ usage, model }) => [usage.imageOutputTokens, model]),
      [[20, "gpt-image-1.5"]],
    );
    assert.equal(meter.complete, true);
  }
});

test("many embeddings, long chats and long transcripts tell what short ones do", () => {
  const embedding = Array.from({ length: 1_536 }, (_, index) => index / 1_536);
  const data = Array.from({ length: 40 }, (_, index) => ({
    object: "embedding",
    index,
    embedding,
  }));
  const [model, words] = ["text-embedding-3-small", "word ".repeat(100_000)];
  const counted = { prompt_tokens: 8, total_tokens: 8 };
  const embeddings = measure(
    JSON_TYPE,
    JSON.stringify({ object: "list", data, model, usage: counted }, null, 2),
  );
  const chat = measure(
    JSON_TYPE,
    JSON.stringify({
      id: "c",
      object: "chat.completion",
      model: "gpt-4o",
      choices: [{ message: { content: words } }],
      usage: USAGE,
      service_tier: "flex",
    }),
  );
  const head = { task: "translate", duration: 8.47, text: words };
  const segments = Array.from({ length: 9 }, () => ({ text: words, usage: { start: 1 } }));
  const transcript = measure(JSON_TYPE, JSON.stringify({ ...head, segments }));

  const counts = { inputTokens: 8, outputTokens: 0, imageInputTokens: 0 };
  assert.deepEqual(usageOf(embeddings, "imageInputTokens"), counts);
  assert.deepEqual([embeddings.report()?.model, embeddings.outputTokens], [model, 0]);
  assert.deepEqual(usageOf(chat), TOKENS);
  assert.deepEqual([chat.report()?.model, chat.report()?.serviceTier], ["gpt-4o", "flex"]);
  assert.equal(chat.outputTokens, 125_000);
  assert.equal(transcript.report()?.usage.audioMs, 8470);
});

test("what is held stays bounded, whatever the size of the reply and of its pieces", () => {
  const most = HEAD_BYTES + 2 * TAIL_BYTES;
  const chunk = Buffer.alloc(65_536, "A");
  const json = new Meter({ contentType: JSON_TYPE, contentLength: undefined });
  const event = new Meter({ contentType: EVENTS, contentLength: undefined });
  json.push(Buffer.from('{"created":1,"data":[{"b64_json":"'));
  event.push(Buffer.from('event: image_edit.completed\ndata: {"b64_json":"'));
  for (let count = 0; count < 800; count++) {
    json.push(chunk);
    if (count < 100) event.push(chunk);
    assert.ok(json.heldBytes <= Math.max(WHOLE_BYTES, most), `${json.heldBytes} bytes of JSON`);
    assert.ok(event.heldBytes <= 1_048_576 + most, `${event.heldBytes} bytes of an event`);
  }
  json.push(Buffer.from(`"}],"usage":${JSON.stringify(USAGE)}}`));
  event.push(Buffer.from(`","usage":${JSON.stringify(USAGE)}}\n\n`));

  assert.ok(json.bytes > 50_000_000, `${json.bytes} bytes`);
  assert.deepEqual(usageOf(json), TOKENS);
  assert.deepEqual([usageOf(event), event.heldBytes], [TOKENS, 0]);
  const small = pass(JSON_TYPE, Buffer.alloc(WHOLE_BYTES + 50_000, "{"), () => 1);
  assert.ok(small.held <= WHOLE_BYTES, `${small.held} bytes`);
});

test("no garbage makes it throw", () => {
  const random = createRandom(11);
  const parts = [
    "data: ",
    "event: response.completed\n",
    "\n\n",
    "\r\n\r\n",
    "\r",
    '"usage":{',
    '"usage":null',
    '{"usage":',
    '{"type":"response.completed","response":',
    '{"choices":[],',
    '"prompt_tokens":-1e999,',
    '"input_tokens":"9"',
    '"tool_usage":{"image_gen":[]}',
    '"content":"',
    '"delta" : "\\u',
    '"__proto__":{"usage":{"seconds":1}}',
    "\\",
    '"',
    "{",
    "}",
    "[[[[",
    "]",
    ",",
    "\u{feff}",
    "\u{1f44d}",
    "[DONE]",
    "\0",
    "x".repeat(300),
  ];
  for (let round = 0; round < 2_000; round++) {
    const pieces = Array.from({ length: Math.floor(random() * 40) }, () => {
      return parts[Math.floor(random() * parts.length)] ?? "";
    });
    const bytes = Buffer.from(pieces.join(""));
    if (bytes.length > 0) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    for (const type of [EVENTS, JSON_TYPE, "text/plain", ""]) {
      const meter = measure(type, bytes, () => random() * 50);
      const usage = meter.report()?.usage;
      assert.ok(
        Object.values(usage ?? {}).every((value) => typeof value === "boolean" || value >= 0),
        "no negative count",
      );
      assert.ok(meter.outputTokens >= 0, "no negative estimate");
      assert.equal(meter.bytes, bytes.length);
    }
  }
});

test("no garbage of some size makes it throw, or take long", () => {
  const random = createRandom(12);
  for (const part of [
    "[",
    '{"usage":',
    '"usage":{},',
    '{"model":"a","usage":{',
    '"tools":[{"usage":{"a":',
    '"',
    "\\",
    '"content":"',
    "\n",
    "\r",
    "data:\n",
    'data: {"usage":{"',
  ]) {
    for (const begin of ["", 'data: {"response":']) {
      const bytes = Buffer.from(begin + part.repeat(Math.min(1e5, 1_200_000 / part.length)));
      for (const type of [EVENTS, JSON_TYPE]) {
        const meter = measure(type, bytes, () => 1 + random() * 200_000);
        meter.push(Buffer.from("\n\n"));
        assert.equal(meter.report()?.usage.inputTokens ?? 0, 0);
      }
    }
  }
});
