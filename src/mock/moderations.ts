// Moderations: nothing is flagged but what names a category. "violence" is flagged for violence.

import { type Answer, type Call, toJson } from "./answer.ts";
import { isFields, list, missing, text } from "./fields.ts";

const NAMES =
  "harassment harassment/threatening hate hate/threatening illicit illicit/violent self-harm " +
  "self-harm/instructions self-harm/intent sexual sexual/minors violence violence/graphic";
const CATEGORIES = NAMES.split(" ");

export function answerModerations({ fields, digest }: Call): Answer {
  const inputs = toTexts(fields["input"]);
  if (inputs.length === 0) throw missing("input");
  return toJson({
    id: `modr-${digest.slice(0, 24)}`,
    model: text(fields["model"]) || "omni-moderation-latest",
    results: inputs.map(judge),
  });
}

/** A string or a list of strings is judged one by one; parts of one message are judged together. */
function toTexts(input: unknown): readonly string[] {
  if (typeof input === "string") return [input];
  const items = list(input);
  if (!items.some(isFields)) return items.map(text);
  return [items.map((part) => (isFields(part) ? text(part["text"]) : "")).join(" ")];
}

function judge(input: string): object {
  const flagged = CATEGORIES.filter((category) => input.toLowerCase().includes(category));
  const each = (judgement: (hit: boolean) => unknown): object =>
    Object.fromEntries(CATEGORIES.map((name) => [name, judgement(flagged.includes(name))]));
  return {
    flagged: flagged.length > 0,
    categories: each((hit) => hit),
    category_scores: each((hit) => (hit ? 0.98 : 0.0001)),
    category_applied_input_types: each((hit) => (hit ? ["text"] : [])),
  };
}
