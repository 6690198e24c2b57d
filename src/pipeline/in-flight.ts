// The calls that are open now: bounded in number, and ended together at shutdown.
import { GatewayError } from "../errors.ts";
import type { Exchange } from "./exchange.ts";

/** What can be told to end; a call's Watch. */
interface Cancellable {
  cancel(reason: GatewayError): void;
}

export class InFlight {
  readonly #calls = new Map<Cancellable, Exchange>();
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
    return this.#calls.size;
  }

  /** How many of them are like that. */
  count(matches: (exchange: Exchange) => boolean): number {
    let count = 0;
    for (const exchange of this.#calls.values()) if (matches(exchange)) count++;
    return count;
  }

  /** @throws GatewayError 503 while draining or when full. */
  begin(call: Cancellable, exchange: Exchange): void {
    if (this.#draining) {
      throw new GatewayError("draining", "The gateway is restarting; try again.", {
        retryAfterMs: 1_000,
      });
    }
    if (this.#calls.size >= this.#limit) {
      throw new GatewayError("overloaded", "The gateway is busy; try again.", {
        retryAfterMs: 1_000,
      });
    }
    this.#calls.set(call, exchange);
  }

  end(call: Cancellable): void {
    this.#calls.delete(call);
    if (this.#calls.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  /** Takes no new call. Resolves when the last one is over. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#calls.size > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  /** Ends those of a caller that may not call any more. */
  cancelOf(caller: string): void {
    const reason = new GatewayError("invalid_api_key", "The API key or token has been revoked.");
    for (const [call, exchange] of this.#calls) if (exchange.caller === caller) call.cancel(reason);
  }

  /** Ends what is left: streams get an error event, calls without an answer get 503. */
  cancelAll(): void {
    const reason = new GatewayError(
      "draining",
      "The gateway is restarting; this call was cut short.",
      { retry: false }, // OpenAI may have billed it.
    );
    for (const call of this.#calls.keys()) call.cancel(reason);
  }
}
