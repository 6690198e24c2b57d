// RESP, the protocol of Redis and Valkey: version 2, and of version 3 enough that no reply hangs
// us (valkey.io/topics/protocol). Bytes in, values out: there is no socket here.

/** An error as the server sent it: a value, because it may be one item of an array. */
export class ReplyError {
  /** The first word: `ERR`, `NOSCRIPT`, `LOADING`… */
  readonly code: string;
  readonly message: string;

  constructor(message: string) {
    this.code = /^[A-Z]+/.exec(message)?.[0] ?? "ERR";
    this.message = message;
  }
}

/**
 * Bulk strings are bytes, simple ones text. An integer that a double cannot hold is its digits.
 * Maps are lists of keys and values by turns.
 */
export type Reply = null | boolean | number | string | Buffer | ReplyError | readonly Reply[];

export type Argument = string | number | Buffer;

/** What came is not RESP, or more of it than is bearable. Nothing after it can be understood. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

const REPLY_LIMIT_BYTES = 1024 * 1024;
const DEPTH_LIMIT = 16;
/** `_\r\n`: a longer list than fits the limit is refused when it is announced. */
const SMALLEST_ITEM_BYTES = 3;
/** Beyond any length or count that the limit allows. */
const LENGTH = /^\d{1,9}$/;

const LF = 0x0a;
const CR = 0x0d;
const TYPES = new Set(Buffer.from("+-:$*_#,(!=%~>|"));
const DOUBLES: ReadonlyMap<string, number> = new Map([
  ["inf", Infinity],
  ["-inf", -Infinity],
]);

/** One command: an array of bulk strings, whose lengths count bytes. */
export function encodeCommand(args: readonly Argument[]): Buffer {
  const parts: Buffer[] = [];
  let text = `*${args.length}\r\n`;
  for (const arg of args) {
    if (Buffer.isBuffer(arg)) {
      parts.push(Buffer.from(`${text}$${arg.length}\r\n`), arg);
      text = "\r\n";
    } else {
      text += `$${Buffer.byteLength(String(arg))}\r\n${arg}\r\n`;
    }
  }
  const last = Buffer.from(text);
  return parts.length === 0 ? last : Buffer.concat([...parts, last]);
}

/** A list that waits for its items. */
interface Open {
  readonly type: string;
  readonly items: Reply[];
  left: number;
}

/** Turns bytes, split anywhere, into replies. After a ProtocolError it is of no more use. */
export class ReplyDecoder {
  readonly #limitBytes: number;
  /** What is not yet read: from `#at` to `#end`; what follows is room for more. */
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  /** Where the search for a line's end goes on: no byte is searched twice. */
  #searched = 0;
  #replyBytes = 0;
  /** A bulk string whose length is known and whose bytes are not all here. */
  #bulk: { readonly type: string; readonly length: number } | undefined;
  readonly #open: Open[] = [];
  #whole: Reply | undefined;

  /** @param limitBytes of one reply, its framing included. */
  constructor(limitBytes = REPLY_LIMIT_BYTES) {
    this.#limitBytes = limitBytes;
  }

  write(chunk: Buffer): void {
    const unread = this.#end - this.#at;
    if (unread === 0) {
      this.#bytes = chunk;
      this.#at = this.#searched = 0;
      this.#end = chunk.length;
      return;
    }
    if (this.#end + chunk.length > this.#bytes.length) {
      // Twice of what is needed: a reply that comes byte by byte is copied in linear time.
      const roomier = Buffer.allocUnsafe(2 * (unread + chunk.length));
      this.#bytes.copy(roomier, 0, this.#at, this.#end);
      this.#bytes = roomier;
      this.#searched -= this.#at;
      this.#at = 0;
      this.#end = unread;
    }
    this.#end += chunk.copy(this.#bytes, this.#end);
  }

  /**
   * The next reply, or undefined until more bytes are here.
   * @throws ProtocolError
   */
  read(): Reply | undefined {
    while (this.#step()) {
      const reply = this.#whole;
      if (reply === undefined) continue;
      this.#whole = undefined;
      this.#replyBytes = 0;
      return reply;
    }
    return undefined;
  }

  /** Reads one line, or the bytes of one bulk string. False: they are not all here. */
  #step(): boolean {
    if (this.#bulk !== undefined) return this.#takeBulk(this.#bulk);
    const line = this.#takeLine();
    if (line === undefined) return false;
    const type = line.charAt(0);
    const rest = line.slice(1);
    if (type === "$" || type === "!" || type === "=") this.#openBulk(type, rest);
    else if ("*~%|>".includes(type)) this.#openList(type, rest);
    else this.#add(toScalar(type, rest));
    return true;
  }

  #takeLine(): string | undefined {
    if (this.#at === this.#end) return undefined;
    // At its first byte: what is not RESP may never send an end of line.
    if (!TYPES.has(this.#bytes[this.#at] ?? 0)) throw new ProtocolError("an unknown type of reply");
    const found = this.#bytes.subarray(this.#searched, this.#end).indexOf(LF);
    if (found < 0) {
      this.#searched = this.#end;
      this.#check(this.#end - this.#at);
      return undefined;
    }
    const lf = this.#searched + found;
    if (this.#bytes[lf - 1] !== CR) throw new ProtocolError("a line without its end");
    const line = this.#bytes.toString("utf8", this.#at, lf - 1);
    this.#take(lf + 1 - this.#at);
    return line;
  }

  #openBulk(type: string, text: string): void {
    if (text === "-1") return this.#add(null);
    const length = toLength(text);
    this.#check(length + 2);
    this.#bulk = { type, length };
  }

  #takeBulk({ type, length }: { readonly type: string; readonly length: number }): boolean {
    if (this.#end - this.#at < length + 2) return false;
    const end = this.#at + length;
    if (this.#bytes[end] !== CR || this.#bytes[end + 1] !== LF) {
      throw new ProtocolError("a string longer than announced");
    }
    // A copy: the buffer is written to again.
    const bytes = Buffer.from(this.#bytes.subarray(this.#at, end));
    this.#bulk = undefined;
    this.#take(length + 2);
    if (type === "!") this.#add(new ReplyError(bytes.toString()));
    // A verbatim string begins with its format: `txt:`.
    else this.#add(type === "=" ? bytes.subarray(4) : bytes);
    return true;
  }

  #openList(type: string, text: string): void {
    if (text === "-1") return this.#add(null);
    const left = toLength(text) * (type === "%" || type === "|" ? 2 : 1);
    this.#check(left * SMALLEST_ITEM_BYTES);
    if (this.#open.length === DEPTH_LIMIT) throw new ProtocolError("lists too deep in each other");
    if (type === ">" && this.#open.length > 0) throw new ProtocolError("a message in a reply");
    if (left > 0) this.#open.push({ type, items: [], left });
    else this.#close(type, []);
  }

  /** Puts a value where it belongs: into the innermost list, which it may complete. */
  #add(value: Reply): void {
    const list = this.#open.at(-1);
    if (list === undefined) {
      this.#whole = value;
      return;
    }
    list.items.push(value);
    if (--list.left > 0) return;
    this.#open.pop();
    this.#close(list.type, list.items);
  }

  #close(type: string, items: readonly Reply[]): void {
    // Messages and attributes (RESP3) answer no command. An attribute counts as a part of the reply
    // that it precedes, so that an endless row of them has an end.
    if (type === ">") this.#replyBytes = 0;
    else if (type !== "|") this.#add(items);
  }

  #take(bytes: number): void {
    this.#check(bytes);
    this.#replyBytes += bytes;
    this.#at += bytes;
    this.#searched = this.#at;
  }

  #check(moreBytes: number): void {
    if (this.#replyBytes + moreBytes <= this.#limitBytes) return;
    throw new ProtocolError(`a reply over ${this.#limitBytes} bytes`);
  }
}

function toScalar(type: string, text: string): Reply {
  if (type === "+" || type === "(") return text;
  if (type === "-") return new ReplyError(text);
  if (type === "_") return null;
  if (type === "#" && (text === "t" || text === "f")) return text === "t";
  if (type === ":" && /^[+-]?\d+$/.test(text)) {
    return Number.isSafeInteger(Number(text)) ? Number(text) : text;
  }
  if (type === "," && text !== "") return DOUBLES.get(text) ?? Number(text);
  throw new ProtocolError("a malformed reply");
}

function toLength(text: string): number {
  if (LENGTH.test(text)) return Number(text);
  throw new ProtocolError("a malformed length");
}
