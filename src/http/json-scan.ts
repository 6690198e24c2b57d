// Walks over the bytes of one JSON object (RFC 8259) as they arrive: finds what is asked for and
// where it stands. Megabytes of messages pass at the speed of a byte search.
import { GatewayError } from "../errors.ts";
import type { JsonValue, JsonVisitor } from "./json-value.ts";

const DEPTH_LIMIT = 256;
/** Names and texts beyond it are not looked at. */
const TOKEN_LIMIT_BYTES = 1_024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const PLAIN = /^[\x20-\x5b\x5d-\x7e]*$/;
const NOTHING = Buffer.alloc(0);
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** 1 for what numbers and `true`, `false`, `null` are written with; OpenAI judges their grammar. */
const LITERAL = new Uint8Array(256);
for (const byte of Buffer.from("+-.0123456789EIN")) LITERAL[byte] = 1;
for (let byte = 0x61; byte <= 0x7a; byte++) LITERAL[byte] = 1;

function indexOf(bytes: Buffer, byte: number, from: number): number {
  const at = bytes.indexOf(byte, from);
  return at < 0 ? Infinity : at;
}

type Expected = "value" | "first element" | "key" | "first key" | "colon" | "comma" | "end";

const CLOSES_OBJECT: ReadonlySet<Expected> = new Set(["first key", "comma"]);
const CLOSES_LIST: ReadonlySet<Expected> = new Set(["first element", "comma"]);

export class JsonScanner {
  readonly #visitor: JsonVisitor;
  readonly #path: string[] = [];
  /** Beside the path: whether that step is into a list. */
  readonly #lists: boolean[] = [];
  #expected: Expected = "value";
  /** Bytes before the chunk at hand. */
  #position = 0;
  #token: "text" | "key" | "literal" | undefined;
  #tokenStart = 0;
  #wanted = false;
  #escaped = false;
  /** The chunk before ended in a backslash. */
  #skip = false;
  /** What has been kept of the token; nothing once it is over the limit. */
  #before: Buffer | undefined = NOTHING;
  /** The next backslash of the chunk at hand; below the place looked at it is stale. */
  #backslash = -1;
  #root = 0;
  #empty = true;

  constructor(visitor: JsonVisitor) {
    this.#visitor = visitor;
  }

  /** @throws GatewayError 400 `invalid_json`, or what the visitor throws. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#backslash = -1;
    for (let at = 0; at < bytes.length;) {
      if (this.#token === undefined) at = this.#structure(bytes, at);
      else if (this.#token === "literal") at = this.#literal(bytes, at);
      else at = this.#text(bytes, at);
    }
    this.#position += bytes.length;
  }

  /**
   * The body is over.
   * @returns where a member could be put in front, and whether it would be the only one.
   * @throws GatewayError 400 `invalid_json` when the object is not complete.
   */
  end(): { readonly inside: number; readonly empty: boolean } {
    if (this.#expected !== "end") throw this.#invalid(0, "it ends early");
    return { inside: this.#root + 1, empty: this.#empty };
  }

  /** @returns where a token begins, or the chunk's end. */
  #structure(bytes: Buffer, from: number): number {
    for (let at = from; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) continue;
      const expected = this.#expected;
      const value = expected === "value" || expected === "first element";
      if (expected === "end") throw this.#invalid(at, "something follows it");
      if (this.#path.length === 0 && byte !== 0x7b) throw this.#invalid(at, "expected a {");
      if (byte === QUOTE && (value || expected === "key" || expected === "first key")) {
        this.#begin(value ? "text" : "key", at);
        return at + 1;
      }
      if (value && LITERAL[byte] === 1) {
        this.#begin("literal", at);
        return at;
      }
      if (byte === 0x2c && expected === "comma") {
        this.#expected = this.#lists.at(-1) === true ? "value" : "key";
      } else if (byte === 0x3a && expected === "colon") this.#expected = "value";
      else if ((byte === 0x7b || byte === 0x5b) && value) this.#open(byte === 0x5b, at);
      else if (byte === 0x7d && CLOSES_OBJECT.has(expected)) this.#close(false, at);
      else if (byte === 0x5d && CLOSES_LIST.has(expected)) this.#close(true, at);
      else throw this.#invalid(at, `expected a ${expected}`);
    }
    return bytes.length;
  }

  #begin(token: "text" | "key" | "literal", at: number): void {
    this.#token = token;
    this.#tokenStart = this.#position + at;
    this.#wanted = token === "key" || this.#isWanted();
    this.#before = NOTHING;
    this.#escaped = false;
  }

  #isWanted(): boolean {
    const { names } = this.#visitor;
    const list = this.#lists.at(-1) === true;
    return names.has((list ? this.#path.at(-2) : this.#path.at(-1)) ?? "");
  }

  #open(list: boolean, at: number): void {
    const start = this.#position + at;
    if (this.#path.length === DEPTH_LIMIT) throw this.#invalid(at, "it is nested too deeply");
    if (this.#path.length === 0) this.#root = start;
    else if (this.#isWanted()) this.#found(list ? "array" : "object", undefined, start, start + 1);
    this.#lists.push(list);
    this.#path.push(list ? "*" : "");
    this.#expected = list ? "first element" : "first key";
  }

  #close(list: boolean, at: number): void {
    if (this.#lists.pop() !== list) throw this.#invalid(at, "its brackets do not match");
    this.#path.pop();
    const empty = this.#expected === "first key";
    if (empty && this.#path.length > 0 && this.#isWanted()) this.#visitor.empty?.(this.#path);
    this.#expected = this.#path.length === 0 ? "end" : "comma";
  }

  /** @returns where the structure goes on, or the chunk's end. */
  #text(bytes: Buffer, from: number): number {
    // Behind the character that a backslash at the end of the chunk before has escaped.
    let at = this.#skip ? from + 1 : from;
    this.#skip = false;
    for (let quote = -1; ;) {
      if (quote < at) quote = indexOf(bytes, QUOTE, at);
      if (this.#backslash < at) this.#backslash = indexOf(bytes, BACKSLASH, at);
      if (quote < this.#backslash) {
        this.#keep(bytes.subarray(from, quote));
        this.#endText(quote);
        return quote + 1;
      }
      if (this.#backslash !== Infinity) {
        this.#escaped = true;
        at = this.#backslash + 2;
        if (at <= bytes.length) continue;
        this.#skip = true;
      }
      this.#keep(bytes.subarray(from));
      return bytes.length;
    }
  }

  #endText(quote: number): void {
    const raw = this.#before;
    const key = this.#token === "key";
    this.#token = undefined;
    this.#expected = key ? "colon" : "comma";
    if (key) return this.#endKey(raw, quote);
    if (!this.#wanted) return;
    const text = raw === undefined || this.#escaped ? undefined : raw.toString("latin1");
    const plain = text !== undefined && PLAIN.test(text) ? text : undefined;
    this.#found("text", plain, this.#tokenStart, this.#position + quote + 1);
  }

  #endKey(raw: Buffer | undefined, quote: number): void {
    const outermost = this.#path.length === 1;
    const name = raw && this.#toName(raw, quote);
    if (outermost) {
      this.#empty = false;
      // OpenAI has no other; some readers fold case or drop what they cannot decode.
      if (name === undefined || this.#escaped || !PLAIN.test(name)) {
        throw this.#invalid(quote, "the name of a parameter is not plain ASCII");
      }
      this.#visitor.member(name);
    }
    this.#path[this.#path.length - 1] = outermost ? (name ?? "") : this.#known(name ?? "");
  }

  /** Some readers, Go's among them, do not look at case: to them `Type` is `type`. */
  #known(name: string): string {
    const folded = name.toLowerCase().replaceAll("\u017f", "s");
    return this.#visitor.names.has(folded) ? folded : name;
  }

  #toName(raw: Buffer, quote: number): string {
    try {
      const text = UTF8.decode(raw);
      return this.#escaped ? String(JSON.parse(`"${text}"`)) : text;
    } catch {
      throw this.#invalid(quote, "the name of a member is malformed");
    }
  }

  #literal(bytes: Buffer, from: number): number {
    let at = from;
    while (at < bytes.length && LITERAL[bytes[at] ?? 0] === 1) at++;
    if (this.#wanted) this.#keep(bytes.subarray(from, at));
    if (at === bytes.length) return at;
    this.#token = undefined;
    this.#expected = "comma";
    const text = this.#before?.toString("latin1");
    if (this.#wanted) this.#found("literal", text, this.#tokenStart, this.#position + at);
    return at;
  }

  /** Puts a piece of the token at hand to the others. */
  #keep(piece: Buffer): void {
    if (!this.#wanted || this.#before === undefined) return;
    const length = this.#before.length + piece.length;
    if (length > TOKEN_LIMIT_BYTES) this.#before = undefined;
    else this.#before = this.#before.length === 0 ? piece : Buffer.concat([this.#before, piece]);
  }

  #found(kind: JsonValue["kind"], text: string | undefined, start: number, end: number): void {
    this.#visitor.value({ path: this.#path, kind, text, start, end });
  }

  #invalid(at: number, reason: string): GatewayError {
    const where = this.#position + at;
    return new GatewayError(
      "invalid_json",
      `The body is not one JSON object as this call needs it: ${reason}, at byte ${where}.`,
    );
  }
}
