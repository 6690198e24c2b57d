// A call always waits for exactly one party, so one timer does for all clocks. The connect clock
// is the transport's. When a wait is over, or the client leaves, the call is cancelled with the
// GatewayError that tells why.
import type { Writable } from "node:stream";
import { Cancellation } from "../cancellation.ts";
import type { Clock, Timer } from "../clock.ts";
import type { TimeoutConfig } from "../config/config.ts";
import { GatewayError, type ErrorCode } from "../errors.ts";
import type { Cancellable } from "./in-flight.ts";

/** The rest of the request; OpenAI's first byte; its next piece; room at the client. */
export type Party = "request" | "firstByte" | "nextPiece" | "client";

const CLOCKS: Readonly<Record<Party, readonly [keyof TimeoutConfig, ErrorCode, string]>> = {
  request: ["stallMs", "request_timeout", "The rest of the request did not come in time."],
  firstByte: ["firstByteMs", "upstream_timeout", "OpenAI did not begin to answer in time."],
  nextPiece: ["idleMs", "upstream_timeout", "OpenAI fell silent in the middle of its answer."],
  client: ["stallMs", "client_stalled", "The client stopped reading its answer."],
};

export class Watch extends Cancellation implements Cancellable {
  place: number | undefined;
  readonly #clock: Clock;
  readonly #timeouts: TimeoutConfig;
  /** The response, or a WebSocket's socket. */
  readonly #res: Writable;
  #party: Party | undefined;
  #deadlineMs = Infinity;
  /** Set for the shortest wait there is and looked at when it fires: calls wait for many things. */
  #timer: Timer | undefined;

  constructor(clock: Clock, timeouts: TimeoutConfig, res: Writable) {
    super();
    this.#clock = clock;
    this.#timeouts = timeouts;
    this.#res = res;
    // Of the response: a request closes as soon as its body is read, and says nothing of a client
    // that leaves after that.
    res.once("close", this.#onClose);
    if (res.closed) this.#onClose();
  }

  waitFor(party: Party): void {
    this.#party = party;
    this.#deadlineMs = this.#clock.elapsed() + this.#timeouts[CLOCKS[party][0]];
    this.#timer ??= this.#clock.after(shortest(this.#timeouts), this.#onTimer);
  }

  /** The call is over: nothing is waited for any more. */
  end(): void {
    this.#timer?.cancel();
    this.#res.off("close", this.#onClose);
  }

  readonly #onTimer = (): void => {
    if (this.#party === undefined) return;
    const leftMs = this.#deadlineMs - this.#clock.elapsed();
    if (leftMs > 0) {
      this.#timer = this.#clock.after(Math.min(leftMs, shortest(this.#timeouts)), this.#onTimer);
      return;
    }
    const [, code, message] = CLOCKS[this.#party];
    this.cancel(new GatewayError(code, message));
  };

  readonly #onClose = (): void => {
    if (this.#res.writableFinished) return;
    this.cancel(new GatewayError("client_gone", "The client left."));
  };
}

function shortest({ firstByteMs, idleMs, stallMs }: TimeoutConfig): number {
  return Math.min(firstByteMs, idleMs, stallMs);
}
