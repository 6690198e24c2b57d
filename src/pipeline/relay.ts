// A reply on its way to the client: untouched, piece by piece, no faster than the client reads.
import type { ServerResponse } from "node:http";
import type { GatewayError } from "../errors.ts";
import { StreamTail } from "../http/sse.ts";
import type { Operation } from "../openai/endpoints.ts";
import { StreamErrorWriter } from "../openai/stream-error.ts";
import { isEventStream, type Reply } from "../upstream/attempt.ts";
import { toFailure } from "../upstream/failure.ts";
import type { Watch } from "./watch.ts";

/** Sees the bytes that pass. */
export interface Tap {
  /** @returns what the client gets of them. */
  push(chunk: Uint8Array): readonly Uint8Array[];
  /** @returns what was held back until now. */
  end(): readonly Uint8Array[];
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
  readonly passed: (piece: Uint8Array) => void;
  readonly begun: () => void;
  readonly operation: Operation | undefined;
}

/** @throws GatewayError when the reply broke off; once its status is sent, the client knows. */
export async function relay(
  reply: Reply,
  res: ServerResponse,
  { watch, tap, passed, begun, operation }: Passage,
): Promise<void> {
  const stream = isEventStream(reply) ? new EventStream(operation) : undefined;
  const begin = (): void => {
    if (!res.headersSent) res.writeHead(reply.status, [...reply.headers]);
  };
  let first = true;
  const send = (piece: Uint8Array): boolean => {
    passed(piece);
    stream?.push(piece);
    if (!first) return res.write(piece);
    first = false;
    return res.write(piece, (error) => {
      if (error == null) begun();
    });
  };
  if (stream !== undefined) {
    res.setHeader("x-accel-buffering", "no"); // nginx would hold events back.
    begin();
    // At once, not with the first event: the client learns that its call was taken.
    res.flushHeaders();
  }
  try {
    watch.waitFor("nextPiece");
    for await (const chunk of reply.body) {
      const pieces = tap.push(chunk);
      while (tap.due) await tap.pay();
      begin(); // Until here a broken answer can still be a whole error.
      for (const piece of pieces) if (!send(piece)) await until("drain", res, watch);
      watch.waitFor("nextPiece");
    }
    await tap.settle();
    begin();
    for (const piece of tap.end()) send(piece);
    res.end();
    await until("finish", res, watch);
    if (!first) begun(); // Node may tell of a write's end after that of them all.
  } catch (thrown) {
    const error = toReason(thrown, watch);
    if (error.code === "client_gone" && stream?.done === true) return;
    if (res.headersSent) breakOff(res, error, stream);
    throw error;
  }
}

/** The events so far, and the one that ends them early. */
class EventStream {
  readonly #tail = new StreamTail();
  readonly #errors: StreamErrorWriter;

  constructor(operation: Operation | undefined) {
    this.#errors = new StreamErrorWriter(operation?.class);
  }

  push(chunk: Uint8Array): void {
    this.#tail.push(chunk);
    this.#errors.push(chunk);
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
