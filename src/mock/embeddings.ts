// Embeddings: a unit vector that depends on the input alone, so equal texts get equal vectors.

import { createHash } from "node:crypto";
import { type Answer, type Call, toJson } from "./answer.ts";
import { integer, missing, requireText } from "./fields.ts";
import { toInputs } from "./inputs.ts";

const LARGE = { model: "text-embedding-3-large", size: 3072 };
const SIZE = 1536;

export function answerEmbeddings({ fields }: Call): Answer {
  const model = requireText(fields, "model");
  const inputs = toInputs(fields["input"]);
  if (inputs.length === 0) throw missing("input");
  const usualSize = model === LARGE.model ? LARGE.size : SIZE;
  const size = integer(fields, "dimensions", { min: 1, max: LARGE.size }) ?? usualSize;
  const encode = fields["encoding_format"] === "base64" ? toBase64 : toNumbers;
  const tokens = inputs.reduce((sum, input) => sum + input.tokens, 0);
  return toJson({
    object: "list",
    data: inputs.map(({ text }, index) => {
      return { object: "embedding", index, embedding: encode(toVector(text, size)) };
    }),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
}

function toVector(text: string, size: number): Float32Array {
  // A linear congruential generator: plenty for numbers that only have to look arbitrary.
  let state = createHash("sha256").update(text).digest().readUInt32LE();
  const numbers = Array.from({ length: size }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  const length = Math.hypot(...numbers);
  return Float32Array.from(numbers, (number) => number / length);
}

function toNumbers(vector: Float32Array): readonly number[] {
  return Array.from(vector);
}

/** The bytes of 32-bit floats, lowest first: what the SDKs ask for by default. */
function toBase64(vector: Float32Array): string {
  return Buffer.from(vector.buffer).toString("base64");
}
