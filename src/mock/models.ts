// The list of models. Every endpoint answers for any model; only these are listed.

import { type Answer, type Call, CREATED, toJson } from "./answer.ts";
import { refused } from "./errors.ts";

const NAMES =
  "gpt-5 gpt-5-mini gpt-5-nano gpt-4.1 gpt-4.1-mini gpt-4o gpt-4o-mini gpt-3.5-turbo-instruct " +
  "gpt-4o-transcribe gpt-4o-mini-tts whisper-1 gpt-image-1 text-embedding-3-large " +
  "text-embedding-3-small omni-moderation-latest";

const MODELS = NAMES.split(" ").map((id) => {
  return { id, object: "model", created: CREATED, owned_by: "system" };
});

export function answerModels(): Answer {
  return toJson({ object: "list", data: MODELS });
}

export function answerModel({ path }: Call): Answer {
  const id = path.slice(path.lastIndexOf("/") + 1);
  const model = MODELS.find((listed) => listed.id === id);
  if (model !== undefined) return toJson(model);
  const message = `The model '${id}' does not exist or you do not have access to it.`;
  throw refused(404, "model_not_found", message);
}
