// Server-sent events (HTML standard, "Server-sent events"): writing one, and knowing where a
// stream of them stands.

const LF = 10;
const CR = 13;
// As a line of its own: inside JSON a model may write what it likes, but never a bare line end.
const DONE = /(?:^|[\r\n])data: ?\[DONE\][\r\n]+$/;
const TAIL_BYTES = 64;

export function encodeEvent(data: string, event?: string): string {
  return `${event === undefined ? "" : `event: ${event}\n`}data: ${data}\n\n`;
}

/** Watches a stream pass by, in constant memory and without holding anything back. */
export class StreamTail {
  #last = Buffer.alloc(0);

  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const joined = bytes.length < TAIL_BYTES ? Buffer.concat([this.#last, bytes]) : bytes;
    this.#last = Buffer.from(joined.subarray(-TAIL_BYTES));
  }

  /** Whether the last event is whole: a blank line (LF, CR or CRLF) or nothing at all came last. */
  get atBoundary(): boolean {
    const [a, b, c] = [this.#last.at(-1), this.#last.at(-2), this.#last.at(-3)];
    if (a === undefined) return true;
    if (a === LF && b === CR) return c === LF || c === CR;
    return (a === LF || a === CR) && a === b;
  }

  /**
   * What must stand before another event: the end of one that was cut. A lone `event:` line needs
   * none, as the next one overrules it; ended, it would be an event without data.
   */
  get closing(): string {
    const named = /(?:^|[\r\n])event:[^\r\n]*[\r\n]+$/.test(this.#last.toString("latin1"));
    return this.atBoundary || named ? "" : "\n\n";
  }

  /** Whether OpenAI's own end mark came last: a client that leaves now has everything. */
  get done(): boolean {
    return this.atBoundary && DONE.test(this.#last.toString("latin1"));
  }
}
