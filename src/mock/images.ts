// Images: always the same picture, a blue square, whatever format is asked for.

import { type Answer, type Call, CREATED, encodeNamedEvent, toEvents, toJson } from "./answer.ts";
import { type Fields, flag, integer, requireText, text } from "./fields.ts";
import { countTokens } from "./inputs.ts";

/** A PNG of 256 × 256 pixels, one bit each. */
const PICTURE =
  "iVBORw0KGgoAAAANSUhEUgAAAQAAAAEAAQMAAABmvDolAAAAA1BMVEVKfcmiXkhjAAAAH0lEQVR42u3BAQ0AAADC" +
  "oPdPbQ43oAAAAAAAAAAAvg0hAAABYOSdlwAAAABJRU5ErkJggg==";

export function answerGeneration(call: Call): Answer {
  requireText(call.fields, "prompt");
  return answerImages(call.fields, "image_generation");
}

export function answerEdit(call: Call): Answer {
  requireText(call.fields, "prompt");
  return answerImages(call.fields, "image_edit");
}

export function answerVariation({ fields }: Call): Answer {
  return answerImages(fields, "image_edit");
}

function answerImages(fields: Fields, event: string): Answer {
  const count = integer(fields, "n", { min: 1, max: 10 }) ?? 1;
  const usage = toUsage(fields, count);
  const format = toFormat(fields);
  if (flag(fields, "stream")) return toEvents(toProgress(fields, event, { ...format, usage }));
  // A data URL stands in for the links that the oldest models answer: it loads without a network.
  const image =
    fields["response_format"] === "url"
      ? { url: `data:image/png;base64,${PICTURE}` }
      : { b64_json: PICTURE };
  const data = Array.from({ length: count }, () => image);
  return toJson({ created: CREATED, ...format, data, usage });
}

function toFormat(fields: Fields): Fields {
  const size = text(fields["size"]) || "1024x1024";
  const quality = text(fields["quality"]) || "medium";
  return { background: "opaque", output_format: "png", quality, size };
}

function toUsage(fields: Fields, count: number): object {
  const inputTokens = countTokens(text(fields["prompt"]));
  const outputTokens = 1056 * count;
  return {
    input_tokens: inputTokens,
    input_tokens_details: { text_tokens: inputTokens, image_tokens: 0 },
    output_tokens: outputTokens,
    output_tokens_details: { text_tokens: 0, image_tokens: outputTokens },
    total_tokens: inputTokens + outputTokens,
  };
}

function* toProgress(fields: Fields, event: string, { usage, ...format }: Fields) {
  const partials = integer(fields, "partial_images", { min: 0, max: 3 }) ?? 0;
  const image = { b64_json: PICTURE, created_at: CREATED, ...format };
  for (let index = 0; index < partials; index += 1) {
    const type = `${event}.partial_image`;
    yield encodeNamedEvent({ type, ...image, partial_image_index: index });
  }
  yield encodeNamedEvent({ type: `${event}.completed`, ...image, usage });
}
