// A value that fits a JSON schema, for structured outputs and tool arguments. It follows what
// OpenAI's strict mode allows and ignores finer rules (patterns, lengths).

import { type Fields, isFields, list, section } from "./fields.ts";

// Schemas may refer to themselves, once or many times a level: both depth and size are bounded.
const DEPTH_LIMIT = 12;
const ARRAY_DEPTH_LIMIT = 4;
const NODE_LIMIT = 2000;

export function toSample(schema: unknown): unknown {
  let nodes = 0;

  function sample(part: unknown, depth: number): unknown {
    nodes += 1;
    if (!isFields(part) || nodes > NODE_LIMIT || depth > DEPTH_LIMIT) return null;
    if (typeof part["$ref"] === "string") return sample(resolve(schema, part["$ref"]), depth + 1);
    if ("const" in part) return part["const"];
    const [value] = list(part["enum"]);
    if (value !== undefined) return value;
    const [variant] = [part["anyOf"], part["oneOf"], part["allOf"]].flatMap(list);
    if (variant !== undefined) return sample(variant, depth + 1);
    return sampleOfType(part, depth);
  }

  function sampleOfType(part: Fields, depth: number): unknown {
    const type = list(part["type"])[0] ?? part["type"];
    if (type === "string") return "mock";
    if (type === "integer" || type === "number") return part["minimum"] ?? 1;
    if (type === "boolean") return true;
    if (type === "null") return null;
    if (type === "array") {
      return depth < ARRAY_DEPTH_LIMIT ? [sample(part["items"], depth + 1)] : [];
    }
    const properties = Object.entries(section(part["properties"]));
    return Object.fromEntries(properties.map(([name, value]) => [name, sample(value, depth + 1)]));
  }

  return sample(schema, 0);
}

/** Follows a pointer into the same document: `#/$defs/name`. */
function resolve(schema: unknown, pointer: string): unknown {
  const names = pointer.split("/").slice(1);
  return names.reduce((at: unknown, name) => section(at)[name], schema);
}
