// Server-sent events (HTML standard, "Server-sent events"): writing one, and knowing where a
// stream of them stands.

const LF = 10;
const CR = 13;
// As a line of its own: inside JSON a model may write what it likes, but never a bare line end.
const DONE = /(?:^|[\r\n])data: ?\[DONE\][\r\n]+$/;
const TAIL_BYTES = 64;

/** Also of a type that is listed twice, or has parameters. */
export function isEventStream(contentType: string): boolean {
  return contentType.toLowerCase().startsWith("text/event-stream");
}

export function encodeEvent(data: string, event?: string): string {
  return `${event === undefined ? "" : `event: ${event}\n`}data: ${data}\n\n`;
}

/** Watches a stream pass by, in constant memory and without holding anything back. */
export class StreamTail {
  /** The last bytes, at its end; zeros before there were so many. */
  readonly #last = new Uint8Array(TAIL_BYTES);
  #begun = false;

  push(chunk: Buffer): void {
    const { length } = chunk;
    this.#begun ||= length > 0;
    if (length < TAIL_BYTES) this.#last.copyWithin(0, length);
    chunk.copy(this.#last, Math.max(0, TAIL_BYTES - length), Math.max(0, length - TAIL_BYTES));
  }

  /** Whether the last event is whole: a blank line (LF, CR or CRLF) or nothing at all came last. */
  get atBoundary(): boolean {
    const [a, b, c] = [this.#last.at(-1), this.#last.at(-2), this.#last.at(-3)];
    if (!this.#begun) return true;
    if (a === LF && b === CR) return c === LF || c === CR;
    return (a === LF || a === CR) && a === b;
  }

  /**
   * What must stand before another event: the end of one that was cut. A lone `event:` line needs
   * none, as the next one overrules it; ended, it would be an event without data.
   */
  get closing(): string {
    const named = /(?:^|[\r\n])event:[^\r\n]*[\r\n]+$/.test(this.#text);
    return this.atBoundary || named ? "" : "\n\n";
  }

  /** Whether OpenAI's own end mark came last: a client that leaves now has everything. */
  get done(): boolean {
    return this.atBoundary && DONE.test(this.#text);
  }

  get #text(): string {
    return Buffer.from(this.#last).toString("latin1").replace(/^\0+/, "");
  }
}
