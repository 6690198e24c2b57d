// Chat completions: text, structured output or a tool call, whole or as a stream.

import { type Answer, type Call, toEvents, toJson } from "./answer.ts";
import { interleave, toChunks, toHead, toUsage } from "./chunks.ts";
import { flag, integer, list, missing, requireText } from "./fields.ts";
import { countMessages, lastUserText } from "./inputs.ts";
import { write, type Writing } from "./writing.ts";

const TOKENS = { min: 1, max: 1_000_000 };
const CHOICES = { min: 1, max: 16 };

/** A writing with what its choice needs beside it. */
interface Choice extends Writing {
  readonly callId: string;
  readonly finish: string;
}

export function answerChat(call: Call): Answer {
  const { fields, digest } = call;
  const model = requireText(fields, "model");
  const messages = list(fields["messages"]);
  if (messages.length === 0) throw missing("messages");
  const choices = writeChoices(call, lastUserText(messages));
  const usage = toUsage(countMessages(messages), choices);
  const id = `chatcmpl-${digest.slice(0, 29)}`;
  if (flag(fields, "stream")) {
    const head = toHead(id, "chat.completion.chunk", model);
    return toEvents(toChunks(head, toDeltas(choices), usage, fields));
  }
  const head = toHead(id, "chat.completion", model);
  return toJson({ ...head, choices: choices.map(toWhole), usage });
}

function writeChoices(call: Call, prompt: string): readonly Choice[] {
  const { fields, digest } = call;
  const format = fields["response_format"];
  const maxTokens =
    integer(fields, "max_completion_tokens", TOKENS) ?? integer(fields, "max_tokens", TOKENS);
  return Array.from({ length: integer(fields, "n", CHOICES) ?? 1 }, (_, index) => {
    const writing = write(call, { prompt, format, maxTokens, index });
    const callId = `call_${index}${digest.slice(0, 23)}`;
    return { ...writing, callId, finish: toFinish(writing, fields["tool_choice"]) };
  });
}

/** OpenAI says `stop`, not `tool_calls`, where the caller named the function to call. */
function toFinish({ cut, tool }: Writing, toolChoice: unknown): string {
  if (cut) return "length";
  return tool !== undefined && toolChoice === "required" ? "tool_calls" : "stop";
}

function toWhole(choice: Choice, index: number): object {
  const { pieces, tool, callId, finish } = choice;
  const joined = pieces.join("");
  const common = { role: "assistant", refusal: null, annotations: [] };
  const call = { id: callId, type: "function", function: { name: tool, arguments: joined } };
  const message =
    tool === undefined
      ? { ...common, content: joined }
      : { ...common, content: null, tool_calls: [call] };
  return { index, message, logprobs: null, finish_reason: finish };
}

function* toDeltas(choices: readonly Choice[]): Iterable<object> {
  for (const [index, choice] of choices.entries()) yield toDelta(index, toOpening(choice));
  for (const { index, writing, piece } of interleave(choices)) {
    const call = { index: 0, function: { arguments: piece } };
    yield toDelta(index, writing.tool === undefined ? { content: piece } : { tool_calls: [call] });
  }
  for (const [index, { finish }] of choices.entries()) yield toDelta(index, {}, finish);
}

function toDelta(index: number, delta: object, finish: string | null = null): object {
  return { index, delta, logprobs: null, finish_reason: finish };
}

function toOpening({ tool, callId }: Choice): object {
  if (tool === undefined) return { role: "assistant", content: "", refusal: null };
  const definition = { name: tool, arguments: "" };
  const call = { index: 0, id: callId, type: "function", function: definition };
  return { role: "assistant", content: null, tool_calls: [call], refusal: null };
}
