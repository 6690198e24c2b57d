// What the caller said: the text in messages and inputs, and how many tokens it counts.

import { isFields, list, text } from "./fields.ts";

export interface Input {
  readonly text: string;
  readonly tokens: number;
}

/** About 4 characters a token, OpenAI's rule of thumb. */
export function countTokens(value: string): number {
  return Math.ceil(value.length / 4);
}

/** Text, token ids, or a list of either, as embeddings and text completions take them. */
export function toInputs(value: unknown): readonly Input[] {
  const single = toInput(value);
  if (single !== undefined) return [single];
  return list(value).flatMap((item) => toInput(item) ?? []);
}

function toInput(value: unknown): Input | undefined {
  if (typeof value === "string") return { text: value, tokens: countTokens(value) };
  const ids = list(value);
  if (ids.length === 0 || !ids.every((id) => typeof id === "number")) return undefined;
  return { text: ids.join(" "), tokens: ids.length };
}

/** The text of a message, whether its content is a string or a list of parts. */
export function textOf(message: unknown): string {
  if (!isFields(message)) return "";
  const { content } = message;
  if (typeof content === "string") return content;
  return list(content)
    .map((part) => (isFields(part) ? text(part["text"]) : ""))
    .join(" ");
}

export function lastUserText(messages: readonly unknown[]): string {
  return textOf(messages.findLast((message) => isFields(message) && message["role"] === "user"));
}

/** Every message costs a few tokens for its role and its borders. */
export function countMessages(messages: readonly unknown[]): number {
  return messages.reduce((sum: number, message) => sum + 4 + countTokens(textOf(message)), 0);
}
