// The beginning and the end of JSON that is too large to be kept, and what they tell of its usage.
// Pictures are megabytes of base64 with the usage behind them, or in front.
import { findDataLines } from "../http/event-splitter.ts";
import { findUsage, type Report } from "../openai/usage.ts";
import { nameOf, readMembers, skipSpace, type Member } from "./json-bytes.ts";

export const HEAD_BYTES = 4_096;
export const TAIL_BYTES = 65_536;

/** What `findUsage` reads. */
const NAMES = new Set([
  "usage",
  "model",
  "service_tier",
  "object",
  "duration",
  "tool_usage",
  "svg_usage",
  "tools",
]);
/** Of these it only wants to know that they are there, and what they are. */
const STAND_INS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ["data", []],
  ["text", ""],
]);

const USAGE = Buffer.from('"usage"');
/** Objects called usage that are tried, from the last on. */
const TRIES = 8;
const OPENING = 0x7b;

type Fields = Record<string, unknown>;

export class ReplyEnds {
  #head = Buffer.alloc(0);
  #room = Buffer.alloc(0);
  #length = 0;

  get heldBytes(): number {
    return this.#head.length + this.#room.length;
  }

  /** The first bytes. */
  get head(): Buffer {
    return this.#head;
  }

  push(piece: Buffer): void {
    const missing = HEAD_BYTES - this.#head.length;
    if (missing > 0) this.#head = Buffer.concat([this.#head, piece.subarray(0, missing)]);
    this.#keep(piece.subarray(-TAIL_BYTES));
  }

  #keep(piece: Buffer): void {
    if (this.#room.length === 0) this.#room = Buffer.allocUnsafe(2 * TAIL_BYTES);
    if (this.#length + piece.length > this.#room.length) {
      this.#room.copyWithin(0, this.#length - TAIL_BYTES, this.#length);
      this.#length = TAIL_BYTES;
    }
    this.#room.set(piece, this.#length);
    this.#length += piece.length;
  }

  /** @param type that the line before the data names, where this is the event of a stream. */
  report(type?: string): Report | undefined {
    const begin = findDataLines(this.#head)[0]?.from ?? 0;
    const first = { ...(type !== undefined && { type }), ...readHead(this.#head, begin) };
    const tail = this.#room.subarray(Math.max(0, this.#length - TAIL_BYTES), this.#length);
    for (const last of readTails(tail)) {
      const report = findUsage({ ...first, ...last });
      if (report !== undefined) return report;
    }
    return findUsage(first);
  }
}

/** The members in the beginning, those of a `response` as if they were its event's. */
function readHead(head: Buffer, from: number): Fields {
  const open = skipSpace(head, from);
  if (head[open] !== OPENING) return {};
  const { members } = readMembers(head, open + 1);
  const cut = members.at(-1);
  const deeper = cut !== undefined && cut.to < 0 && nameOf(head, cut) === "response";
  const inner = deeper ? readHead(head, cut.from) : {};
  return { ...inner, ...toFields(head, members) };
}

/**
 * For each usage in the end, the last first: it with the members of the same object. Where these
 * begin is not known, but whatever reads on to the usage without leaving its object is in it.
 */
function* readTails(tail: Buffer): Iterable<Fields> {
  let at = tail.length;
  for (let tries = 0; tries < TRIES && at > 0; tries++) {
    at = tail.lastIndexOf(USAGE, at - 1);
    if (at < 0) return;
    const place = at;
    const before = [...NAMES].flatMap((name) => readFrom(tail, name, place));
    yield toFields(tail, [...before, ...readMembers(tail, place).members]);
  }
}

/** The member of this name that stands last before a place in the same object. */
function readFrom(tail: Buffer, name: string, place: number): readonly Member[] {
  let at = place;
  for (let tries = 0; tries < TRIES && at > 0; tries++) {
    at = tail.lastIndexOf(`"${name}"`, at - 1, "latin1");
    if (at < 0) return [];
    const { members } = readMembers(tail, at);
    if (members.some(({ start }) => start === place)) return members.slice(0, 1);
  }
  return [];
}

function toFields(bytes: Buffer, members: readonly Member[]): Fields {
  const fields: Fields = {};
  for (const member of members) {
    const name = nameOf(bytes, member);
    const { from, to } = member;
    if (STAND_INS.has(name)) fields[name] = STAND_INS.get(name);
    else if (NAMES.has(name) && to >= 0) fields[name] = parse(bytes.toString("utf8", from, to));
  }
  return fields;
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
