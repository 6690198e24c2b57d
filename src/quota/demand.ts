// What a call asks for, as far as that decides what it can come to: read from its body, and at what
// it comes to in tokens and time.
import type { Sizes } from "../openai/cost.ts";
import type { Parameters } from "../openai/parameters.ts";

export interface Demand {
  readonly model: string | undefined;
  readonly serviceTier: string | undefined;
  /** Caps the tokens of one choice, where the call says so. */
  readonly outputCap: number | undefined;
  readonly choices: number;
  /** Images, sounds and files, given or linked to, and the bytes that those given take. */
  readonly media: number;
  readonly mediaBytes: number;
}

/** Of a call whose body nobody has looked into. */
export const NOTHING_ASKED: Demand = {
  model: undefined,
  serviceTier: undefined,
  outputCap: undefined,
  choices: 1,
  media: 0,
  mediaBytes: 0,
};

/** What its text takes in Chinese; English takes four to five. */
const BYTES_PER_TOKEN = 3;
/** Of an image in good resolution, for most models. */
const MEDIUM_TOKENS = 2_500;
/** Long files have many pages. */
const MEDIUM_BYTES_PER_TOKEN = 1_000;
/** Of the largest in the best quality. */
const DRAWN_TOKENS = 8_192;
/** Speech at 32 kbit/s: few files have less. */
const SOUND_BYTES_PER_MS = 4;
/** OpenAI's own limit for sound, where nobody says how much it is. */
const UPLOAD_BYTES = 25 * 1024 * 1024;
/** The models hear ten tokens a second. */
const SOUND_MS_PER_TOKEN = 100;
/** Spoken, a byte of text takes less, in all languages. */
const SPOKEN_TOKENS_PER_BYTE = 2;

/**
 * What is set aside for a call: an estimate of its input, and its output if that is all it may be.
 * What OpenAI keeps, and a call only names, is not in it.
 * @param bodyBytes nothing where it is not known yet.
 * @param outputCap of the caller's policy.
 * @param assumedOutputTokens where neither the call nor the policy caps them.
 */
export function toSizes(
  demand: Demand,
  output: Parameters["output"],
  bodyBytes: number | undefined,
  outputCap = Infinity,
  assumedOutputTokens: number,
): Sizes {
  const { choices, media, mediaBytes } = demand;
  const text = Math.max(0, (bodyBytes ?? 0) - mediaBytes);
  const givenBytes = Math.min(mediaBytes, bodyBytes ?? 0);
  const given = media * MEDIUM_TOKENS + Math.ceil(givenBytes / MEDIUM_BYTES_PER_TOKEN);
  const inputTokens = Math.ceil(text / BYTES_PER_TOKEN) + given;
  switch (output) {
    case "nothing":
      return { inputTokens, outputTokens: 0 };
    case "text": {
      const cap = Math.min(demand.outputCap ?? Infinity, outputCap);
      return {
        inputTokens,
        outputTokens: choices * (cap === Infinity ? assumedOutputTokens : cap),
      };
    }
    case "images":
      return { inputTokens, outputTokens: choices * DRAWN_TOKENS };
    case "speech":
      return { inputTokens, outputTokens: text * SPOKEN_TOKENS_PER_BYTE };
    case "transcript": {
      const audioMs = Math.ceil((bodyBytes ?? UPLOAD_BYTES) / SOUND_BYTES_PER_MS);
      const heard = Math.ceil(audioMs / SOUND_MS_PER_TOKEN);
      return { inputTokens: heard, outputTokens: assumedOutputTokens, audioMs };
    }
  }
}
