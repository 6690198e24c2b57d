// What all bodies share that are held in memory at one time.
import { GatewayError } from "../errors.ts";

/** How many go on in one turn of the event loop. */
const BODIES_PER_TURN = 2;

/**
 * What all bodies share that are held: memory, of which a few large ones would leave a small host
 * none, and time, as every other call waits while one is copied.
 */
export class Allowance {
  readonly #limitBytes: number;
  #usedBytes = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /**
   * @param ownBytes what the taker has already: alone, it may have as much as it likes.
   * @throws GatewayError 503
   */
  take(bytes: number, ownBytes: number): void {
    const others = this.#usedBytes - ownBytes;
    if (others > 0 && this.#usedBytes + bytes > this.#limitBytes) {
      const message = "The gateway is reading too many large requests; try again.";
      throw new GatewayError("overloaded", message, { retryAfterMs: 1_000 });
    }
    this.#usedBytes += bytes;
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
  }

  /** Resolves in a later turn of the event loop, with few others. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting.push(resolve) === 1) setImmediate(this.#next);
    });
  }

  readonly #next = (): void => {
    for (const resolve of this.#waiting.splice(0, BODIES_PER_TURN)) resolve();
    if (this.#waiting.length > 0) setImmediate(this.#next);
  };
}
