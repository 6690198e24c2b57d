// An error inside a stream whose status is already sent, in the format of the endpoint.
import { toEnvelope, type GatewayError } from "../errors.ts";
import { encodeEvent } from "../http/sse.ts";
import type { EndpointClass } from "../config/config.ts";

const SEQUENCE = Buffer.from('"sequence_number":');
/** Room for the name and its number, which two chunks may share. */
const SEAM_BYTES = 32;

/** Follows a stream just enough to write its last event. */
export class StreamErrorWriter {
  /** Chat's way is everybody's who speaks OpenAI's API without being OpenAI. */
  readonly #plain: boolean;
  readonly #numbered: boolean;
  #sequence = -1;
  #seam = Buffer.alloc(0);

  constructor(endpointClass: EndpointClass | undefined) {
    this.#plain = endpointClass === undefined || ["chat", "completions"].includes(endpointClass);
    this.#numbered = endpointClass === "responses" || endpointClass === "stored_responses";
  }

  /** Responses number their events; the error takes the next number. */
  push(bytes: Buffer): void {
    if (!this.#numbered) return;
    const seam = Buffer.concat([this.#seam, bytes.subarray(0, SEAM_BYTES)]);
    this.#read(seam);
    this.#read(bytes);
    this.#seam = Buffer.from((bytes.length < SEAM_BYTES ? seam : bytes).subarray(-SEAM_BYTES));
  }

  #read(bytes: Buffer): void {
    const at = bytes.lastIndexOf(SEQUENCE);
    if (at < 0) return;
    const digits = bytes.toString("latin1", at + SEQUENCE.length, at + SEQUENCE.length + 12);
    this.#sequence = Math.max(this.#sequence, Number.parseInt(digits, 10) || 0);
  }

  /**
   * Chat and completions send `data: {"error":{…}}`; the others an event of type `error`. All carry
   * `error`, which makes the official SDKs throw; Responses also carry the flat fields of their
   * specification (`ResponseErrorEvent`).
   */
  encode(error: GatewayError): string {
    const envelope = toEnvelope(error);
    if (this.#plain) return encodeEvent(JSON.stringify(envelope));
    const { code, message, param } = envelope.error;
    const flat = { code, message, param, sequence_number: this.#sequence + 1 };
    const event = { type: "error", ...(this.#numbered && flat), ...envelope };
    return encodeEvent(JSON.stringify(event), "error");
  }
}
