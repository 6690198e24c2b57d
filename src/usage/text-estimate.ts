// How much a model has written so far, measured on the JSON as it passes, without parsing it.

/**
 * The names whose values are what a model writes, in all of OpenAI's formats and the usual one for
 * open models' thoughts. Inside JSON's strings quotes are escaped: no text can hold one of these.
 */
const WRITTEN =
  /"(?:content|delta|text|arguments|refusal|transcript|reasoning(?:_content)?)"\s*:\s*"/g;
/** Room for the longest of them, cut by the end of a chunk. */
const SEAM_LENGTH = 32;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LETTER_U = 0x75;
/** Of UTF-8: about what a token has in English, on the high side elsewhere. */
const BYTES_PER_TOKEN = 4;

export class TextEstimate {
  #pieces = 0;
  #bytes = 0;
  /** The text at hand goes on in the next chunk: with its first so many characters skipped. */
  #open = false;
  #skip = 0;
  #filled = false;
  #seam = "";

  /** Streams send a token or more with each piece. */
  get tokens(): number {
    return Math.max(this.#pieces, Math.ceil(this.#bytes / BYTES_PER_TOKEN));
  }

  /** @param json whole, one character a byte. */
  add(json: string): void {
    this.#scan(json, 0);
    this.#open = false;
    this.#skip = 0;
  }

  /** @param part of a JSON text, one character a byte, behind those that came before. */
  push(part: string): void {
    const text = this.#seam + part;
    const after = this.#scan(text, this.#open ? this.#measure(text, 0) : 0);
    this.#seam = text.slice(this.#open ? after : Math.max(after, text.length - SEAM_LENGTH));
  }

  /** Text that is nothing else. */
  plain(bytes: number): void {
    this.#bytes += bytes;
  }

  /** @returns what is behind the last text. */
  #scan(text: string, from: number): number {
    let after = from;
    WRITTEN.lastIndex = from;
    while (!this.#open && WRITTEN.test(text)) {
      this.#filled = false;
      after = this.#measure(text, WRITTEN.lastIndex);
      WRITTEN.lastIndex = after;
    }
    return after;
  }

  /** @returns what is behind the text that begins or goes on here, or behind what is here of it. */
  #measure(text: string, from: number): number {
    let at = from + this.#skip;
    let bytes = 0;
    let open = true;
    while (open && at < text.length) {
      const code = text.charCodeAt(at);
      if (code === BACKSLASH && at + 1 === text.length) break;
      // Most of what is written as \u0000 has three bytes; half of a pair has two.
      const unicode = code === BACKSLASH && text.charCodeAt(at + 1) === LETTER_U;
      open = code !== QUOTE;
      if (open) bytes += unicode ? 3 : 1;
      at += unicode ? 6 : code === BACKSLASH ? 2 : 1;
    }
    if (bytes > 0 && !this.#filled) this.#pieces++;
    this.#filled ||= bytes > 0;
    this.#bytes += bytes;
    this.#open = open;
    this.#skip = Math.max(0, at - text.length);
    return Math.min(at, text.length);
  }
}
