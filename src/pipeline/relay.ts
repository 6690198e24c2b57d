// A reply on its way to the client: untouched, piece by piece, no faster than the client reads.
import type { ServerResponse } from "node:http";
import type { GatewayError } from "../errors.ts";
import { StreamTail } from "../http/sse.ts";
import type { Operation } from "../openai/endpoints.ts";
import { StreamErrorWriter } from "../openai/stream-error.ts";
import type { Reply } from "../upstream/attempt.ts";
import { toFailure } from "../upstream/failure.ts";
import type { Watch } from "./watch.ts";

/** Only looks at the bytes that pass. */
export type Meter = (chunk: Uint8Array) => void;

/** @throws GatewayError when the reply broke off; once its status is sent, the client knows. */
export async function relay(
  reply: Reply,
  res: ServerResponse,
  watch: Watch,
  meter: Meter,
  operation: Operation | undefined,
): Promise<void> {
  const stream = isEventStream(reply) ? new EventStream(operation) : undefined;
  const begin = (): void => {
    if (!res.headersSent) res.writeHead(reply.status, [...reply.headers]);
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
      begin(); // Until here a broken answer can still be a whole error.
      meter(chunk);
      stream?.push(chunk);
      if (!res.write(chunk)) await until("drain", res, watch);
      watch.waitFor("nextPiece");
    }
    begin();
    res.end();
    await until("finish", res, watch);
  } catch (thrown) {
    const error = toReason(thrown, watch.signal);
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

/** `drain` never comes on a response whose client is gone: the signal ends the wait. */
function until(event: "drain" | "finish", res: ServerResponse, watch: Watch): Promise<void> {
  const { signal } = watch;
  watch.waitFor("client");
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      res.off(event, settle);
      signal.removeEventListener("abort", settle);
      if (signal.aborted) reject(toReason(signal.reason, signal));
      else resolve();
    };
    if (signal.aborted || (event === "finish" && res.writableFinished)) return settle();
    res.on(event, settle);
    signal.addEventListener("abort", settle);
  });
}

function toReason(thrown: unknown, { aborted, reason }: AbortSignal): GatewayError {
  return toFailure(aborted ? reason : thrown).error;
}

function isEventStream({ contentType }: Reply): boolean {
  return contentType.toLowerCase().startsWith("text/event-stream");
}
