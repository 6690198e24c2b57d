// Responses: one message or one function call, whole or as the full sequence of events.

import { type Answer, type Call, CREATED, encodeNamedEvent, type StreamEvent } from "./answer.ts";
import { toEvents, toJson } from "./answer.ts";
import { type Fields, flag, integer, list, requireText, section, text } from "./fields.ts";
import { countMessages, countTokens, lastUserText } from "./inputs.ts";
import { write } from "./writing.ts";

/** An output item as a stream tells it: empty, opened, growing piece by piece, closed, complete. */
interface Item {
  readonly empty: object;
  readonly opening: readonly StreamEvent[];
  toDelta(piece: string): StreamEvent;
  readonly closing: readonly StreamEvent[];
  readonly complete: object;
}

interface Content {
  readonly id: string;
  readonly value: string;
  readonly status: "completed" | "incomplete";
}

/** A response as the first and as the last event have it. */
interface Ends {
  readonly started: Fields;
  readonly ended: Fields;
}

const TOKENS = { min: 1, max: 1_000_000 };

/** The settings that a response repeats, with what they are when not given. */
const SETTINGS: Fields = {
  background: false,
  instructions: null,
  max_output_tokens: null,
  max_tool_calls: null,
  metadata: {},
  parallel_tool_calls: true,
  previous_response_id: null,
  prompt_cache_key: null,
  reasoning: { effort: null, summary: null },
  safety_identifier: null,
  service_tier: "default",
  store: true,
  temperature: 1,
  text: { format: { type: "text" }, verbosity: "medium" },
  tool_choice: "auto",
  tools: [],
  top_logprobs: 0,
  top_p: 1,
  truncation: "disabled",
  user: null,
};

export function answerResponse(call: Call): Answer {
  const { fields, digest } = call;
  const model = requireText(fields, "model");
  const { pieces, cut, tool } = write(call, {
    prompt: lastUserText(toMessages(fields)),
    format: section(fields["text"])["format"],
    maxTokens: integer(fields, "max_output_tokens", TOKENS),
    index: 0,
  });
  const id = digest.slice(0, 48);
  const status = cut ? "incomplete" : "completed";
  const content = { id, value: pieces.join(""), status } as const;
  const item = tool === undefined ? toMessageItem(content) : toCallItem(content, tool);
  const started = toStarted(`resp_${id}`, model, fields);
  const ended = {
    ...started,
    status,
    completed_at: cut ? null : CREATED,
    incomplete_details: cut ? { reason: "max_output_tokens" } : null,
    output: [item.complete],
    usage: toUsage(countInput(fields), pieces.length),
  };
  if (!flag(fields, "stream")) return toJson(ended);
  return toEvents(toNumbered(toSteps(item, pieces, { started, ended })));
}

export function answerInputTokens({ fields }: Call): Answer {
  return toJson({ object: "response.input_tokens", input_tokens: countInput(fields) });
}

/** `input` is a list of items, or a string that stands for one user message. */
function toMessages({ input }: Fields): readonly unknown[] {
  return typeof input === "string" ? [{ role: "user", content: input }] : list(input);
}

function countInput(fields: Fields): number {
  return countMessages(toMessages(fields)) + countTokens(text(fields["instructions"]));
}

function toUsage(inputTokens: number, outputTokens: number): object {
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: inputTokens + outputTokens,
  };
}

function toStarted(id: string, model: string, fields: Fields): Fields {
  const settings = Object.entries(SETTINGS).map(([name, value]) => [name, fields[name] ?? value]);
  return {
    id,
    object: "response",
    created_at: CREATED,
    status: "in_progress",
    completed_at: null,
    error: null,
    incomplete_details: null,
    model,
    output: [],
    ...Object.fromEntries(settings),
    usage: null,
  };
}

function* toSteps(item: Item, pieces: readonly string[], ends: Ends): Iterable<StreamEvent> {
  const { started, ended } = ends;
  yield { type: "response.created", response: started };
  yield { type: "response.in_progress", response: started };
  yield { type: "response.output_item.added", output_index: 0, item: item.empty };
  yield* item.opening;
  for (const piece of pieces) yield item.toDelta(piece);
  yield* item.closing;
  yield { type: "response.output_item.done", output_index: 0, item: item.complete };
  yield { type: `response.${text(ended["status"])}`, response: ended };
}

function* toNumbered(events: Iterable<StreamEvent>): Iterable<string> {
  let number = 0;
  for (const { type, ...event } of events) {
    yield encodeNamedEvent({ type, sequence_number: number, ...event });
    number += 1;
  }
}

function toMessageItem({ id, value, status }: Content): Item {
  const message = { id: `msg_${id}`, type: "message", role: "assistant" };
  const at = { item_id: message.id, output_index: 0, content_index: 0 };
  const type = "response.output_text";
  const none = { type: "output_text", annotations: [], logprobs: [], text: "" };
  const part = { ...none, text: value };
  return {
    empty: { ...message, status: "in_progress", content: [] },
    opening: [{ type: "response.content_part.added", ...at, part: none }],
    toDelta: (delta) => ({ type: `${type}.delta`, ...at, delta, logprobs: [] }),
    closing: [
      { type: `${type}.done`, ...at, text: value, logprobs: [] },
      { type: "response.content_part.done", ...at, part },
    ],
    complete: { ...message, status, content: [part] },
  };
}

function toCallItem({ id, value, status }: Content, name: string): Item {
  const call = { id: `fc_${id}`, type: "function_call", call_id: `call_${id.slice(0, 24)}`, name };
  const at = { item_id: call.id, output_index: 0 };
  const type = "response.function_call_arguments";
  return {
    empty: { ...call, status: "in_progress", arguments: "" },
    opening: [],
    toDelta: (delta) => ({ type: `${type}.delta`, ...at, delta }),
    closing: [{ type: `${type}.done`, ...at, name, arguments: value }],
    complete: { ...call, status, arguments: value },
  };
}
