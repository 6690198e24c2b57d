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
  const tokens = sum([
    [usage.inputTokens - audio - image - cachedText, rates.input],
    [cachedText, rates.cachedInput],
    [audio - cachedAudio, rates.audioInput],
    [cachedAudio, rates.cachedAudioInput],
    [image - cachedImage, rates.imageInput],
    [cachedImage, rates.cachedImageInput],
    // On top: whatever kind these tokens are of, they are among those above.
    [usage.cacheWriteTokens, max(minus(rates.cacheWrite, rates.input))],
    [usage.outputTokens - spoken - drawn, rates.output],
    [spoken, rates.audioOutput],
    [drawn, rates.imageOutput],
  ]);
  const others = sum(othersOf(usage, rates));
  return tokens === undefined || others === undefined ? undefined : total(tokens, ratio, others);
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
      const others = othersOf(sizes, rates).map(([count, rate]): Charge => [count, rate ?? 0n]);
      return total(tokens, dearest, sum(others) ?? 0n);
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

type Charge = readonly [count: number, rate: bigint | undefined];

/** What no service tier makes dearer or cheaper. */
function othersOf(sizes: Sizes, rates: Rates): readonly Charge[] {
  const { audioMs = 0, webSearches = 0, fileSearches = 0 } = sizes;
  return [
    [audioMs, rates.audioHour],
    [webSearches, rates.webSearch],
    [fileSearches, rates.fileSearch],
  ];
}

function sum(charges: readonly Charge[]): bigint | undefined {
  let pico = 0n;
  for (const [count, rate] of charges) {
    if (count === 0) continue;
    if (rate === undefined) return undefined;
    pico += BigInt(count) * rate;
  }
  return pico;
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
