// What a call used, out of everything OpenAI and its imitators report it in.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  IMAGES,
  NO_USAGE,
  SPEECH,
  TRANSCRIPTION,
  findUsage,
  readUsage,
  type Usage,
} from "../../src/openai/usage.ts";

const CHAT = {
  prompt_tokens: 100,
  completion_tokens: 40,
  total_tokens: 140,
  prompt_tokens_details: { cached_tokens: 30, cache_write_tokens: 10, audio_tokens: 20 },
  completion_tokens_details: {
    reasoning_tokens: 5,
    audio_tokens: 15,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  },
};

const RESPONSE = {
  input_tokens: 328,
  input_tokens_details: { cached_tokens: 256, cache_write_tokens: 0 },
  output_tokens: 52,
  output_tokens_details: { reasoning_tokens: 12 },
  total_tokens: 380,
};

/** Usage objects as the API reference shows them, and what is in them. */
const SHAPES: readonly (readonly [string, unknown, Partial<Usage>])[] = [
  [
    "chat",
    CHAT,
    {
      inputTokens: 100,
      cachedInputTokens: 30,
      cacheWriteTokens: 10,
      audioInputTokens: 20,
      outputTokens: 40,
      reasoningTokens: 5,
      audioOutputTokens: 15,
    },
  ],
  [
    "chat without details",
    { prompt_tokens: 9, completion_tokens: 12, total_tokens: 21 },
    { inputTokens: 9, outputTokens: 12 },
  ],
  [
    "chat with details that are null",
    { prompt_tokens: 9, completion_tokens: 12, prompt_tokens_details: null },
    { inputTokens: 9, outputTokens: 12 },
  ],
  [
    "responses",
    RESPONSE,
    { inputTokens: 328, cachedInputTokens: 256, outputTokens: 52, reasoningTokens: 12 },
  ],
  ["embeddings", { prompt_tokens: 8, total_tokens: 8 }, { inputTokens: 8 }],
  [
    "realtime",
    {
      input_tokens: 120,
      output_tokens: 60,
      input_token_details: {
        text_tokens: 20,
        audio_tokens: 90,
        image_tokens: 10,
        cached_tokens: 64,
        cached_tokens_details: { text_tokens: 10, audio_tokens: 50, image_tokens: 4 },
      },
      output_token_details: { text_tokens: 20, audio_tokens: 40 },
    },
    {
      inputTokens: 120,
      audioInputTokens: 90,
      imageInputTokens: 10,
      cachedInputTokens: 64,
      cachedAudioInputTokens: 50,
      cachedImageInputTokens: 4,
      outputTokens: 60,
      audioOutputTokens: 40,
    },
  ],
  ["seconds", { type: "duration", seconds: 9 }, { audioMs: 9000 }],
  ["a fraction of a second", { type: "duration", seconds: 0.07 }, { audioMs: 70 }],
  ["seconds of which a millisecond has begun", { seconds: 8.4701 }, { audioMs: 8471 }],
];

for (const [name, value, expected] of SHAPES) {
  test(`reads usage: ${name}`, () => {
    assert.deepEqual(readUsage(value), { ...NO_USAGE, ...expected });
  });
}

test("tokens whose kind is not told are of the reply's kind", () => {
  const plain = { input_tokens: 10, output_tokens: 20, total_tokens: 30 };
  const split = { ...plain, input_tokens_details: { text_tokens: 4, image_tokens: 6 } };
  const heard = { ...plain, type: "tokens", input_token_details: { text_tokens: 1 } };
  const base = { ...NO_USAGE, inputTokens: 10, outputTokens: 20 };

  const images = { ...base, imageInputTokens: 10, imageOutputTokens: 20 };
  assert.deepEqual(readUsage(plain, IMAGES), images);
  assert.deepEqual(readUsage(split, IMAGES), { ...images, imageInputTokens: 6 });
  assert.deepEqual(readUsage(plain, SPEECH), { ...base, audioOutputTokens: 20 });
  assert.deepEqual(readUsage(plain, TRANSCRIPTION), { ...base, audioInputTokens: 10 });
  assert.deepEqual(readUsage(heard, TRANSCRIPTION), { ...base, audioInputTokens: 9 });
});

test("what was cached is text while there is any, and then pictures, and then sound", () => {
  const cached = (tokens: number): readonly unknown[] => {
    const usage = readUsage({
      input_tokens: 100,
      input_tokens_details: { audio_tokens: 50, image_tokens: 30, cached_tokens: tokens },
    });
    return [usage?.cachedImageInputTokens, usage?.cachedAudioInputTokens, usage?.clamped];
  };

  assert.deepEqual(cached(20), [0, 0, false]);
  assert.deepEqual(cached(35), [15, 0, false]);
  assert.deepEqual(cached(100), [30, 50, false]);
});

test("a zero is a count, and nothing is none", () => {
  assert.deepEqual(readUsage({ prompt_tokens: 0, completion_tokens: 0 }), NO_USAGE);
  assert.deepEqual(readUsage({ seconds: 0 }), NO_USAGE);
  const none = [undefined, null, "usage", 7, [], {}, { total_tokens: 5 }, { prompt_tokens: null }];
  for (const value of [...none, { prompt_tokens: "many" }, { input_tokens: {} }]) {
    assert.equal(readUsage(value), undefined);
  }
});

/** Reports that cannot be true, and what is made of them. */
const ABSURD: readonly (readonly [string, unknown, Partial<Usage>])[] = [
  ["negative", { prompt_tokens: -5, completion_tokens: 2 }, { outputTokens: 2 }],
  ["fractional", { prompt_tokens: 1.5, completion_tokens: 2 }, { inputTokens: 2, outputTokens: 2 }],
  ["a string", { prompt_tokens: "12", completion_tokens: 0 }, { inputTokens: 12 }],
  ["no number", { prompt_tokens: true, completion_tokens: 3 }, { outputTokens: 3 }],
  ["huge", { prompt_tokens: 1e12, completion_tokens: 0 }, { inputTokens: 1e9 }],
  ["infinite", JSON.parse('{"prompt_tokens":1e999}'), { inputTokens: 1e9 }],
  ["longer than a week", { seconds: 2_000_000 }, { audioMs: 1e9 }],
  ["a negative duration", { seconds: -0.5 }, {}],
  [
    "more cached than sent",
    { prompt_tokens: 10, prompt_tokens_details: { cached_tokens: 11 } },
    { inputTokens: 10, cachedInputTokens: 10 },
  ],
  [
    "more cached and written than sent",
    { prompt_tokens: 10, prompt_tokens_details: { cached_tokens: 6, cache_write_tokens: 5 } },
    { inputTokens: 10, cachedInputTokens: 6, cacheWriteTokens: 4 },
  ],
  [
    "more kinds than tokens",
    { output_tokens: 10, output_tokens_details: { audio_tokens: 8, image_tokens: 8 } },
    { outputTokens: 10, audioOutputTokens: 8, imageOutputTokens: 2 },
  ],
  [
    "more thoughts than words",
    { output_tokens: 10, output_tokens_details: { reasoning_tokens: 99 } },
    { outputTokens: 10, reasoningTokens: 10 },
  ],
];

for (const [name, value, expected] of ABSURD) {
  test(`clamps a report, and says so: ${name}`, () => {
    assert.deepEqual(readUsage(value), { ...NO_USAGE, ...expected, clamped: true });
  });
}

test("a count that is missing is the rest of the total", () => {
  assert.equal(readUsage({ output_tokens: 3, total_tokens: 10 })?.inputTokens, 7);
  assert.equal(readUsage({ input_tokens: 3, total_tokens: 10 })?.outputTokens, 7);
  assert.equal(readUsage({ input_tokens: 3, total_tokens: 1 })?.outputTokens, 0);
});

const TOKENS = { input_tokens: 10, output_tokens: 20, total_tokens: 30 };

/** Where each endpoint puts its usage. */
const REPLIES: readonly (readonly [string, unknown, Partial<Usage>])[] = [
  [
    "a chat chunk",
    { object: "chat.completion.chunk", choices: [], usage: TOKENS },
    { inputTokens: 10, outputTokens: 20 },
  ],
  [
    "a completion",
    { object: "text_completion", usage: { prompt_tokens: 5, completion_tokens: 7 } },
    { inputTokens: 5, outputTokens: 7 },
  ],
  [
    "embeddings",
    { object: "list", data: [{ embedding: [0] }], usage: { prompt_tokens: 8, total_tokens: 8 } },
    { inputTokens: 8 },
  ],
  ...["completed", "incomplete", "failed"].map(
    (end) =>
      [
        `response.${end}`,
        { type: `response.${end}`, response: { object: "response", usage: RESPONSE } },
        { inputTokens: 328, cachedInputTokens: 256, outputTokens: 52, reasoningTokens: 12 },
      ] as const,
  ),
  [
    "pictures",
    { created: 1, data: [{ b64_json: "" }], usage: TOKENS },
    { inputTokens: 10, outputTokens: 20, imageInputTokens: 10, imageOutputTokens: 20 },
  ],
  ...["image_generation.completed", "image_edit.completed"].map(
    (type) =>
      [
        type,
        {
          type,
          usage: { ...TOKENS, input_tokens_details: { text_tokens: 7, image_tokens: 3 } },
        },
        { inputTokens: 10, outputTokens: 20, imageInputTokens: 3, imageOutputTokens: 20 },
      ] as const,
  ),
  [
    "a transcript",
    {
      text: "Hi",
      usage: {
        type: "tokens",
        ...TOKENS,
        input_token_details: { text_tokens: 0, audio_tokens: 10 },
      },
    },
    { inputTokens: 10, outputTokens: 20, audioInputTokens: 10 },
  ],
  [
    "transcript.text.done",
    { type: "transcript.text.done", text: "Hi", usage: { type: "tokens", ...TOKENS } },
    { inputTokens: 10, outputTokens: 20, audioInputTokens: 10 },
  ],
  [
    "a verbose transcript",
    { task: "transcribe", duration: 8.47, text: "Hi", usage: { type: "duration", seconds: 9 } },
    { audioMs: 9000 },
  ],
  ["a verbose translation", { task: "translate", duration: 8.47, text: "Hi" }, { audioMs: 8470 }],
  [
    "speech.audio.done",
    { type: "speech.audio.done", usage: TOKENS },
    { inputTokens: 10, outputTokens: 20, audioOutputTokens: 20 },
  ],
];

for (const [name, reply, expected] of REPLIES) {
  test(`finds the usage of ${name}`, () => {
    assert.deepEqual(findUsage(reply)?.usage, { ...NO_USAGE, ...expected });
  });
}

test("finds nothing where nothing is reported", () => {
  const replies = [
    null,
    "",
    [],
    {},
    { object: "chat.completion.chunk", choices: [], usage: null },
    { type: "response.created", response: { usage: null }, usage: TOKENS },
    { type: "response.completed", response: null, usage: TOKENS },
    { type: "response.output_text.delta", delta: '{"usage":{"input_tokens":1}}' },
    { type: "transcript.text.delta", delta: "Hi" },
    { error: { message: "No." } },
    { text: "Hi" },
  ];
  for (const reply of replies) assert.equal(findUsage(reply), undefined);
});

test("tells the model and the tier that were used", () => {
  const reply = { model: "gpt-5-2025-08-07", service_tier: "priority", usage: TOKENS };
  const about = (value: object): readonly unknown[] => {
    const report = findUsage(value);
    return [report?.model, report?.serviceTier];
  };

  assert.deepEqual(about(reply), ["gpt-5-2025-08-07", "priority"]);
  assert.deepEqual(about({ type: "response.completed", response: reply }), about(reply));
  assert.deepEqual(about({ ...reply, service_tier: "fast" }), about(reply));
  assert.deepEqual(about({ usage: TOKENS, service_tier: null }), [undefined, undefined]);
});

test("counts hosted searches: as OpenAI does, else those that the reply shows", () => {
  const output = [
    { type: "web_search_call", action: { type: "search" } },
    { type: "web_search_call", action: { type: "open_page" } },
    { type: "web_search_call", action: { type: "find_in_page" } },
    { type: "web_search_call" },
    { type: "file_search_call" },
    { type: "message" },
    null,
  ];
  const searches = (reply: object): readonly unknown[] => {
    const usage = findUsage({ object: "response", usage: RESPONSE, output, ...reply })?.usage;
    return [usage?.webSearches, usage?.fileSearches, usage?.clamped];
  };

  assert.deepEqual(searches({}), [2, 1, false]);
  assert.deepEqual(searches({ tool_usage: { web_search: { num_requests: 5 } } }), [5, 1, false]);
  assert.deepEqual(searches({ tool_usage: { web_search: { num_requests: -1 } } }), [0, 1, true]);
  assert.deepEqual(searches({ output: "none" }), [0, 0, false]);
});

test("tells what other models used for the same reply", () => {
  const drawn = { ...TOKENS, cached_tokens: 4, cached_tokens_details: { cached_image_tokens: 4 } };
  const response = findUsage({
    object: "response",
    usage: RESPONSE,
    tools: [{ type: "web_search" }, { type: "image_generation", model: "gpt-image-1.5" }],
    tool_usage: { image_gen: drawn, web_search: { num_requests: 0 } },
  });
  const picture = findUsage({
    data: [],
    usage: TOKENS,
    svg_usage: { ...TOKENS, model: "gpt-6-sol", reasoning_tokens: 2 },
  });
  const none = { input_tokens: 0, output_tokens: 0, total_tokens: 0 };
  const idle = findUsage({ object: "response", usage: RESPONSE, tool_usage: { image_gen: none } });

  const tokens = { ...NO_USAGE, inputTokens: 10, outputTokens: 20 };
  assert.deepEqual(response?.others, [
    {
      usage: {
        ...tokens,
        imageInputTokens: 10,
        imageOutputTokens: 20,
        cachedInputTokens: 4,
        cachedImageInputTokens: 4,
      },
      model: "gpt-image-1.5",
    },
  ]);
  assert.deepEqual(picture?.others, [{ usage: tokens, model: "gpt-6-sol" }]);
  assert.deepEqual(idle?.others, []);
});

const NAMES = [
  ...["prompt_tokens", "input_tokens", "completion_tokens", "output_tokens", "total_tokens"],
  ...["cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "text_tokens"],
  ...["reasoning_tokens", "seconds", "num_requests", "duration", "usage", "response", "type"],
  ...["prompt_tokens_details", "input_tokens_details", "input_token_details", "text", "data"],
  ...["completion_tokens_details", "output_tokens_details", "cached_tokens_details", "object"],
  ...["tool_usage", "web_search", "image_gen", "svg_usage", "tools", "output", "model"],
  ...["service_tier", "action", "__proto__", "toString"],
];
const LEAVES = [
  ...[0, 1, 7, 100, 1e9, 1e10, 2 ** 53, 1e300, Infinity, -1, -0, 0.5, -1e-9, 1e-7, NaN],
  ...[null, true, "", " ", "3", "x", "image_edit.completed", "web_search_call", "1e999"],
];

/** Anything at all, most of it with names that mean something. */
function garbage(random: () => number, depth: number): unknown {
  const below = (limit: number): number => Math.floor(random() * limit);
  if (depth === 0 || random() < 0.3) return LEAVES[below(LEAVES.length)];
  if (random() < 0.1) return Array.from({ length: below(4) }, () => garbage(random, depth - 1));
  const members = Array.from({ length: below(9) }, () => {
    return [NAMES[below(NAMES.length)], garbage(random, depth - 1)];
  });
  return Object.fromEntries(members);
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A usage object with everything in it, of which no two parts agree. */
function contradiction(random: () => number): unknown {
  const counts = (): object =>
    Object.fromEntries(NAMES.map((name) => [name, Math.floor(random() * 50)]));
  return {
    ...counts(),
    input_tokens_details: { ...counts(), cached_tokens_details: counts() },
    output_tokens_details: counts(),
    prompt_tokens_details: undefined,
    input_token_details: undefined,
    completion_tokens_details: undefined,
  };
}

/** What prices rely on. */
function check(usage: Usage, about: string): void {
  const { clamped, ...counts } = usage;
  for (const [name, count] of Object.entries(counts)) {
    assert.ok(Number.isSafeInteger(count) && count >= 0 && !Object.is(count, -0), name + about);
    assert.ok(count <= 1e9, `${name} is huge${about}`);
  }
  assert.equal(typeof clamped, "boolean");
  const { inputTokens, audioInputTokens, imageInputTokens, outputTokens } = usage;
  const text = inputTokens - audioInputTokens - imageInputTokens;
  const cachedText =
    usage.cachedInputTokens - usage.cachedAudioInputTokens - usage.cachedImageInputTokens;
  assert.ok(text >= 0 && cachedText >= 0 && cachedText <= text, `text${about}`);
  assert.ok(usage.cachedAudioInputTokens <= audioInputTokens, `cached audio${about}`);
  assert.ok(usage.cachedImageInputTokens <= imageInputTokens, `cached image${about}`);
  assert.ok(usage.cachedInputTokens + usage.cacheWriteTokens <= inputTokens, `cache${about}`);
  assert.ok(usage.audioOutputTokens + usage.imageOutputTokens <= outputTokens, `output${about}`);
  assert.ok(usage.reasoningTokens <= outputTokens, `reasoning${about}`);
}

test("no garbage makes it throw, or count what cannot be", () => {
  const random = seeded(4);
  let reports = 0;
  for (let round = 0; round < 10_000; round++) {
    const usage = random() < 0.5 ? garbage(random, 2) : contradiction(random);
    const value = Object.assign({ usage }, garbage(random, 3));
    const about = ` of ${JSON.stringify(value)}`;
    const report = findUsage(value);
    for (const medium of [undefined, IMAGES, SPEECH, TRANSCRIPTION]) {
      const read = readUsage(usage, medium);
      if (read !== undefined) check(read, about);
    }
    if (report === undefined) continue;
    reports++;
    for (const { usage } of [report, ...report.others]) check(usage, about);
  }
  assert.ok(reports > 1000, `only ${reports} of them had a usage`);
});
