// Watches a reply of JSON: parsed once it is there, or, where it is large, read at its ends.
import { GrowingBytes } from "../http/growing-bytes.ts";
import { findUsage, type Report } from "../openai/usage.ts";
import { ReplyEnds } from "./reply-ends.ts";
import { TextEstimate } from "./text-estimate.ts";

export const WHOLE_BYTES = 262_144;
const BYTE_ORDER_MARK = /^\uFEFF/;

export class JsonReader {
  /** What was written, as far as it is not kept. */
  readonly #text = new TextEstimate();
  readonly #whole = new GrowingBytes();
  /** Instead of the whole, once that is too much. */
  #ends: ReplyEnds | undefined;
  /** What was found, until more comes. */
  #found: { readonly report: Report | undefined } | undefined;

  /** Measured when it is asked for: most replies report what they used. */
  get outputTokens(): number {
    if (this.#ends !== undefined) return this.#text.tokens;
    const text = new TextEstimate();
    text.push(this.#whole.view.toString("latin1"));
    return text.tokens;
  }

  get heldBytes(): number {
    return this.#whole.length + (this.#ends?.heldBytes ?? 0);
  }

  push(bytes: Buffer): undefined {
    this.#found = undefined;
    if (this.#ends === undefined && this.#whole.length + bytes.length > WHOLE_BYTES) {
      this.#ends = new ReplyEnds();
      this.#forget(this.#whole.take());
    }
    if (this.#ends === undefined) this.#whole.push(bytes);
    else this.#forget(bytes);
  }

  #forget(bytes: Buffer): void {
    this.#text.push(bytes.toString("latin1"));
    this.#ends?.push(bytes);
  }

  report(): Report | undefined {
    this.#found ??= { report: this.#ends === undefined ? this.#parse() : this.#ends.report() };
    return this.#found.report;
  }

  #parse(): Report | undefined {
    const json = this.#whole.view.toString("utf8").replace(BYTE_ORDER_MARK, "");
    try {
      return findUsage(JSON.parse(json));
    } catch {
      return undefined; // Not all there, or never JSON.
    }
  }
}
