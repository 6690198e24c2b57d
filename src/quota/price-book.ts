// The prices in force, by model. To look one up is to compare the name with all of them, so the
// answer is kept for a while.
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { compilePrices, findPrice, type Price, type Prices } from "../openai/prices.ts";

/** Prices change with the day. */
const KEEP_MS = 60_000;
/** Clients may name what they like. */
const NAME_LIMIT = 1_000;

export class PriceBook {
  readonly #own: Config["prices"];
  #prices: Prices | undefined;
  readonly #clock: Clock;
  readonly #known = new Map<string, Price | undefined>();
  #sinceMs = -Infinity;

  /** @param own the operator's, before the list. */
  constructor(own: Config["prices"], clock: Clock) {
    this.#own = own;
    this.#clock = clock;
  }

  /** Nothing where nobody has told what it costs. */
  find(model: string | undefined): Price | undefined {
    if (model === undefined) return undefined;
    const now = this.#clock.elapsed();
    if (now - this.#sinceMs >= KEEP_MS || this.#known.size >= NAME_LIMIT) {
      this.#known.clear();
      this.#sinceMs = now;
    }
    if (!this.#known.has(model)) {
      this.#prices ??= compilePrices(this.#own);
      this.#known.set(model, findPrice(model, this.#clock.now(), this.#prices));
    }
    return this.#known.get(model);
  }
}
