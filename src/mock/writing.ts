// What the mock writes: prose that quotes the caller, JSON in the shape that was asked for, or the
// arguments of a tool, always as the pieces (tokens) that a stream sends one by one.

import type { Call } from "./answer.ts";
import { type Fields, isFields, list, section, text } from "./fields.ts";
import { toSample } from "./sample.ts";

export interface Task {
  readonly prompt: string;
  /** `response_format` of chat, `text.format` of responses. */
  readonly format: unknown;
  readonly maxTokens: number | undefined;
  /** Which of several choices this is: they open differently. */
  readonly index: number;
}

export interface Writing {
  readonly pieces: readonly string[];
  /** Whether the token limit ended it. */
  readonly cut: boolean;
  /** The tool that is called, with the pieces as its arguments. */
  readonly tool: string | undefined;
}

const OPENINGS = ["Sure!", "Of course.", "Happy to help.", "Good question.", "Here you go."];
const FILLER = " The mock adds these words to reach the length that was asked for.";
const QUOTE_LENGTH = 80;

/** Short words whole, long ones in parts, with the space in front: joined, they are the text. */
export function toPieces(value: string): readonly string[] {
  return value.match(/\s*\S{1,6}|\s+$/gu) ?? [];
}

export function write(call: Call, task: Task): Writing {
  const tool = forcedTool(call.fields);
  const pieces = tool === undefined ? toAnswerPieces(call, task) : toArguments(tool);
  const limit = task.maxTokens ?? pieces.length;
  return {
    pieces: pieces.slice(0, limit),
    cut: pieces.length > limit,
    tool: tool === undefined ? undefined : text(tool["name"]),
  };
}

function toAnswerPieces({ digest, tokens }: Call, task: Task): readonly string[] {
  const { type, ...format } = section(task.format);
  if (type === "json_schema") {
    // Chat wraps the schema in an object of that name, responses does not.
    const { schema } = section(format["json_schema"] ?? format);
    return toPieces(JSON.stringify(toSample(schema)));
  }
  const prose = toProse(digest, task);
  if (type === "json_object") return toPieces(JSON.stringify({ message: prose }));
  return tokens === undefined ? toPieces(prose) : toLength(toPieces(prose), tokens);
}

function toProse(digest: string, { prompt, index }: Task): string {
  const opening = OPENINGS[(parseInt(digest.slice(0, 8), 16) + index) % OPENINGS.length];
  return `${opening} You said ${quote(prompt)}, and this is the mock: no model, no cost.`;
}

function quote(prompt: string): string {
  const words = prompt
    .slice(0, 4 * QUOTE_LENGTH)
    .replace(/\s+/g, " ")
    .trim();
  const characters = Array.from(words);
  if (characters.length === 0) return "nothing";
  if (characters.length <= QUOTE_LENGTH) return `“${words}”`;
  return `“${characters.slice(0, QUOTE_LENGTH - 1).join("")}…”`;
}

function toLength(pieces: readonly string[], length: number): readonly string[] {
  const filler = toPieces(FILLER);
  const repeats = Math.max(0, Math.ceil((length - pieces.length) / filler.length));
  const padding = Array.from({ length: repeats }, () => filler).flat();
  return [...pieces, ...padding].slice(0, length);
}

/** The function that `tool_choice` insists on; chat nests its definition, responses does not. */
function forcedTool(fields: Fields): Fields | undefined {
  const choice = fields["tool_choice"];
  const { name: chosen } = definitionOf(choice);
  return list(fields["tools"])
    .map(definitionOf)
    .find(({ name }) => typeof name === "string" && (choice === "required" || name === chosen));
}

function definitionOf(tool: unknown): Fields {
  const { function: nested, ...flat } = section(tool);
  return isFields(nested) ? nested : flat;
}

function toArguments(tool: Fields): readonly string[] {
  return toPieces(JSON.stringify(toSample(tool["parameters"] ?? { type: "object" })));
}
