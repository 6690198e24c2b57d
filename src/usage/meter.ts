// Watches a reply of OpenAI pass by and learns what it used: as OpenAI reports it, or, as long as
// it has not, by what has come. Changes nothing; tells the events of a stream to whoever does.
import { isEventStream } from "../http/sse.ts";
import type { Report } from "../openai/usage.ts";
import { EventReader, type ReadEvent } from "./event-reader.ts";
import { JsonReader } from "./json-reader.ts";
import { TextEstimate } from "./text-estimate.ts";

export interface MeterOptions {
  readonly contentType: string;
  /** Bytes, as announced. */
  readonly contentLength: number | undefined;
}

/** What there is to learn from one kind of reply. */
interface Reader {
  /** Streams alone have events. */
  push(bytes: Buffer): readonly ReadEvent[] | undefined;
  end?(): readonly ReadEvent[];
  report(): Report | undefined;
  readonly outputTokens: number;
  readonly heldBytes: number;
  /** Streams alone know these from what is written in them. */
  readonly begun?: boolean;
  readonly complete?: boolean;
}

/** Takes time linear in the bytes, keeps about 2 MiB of them at most, and never throws. */
export class Meter {
  readonly #reader: Reader;
  readonly #contentLength: number;
  #bytes = 0;

  constructor({ contentType, contentLength = Infinity }: MeterOptions) {
    this.#reader = createReader(contentType.toLowerCase());
    this.#contentLength = contentLength;
  }

  /** @returns the events that are whole with it, where the reply is a stream of them. */
  push(piece: Buffer): readonly ReadEvent[] | undefined {
    this.#bytes += piece.length;
    return this.#reader.push(piece);
  }

  /** @returns the last event, which nothing has ended. */
  end(): readonly ReadEvent[] | undefined {
    return this.#reader.end?.();
  }

  /**
   * With what was pushed the client may think that the call is complete: an end event came, or the
   * chunk with a chat's usage, which OpenAI's end mark follows, or as many bytes as announced.
   */
  get complete(): boolean {
    return this.#reader.complete === true || this.#bytes >= this.#contentLength;
  }

  /** What OpenAI reported, in a stream last; nothing where it has not. */
  report(): Report | undefined {
    return this.#reader.report();
  }

  /** Estimated from the texts so far, thoughts that are shown and calls of functions included. */
  get outputTokens(): number {
    return this.#reader.outputTokens;
  }

  /** Whether content has come: in a stream a piece of text, picture or sound, else any byte. */
  get begun(): boolean {
    return this.#reader.begun ?? this.#bytes > 0;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How many of them are kept, for now. */
  get heldBytes(): number {
    return this.#reader.heldBytes;
  }
}

function createReader(contentType: string): Reader {
  if (isEventStream(contentType)) return new EventReader();
  const type = /^[^;\s]*/.exec(contentType.trim())?.[0] ?? "";
  if (type === "application/json" || type.endsWith("+json") || type === "") return new JsonReader();
  return type.startsWith("text/") || type === "application/x-subrip" ? new TextReader() : BYTES;
}

/** Transcripts as text, subtitles. */
class TextReader implements Reader {
  readonly #text = new TextEstimate();
  readonly heldBytes = 0;

  get outputTokens(): number {
    return this.#text.tokens;
  }

  push(bytes: Buffer): undefined {
    this.#text.plain(bytes.length);
  }

  report(): undefined {}
}

/** Sound, pictures, files: they say nothing of what they cost. */
const BYTES: Reader = { push() {}, report() {}, outputTokens: 0, heldBytes: 0 };
