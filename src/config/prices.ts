// The operator's own prices of models.
import type { Reader } from "./reader.ts";

/** What may have a price, and for how much of it the dollars are. */
export const PRICE_UNITS = {
  input: "million tokens",
  cachedInput: "million tokens",
  cacheWrite: "million tokens",
  audioInput: "million tokens",
  cachedAudioInput: "million tokens",
  imageInput: "million tokens",
  cachedImageInput: "million tokens",
  output: "million tokens",
  audioOutput: "million tokens",
  imageOutput: "million tokens",
  audioHour: "hour",
  webSearch: "thousand calls",
  fileSearch: "thousand calls",
} as const;

export type PriceItem = keyof typeof PRICE_UNITS;

/** Dollars, each per its unit of PRICE_UNITS. */
export type ModelPrice = { readonly [item in PriceItem]?: number };

const MODEL_NAME = /^(?!$)[\x21-\x29\x2b-\x7e]{0,255}\*?$/;
const ITEMS = Object.keys(PRICE_UNITS) as PriceItem[];
/** Without any of these no call could be paid for. */
const NEEDED = ["input", "output", "audioHour"] as const satisfies readonly PriceItem[];

export function parsePrices(prices: Reader): Readonly<Record<string, ModelPrice>> {
  const named = prices.named().map(([model, price]) => {
    if (!MODEL_NAME.test(model)) prices.problem(model, `expected the name of a model, or "name*"`);
    if (!NEEDED.some((item) => price.has(item))) {
      prices.problem(model, "expected a price for input, output or audioHour");
    }
    const given = ITEMS.filter((item) => price.has(item)).map((item) => {
      return [item, price.number(item, 0, { min: 0, max: 1_000_000 })] as const;
    });
    price.finish();
    return [model, Object.fromEntries(given)] as const;
  });
  return Object.fromEntries(named);
}
