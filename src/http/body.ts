// A request body on its way: read only as fast as it is taken, counted, and with its beginning
// kept aside so that it can be sent a second time.
import type { IncomingMessage } from "node:http";
import type { Cancellation } from "../cancellation.ts";
import { GatewayError, toGatewayError } from "../errors.ts";
import type { Allowance } from "./allowance.ts";
import type { Payload } from "./splice.ts";
import { Superseded } from "./superseded.ts";

/** Is told how the body comes along, until it is released. */
export interface BodyWatcher {
  /** We wait for the client now. */
  waiting(): void;
  /** A piece has come, or the end. */
  moving(): void;
  /** The body is too large, or its client is gone: told always. */
  failed(error: GatewayError): void;
}

export interface BodyOptions {
  readonly limitBytes: number;
  /** How much of the beginning is kept for a second pass. */
  readonly keepBytes: number;
  readonly allowance: Allowance;
  readonly watcher: BodyWatcher;
  /** Ends the wait for a client that sends no more; its reason is what the pass then throws. */
  readonly cancellation: Cancellation;
  /** Sends `100 Continue` to a client that waits for it, when the first byte is wanted. */
  readonly invite: () => void;
}

/** As much as comes with a request's head, and is handed on in one piece. */
const WHOLE_BYTES = 16 * 1024;

/** What holding a piece takes beside its bytes. */
const OBJECT_BYTES = 256;

/** How much of a body passes before others have their turn. */
const TURN_BYTES = 64 * 1024;

export class RequestBody {
  /** Bytes received so far. */
  bytes = 0;
  readonly #req: IncomingMessage;
  readonly #options: BodyOptions;
  #keepBytes: number;
  /** Taken from the allowance. */
  #heldBytes = 0;
  /** What has come and may be wanted: all of it while keeping, else what the pass has not taken. */
  readonly #chunks: Buffer[] = [];
  #next = 0;
  #keeping = true;
  #watched = true;
  #begun = false;
  #ended = false;
  #passed = false;
  #handedWhole = false;
  #passes = 0;
  #discarded = false;
  #pulling: Promise<void> | undefined;
  #wake = (): void => {};

  /** @throws GatewayError 413 when the announced length is over the limit: nothing is read then. */
  constructor(req: IncomingMessage, options: BodyOptions) {
    this.#req = req;
    this.#options = options;
    this.#keepBytes = options.keepBytes;
    if (Number(req.headers["content-length"] ?? 0) > options.limitBytes) throw this.#tooLarge();
  }

  /** Whether another pass would still see the first byte. */
  get replayable(): boolean {
    return this.#keeping;
  }

  /** Whether all of it has come. */
  get complete(): boolean {
    return this.#ended;
  }

  /** Whether all of it was handed on. */
  get passed(): boolean {
    return this.#passed;
  }

  /** A body that was handed on whole is on its way. */
  sent(): void {
    this.#passed ||= this.#handedWhole;
  }

  /** There will be no other pass: what was kept is forgotten, and nobody watches any more. */
  release(): void {
    this.#watched = false;
    this.#forget();
    this.#give(this.#heldBytes);
  }

  /** Lets the rest of the body flow past unread, so that the connection can go on or end. */
  discard(): void {
    this.#passes++;
    this.#discarded = true;
    this.release();
    this.#chunks.length = 0;
    this.#options.cancellation.unlisten(this.#onEvent);
    this.#req.off("readable", this.#onEvent).resume();
  }

  /**
   * The body from its first byte; the pass before, if any, ends. Ending a pass early leaves the
   * request itself alone: its client still gets an answer.
   */
  pass(): AsyncGenerator<Uint8Array, void, undefined> {
    this.#keepBytes = this.#options.keepBytes;
    return this.#walk(true);
  }

  /** The same at once, where it can be had. */
  payload(): Payload {
    const whole = this.whole(false);
    this.#handedWhole = whole !== undefined;
    return whole ?? this.pass();
  }

  /** All of a small one that is here. It is kept, and held where somebody only looks. */
  whole(looks = true): Uint8Array | undefined {
    if (!this.#begun) this.#takeWhole();
    if (!this.#ended || !this.#keeping || this.bytes > WHOLE_BYTES) return undefined;
    if (looks && this.#heldBytes === 0) this.#hold(this.bytes + OBJECT_BYTES);
    return Buffer.concat(this.#chunks);
  }

  /** A pass that only looks: whatever it sees is kept, for the pass after it. */
  look(): AsyncGenerator<Uint8Array, void, undefined> {
    this.#keepBytes = Infinity;
    return this.#walk(false);
  }

  async *#walk(hands: boolean): AsyncGenerator<Uint8Array, void, undefined> {
    const pass = ++this.#passes;
    this.#next = 0;
    if (this.bytes > this.#keepBytes) this.#forget();
    let turnBytes = 0;
    while (pass === this.#passes) {
      const chunk = this.#take();
      if (chunk !== undefined) {
        yield chunk;
        turnBytes += chunk.length;
        // A socket takes megabytes at once: other calls would wait for all of them to be copied.
        if (turnBytes < TURN_BYTES) continue;
        await this.#options.allowance.turn();
        turnBytes = 0;
        continue;
      }
      if (this.#ended) {
        this.#passed ||= hands;
        return;
      }
      this.#next = this.#chunks.length;
      // Shared, so that a read left behind by a former pass is not lost to this one.
      this.#pulling ??= this.#pull().finally(() => (this.#pulling = undefined));
      await this.#pulling;
    }
    if (!this.#discarded) throw new Superseded();
  }

  #take(): Buffer | undefined {
    if (this.#keeping) return this.#chunks[this.#next++];
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) this.#give(Math.min(this.#heldBytes, chunk.length + OBJECT_BYTES));
    return chunk;
  }

  async #pull(): Promise<void> {
    const { limitBytes, watcher } = this.#options;
    try {
      const chunk = await this.#read();
      if (this.#watched) watcher.moving();
      if (chunk === undefined) {
        this.#ended = true;
        return;
      }
      if ((this.bytes += chunk.length) > limitBytes) throw this.#tooLarge();
      if (this.bytes > this.#keepBytes) this.#forget();
      if (this.#keepBytes === Infinity) this.#hold(chunk.length + OBJECT_BYTES);
      this.#chunks.push(chunk);
    } catch (error) {
      watcher.failed(toGatewayError(error));
      throw error;
    }
  }

  #hold(bytes: number): void {
    this.#options.allowance.take(bytes, this.#heldBytes);
    this.#heldBytes += bytes;
  }

  #give(bytes: number): void {
    this.#options.allowance.give(bytes);
    this.#heldBytes -= bytes;
  }

  /** The next piece, or nothing at the end. */
  async #read(): Promise<Buffer | undefined> {
    const req = this.#req;
    if (!this.#begun) this.#begin();
    for (;;) {
      const chunk: unknown = req.read();
      if (Buffer.isBuffer(chunk)) return chunk;
      if (req.readableEnded) return undefined;
      this.#options.cancellation.throwIfCancelled();
      if (req.destroyed) throw new GatewayError("client_gone", "The client left while sending.");
      if (this.#watched) this.#options.watcher.waiting();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Most have come with their head: no listener then waits for a piece, nor does anybody else. */
  #takeWhole(): void {
    const { readableLength: bytes, headers } = this.#req;
    if (bytes > WHOLE_BYTES || bytes !== Number(headers["content-length"])) return;
    const chunk: unknown = this.#req.read();
    if (!Buffer.isBuffer(chunk)) return;
    this.#begun = true;
    this.#options.invite();
    this.bytes = chunk.length;
    this.#chunks.push(chunk);
    this.#ended = true;
  }

  #begin(): void {
    this.#begun = true;
    this.#options.invite();
    for (const event of ["readable", "end", "close", "error"]) this.#req.on(event, this.#onEvent);
    this.#options.cancellation.listen(this.#onEvent);
  }

  #forget(): void {
    if (!this.#keeping) return;
    this.#keeping = false;
    this.#chunks.splice(0, this.#next);
  }

  readonly #onEvent = (): void => this.#wake();

  #tooLarge(): GatewayError {
    const message = `The request body is over ${this.#options.limitBytes} bytes.`;
    return new GatewayError("request_too_large", message);
  }
}
