// What calls cost, worked out by hand from OpenAI's price list, and what holds for any call.
// test/clients/prices.test.ts asks the package that the list comes from.
import assert from "node:assert/strict";
import { test } from "node:test";
import { costMicroUsd, worstCostMicroUsd, type Sizes } from "../../src/openai/cost.ts";
import { compilePrices, findPrice, type Price, type Prices } from "../../src/openai/prices.ts";
import { NO_USAGE, type Usage } from "../../src/openai/usage.ts";

const NOW = Date.parse("2026-11-01");

interface Call extends Partial<Usage> {
  readonly model: string;
  readonly tier?: string;
  readonly on?: string;
  readonly prices?: Prices;
}

function priceOf(call: Call): Price {
  const price = findPrice(call.model, Date.parse(call.on ?? "2026-11-01"), call.prices);
  assert.ok(price !== undefined, `${call.model} has no price`);
  return price;
}

function cost({ model, tier, on, prices, ...usage }: Call): number | undefined {
  const price = priceOf({ model, ...(on && { on }), ...(prices && { prices }) });
  return costMicroUsd(price, { ...NO_USAGE, ...usage }, tier);
}

const OWN = compilePrices({
  "my-model": { input: 0.3, cachedInput: 0.1, output: 1.2 },
  "team/*": { input: 0.0000015, output: 1 },
  "gpt-4o": { input: 1, output: 2 },
  // In binary, 2.007 × 1 000 000 is more than 2 007 000.
  odd: { input: 2.007 },
  "my-voice": { input: 1, output: 2, audioInput: 10, audioOutput: 20, audioHour: 0.5 },
});

const M = 1_000_000;

/** Calls, and their costs in micro-dollars: a dollar per million tokens is one for each token. */
const CALLS: readonly (readonly [string, Call, number | undefined])[] = [
  ["nothing", { model: "gpt-4o" }, 0],
  ["a million tokens", { model: "gpt-4o", inputTokens: M, outputTokens: M }, 12_500_000],
  // 1000 × 2.5 + 200 × 10
  ["a chat", { model: "gpt-4o", inputTokens: 1000, outputTokens: 200 }, 4500],
  // 0.15 + 0.6 = 0.75, and 3 × 0.15 = 0.45
  ["less than a micro-dollar", { model: "gpt-4o-mini", inputTokens: 1, outputTokens: 1 }, 1],
  ["the smallest part of one", { model: "gpt-4o-mini", inputTokens: 3 }, 1],
  // 7 × 0.15 + 1 × 0.6 = 1.65
  ["what is rounded once", { model: "gpt-4o-mini", inputTokens: 7, outputTokens: 1 }, 2],
  // 0.6 × 5 = 3: no binary fraction makes it 4.
  ["what is whole", { model: "gpt-4o-mini", outputTokens: 5 }, 3],
  ["thoughts, as words", { model: "o3", outputTokens: 900, reasoningTokens: 800 }, 7200],
  // 744 × 1.25 + 256 × 0.125 + 100 × 10
  [
    "cached input",
    { model: "gpt-5", inputTokens: 1000, cachedInputTokens: 256, outputTokens: 100 },
    1962,
  ],
  ["what cannot be cached cheaper", { model: "o3-pro", inputTokens: 9, cachedInputTokens: 9 }, 180],
  // 300 × 2 + 500 × 0.2 + 200 × 2.5
  [
    "written to the cache, and read",
    { model: "gpt-6-sol", inputTokens: 1000, cachedInputTokens: 500, cacheWriteTokens: 200 },
    1200,
  ],
  ["a long context's last cheap token", { model: "gpt-5.5", inputTokens: 271_999 }, 1_359_995],
  ["a long context's first dear token", { model: "gpt-5.5", inputTokens: 272_000 }, 2_720_000],
  [
    "its output",
    { model: "gpt-5.5", inputTokens: 272_000, cachedInputTokens: 272_000, outputTokens: 100 },
    276_500,
  ],
  ["another model's last cheap token", { model: "gpt-6-luna", inputTokens: 272_000 }, 27_200],
  ["its first dear one", { model: "gpt-6-luna", inputTokens: 272_005 }, 54_401],
  [
    "the day before it grew cheaper",
    { model: "gpt-5.6-sol", on: "2026-08-20T23:59:59.999Z", inputTokens: 10, outputTokens: 10 },
    350,
  ],
  [
    "the day it did",
    { model: "gpt-5.6-sol", on: "2026-08-21T00:00:00Z", inputTokens: 10, outputTokens: 10 },
    240,
  ],
  ["long before", { model: "o3", on: "1969-07-20", inputTokens: 10, outputTokens: 10 }, 500],
  // 100 × 2.5 + 500 × 32 + 20 × 10 + 300 × 64
  [
    "sound",
    {
      model: "gpt-audio",
      inputTokens: 600,
      audioInputTokens: 500,
      outputTokens: 320,
      audioOutputTokens: 300,
    },
    35_650,
  ],
  // Text 10 × 4 + 10 × 0.4, sound 50 × 32 + 50 × 0.4, pictures 6 × 5 + 4 × 0.5
  [
    "cached kinds",
    {
      model: "gpt-realtime",
      inputTokens: 130,
      cachedInputTokens: 64,
      audioInputTokens: 100,
      cachedAudioInputTokens: 50,
      imageInputTokens: 10,
      cachedImageInputTokens: 4,
    },
    1696,
  ],
  // 20 × 5 + 80 × 8 + 10 × 10 + 1000 × 32
  [
    "pictures",
    {
      model: "gpt-image-1.5",
      inputTokens: 100,
      imageInputTokens: 80,
      outputTokens: 1010,
      imageOutputTokens: 1000,
    },
    32_840,
  ],
  [
    "pictures at the price of all output",
    { model: "gpt-image-1", outputTokens: 4160, imageOutputTokens: 4160 },
    166_400,
  ],
  // 5 × 2.5 + 95 × 6 + 40 × 10 = 982.5
  [
    "a transcript by tokens",
    { model: "gpt-4o-transcribe", inputTokens: 100, audioInputTokens: 95, outputTokens: 40 },
    983,
  ],
  // 0.36 an hour is 100 a second.
  ["a transcript by seconds", { model: "whisper-1", audioMs: 9000 }, 900],
  ["an hour", { model: "gpt-transcribe", audioMs: 3_600_000 }, 270_000],
  ["a millisecond", { model: "gpt-transcribe", audioMs: 1 }, 1],
  [
    "speech",
    { model: "gpt-4o-mini-tts", inputTokens: 14, outputTokens: 101, audioOutputTokens: 101 },
    1221,
  ],
  ["embeddings", { model: "text-embedding-3-small", inputTokens: 8 }, 1],
  ["moderation", { model: "omni-moderation-latest", inputTokens: 500 }, 0],
  ["searches", { model: "gpt-5-mini", webSearches: 2, fileSearches: 3 }, 27_500],
  ["searches of a model whose list forgot them", { model: "o3-pro", webSearches: 1 }, 10_000],
  ["a snapshot", { model: "gpt-4o-2024-05-13", inputTokens: 10, outputTokens: 10 }, 200],
  ["a snapshot by pattern", { model: "gpt-6-sol-2026-09-22", inputTokens: 10 }, 20],
  [
    "a fine-tuned model",
    { model: "ft:gpt-4o-mini-2024-07-18:acme::BxYz12", inputTokens: 10, outputTokens: 10 },
    15,
  ],
  ["a name in capitals", { model: "GPT-4o", inputTokens: 4 }, 10],

  // Tiers.
  ["default", { model: "gpt-5", tier: "default", inputTokens: 8, outputTokens: 1 }, 20],
  ["scale", { model: "gpt-5", tier: "scale", inputTokens: 8, outputTokens: 1 }, 20],
  ["auto", { model: "gpt-5", tier: "auto", inputTokens: 8, outputTokens: 1 }, 20],
  ["flex, the half", { model: "gpt-5", tier: "flex", inputTokens: 8, outputTokens: 1 }, 10],
  ["flex, rounded", { model: "gpt-5", tier: "flex", inputTokens: 1 }, 1],
  ["priority, twice", { model: "gpt-5", tier: "priority", inputTokens: 8, outputTokens: 1 }, 40],
  ["fast, its other name", { model: "gpt-5", tier: "fast", inputTokens: 8, outputTokens: 1 }, 40],
  // The published 4.25 and 17.
  ["priority, 1.7 times", { model: "gpt-4o", tier: "priority", inputTokens: 4 }, 17],
  // 3 × 0.25 + 1 × 1 = 1.75
  [
    "priority, 5/3 times",
    { model: "gpt-4o-mini", tier: "priority", inputTokens: 3, outputTokens: 1 },
    2,
  ],
  // The published 2 and 8.
  [
    "priority, 20/11 times",
    { model: "o4-mini", tier: "priority", inputTokens: 100, outputTokens: 50 },
    600,
  ],
  // The published 16 and 60 for long contexts.
  [
    "priority, of a long context",
    { model: "gpt-5.6-sol", tier: "priority", inputTokens: 300_000, outputTokens: 1000 },
    4_860_000,
  ],
  [
    "searches, in any tier",
    { model: "gpt-5", tier: "flex", inputTokens: 8, webSearches: 1 },
    10_005,
  ],
  ["priority that has no price", { model: "o3-pro", tier: "priority", inputTokens: 1 }, undefined],
  ["ultrafast", { model: "gpt-5.6-sol", tier: "ultrafast", inputTokens: 1 }, undefined],

  // What a model has no price for.
  ["tokens of a model by the hour", { model: "whisper-1", inputTokens: 1 }, undefined],
  ["seconds of a model by the token", { model: "gpt-4o-transcribe", audioMs: 1 }, undefined],
  [
    "output of a model without any",
    { model: "text-embedding-3-small", outputTokens: 1 },
    undefined,
  ],

  // The operator's own.
  [
    "a model of one's own",
    {
      model: "my-model",
      prices: OWN,
      inputTokens: 1000,
      cachedInputTokens: 400,
      outputTokens: 100,
    },
    340,
  ],
  ["its priority", { model: "my-model", prices: OWN, tier: "priority", inputTokens: 1 }, undefined],
  ["its flex", { model: "my-model", prices: OWN, tier: "flex", inputTokens: 10 }, 3],
  ["a price of one's own", { model: "gpt-4o", prices: OWN, inputTokens: 10, outputTokens: 1 }, 12],
  ["its snapshot, untouched", { model: "gpt-4o-2024-08-06", prices: OWN, inputTokens: 10 }, 25],
  ["other models, untouched", { model: "gpt-5", prices: OWN, inputTokens: 8 }, 10],
  // 1.5 pico-dollars are taken for 2.
  ["a family", { model: "team/tiny", prices: OWN, inputTokens: M }, 2],
  ["no more than it is", { model: "odd", prices: OWN, inputTokens: M }, 2_007_000],
  // 5 × 1 + 5 × 10 + 1 × 2 + 2 × 20, and 500 s at 0.5 an hour: 69 444.4…
  [
    "a voice of one's own",
    {
      model: "my-voice",
      prices: OWN,
      inputTokens: 10,
      audioInputTokens: 5,
      cachedInputTokens: 5,
      cachedAudioInputTokens: 5,
      outputTokens: 3,
      audioOutputTokens: 2,
      audioMs: 500_000,
    },
    69_542,
  ],
];

for (const [name, call, expected] of CALLS) {
  test(`prices ${name}`, () => {
    assert.equal(cost(call), expected);
  });
}

test("a model that nobody has priced has no price, and none is guessed from its name", () => {
  const names = ["", "gpt", "gpt-4o-", "gpt-4o-2099-01-01", "gpt-6-sol-latest", "llama-3", "*"];
  // The list has the price of their text alone.
  const incomplete = ["gpt-4o-audio-preview", "gpt-4o-mini-audio-preview-2024-12-17"];
  const foreign = ["x-gpt-4o", "gpt-4o ", "gpt-6-sol-2026-09-22-x", "__proto__", "constructor"];
  for (const name of [...names, ...incomplete, ...foreign, "gpt-5-nano-".padEnd(300, "x")]) {
    assert.equal(findPrice(name, NOW), undefined, name);
    assert.equal(findPrice(name, NOW, compilePrices({})), undefined, name);
  }
});

test("a clock that is wrong finds a price all the same", () => {
  for (const whenMs of [Number.NaN, -Infinity, Infinity, -1]) {
    assert.notEqual(findPrice("gpt-5.6-sol", whenMs), undefined);
    assert.notEqual(findPrice("my-model", whenMs, OWN), undefined);
  }
});

test("reserves for the dearest kind that a token may turn out to be", () => {
  const worst = (model: string, sizes: Sizes, tier?: string): number | undefined =>
    worstCostMicroUsd(priceOf({ model }), sizes, tier);
  const sizes = { inputTokens: 1000, outputTokens: 100 };

  assert.equal(worst("gpt-4o", sizes), 3500);
  assert.equal(worst("gpt-6-sol", sizes), 3500, "all of it may be written to the cache");
  assert.equal(worst("gpt-audio", sizes), 38_400, "all of it may be sound");
  assert.equal(worst("gpt-5.5", { inputTokens: 272_000, outputTokens: 100 }), 2_724_500);
  assert.equal(worst("gpt-4o", sizes, "priority"), 5950);
  assert.equal(worst("gpt-4o", sizes, "flex"), 3500, "flex may turn out to be the default");
  assert.equal(worst("o3-pro", sizes, "priority"), undefined);
  assert.equal(worst("whisper-1", { ...sizes, audioMs: 1000 }), 100, "it has no tokens");
  assert.equal(worst("text-embedding-3-small", sizes), 20, "it has no output");
  assert.equal(worst("gpt-5", { ...sizes, webSearches: 2, fileSearches: 1 }), 24_750);
});

const MODELS = [
  ...["gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-mini", "gpt-5.5", "gpt-5.6-luna", "gpt-6-astra"],
  ...["gpt-audio", "gpt-realtime", "gpt-realtime-mini", "gpt-image-1", "gpt-image-1.5", "o4-mini"],
  ...["gpt-4o-transcribe", "gpt-4o-mini-tts", "gpt-oss-20b", "my-model", "my-voice", "team/tiny"],
];
const TIERS = [undefined, "default", "flex", "priority", "scale", "ultrafast"];

function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Usage as `readUsage` makes it: no part is larger than its whole. */
function randomUsage(random: (below: number) => number): Usage {
  const part = (whole: number): number => {
    return [0, whole, random(whole + 1), random(whole + 1)][random(4)] ?? 0;
  };
  const inputTokens = part([10, 1000, 300_000, 544_000, 1e9][random(5)] ?? 0);
  const audioInputTokens = part(inputTokens);
  const imageInputTokens = part(inputTokens - audioInputTokens);
  const cachedAudioInputTokens = part(audioInputTokens);
  const cachedImageInputTokens = part(imageInputTokens);
  const cachedText = part(inputTokens - audioInputTokens - imageInputTokens);
  const cachedInputTokens = cachedAudioInputTokens + cachedImageInputTokens + cachedText;
  const outputTokens = part([10, 4096, 1e9][random(3)] ?? 0);
  const audioOutputTokens = part(outputTokens);
  return {
    ...NO_USAGE,
    inputTokens,
    audioInputTokens,
    imageInputTokens,
    cachedAudioInputTokens,
    cachedImageInputTokens,
    cachedInputTokens,
    cacheWriteTokens: part(inputTokens - cachedInputTokens),
    outputTokens,
    reasoningTokens: part(outputTokens),
    audioOutputTokens,
    imageOutputTokens: part(outputTokens - audioOutputTokens),
    webSearches: random(4),
    fileSearches: random(4),
  };
}

test("costs are whole, and never more than what the sizes may come to", () => {
  const random = createRandom(11);
  let known = 0;
  for (let round = 0; round < 20_000; round++) {
    const price = priceOf({ model: MODELS[random(MODELS.length)] ?? "", prices: OWN });
    const tier = TIERS[random(TIERS.length)];
    const usage = randomUsage(random);
    const actual = costMicroUsd(price, usage, tier);
    const within = random(2) === 0 ? 0 : random(1000);
    const sizes = { ...usage, inputTokens: Math.min(usage.inputTokens + within, 1e9) };
    const worst = worstCostMicroUsd(price, sizes, tier);
    const about = JSON.stringify({ round, tier, usage, actual, worst });

    assert.equal(actual === undefined, worst === undefined, about);
    if (actual === undefined || worst === undefined) continue;
    known++;
    assert.ok(Number.isSafeInteger(actual) && actual >= 0, about);
    assert.ok(Number.isSafeInteger(worst) && worst >= actual, about);
  }
  assert.ok(known > 10_000, `only ${known} had a cost`);
});

/** What makes a call dearer, and what makes it cheaper. */
const GROWING = [
  ...(["inputTokens", "audioInputTokens", "imageInputTokens", "cacheWriteTokens"] as const),
  ...(["outputTokens", "audioOutputTokens", "imageOutputTokens", "reasoningTokens"] as const),
  ...(["webSearches", "fileSearches"] as const),
];
const SHRINKING = [
  ...(["cachedInputTokens", "cachedAudioInputTokens", "cachedImageInputTokens"] as const),
];

test("more of anything never costs less, and more of it cached never more", () => {
  const random = createRandom(12);
  for (let round = 0; round < 5000; round++) {
    const price = priceOf({ model: MODELS[random(MODELS.length)] ?? "", prices: OWN });
    const tier = TIERS[random(3)];
    // Every part has room to grow.
    const usage = {
      ...NO_USAGE,
      inputTokens: 2000 + random(400_000),
      audioInputTokens: 200 + random(200),
      imageInputTokens: 200 + random(200),
      cachedInputTokens: 400 + random(200),
      cachedAudioInputTokens: random(100),
      cachedImageInputTokens: random(100),
      cacheWriteTokens: random(200),
      outputTokens: 1000 + random(1000),
      audioOutputTokens: random(200),
      imageOutputTokens: random(200),
      webSearches: random(3),
    };
    const before = costMicroUsd(price, usage, tier) ?? Number.NaN;
    const costWith = (name: keyof Usage, more: number): number =>
      costMicroUsd(price, { ...usage, [name]: Number(usage[name]) + more }, tier) ?? Number.NaN;

    for (const name of GROWING) {
      assert.ok(costWith(name, 1 + random(100)) >= before, `${round}: ${name}`);
    }
    for (const name of SHRINKING) {
      assert.ok(costWith(name, 1 + random(100)) <= before, `${round}: ${name}`);
    }
  }
});
