// Finds its way through JSON (RFC 8259) as bytes, also when only a part of it is there. Nothing is
// judged that need not be known: what is garbage leads nowhere.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const CLOSING = 0x7d;

/** 1 for white space. */
const SPACE = new Uint8Array(256);
for (const byte of Buffer.from(" \t\r\n")) SPACE[byte] = 1;
/** What a bracket does to the depth. */
const STEP = new Int8Array(256);
for (const byte of Buffer.from("{[")) STEP[byte] = 1;
for (const byte of Buffer.from("}]")) STEP[byte] = -1;
/** 1 for what ends a number, `true`, `false` or `null`. */
const STOP = new Uint8Array(SPACE);
for (const byte of Buffer.from(',:"{}[]')) STOP[byte] = 1;

export interface Member {
  /** Where its name begins, and what is behind it, with its quotes. */
  readonly start: number;
  readonly named: number;
  /** Where its value begins, and what is behind it: -1 where it is not all there. */
  readonly from: number;
  readonly to: number;
}

export function skipSpace(bytes: Buffer, at: number): number {
  let to = at;
  while (SPACE[bytes[to] ?? 0] === 1) to++;
  return to;
}

/** What is behind the string that begins at this quote; -1 where it does not end. */
function skipString(bytes: Buffer, quote: number): number {
  for (let at = quote + 1; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) at++;
  }
  return -1;
}

/** What is behind the value that begins here; -1 where it is none, or not all there. */
export function skipValue(bytes: Buffer, from: number): number {
  if (bytes[from] === QUOTE) return skipString(bytes, from);
  if (STEP[bytes[from] ?? 0] !== 1) return skipLiteral(bytes, from);
  let depth = 0;
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === QUOTE) {
      at = skipString(bytes, at) - 1;
      if (at < 0) return -1;
    } else {
      depth += STEP[byte] ?? 0;
      if (depth === 0) return at + 1;
    }
  }
  return -1;
}

function skipLiteral(bytes: Buffer, from: number): number {
  let to = from;
  while (to < bytes.length && STOP[bytes[to] ?? 0] === 0) to++;
  return to === from || to === bytes.length ? -1 : to;
}

/** As written: escapes are not resolved, as OpenAI has none in names. */
export function nameOf(bytes: Buffer, { start, named }: Member): string {
  return bytes.toString("latin1", start + 1, named - 1);
}

export interface Members {
  readonly members: readonly Member[];
  /** What is behind the object's bracket; -1 where it does not end. */
  readonly end: number;
}

/** The members of an object from this one on, which may be the first or any other. */
export function readMembers(bytes: Buffer, first: number): Members {
  const members: Member[] = [];
  let start = skipSpace(bytes, first);
  if (bytes[start] === CLOSING) return { members, end: start + 1 };
  for (;;) {
    const named = bytes[start] === QUOTE ? skipString(bytes, start) : -1;
    const colon = named < 0 ? -1 : skipSpace(bytes, named);
    if (colon < 0 || bytes[colon] !== COLON) return { members, end: -1 };
    const from = skipSpace(bytes, colon + 1);
    const to = skipValue(bytes, from);
    members.push({ start, named, from, to });
    const after = to < 0 ? to : skipSpace(bytes, to);
    if (after >= 0 && bytes[after] === CLOSING) return { members, end: after + 1 };
    if (after < 0 || bytes[after] !== COMMA) return { members, end: -1 };
    start = skipSpace(bytes, after + 1);
  }
}
