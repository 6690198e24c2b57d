// What a call costs, in whole micro-dollars: summed exactly, rounded up once.
import { STANDARD, type Price, type Rates, type Ratio } from "./prices.ts";
import type { Usage } from "./usage.ts";

const PICO_PER_MICRO = 1_000_000n;

/**
 * What a reply's usage costs under the service tier that it names. Nothing where that is unknown:
 * a tier whose price nobody has published, tokens or seconds where the model has no price for such.
 */
export function costMicroUsd(price: Price, usage: Usage, serviceTier?: string): number | undefined {
  const ratio = ratioOf(price, serviceTier);
  const rates = price.steps.findLast(({ atLeast }) => usage.inputTokens >= atLeast)?.rates;
  if (ratio === undefined || rates === undefined) return undefined;
  const { audioInputTokens: audio, imageInputTokens: image } = usage;
  const { cachedAudioInputTokens: cachedAudio, cachedImageInputTokens: cachedImage } = usage;
  const cachedText = usage.cachedInputTokens - cachedAudio - cachedImage;
  const { audioOutputTokens: spoken, imageOutputTokens: drawn } = usage;
  const tokens = new Charges();
  tokens.add(usage.inputTokens - audio - image - cachedText, rates.input);
  tokens.add(cachedText, rates.cachedInput);
  tokens.add(audio - cachedAudio, rates.audioInput);
  tokens.add(cachedAudio, rates.cachedAudioInput);
  tokens.add(image - cachedImage, rates.imageInput);
  tokens.add(cachedImage, rates.cachedImageInput);
  // On top: whatever kind these tokens are of, they are among those above.
  const written = usage.cacheWriteTokens;
  if (written > 0) tokens.add(written, max(minus(rates.cacheWrite, rates.input)));
  tokens.add(usage.outputTokens - spoken - drawn, rates.output);
  tokens.add(spoken, rates.audioOutput);
  tokens.add(drawn, rates.imageOutput);
  const others = othersOf(usage, rates);
  return tokens.known && others.known ? total(tokens.pico, ratio, others.pico) : undefined;
}

/** What a call can come to at most. */
export type Sizes = Pick<Usage, "inputTokens" | "outputTokens"> &
  Partial<Pick<Usage, "audioMs" | "webSearches" | "fileSearches">>;

/**
 * At least what `costMicroUsd` says for any usage within these sizes, if it says anything. A tier
 * that is cheaper, and may be refused, is no reason to reserve less.
 */
export function worstCostMicroUsd(
  price: Price,
  sizes: Sizes,
  serviceTier?: string,
): number | undefined {
  const ratio = ratioOf(price, serviceTier);
  if (ratio === undefined) return undefined;
  const dearest = ratio[0] < ratio[1] ? STANDARD : ratio;
  const reached = price.steps.filter(({ atLeast }) => sizes.inputTokens >= atLeast);
  return Math.max(
    ...reached.map(({ rates }) => {
      const input = max(rates.input, rates.audioInput, rates.imageInput);
      // A token is of one kind, and cached or written to the cache or neither.
      const extra = max(
        minus(rates.cacheWrite, rates.input),
        minus(rates.cachedInput, rates.input),
        minus(rates.cachedAudioInput, rates.audioInput),
        minus(rates.cachedImageInput, rates.imageInput),
      );
      const output = max(rates.output, rates.audioOutput, rates.imageOutput);
      const tokens =
        BigInt(sizes.inputTokens) * (input + extra) + BigInt(sizes.outputTokens) * output;
      return total(tokens, dearest, othersOf(sizes, rates).pico);
    }),
  );
}

function ratioOf(price: Price, serviceTier: string | undefined): Ratio | undefined {
  switch (serviceTier) {
    case undefined:
    case "auto":
    case "default":
    case "scale": // Paid in advance; what exceeds it costs the standard price.
      return STANDARD;
    case "flex":
      return price.flex;
    case "fast":
    case "priority":
      return price.priority;
    default: // "ultrafast", and what will come.
      return undefined;
  }
}

/** In pico-dollars; what has no rate is not in the sum, which is then not known. */
class Charges {
  pico = 0n;
  known = true;

  add(count: number, rate: bigint | undefined): void {
    if (count === 0) return;
    if (rate === undefined) this.known = false;
    else this.pico += BigInt(count) * rate;
  }
}

/** What no service tier makes dearer or cheaper. */
function othersOf(
  { audioMs = 0, webSearches = 0, fileSearches = 0 }: Sizes,
  rates: Rates,
): Charges {
  const others = new Charges();
  others.add(audioMs, rates.audioHour);
  others.add(webSearches, rates.webSearch);
  others.add(fileSearches, rates.fileSearch);
  return others;
}

function total(tokens: bigint, [times, per]: Ratio, others: bigint): number {
  const pico = tokens * times + others * per;
  const unit = PICO_PER_MICRO * per;
  return Number((pico + unit - 1n) / unit);
}

function minus(one: bigint | undefined, other: bigint | undefined): bigint | undefined {
  return one === undefined || other === undefined ? undefined : one - other;
}

function max(...rates: readonly (bigint | undefined)[]): bigint {
  return rates.reduce<bigint>((most, rate = 0n) => (rate > most ? rate : most), 0n);
}
