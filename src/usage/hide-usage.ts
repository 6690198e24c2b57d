// Takes out of a stream of chat or completions what only the gateway asked for: the chunk with the
// usage, and `"usage":null` in all the others. Every other byte stays.
import { findDataLines, type DataLine } from "../http/event-splitter.ts";
import type { ReadEvent } from "./event-reader.ts";
import { nameOf, readMembers, skipSpace, type Member } from "./json-bytes.ts";

const OPENING = 0x7b;
const LIST = 0x5b;
const LIST_END = 0x5d;
const LINE_ENDS = /^[\r\n]*$/;

/**
 * For the stream of a call to which the gateway added `stream_options.include_usage`: what the
 * client gets of its events. What it does not understand it leaves alone: events over 1 MiB, or
 * whose JSON is malformed or spread over several lines.
 */
export function hideUsage(events: readonly ReadEvent[]): Buffer {
  const pieces: Buffer[] = [];
  for (const { bytes, usage } of events) {
    if (usage) pieces.push(...withoutUsage(bytes));
    else pieces.push(bytes);
  }
  const [only] = pieces;
  // One piece, as every piece is a write of its own.
  return only !== undefined && pieces.length === 1 ? only : Buffer.concat(pieces);
}

function withoutUsage(event: Buffer): readonly Buffer[] {
  const lines = findDataLines(event);
  const line = lines.length === 1 ? lines[0] : undefined;
  const members = line && readObject(event, line);
  const usage = members && only(event, members, "usage");
  if (line === undefined || members === undefined || usage === undefined) return [event];
  const reported = event[usage.from] === OPENING;
  if (!reported && event.toString("latin1", usage.from, usage.to) !== "null") return [event];
  const choices = only(event, members, "choices");
  if (reported && choices !== undefined && isEmptyList(event, choices)) {
    return without(event, line.start, line.next);
  }
  const [start, end] = placeOf(usage, members);
  return [event.subarray(0, start), event.subarray(end)];
}

/** The members of the object that is all the line has. */
function readObject(event: Buffer, { from, to }: DataLine): readonly Member[] | undefined {
  const data = event.subarray(0, to);
  const open = skipSpace(data, from);
  if (data[open] !== OPENING) return undefined;
  const { members, end } = readMembers(data, open + 1);
  return skipSpace(data, end) === to ? members : undefined;
}

/** Readers differ in which of two members of one name they take. */
function only(event: Buffer, members: readonly Member[], name: string): Member | undefined {
  const length = name.length + 2;
  const found = members.filter(
    (each) => each.named - each.start === length && nameOf(event, each) === name,
  );
  return found.length === 1 ? found[0] : undefined;
}

function isEmptyList(event: Buffer, { from }: Member): boolean {
  return event[from] === LIST && event[skipSpace(event, from + 1)] === LIST_END;
}

/** The member with the comma before it, or behind it where it is the first of several. */
function placeOf(member: Member, members: readonly Member[]): readonly [number, number] {
  const index = members.indexOf(member);
  const before = members[index - 1];
  if (before !== undefined) return [before.to, member.to];
  return [member.start, members[index + 1]?.start ?? member.to];
}

/** A comment or an id that shares the event stays; a blank line alone does not. */
function without(event: Buffer, start: number, next: number): readonly Buffer[] {
  const rest = [event.subarray(0, start), event.subarray(next)];
  return LINE_ENDS.test(rest.map((piece) => piece.toString("latin1")).join("")) ? [] : rest;
}
