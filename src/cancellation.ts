// The end of a call before its time: why, told to everybody who waits for something. What an
// AbortSignal is for, which takes ten times as long to make as all of this: those who take nothing
// else get one when they ask.
import type { GatewayError } from "./errors.ts";

export class Cancellation {
  #reason: GatewayError | undefined;
  readonly #listeners: (() => void)[] = [];
  #controller: AbortController | undefined;

  /** Nothing while the call may go on. */
  get reason(): GatewayError | undefined {
    return this.#reason;
  }

  /** Aborts with the reason. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** The first reason counts. */
  cancel(reason: GatewayError): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    for (const listener of this.#listeners.splice(0)) listener();
  }

  throwIfCancelled(): void {
    if (this.#reason !== undefined) throw this.#reason;
  }

  /** Runs once, when the call is cancelled; never for one that is already. */
  listen(listener: () => void): void {
    this.#listeners.push(listener);
  }

  unlisten(listener: () => void): void {
    const index = this.#listeners.indexOf(listener);
    if (index >= 0) this.#listeners.splice(index, 1);
  }
}
