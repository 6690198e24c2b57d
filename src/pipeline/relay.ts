// A reply on its way to the client: untouched, piece by piece, no faster than the client reads.
import type { ServerResponse } from "node:http";
import type { GatewayError } from "../errors.ts";
import { isEventStream, StreamTail } from "../http/sse.ts";
import type { Operation } from "../openai/endpoints.ts";
import { StreamErrorWriter } from "../openai/stream-error.ts";
import type { Reply } from "../upstream/attempt.ts";
import { toFailure } from "../upstream/failure.ts";
import type { Watch } from "./watch.ts";

/** Sees the bytes that pass. */
export interface Tap {
  /** @returns what the client gets of them; may be empty. */
  push(piece: Buffer): Buffer;
  /** @returns what was held back until now. */
  end(): Buffer;
  /** Whether something has to be done before the client gets what was pushed last. */
  readonly due: boolean;
  /** @throws GatewayError where the reply has to end here. */
  pay(): Promise<void>;
  /** The reply is over, but its client does not know yet. */
  settle(): Promise<void>;
}

export interface Passage {
  readonly watch: Watch;
  readonly tap: Tap;
  /** Is told of every piece that goes to the client, and when the first one has left. */
  readonly passed: (piece: Buffer) => void;
  readonly begun: () => void;
  readonly operation: Operation | undefined;
}

/** @throws GatewayError when the reply broke off; once its status is sent, the client knows. */
export async function relay(reply: Reply, res: ServerResponse, passage: Passage): Promise<void> {
  const { watch, tap, operation } = passage;
  const stream = isEventStream(reply.contentType) ? new EventStream(operation) : undefined;
  const outlet = new Outlet(reply, res, passage, stream);
  const paid = async (piece: Buffer): Promise<void> => {
    while (tap.due) await tap.pay();
    await outlet.send(piece);
  };
  try {
    if (stream !== undefined) outlet.open();
    watch.waitFor("nextPiece");
    await reply.body.each((piece) => {
      const shown = tap.push(piece);
      return tap.due ? paid(shown) : outlet.send(shown);
    });
    await tap.settle();
    await outlet.send(tap.end());
    await outlet.end();
  } catch (thrown) {
    const error = toReason(thrown, watch);
    if (error.code === "client_gone" && stream?.done === true) return;
    if (res.headersSent) breakOff(res, error, stream);
    throw error;
  }
}

/** Where a reply leaves for its client. */
class Outlet {
  readonly #reply: Reply;
  readonly #res: ServerResponse;
  readonly #passage: Passage;
  readonly #stream: EventStream | undefined;
  #headed = false;
  #begun = false;

  constructor(
    reply: Reply,
    res: ServerResponse,
    passage: Passage,
    stream: EventStream | undefined,
  ) {
    this.#reply = reply;
    this.#res = res;
    this.#passage = passage;
    this.#stream = stream;
  }

  /** At once, not with the first event: the client learns that its call was taken. */
  open(): void {
    this.#res.setHeader("x-accel-buffering", "no"); // nginx would hold events back.
    this.#writeHead();
    this.#res.flushHeaders();
  }

  /** @returns a wait, where the client has no room for more. */
  send(piece: Buffer): Promise<void> | undefined {
    this.#writeHead(); // Until here a broken answer can still be a whole error.
    if (piece.length > 0 && !this.#write(piece)) return this.#drained();
    this.#passage.watch.waitFor("nextPiece");
    return undefined;
  }

  async end(): Promise<void> {
    this.#res.end();
    await until("finish", this.#res, this.#passage.watch);
    // Node may tell of a write's end after that of them all.
    if (this.#begun) this.#passage.begun();
  }

  #writeHead(): void {
    if (this.#headed) return;
    this.#headed = true;
    this.#res.writeHead(this.#reply.status, [...this.#reply.headers]);
  }

  #write(piece: Buffer): boolean {
    const { passed, begun } = this.#passage;
    passed(piece);
    this.#stream?.push(piece);
    if (this.#begun) return this.#res.write(piece);
    this.#begun = true;
    return this.#res.write(piece, (error) => {
      if (error == null) begun();
    });
  }

  async #drained(): Promise<void> {
    await until("drain", this.#res, this.#passage.watch);
    this.#passage.watch.waitFor("nextPiece");
  }
}

/** The events so far, and the one that ends them early. */
class EventStream {
  readonly #tail = new StreamTail();
  readonly #errors: StreamErrorWriter;

  constructor(operation: Operation | undefined) {
    this.#errors = new StreamErrorWriter(operation?.class);
  }

  push(piece: Buffer): void {
    this.#tail.push(piece);
    this.#errors.push(piece);
  }

  /** SDKs hang up right after `[DONE]`: they have everything. */
  get done(): boolean {
    return this.#tail.done;
  }

  lastEvent(error: GatewayError): string {
    return this.#tail.closing + this.#errors.encode(error);
  }
}

/**
 * The one place that decides how an answer ends whose status is already sent: an event in band
 * where there are events, else a broken connection, which no client takes for success.
 */
function breakOff(res: ServerResponse, error: GatewayError, stream: EventStream | undefined): void {
  const listening = error.code !== "client_gone" && error.code !== "client_stalled";
  if (stream !== undefined && listening) res.end(stream.lastEvent(error));
  else res.destroy();
}

/** `drain` never comes on a response whose client is gone: its cancellation ends the wait. */
function until(event: "drain" | "finish", res: ServerResponse, watch: Watch): Promise<void> {
  watch.waitFor("client");
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      res.off(event, settle);
      watch.unlisten(settle);
      if (watch.reason !== undefined) reject(watch.reason);
      else resolve();
    };
    if (watch.reason !== undefined || (event === "finish" && res.writableFinished)) return settle();
    res.on(event, settle);
    watch.listen(settle);
  });
}

function toReason(thrown: unknown, { reason }: Watch): GatewayError {
  return toFailure(reason ?? thrown).error;
}
