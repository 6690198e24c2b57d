// The price list against the package that it was made from, and what calls cost against that
// package's own reckoning.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { calcPrice, findProvider, type MatchLogic } from "@pydantic/genai-prices";
import { costMicroUsd } from "../../src/openai/cost.ts";
import { findPrice } from "../../src/openai/prices.ts";
import { NO_USAGE, findUsage, type Usage } from "../../src/openai/usage.ts";

const NOW = Date.parse("2026-11-01T12:00:00Z");

/** The package has only the price of their text; the list leaves them out. */
const INCOMPLETE = ["gpt-4o-audio-preview", "gpt-4o-mini-audio-preview"];

test("the price list is what its script makes of the installed package", () => {
  const script = fileURLToPath(new URL("../prices/generate.mjs", import.meta.url));
  const list = new URL("../../src/openai/price-list.ts", import.meta.url);

  const made = execFileSync(process.execPath, [script, "--print"], { encoding: "utf8" });

  assert.equal(readFileSync(list, "utf8"), made);
});

/** What the package makes of it, in micro-dollars. */
function reckon(model: string, usage: Usage, whenMs: number): number {
  const seconds = usage.audioMs / 1000;
  const calculation = calcPrice(
    {
      input_tokens: usage.inputTokens,
      cache_read_tokens: usage.cachedInputTokens,
      cache_write_tokens: usage.cacheWriteTokens,
      input_audio_tokens: usage.audioInputTokens,
      input_image_tokens: usage.imageInputTokens,
      cache_audio_read_tokens: usage.cachedAudioInputTokens,
      cache_image_read_tokens: usage.cachedImageInputTokens,
      output_tokens: usage.outputTokens,
      output_audio_tokens: usage.audioOutputTokens,
      output_image_tokens: usage.imageOutputTokens,
      audio_seconds: seconds,
      input_audio_seconds: seconds,
      web_searches: usage.webSearches,
      storage_searches: usage.fileSearches,
    },
    model,
    { providerId: "openai", timestamp: new Date(whenMs) },
  );
  assert.ok(calculation !== null, `the package does not know ${model}`);
  return calculation.total_price * 1e6;
}

/** The same, rounded up: binary fractions may be off by a millionth of a millionth. */
function assertSame(model: string, partial: Partial<Usage>, whenMs = NOW): void {
  const usage = { ...NO_USAGE, ...partial };
  const theirs = reckon(model, usage, whenMs);
  const price = findPrice(model, whenMs);
  assert.ok(price !== undefined, `${model} has no price`);
  const ours = costMicroUsd(price, usage);
  const off = (ours ?? Number.NaN) - theirs;
  const slack = 1e-6 + theirs * 1e-12;
  assert.ok(off > -slack && off < 1 + slack, `${model}: ${ours} for ${theirs}`);
}

const chat = { inputTokens: 1234, outputTokens: 567 };
const cached = { ...chat, cachedInputTokens: 1024 };
const written = { ...cached, cacheWriteTokens: 100 };
const long = { ...written, inputTokens: 272_001 };
const spoken = { ...chat, audioInputTokens: 1000, audioOutputTokens: 500 };
const heard = { ...spoken, cachedInputTokens: 700, cachedAudioInputTokens: 600 };
const drawn = { ...chat, imageInputTokens: 1100, imageOutputTokens: 567 };
const searched = { ...cached, webSearches: 3, fileSearches: 2 };

const CALLS: readonly (readonly [string, Partial<Usage>, string?])[] = [
  ["gpt-3.5-turbo", chat],
  ["gpt-4", chat],
  ["gpt-4-turbo-2024-04-09", chat],
  ["gpt-4.1", searched],
  ["gpt-4.1-mini-2025-04-14", cached],
  ["gpt-4.1-nano", cached],
  ["gpt-4o", searched],
  ["gpt-4o-2024-05-13", cached],
  ["gpt-4o-2024-08-06", cached],
  ["gpt-4o-mini", cached],
  ["gpt-4o-mini-2024-07-18", { inputTokens: 1 }],
  ["ft:gpt-3.5-turbo-0125:acme::Bx", chat],
  ["ft:gpt-4o-2024-08-06:acme::Bx", cached],
  ["ft:gpt-4o-mini-2024-07-18:acme::Bx", chat],
  ["gpt-4o-mini-realtime-preview-2024-12-17", heard],
  ["gpt-4o-realtime-preview", heard],
  ["gpt-realtime", { ...heard, imageInputTokens: 100, cachedImageInputTokens: 64 }],
  ["gpt-realtime-mini", heard],
  ["gpt-audio", spoken],
  ["gpt-audio-mini-2025-10-06", spoken],
  ["gpt-4o-transcribe", { ...chat, audioInputTokens: 1200 }],
  ["gpt-4o-mini-transcribe", { ...chat, audioInputTokens: 1200 }],
  ["gpt-4o-mini-tts", { ...chat, audioOutputTokens: 567 }],
  ["whisper-1", { audioMs: 3_601_000 }],
  ["gpt-transcribe", { audioMs: 61_001 }],
  ["gpt-image-1", drawn],
  ["gpt-image-1-mini", drawn],
  ["gpt-image-1.5", { ...drawn, cachedInputTokens: 600, cachedImageInputTokens: 500 }],
  ["gpt-image-2", drawn],
  ["gpt-5", searched],
  ["gpt-5-mini", cached],
  ["gpt-5-nano-2025-08-07", cached],
  ["gpt-5-pro", chat],
  ["gpt-5.1-codex-max", cached],
  ["gpt-5.2", { ...chat, reasoningTokens: 500 }],
  ["gpt-5.4", { ...cached, inputTokens: 271_999 }],
  ["gpt-5.4", { ...cached, inputTokens: 272_000 }],
  ["gpt-5.5-2026-04-23", long],
  ["gpt-5.6", written, "2026-08-20T23:59:59.999Z"],
  ["gpt-5.6", written, "2026-08-21T00:00:00Z"],
  ["gpt-5.6-luna-2026-07-09", long, "2026-07-29"],
  ["gpt-5.6-luna-2026-07-09", long, "2026-07-30"],
  ["gpt-5.6-terra", written],
  ["gpt-6-astra-2026-09-03", long],
  ["gpt-6-luna", { ...written, inputTokens: 272_000 }],
  ["gpt-6-luna", long],
  ["gpt-6-sol", searched],
  ["o3", cached, "2025-06-09"],
  ["o3", cached, "2025-06-10"],
  ["o4-mini", cached],
  ["text-embedding-3-large", { inputTokens: 8191 }],
  ["text-embedding-3-small", { inputTokens: 3 }],
  ["omni-moderation-2024-09-26", chat],
];

for (const [model, usage, day] of CALLS) {
  test(`${model}${day ? ` on ${day}` : ""} costs what the package says`, () => {
    assertSame(model, usage, day === undefined ? NOW : Date.parse(day));
  });
}

/** Names that a rule is for. */
function examples(match: MatchLogic): readonly string[] {
  if ("or" in match) return match.or.flatMap(examples);
  if ("equals" in match) return [match.equals];
  if ("starts_with" in match) return [match.starts_with, `${match.starts_with}-1`];
  if ("contains" in match) return [match.contains, `x-${match.contains}-y`];
  assert.ok("regex" in match, "a kind of rule that has no examples yet");
  return [match.regex.replace(/[\^$\\]/g, "").replace("d{4}-d{2}-d{2}", "2026-10-01")];
}

const models = findProvider({ providerId: "openai" })?.models ?? [];

function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test("every name in the package costs the same here, whatever was used and when", () => {
  const random = createRandom(7);
  let compared = 0;
  for (const { id, match, prices } of models) {
    for (const name of examples(match)) {
      if (INCOMPLETE.includes(id)) {
        assert.equal(findPrice(name, NOW), undefined, name);
        continue;
      }
      for (let round = 0; round < 20; round++) {
        const on = Date.UTC(2025, 0, 1 + random(730));
        const known = Object.keys(Array.isArray(prices) ? (prices[0]?.prices ?? {}) : prices);
        const has = (item: string): boolean => known.includes(item);
        const inputTokens = has("input_mtok") ? 4 + random(random(2) ? 300_000 : 3000) : 0;
        const outputTokens = has("output_mtok") ? 2 + random(10_000) : 0;
        const quarter = Math.floor(inputTokens / 4);
        const kinds = {
          audioInputTokens: has("input_audio_mtok") ? random(quarter) : 0,
          imageInputTokens: has("input_image_mtok") ? random(quarter) : 0,
          audioOutputTokens: has("output_audio_mtok") ? random(outputTokens / 2) : 0,
          imageOutputTokens: has("output_image_mtok") ? random(outputTokens / 2) : 0,
        };
        const cachedKinds = {
          cachedAudioInputTokens: random(kinds.audioInputTokens),
          cachedImageInputTokens: random(kinds.imageInputTokens),
        };
        const cachedText = random(quarter);
        const { cachedAudioInputTokens: sound, cachedImageInputTokens: pictures } = cachedKinds;
        assertSame(
          name,
          {
            inputTokens,
            outputTokens,
            ...kinds,
            ...cachedKinds,
            cachedInputTokens: cachedText + sound + pictures,
            cacheWriteTokens: has("cache_write_mtok") ? random(quarter) : 0,
            audioMs: has("audio_hours") ? random(10_000_000) : 0,
            webSearches: has("web_searches_kcount") ? random(5) : 0,
            fileSearches: has("storage_searches_kcount") ? random(5) : 0,
          },
          on,
        );
        compared++;
      }
    }
  }
  assert.ok(compared > 3000, `only ${compared} were compared`);
});

test("a whole reply costs what the package says of it", () => {
  const reply = {
    object: "chat.completion",
    model: "gpt-4o-2024-08-06",
    service_tier: "default",
    usage: {
      prompt_tokens: 2006,
      completion_tokens: 300,
      total_tokens: 2306,
      prompt_tokens_details: { cached_tokens: 1920, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
    },
  };
  const report = findUsage(reply);
  assert.ok(report?.model !== undefined, "the reply names its model");
  assertSame(report.model, report.usage);
});
