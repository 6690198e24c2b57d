// Looks at a multipart/form-data body (RFC 7578, RFC 2046 §5.1) as it passes and reads the fields
// that rules depend on. Readers disagree about whatever is not plain, so that is refused; what the
// clients in use write is plain. Of a file no more is kept than a delimiter is long.
import { GatewayError } from "../errors.ts";
import { invalid, parseDisposition, parseHeaders } from "./form-part.ts";

const HEADERS_LIMIT_BYTES = 8_192;
const PART_LIMIT = 1_000;
const VALUE_LIMIT_BYTES = 512;
/** What is left of a chunk is joined with so much of the next: no chunk is copied whole. */
const JOIN_BYTES = 1_024;
const CRLF = "\r\n";
const CHARSET = "_charset_";
const MISPLACED = "Use a boundary that occurs nowhere else; its lines begin and end with CRLF.";

/** .NET puts it in quotes. */
const FORM_TYPE = /^multipart\/form-data *; *boundary=("?)([\w'+.-]{1,70})\1$/i;
const TOKEN = /[\w!#$%&'*+.^`|~-]+/.source;
/** Not one with parts of its own, and without `name`, which readers of mail take for a file's. */
const MEDIA_TYPE = new RegExp(
  `^(?!multipart/|message/)${TOKEN}/${TOKEN}` +
    `(?: *; *(?!name|filename|boundary)${TOKEN}=(?:${TOKEN}|"[^"\\\\]*"))*$`,
  "i",
);
const PLAIN_TYPE = /^text\/plain(?: *; *charset=("?)(?:utf-8|us-ascii|iso-8859-1)\1)?$/i;
/** Any other changes the value for those who obey it (RFC 7578 §4.7 deprecates them all). */
const PLAIN_ENCODING = /^(?:7bit|8bit|binary)$/i;
const VALUE = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;

/** @throws GatewayError 415 `unsupported_media_type` when it has not exactly one plain boundary. */
export function parseBoundary(contentType: string): string {
  const boundary = FORM_TYPE.exec(contentType)?.[2];
  if (boundary !== undefined) return boundary;
  const message = "Send multipart/form-data with one plain boundary of at most 70 characters.";
  throw new GatewayError("unsupported_media_type", message);
}

/** What is left of a name when case and punctuation are not looked at. */
function fold(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, "");
}

/** In `svg[model]` the `svg`. */
function headOf(name: string): string {
  return name.replace(/(?<=.)\[.*$/, "");
}

/** Is called once for each governed part, when its value is complete. May throw. */
type Found = (name: string, value: string) => void;

export class FormScanner {
  readonly #governed: ReadonlySet<string>;
  readonly #folded: ReadonlySet<string>;
  /** Those of which single members are governed. */
  readonly #nested: ReadonlySet<string>;
  readonly #found: Found;
  /** The delimiter without the line end before it. */
  readonly #mark: Buffer;
  readonly #seen = new Set<string>();
  #state: "start" | "headers" | "content" | "end" = "start";
  /** Bytes that mean nothing without the next ones. */
  #rest: Buffer = Buffer.alloc(0);
  #parts = 0;
  // Of the part at hand.
  #name = "";
  #kept = false;
  #announced: string | undefined;
  #bytes = 0;
  #value = "";

  /** @param governed the names whose values matter, exactly as they are to be sent. */
  constructor(boundary: string, governed: ReadonlySet<string>, found: Found) {
    this.#mark = Buffer.from(`--${boundary}`, "latin1");
    this.#governed = governed;
    this.#folded = new Set([...governed].map(fold));
    this.#nested = new Set([...governed].filter((name) => name.includes("[")).map(headOf));
    this.#found = found;
  }

  /** @throws GatewayError 400 `invalid_form`, or what `found` throws: nothing may follow then. */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = 0;
    while (this.#rest.length > 0 && at < bytes.length) {
      const before = this.#rest.length;
      const joined = Buffer.concat([this.#rest, bytes.subarray(at, at + JOIN_BYTES)]);
      const taken = this.#walk(joined);
      // Once what was left is used up, the chunk itself is read on.
      this.#rest = joined.subarray(taken < before ? taken : joined.length);
      at += (taken < before ? joined.length : taken) - before;
    }
    if (this.#rest.length > 0) return;
    at += this.#walk(bytes.subarray(at));
    this.#rest = Buffer.from(bytes.subarray(at)); // A copy: a view would hold the whole chunk.
  }

  /** The body is over. @throws GatewayError 400 when the closing delimiter has not been seen. */
  end(): void {
    if (this.#state !== "end" || this.#rest.length === 1) {
      throw invalid("Send the whole form: it ends before its closing boundary.");
    }
  }

  /** @returns how many bytes are done with. */
  #walk(bytes: Buffer): number {
    let at = 0;
    for (let next = this.#step(bytes, at); next > at; next = this.#step(bytes, at)) at = next;
    return at;
  }

  /** @returns where to go on, or `at` when more bytes are needed. */
  #step(bytes: Buffer, at: number): number {
    if (this.#state === "content") return this.#content(bytes, at);
    if (this.#state === "headers") return this.#headers(bytes, at);
    if (this.#state === "start") return this.#delimiter(bytes, at, at);
    if (CRLF.startsWith(bytes.toString("latin1", at, at + 3))) return at;
    throw invalid("Send nothing behind the closing boundary of the form.");
  }

  #headers(bytes: Buffer, at: number): number {
    const end = bytes.indexOf("\r\n\r\n", at, "latin1");
    if ((end < 0 ? bytes.length - 3 : end) - at > HEADERS_LIMIT_BYTES) {
      throw invalid(`Send at most ${HEADERS_LIMIT_BYTES} bytes of headers in a part.`);
    }
    if (end < 0) return at;
    const block = bytes.subarray(at, end);
    if (block.includes(this.#mark)) throw invalid(MISPLACED);
    this.#begin(parseHeaders(block.toString("latin1")));
    this.#state = "content";
    return end + 4;
  }

  #begin(headers: ReadonlyMap<string, string>): void {
    const { name, file, mistakable } = parseDisposition(headers.get("content-disposition"));
    const governed = this.#governed.has(name);
    if ((!governed && this.#isMistakable(name)) || this.#isMistakable(mistakable)) {
      throw invalid("Send this field under its exact name, in quotes.", name);
    }
    if (governed && this.#seen.has(name)) throw invalid("Send this field once.", name);
    if (governed) this.#seen.add(name);
    const kept = governed || name.trim().toLowerCase() === CHARSET;
    if (kept && file) throw invalid("Send this field without a filename.", name);
    if (!(kept ? PLAIN_TYPE : MEDIA_TYPE).test(headers.get("content-type") ?? "text/plain")) {
      const wanted = kept ? "text/plain in UTF-8" : "one plain media type, not multipart";
      throw invalid(`Send this field with the content type ${wanted}.`, name);
    }
    const encoding = headers.get("content-transfer-encoding") ?? "binary";
    if (!PLAIN_ENCODING.test(encoding) || headers.has("content-encoding")) {
      throw invalid("Send this field as it is, without an encoding.", name);
    }
    this.#name = name;
    this.#kept = kept;
    this.#announced = headers.get("content-length");
    this.#bytes = 0;
    this.#value = "";
  }

  /** Whether some reader takes it for a governed one: `Model`, `model[]`, `model[0]`. */
  #isMistakable(name: string): boolean {
    const head = headOf(name);
    const spellings = [name, name.replace(/\[\d*\]$/, ""), this.#nested.has(head) ? name : head];
    return spellings.some((spelling) => this.#folded.has(fold(spelling)));
  }

  #content(bytes: Buffer, at: number): number {
    const hit = bytes.indexOf(this.#mark, at);
    // Where none is, the last bytes may be CRLF and all of one but its last byte.
    const end = hit < 0 ? bytes.length - this.#mark.length - 1 : hit - 2;
    if (hit >= 0 && (end < at || bytes.toString("latin1", end, hit) !== CRLF))
      throw invalid(MISPLACED);
    if (end > at) this.#keep(bytes, at, end);
    const next = Math.max(at, end);
    return hit < 0 ? next : this.#delimiter(bytes, next, hit);
  }

  #keep(bytes: Buffer, from: number, to: number): void {
    this.#bytes += to - from;
    if (!this.#kept) return;
    if (this.#bytes > VALUE_LIMIT_BYTES) {
      throw invalid(`Send at most ${VALUE_LIMIT_BYTES} bytes in this field.`, this.#name);
    }
    this.#value += bytes.toString("latin1", from, to);
  }

  /** @returns what is behind the delimiter at `hit`, or `at` while it is not complete. */
  #delimiter(bytes: Buffer, at: number, hit: number): number {
    const end = hit + this.#mark.length;
    if (bytes.length < end + 2) return at;
    const tail = bytes.toString("latin1", end, end + 2);
    if (this.#state === "content") {
      if (tail !== CRLF && tail !== "--") throw invalid(MISPLACED);
      this.#finish();
    } else if (tail !== CRLF || !bytes.subarray(hit, end).equals(this.#mark)) {
      throw invalid("Begin the form with a boundary line, as its content type has it.");
    }
    this.#state = tail === CRLF ? "headers" : "end";
    if (tail === CRLF && ++this.#parts > PART_LIMIT) {
      throw invalid(`Send at most ${PART_LIMIT} parts in a form.`);
    }
    return end + 2;
  }

  #finish(): void {
    // Some readers, aiohttp among them, trust a part's own length more than the next boundary.
    if (this.#announced !== undefined && this.#announced !== String(this.#bytes)) {
      throw invalid("Send this field with its true content length, or with none.", this.#name);
    }
    if (!this.#kept) return;
    if (!VALUE.test(this.#value)) {
      throw invalid("Send printable ASCII in this field, no white space around it.", this.#name);
    }
    if (this.#governed.has(this.#name)) this.#found(this.#name, this.#value);
    else if (this.#name !== CHARSET || this.#value.toLowerCase() !== "utf-8") {
      throw invalid("Send the form in UTF-8: `_charset_` is utf-8 or left out.", this.#name);
    }
  }
}
