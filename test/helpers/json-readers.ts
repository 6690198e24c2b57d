// Two readers of JSON that are not the gateway's, and what of a policy they must be able to see:
// OpenAI may read a body in either way, so a body that goes up has to be harmless in both. Written
// from RFC 8259 and OpenAI's reference, on purpose without a line of the gateway's own code. And
// writers of random bodies, harmless and hostile, to try them on.
import assert from "node:assert/strict";
import type { Limits } from "../../src/gateway.ts";

/** A number, `true`, `false` or `null`, as it is written: 20 digits stay 20 digits. */
export class Literal {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Json = string | Literal | readonly Json[] | JsonObject;
export type JsonObject = ReadonlyMap<string, Json>;

export interface ReaderOptions {
  /** Which of two members of one name counts. */
  readonly duplicates: "first" | "last";
  /** Takes odd numbers and words and raw control characters, and drops what is no UTF-8. */
  readonly lenient?: boolean;
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** @throws SyntaxError or TypeError for what is not one JSON value. */
export function readJson(bytes: Uint8Array, { duplicates, lenient = false }: ReaderOptions): Json {
  const decoded = new TextDecoder("utf-8", { fatal: !lenient, ignoreBOM: true }).decode(bytes);
  const text = lenient ? decoded.replaceAll("\ufffd", "") : decoded;
  let at = 0;

  const fail = (what: string): never => {
    throw new SyntaxError(`${what} at ${at}`);
  };
  const skip = (): string => {
    while (at < text.length && " \n\r\t".includes(text.charAt(at))) at++;
    return text.charAt(at);
  };
  const string = (): string => {
    const start = at++;
    for (; text[at] !== '"'; at++) {
      if (at >= text.length) fail("an open text");
      if (text[at] === "\\") at++;
    }
    let raw = text.slice(start, ++at);
    if (lenient)
      raw = raw.replace(
        /[\0-\x1f]/g,
        (c) => `\\u00${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
      );
    return String(JSON.parse(raw));
  };
  const literal = (): Literal => {
    const [found = ""] = /^[-+.\w]+/.exec(text.slice(at, at + 5_000)) ?? [];
    if (found === "") fail("nothing");
    const known = ["true", "false", "null"].includes(found) || NUMBER.test(found);
    if (!known && !lenient) fail("an odd literal");
    at += found.length;
    return new Literal(found);
  };
  const list = (): Json[] => {
    const items: Json[] = [];
    at++;
    if (skip() !== "]") {
      for (;;) {
        items.push(value());
        if (skip() === "]") break;
        if (text[at++] !== ",") fail("no comma");
      }
    }
    at++;
    return items;
  };
  const object = (): JsonObject => {
    const members = new Map<string, Json>();
    at++;
    if (skip() !== "}") {
      for (;;) {
        if (skip() !== '"') fail("no name");
        const name = string();
        if (skip() !== ":") fail("no colon");
        at++;
        const member = value();
        if (duplicates === "last" || !members.has(name)) members.set(name, member);
        if (skip() === "}") break;
        if (text[at++] !== ",") fail("no comma");
      }
    }
    at++;
    return members;
  };
  const value = (): Json => {
    const first = skip();
    if (first === '"') return string();
    if (first === "[") return list();
    return first === "{" ? object() : literal();
  };

  const whole = value();
  if (skip() !== "") fail("more");
  return whole;
}

/** Nothing for a member that is absent or null: OpenAI takes the two for the same. */
function member(of: Json | undefined, name: string): Json | undefined {
  const found = of instanceof Map ? of.get(name) : undefined;
  return found instanceof Literal && found.text === "null" ? undefined : found;
}

/** Every member of every object, outermost first, without the client's own labels. */
function* walk(of: Json, name = ""): Generator<readonly [name: string, value: Json]> {
  yield [name, of];
  if (Array.isArray(of)) for (const item of of) yield* walk(item, name === "" ? "" : `${name}[]`);
  if (!(of instanceof Map)) return;
  for (const [key, value] of of) {
    if (!(name === "" && key === "metadata")) yield* walk(value, key);
  }
}

const CAPS: Readonly<Record<string, readonly string[]>> = {
  "/chat/completions": ["max_completion_tokens", "max_tokens"],
  "/completions": ["max_tokens"],
  "/responses": ["max_output_tokens"],
};
const CHOICES: Readonly<Record<string, readonly string[]>> = {
  "/chat/completions": ["n"],
  "/completions": ["n", "best_of"],
  "/images/generations": ["n"],
  "/images/edits": ["n"],
};
const HAS_TIER = ["/chat/completions", "/responses", "/responses/compact"];
const HAS_SAFETY = ["/chat/completions", "/responses", "/images/generations", "/images/edits"];
const HAS_TOOLS = /^\/(?:chat|responses)/;
const HAS_IDS = /^\/(?:chat|responses|images\/edits)/;
const ONE_ID = /^(?:file_id|container|container_id|skill_id|comparison_response_id)$/;
const MANY_IDS = /^(?:file_ids|vector_store_ids)(?:\[\])?$/;

/**
 * @param path of the operation, below the API's prefix: every one of them is a POST.
 * @param safetyIdentifier what OpenAI is to know the caller by, if the policy wants that.
 * @throws AssertionError where the value asks for what the policy forbids.
 */
export function assertAllowed(
  body: Json,
  path: string,
  policy: Limits,
  safetyIdentifier?: string,
): void {
  assert.ok(body instanceof Map, "the body is an object");
  if (policy.models !== undefined) checkModels(body, policy.models);
  if (policy.maxOutputTokens !== undefined) checkCaps(body, path, policy.maxOutputTokens);
  if (policy.maxChoices !== undefined) {
    for (const name of CHOICES[path] ?? []) checkCount(name, member(body, name), policy.maxChoices);
  }
  if (policy.tools !== undefined && HAS_TOOLS.test(path)) checkTools(body, policy.tools);
  if (policy.serviceTiers !== undefined && HAS_TIER.includes(path)) {
    const tier = member(body, "service_tier") ?? "auto";
    assert.ok(
      policy.serviceTiers.some((name) => name === tier),
      `service_tier ${show(tier)}`,
    );
  }
  if (policy.storedState === false) checkStored(body, path);
  if (policy.safetyIdentifier === true && HAS_SAFETY.includes(path)) {
    assert.equal(member(body, "safety_identifier"), safetyIdentifier, "safety_identifier");
  }
}

function show(value: Json | undefined): string {
  return value instanceof Literal ? value.text : (JSON.stringify(value)?.slice(0, 100) ?? "absent");
}

function checkModels(body: JsonObject, models: readonly string[]): void {
  const patterns = models.map((name) => {
    const pieces = name.split("*").map((piece) => piece.replace(/[^\w]/g, "\\$&"));
    return new RegExp(`^${pieces.join("[^]*")}$`);
  });
  const check = (where: string, model: Json | undefined): void => {
    const known = typeof model === "string" && patterns.some((pattern) => pattern.test(model));
    assert.ok(known, `${where} ${show(model)}`);
  };
  check("model", member(body, "model"));
  for (const [name, value] of walk(body)) {
    // Image tools, the author of an SVG (of a tool or of an image call), the moderator of a reply.
    if (!["tools[]", "svg", "moderation"].includes(name)) continue;
    const model = member(value, "model");
    // Anything but a text names none, and is refused.
    if (typeof model === "string") check(`${name}.model`, model);
  }
}

function checkCount(name: string, value: Json | undefined, limit: number): void {
  if (value === undefined) return;
  // A text is no way out: some frameworks make a number of it.
  assert.ok(value instanceof Literal && /^\d+$/.test(value.text), `${name} ${show(value)}`);
  assert.ok(Number(value.text) <= limit, `${name} ${show(value)}`);
}

function checkCaps(body: JsonObject, path: string, limit: number): void {
  const names = CAPS[path] ?? [];
  for (const name of names) checkCount(name, member(body, name), limit);
  const capped = names.length === 0 || names.some((name) => member(body, name) !== undefined);
  assert.ok(capped, "no cap of the output");
}

function checkTools(body: JsonObject, allowed: readonly string[]): void {
  const listed = member(body, "tools");
  assert.ok(listed === undefined || Array.isArray(listed), "tools is a list");
  for (const [name, tool] of walk(body)) {
    if (name !== "tools[]") continue;
    const type = member(tool, "type");
    const inner = !(Array.isArray(listed) && listed.includes(tool));
    if (inner && type === undefined) continue; // What an MCP server listed.
    assert.ok(
      allowed.some((one) => one === type),
      `a tool of type ${show(type)}`,
    );
  }
  if (member(body, "functions") !== undefined) assert.ok(allowed.includes("function"), "functions");
  if (member(body, "web_search_options") !== undefined) {
    assert.ok(allowed.includes("web_search"), "web_search_options");
  }
}

function checkStored(body: JsonObject, path: string): void {
  if (path === "/responses" || path === "/chat/completions") {
    // Left out or null, a response is stored and a chat is not.
    const store = member(body, "store");
    const off = store instanceof Literal && store.text === "false";
    assert.ok(off || (store === undefined && path !== "/responses"), `store ${show(store)}`);
  }
  if (path.startsWith("/responses")) {
    for (const name of ["previous_response_id", "conversation", "prompt"]) {
      assert.equal(member(body, name), undefined, name);
    }
    const background = member(body, "background");
    const off = background instanceof Literal && background.text === "false";
    assert.ok(background === undefined || off, "background");
    const input = member(body, "input");
    for (const item of Array.isArray(input) ? input : []) checkItem(item);
  }
  if (!HAS_IDS.test(path)) return;
  for (const [name, value] of walk(body)) {
    const id = ONE_ID.test(name) || MANY_IDS.test(name);
    assert.ok(!(id && typeof value === "string"), `${name} ${show(value)}`);
    if (name === "audio") assert.ok(typeof member(value, "id") !== "string", "audio.id");
  }
}

/** Only a reference may leave its type out, and be nothing but an id. */
function checkItem(item: Json): void {
  const type = member(item, "type");
  assert.notEqual(type, "item_reference", "an item_reference");
  if (typeof member(item, "id") !== "string") return;
  assert.ok(type !== undefined || member(item, "role") !== undefined, "an item with only an id");
  // "Using image ID" of OpenAI's guide to image generation: what is not sent is read from storage;
  // so is a train of thought, which only its encrypted form replaces.
  const contents = type === "image_generation_call" ? "result" : "encrypted_content";
  if (type !== "image_generation_call" && type !== "reasoning") return;
  const sent = member(item, contents);
  assert.ok(sent !== undefined && sent !== "", `${type} without ${contents}`);
}

/** Seeded, so that a failure can be played again: numbers from 0 to below 1. */
export function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const pick = <Item>(random: () => number, items: readonly [Item, ...Item[]]): Item =>
  items[Math.floor(random() * items.length)] ?? items[0];

const space = (random: () => number): string =>
  random() < 0.8 ? "" : pick(random, [" ", "\n", "\t", "\r\n", "  \n\t "]);

const join = (random: () => number, parts: readonly string[]): string =>
  parts.map((part) => space(random) + part + space(random)).join(",");

// prettier-ignore
const HARMLESS_NAMES = [
  "x", "y", "x", "note", "é", "😀", "\\u00e9", "a\\\"b", "\\\\", "", "modèle", "\\ud83d", "role",
  "n!",
] as const;
// prettier-ignore
const HARMLESS_VALUES = [
  "0", "-0", "1.0", "1E+3", "-1.5e-7", "12345678901234567890",
  "0.1000000000000000055511151231257827", "true", "false", "null", '""', '"a"', '"é😀\u2028"',
  '"\\u0000\\ud83d\\uDE00\\/"', '"\\"model\\":\\"x\\""', '"}],{"', '"\\\\"', '"\\ud800"',
  '"model"', "1e400", `"${"long \\n".repeat(300)}"`,
] as const;

/** Any valid JSON value, written in any way, with no name in it that a policy has to do with. */
export function writeHarmless(random: () => number, depth = 4): string {
  const kind = depth === 0 ? 1 : random();
  const size = Math.floor(random() * 4);
  if (kind < 0.25) {
    const items = Array.from({ length: size }, () => writeHarmless(random, depth - 1));
    return `[${join(random, items) || space(random)}]`;
  }
  if (kind < 0.5) {
    const members = Array.from({ length: size }, () => {
      const name = `"${pick(random, HARMLESS_NAMES)}"${space(random)}`;
      return `${name}:${space(random)}${writeHarmless(random, depth - 1)}`;
    });
    return `{${join(random, members) || space(random)}}`;
  }
  return pick(random, HARMLESS_VALUES);
}

// prettier-ignore
const NAMES = [
  "model", "model", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of",
  "tools", "tools", "functions", "web_search_options", "service_tier", "store",
  "previous_response_id", "conversation", "prompt", "background", "safety_identifier", "input",
  "input", "messages", "metadata", "file_id", "file_ids", "vector_store_ids", "container",
  "container_id", "skill_id", "audio", "id", "type", "type", "type", "role", "x", "text",
  "image_url", "svg", "moderation", "result", "encrypted_content",
] as const;
// prettier-ignore
const VALUES = [
  '"gpt-4o-mini"', '"gpt-image-1-mini"', '"gpt-4o"', '"GPT-4O-MINI"', '"gpt-4o-mini "',
  '"gpt\\u002d4o"', '"function"', '"function"', '"web_search"', '"namespace"',
  '"image_generation"', '"item_reference"', '"i\\u0074em_reference"', '"item\xff_reference"',
  '"message"', '"message"', '"user"', '"auto"', '"default"', '"priority"', '"false"', '"file-1"',
  '""', '"é"', '"5"', '"a\nb"', "null", "null", "true", "false", "false", "0", "1", "1", "2",
  "3", "100", "101", "1e3", "-1", "1.0", "01", "+1", "NaN", "1e400", "99999999999999999999",
  "nul", "Null", "truefalse", '"image_generation_call"', '"reasoning"',
] as const;

const MODEL = '"model":"gpt-4o-mini"';
const BASES: Readonly<Record<string, readonly string[]>> = {
  "/chat/completions": ['"messages":[{"role":"user","content":"model"}]'],
  "/completions": ['"prompt":"model"'],
  "/responses": ['"input":[{"type":"message","role":"user","content":[]}]'],
  "/responses/compact": ['"input":"model"', '"service_tier":"default"'],
  "/responses/input_tokens": ['"input":[]'],
  "/embeddings": ['"input":"model"'],
  "/moderations": ['"input":["model"]'],
  "/images/generations": ['"prompt":"model"'],
  "/images/edits": ['"images":[{"image_url":"data:"}]'],
  "/audio/speech": ['"voice":"alloy"'],
};
export const JSON_PATHS = Object.keys(BASES);

const ITEM_NAMES = ["id", "id", "type", "type", "role", "result", "encrypted_content"] as const;
// prettier-ignore
const ITEM_VALUES = [
  '"message"', '"item_reference"', '"image_generation_call"', '"reasoning"', '"user"', "null",
  '""', '"a"', '"a"', "1",
] as const;

/** Items of which one may be a reference to something stored, if not to every reader. */
function writeItems(random: () => number): string {
  const items = Array.from({ length: 1 + Math.floor(random() * 2) }, () => {
    const members = Array.from({ length: 1 + Math.floor(random() * 5) }, () => {
      return `"${pick(random, ITEM_NAMES)}":${pick(random, ITEM_VALUES)}`;
    });
    return `{${join(random, members)}}`;
  });
  return `"input":[${join(random, items)}]`;
}

/** A body for the path that is meant to slip past some policy, and sometimes is not even JSON. */
export function writeAttack(random: () => number, path: string): Buffer {
  const name = (): string => {
    const plain = pick(random, NAMES);
    const at = Math.floor(random() * plain.length);
    const change = random();
    const code = plain.charCodeAt(at).toString(16).padStart(4, "0");
    if (change < 0.08) return `${plain.slice(0, at)}\\u${code}${plain.slice(at + 1)}`;
    if (change < 0.1) return plain.toUpperCase();
    return change < 0.12 ? `${plain.slice(0, at)}\xff${plain.slice(at)}` : plain;
  };
  const object = (depth: number, before: readonly string[], count: number): string => {
    const members = [...before];
    for (let added = 0; added < count; added++) {
      const member = `"${name()}"${space(random)}:${space(random)}${value(depth - 1)}`;
      members.splice(Math.floor(random() * (members.length + 1)), 0, member);
    }
    return `{${join(random, members)}}`;
  };
  const value = (depth: number): string => {
    const kind = depth === 0 ? 1 : random();
    const count = 1 + Math.floor(random() * 2);
    if (kind < 0.2)
      return `[${join(
        random,
        Array.from({ length: count }, () => value(depth - 1)),
      )}]`;
    if (kind < 0.4) return object(depth, random() < 0.7 ? ['"type":"function"'] : [], count);
    return pick(random, VALUES);
  };

  const items = path === "/responses" && random() < 0.5;
  const usual = items ? [writeItems(random)] : (BASES[path] ?? []);
  const base = [...(random() < 0.95 ? [MODEL] : []), ...usual];
  const text = object(5, base, Math.floor(random() * 4));
  const bytes = Buffer.from(text, "latin1");
  if (random() < 0.85) return bytes;
  const at = Math.floor(random() * bytes.length);
  const put =
    random() < 0.5 ? pick(random, [...'"\\{}[],:e1 /\x00\xef'] as [string, ...string[]]) : "";
  const rest = bytes.subarray(at + (random() < 0.5 ? 1 : 0));
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(put, "latin1"), rest]);
}

/** Limits that the names and values of the attacks are about. */
export function chooseLimits(random: () => number): Limits {
  const chosen: Limits = {
    models: ["gpt-4o-mini", "gpt-image-1*"],
    maxOutputTokens: 100,
    maxChoices: 2,
    tools: pick(random, [[], ["function"], ["function", "namespace", "image_generation"]]),
    serviceTiers: pick(random, [["auto", "default"], ["default"], []]),
    storedState: false,
    safetyIdentifier: true,
  };
  const all = random() < 0.3;
  return Object.fromEntries(Object.entries(chosen).filter(() => all || random() < 0.5));
}
