// What chat completions and text completions share: usage, and the stream of chunks around choices.

import { CREATED, DONE, encodeEvent } from "./answer.ts";
import { type Fields, flag, section } from "./fields.ts";
import type { Writing } from "./writing.ts";

/** The members that a reply and each of its chunks have in common. */
export function toHead(id: string, object: string, model: string): object {
  const origin = { service_tier: "default", system_fingerprint: "fp_mock" };
  return { id, object, created: CREATED, model, ...origin };
}

export function toUsage(promptTokens: number, writings: readonly Writing[]): object {
  const completionTokens = writings.reduce((sum, { pieces }) => sum + pieces.length, 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

/** With `include_usage`, one chunk without choices has the usage and all others say it is null. */
export function* toChunks(head: object, choices: Iterable<object>, usage: object, fields: Fields) {
  const includeUsage = flag(section(fields["stream_options"]), "include_usage");
  const pending = includeUsage ? { usage: null } : {};
  for (const choice of choices) yield encodeEvent({ ...head, choices: [choice], ...pending });
  if (includeUsage) yield encodeEvent({ ...head, choices: [], usage });
  yield DONE;
}

export interface Piece {
  readonly index: number;
  readonly writing: Writing;
  readonly piece: string;
}

/** The first piece of each choice, then the second of each, as OpenAI sends several choices. */
export function* interleave(writings: readonly Writing[]): Iterable<Piece> {
  const longest = Math.max(...writings.map(({ pieces }) => pieces.length));
  for (let at = 0; at < longest; at += 1) {
    for (const [index, writing] of writings.entries()) {
      const piece = writing.pieces[at];
      if (piece !== undefined) yield { index, writing, piece };
    }
  }
}
