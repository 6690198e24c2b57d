// The calls that are open now: bounded in number, and ended together at shutdown.
import { GatewayError } from "../errors.ts";
import type { Exchange } from "./exchange.ts";

/** What can be told to end; a call's Watch. */
export interface Cancellable {
  /** Among the calls that are open: theirs to set. */
  place: number | undefined;
  cancel(reason: GatewayError): void;
}

interface Open {
  readonly call: Cancellable;
  readonly exchange: Exchange;
}

export class InFlight {
  // In no order. Each table that a Map or Set outgrows keeps the next one alive in V8's old space,
  // and what was in it: every call would wait for the next collection of everything.
  readonly #calls: Open[] = [];
  readonly #limit: number;
  #draining = false;
  readonly #whenEmpty: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get draining(): boolean {
    return this.#draining;
  }

  get size(): number {
    return this.#calls.length;
  }

  /** How many of them are like that. */
  count(matches: (exchange: Exchange) => boolean): number {
    return this.#calls.filter(({ exchange }) => matches(exchange)).length;
  }

  /** @throws GatewayError 503 while draining or when full. */
  begin(call: Cancellable, exchange: Exchange): void {
    if (this.#draining) {
      throw new GatewayError("draining", "The gateway is restarting; try again.", {
        retryAfterMs: 1_000,
      });
    }
    if (this.#calls.length >= this.#limit) {
      throw new GatewayError("overloaded", "The gateway is busy; try again.", {
        retryAfterMs: 1_000,
      });
    }
    call.place = this.#calls.push({ call, exchange }) - 1;
  }

  /** Nothing happens to a call that never began. */
  end(call: Cancellable): void {
    if (call.place === undefined) return;
    const last = this.#calls.pop();
    if (last !== undefined && last.call !== call) {
      this.#calls[call.place] = last;
      last.call.place = call.place;
    }
    call.place = undefined;
    if (this.#calls.length === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  /** Takes no new call. Resolves when the last one is over. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#calls.length > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  /** Ends those of a caller that may not call any more. */
  cancelOf(caller: string): void {
    const reason = new GatewayError("invalid_api_key", "The API key or token has been revoked.");
    for (const { call, exchange } of [...this.#calls]) {
      if (exchange.caller === caller) call.cancel(reason);
    }
  }

  /** Ends what is left: streams get an error event, calls without an answer get 503. */
  cancelAll(): void {
    const reason = new GatewayError(
      "draining",
      "The gateway is restarting; this call was cut short.",
      { retry: false }, // OpenAI may have billed it.
    );
    for (const { call } of [...this.#calls]) call.cancel(reason);
  }
}
