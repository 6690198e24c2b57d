// Text completions, the older API: one or more prompts, each answered `n` times.

import { type Answer, type Call, toEvents, toJson } from "./answer.ts";
import { interleave, toChunks, toHead, toUsage } from "./chunks.ts";
import { invalid } from "./errors.ts";
import { flag, integer, requireText } from "./fields.ts";
import { toInputs } from "./inputs.ts";
import { write, type Writing } from "./writing.ts";

const TOKENS = { min: 1, max: 1_000_000 };
const CHOICE_LIMIT = 16;

export function answerCompletion(call: Call): Answer {
  const { fields, digest } = call;
  const model = requireText(fields, "model");
  const head = toHead(`cmpl-${digest.slice(0, 29)}`, "text_completion", model);
  const prompts = toInputs(fields["prompt"] ?? "");
  const count = integer(fields, "n", { min: 1, max: CHOICE_LIMIT }) ?? 1;
  if (prompts.length * count > CHOICE_LIMIT) {
    throw invalid(`The mock writes ${CHOICE_LIMIT} choices at most.`, "prompt");
  }
  const maxTokens = integer(fields, "max_tokens", TOKENS);
  const writings = prompts.flatMap(({ text: prompt }) =>
    Array.from({ length: count }, (_, index) =>
      write(call, { prompt, format: undefined, maxTokens, index }),
    ),
  );
  const usage = toUsage(
    prompts.reduce((sum, { tokens }) => sum + tokens, 0),
    writings,
  );
  if (flag(fields, "stream")) return toEvents(toChunks(head, toParts(writings), usage, fields));
  const choices = writings.map((writing, index) =>
    toChoice(index, writing.pieces.join(""), toFinish(writing)),
  );
  return toJson({ ...head, choices, usage });
}

function* toParts(writings: readonly Writing[]): Iterable<object> {
  for (const { index, piece } of interleave(writings)) yield toChoice(index, piece, null);
  for (const [index, writing] of writings.entries()) yield toChoice(index, "", toFinish(writing));
}

function toChoice(index: number, text: string, finish: string | null): object {
  return { text, index, logprobs: null, finish_reason: finish };
}

function toFinish({ cut }: Writing): string {
  return cut ? "length" : "stop";
}
