// Cuts a stream of server-sent events (HTML standard, "Server-sent events") into its events, byte
// for byte and however it was cut into chunks.
import { GrowingBytes } from "./growing-bytes.ts";

const LF = 10;
const CR = 13;
const LIMIT_BYTES = 1_048_576;

export interface EventBytes {
  /** With the blank line that ends the event. A view into the chunk, where one holds all of it. */
  readonly bytes: Buffer;
  /** Not so for the pieces of an event over the limit. */
  readonly whole: boolean;
  /** Whether the event ends here; the last piece of one over the limit may be empty. */
  readonly last: boolean;
}

/**
 * Holds back no more than one event that is not whole yet. A blank line that is a CR right behind
 * another CR is over with it: an LF behind counts as a line of its own. Else the end of the last
 * event would have to be waited for.
 */
export class EventSplitter {
  readonly #limitBytes: number;
  readonly #held = new GrowingBytes();
  /** Whether the line at hand has no byte yet. */
  #blank = true;
  /** The line before ended in a CR without LF. */
  #afterCr = false;
  /** A CR came last, an LF may belong to it. */
  #open = false;
  /** The event at hand is over the limit, pieces of it have been given. */
  #over = false;

  constructor(limitBytes = LIMIT_BYTES) {
    this.#limitBytes = limitBytes;
  }

  /** Bytes held back. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /** @returns the events that are whole with this chunk, in order. */
  push(bytes: Buffer): readonly EventBytes[] {
    const events: EventBytes[] = [];
    let start = 0;
    let lf = -1;
    let cr = -1;
    for (let at = 0; at < bytes.length;) {
      let end = at;
      if (this.#open) {
        this.#open = false;
        this.#afterCr = bytes[at] !== LF;
        if (!this.#afterCr) end++;
      } else {
        if (lf < at) lf = indexOf(bytes, LF, at);
        if (cr < at) cr = indexOf(bytes, CR, at);
        end = Math.min(lf, cr);
        if (end > at) this.#blank = false;
        if (end === Infinity) break;
        const alone = cr < lf && this.#blank && this.#afterCr;
        this.#open = cr < lf && !alone;
        this.#afterCr = alone;
        end++;
        if (this.#open) {
          at = end;
          continue;
        }
      }
      if (this.#blank) {
        this.#end(cut(bytes, start, end), events);
        start = end;
      }
      this.#blank = true;
      at = end;
    }
    if (start < bytes.length) this.#keep(bytes.subarray(start), events);
    return events;
  }

  /** The rest, which no blank line ended. */
  end(): Buffer {
    return this.#held.take();
  }

  #end(piece: Buffer, events: EventBytes[]): void {
    const whole = !this.#over && this.#held.length + piece.length <= this.#limitBytes;
    events.push({ bytes: this.#join(piece), whole, last: true });
    this.#over = false;
  }

  #join(piece: Buffer): Buffer {
    if (this.#held.length === 0) return piece;
    this.#held.push(piece);
    return this.#held.take();
  }

  #keep(piece: Buffer, events: EventBytes[]): void {
    if (!this.#over && this.#held.length + piece.length <= this.#limitBytes) {
      this.#held.push(piece);
      return;
    }
    if (this.#held.length > 0) {
      events.push({ bytes: this.#held.take(), whole: false, last: false });
    }
    events.push({ bytes: piece, whole: false, last: false });
    this.#over = true;
  }
}

/** A view, where that is not all of it. */
function cut(bytes: Buffer, start: number, end: number): Buffer {
  return start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end);
}

function indexOf(bytes: Buffer, byte: number, from: number): number {
  const at = bytes.indexOf(byte, from);
  return at < 0 ? Infinity : at;
}

/** A `data:` line of an event. */
export interface DataLine {
  /** Where the line begins, and where the next one does. */
  readonly start: number;
  readonly next: number;
  /** Its value. */
  readonly from: number;
  readonly to: number;
}

const DATA = Buffer.from("data:");
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
const SPACE = 0x20;

/** A byte-order mark, which the stream may begin with, is not looked at. */
export function findDataLines(event: Buffer): readonly DataLine[] {
  const lines: DataLine[] = [];
  const marked = startsWith(event, BYTE_ORDER_MARK, 0);
  let cr = -1;
  for (let start = marked ? BYTE_ORDER_MARK.length : 0; start < event.length;) {
    if (cr < start) cr = indexOf(event, CR, start);
    const to = Math.min(indexOf(event, LF, start), cr, event.length);
    const next = Math.min(event.length, to + (event[to] === CR && event[to + 1] === LF ? 2 : 1));
    if (startsWith(event, DATA, start)) {
      const after = start + DATA.length;
      lines.push({ start, next, from: event[after] === SPACE ? after + 1 : after, to });
    }
    start = next;
  }
  return lines;
}

function startsWith(bytes: Buffer, prefix: Buffer, at: number): boolean {
  for (let index = 0; index < prefix.length; index++) {
    if (bytes[at + index] !== prefix[index]) return false;
  }
  return true;
}
