// The calls that are open now: bounded in number, and ended together at shutdown.
import { GatewayError } from "../errors.ts";

/** What can be told to end; a call's Watch. */
interface Cancellable {
  cancel(reason: GatewayError): void;
}

export class InFlight {
  readonly #calls = new Set<Cancellable>();
  readonly #limit: number;
  #draining = false;
  readonly #whenEmpty: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** @throws GatewayError 503 while draining or when full. */
  begin(call: Cancellable): void {
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
    this.#calls.add(call);
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

  /** Ends what is left: streams get an error event, calls without an answer get 503. */
  cancelAll(): void {
    const reason = new GatewayError(
      "draining",
      "The gateway is restarting; this call was cut short.",
      { retry: false }, // OpenAI may have billed it.
    );
    for (const call of this.#calls) call.cancel(reason);
  }
}
