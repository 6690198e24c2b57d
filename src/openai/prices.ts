// What OpenAI's models cost, and the operator's own. Prices are pico-dollars, so that all of them
// are whole numbers: a dollar per million tokens is 1 000 000 of them per token.
import { PRICE_UNITS, type ModelPrice, type PriceItem } from "../config/prices.ts";
import { PRICE_LIST } from "./price-list.ts";

/** No model's name is longer, and what is none need not be compared. */
const MAX_NAME_LENGTH = 256;

/** The pico-dollars of one token, millisecond or call, at one dollar per unit of its price. */
const SCALES = {
  "million tokens": 1e6,
  hour: 1e12 / 3_600_000,
  "thousand calls": 1e9,
} as const satisfies Record<(typeof PRICE_UNITS)[PriceItem], number>;

/** Pico-dollars per unit. What has none cannot be paid for. */
export type Rates = { readonly [item in PriceItem]: bigint | undefined };

/** An exact factor: the first by the second. */
export type Ratio = readonly [bigint, bigint];

/** What a search costs with every model that has a price for it; the list has not all of them. */
const WEB_SEARCH = 10_000_000_000n;
const FILE_SEARCH = 2_500_000_000n;

export const STANDARD: Ratio = [1n, 1n];
const HALF: Ratio = [1n, 2n];

/**
 * What `service_tier: priority`, alias `fast`, multiplies prices by: openai.com/api-fast-mode, and
 * for GPT-6 its models' own pages. Every price of a model, long contexts included, has one factor.
 */
const PRIORITY: ReadonlyMap<string, Ratio> = new Map([
  ["gpt-4.1", [7n, 4n]],
  ["gpt-4.1-mini", [7n, 4n]],
  ["gpt-4.1-nano", [2n, 1n]],
  ["gpt-4o", [17n, 10n]],
  ["gpt-4o-2024-05-13", [7n, 4n]],
  ["gpt-4o-mini", [5n, 3n]],
  ["gpt-5", [2n, 1n]],
  ["gpt-5-mini", [9n, 5n]],
  ["gpt-5.1", [2n, 1n]],
  ["gpt-5.2", [2n, 1n]],
  ["gpt-5.4", [2n, 1n]],
  ["gpt-5.4-mini", [2n, 1n]],
  ["gpt-5.5", [5n, 2n]],
  ["gpt-5.6-luna", [2n, 1n]],
  ["gpt-5.6-sol", [2n, 1n]],
  ["gpt-5.6-terra", [2n, 1n]],
  ["gpt-6-astra", [2n, 1n]],
  ["gpt-6-luna", [2n, 1n]],
  ["gpt-6-sol", [2n, 1n]],
  ["o3", [7n, 4n]],
  ["o4-mini", [20n, 11n]],
]);

/** Prices of calls with at least so many input tokens. */
interface Step {
  readonly atLeast: number;
  readonly rates: Rates;
}

/** What one model costs at one time. */
export interface Price {
  /** The model's, as the list has it, `gpt-4o-mini`, or the operator's own: `mine-*`. */
  readonly name: string;
  /** By size; the first is for any. */
  readonly steps: readonly Step[];
  readonly flex: Ratio;
  /** Nothing where nobody has published it. */
  readonly priority: Ratio | undefined;
}

interface Dated extends Pick<Price, "steps"> {
  readonly fromMs: number;
}

interface PricedModel {
  readonly matches: (model: string) => boolean;
  /** By time; the first is for any. */
  readonly prices: readonly (Price & Dated)[];
}

/** The first model that matches is meant. */
export type Prices = readonly PricedModel[];

let parsed: Prices | undefined;

/** Parsed when it is wanted first: some milliseconds of a start. */
function listed(): Prices {
  return (parsed ??= parseList());
}

/**
 * The built-in prices behind the operator's own. A name that ends in `*` stands for all that begin
 * so. Own prices know no service tiers: flex costs the same, priority is unknown.
 */
export function compilePrices(own: Readonly<Record<string, ModelPrice>>): Prices {
  const models = Object.entries(own).map(([name, dollars]): PricedModel => {
    const steps = [{ atLeast: 0, rates: toRates(dollars) }];
    const price = { name, fromMs: -Infinity, steps, flex: STANDARD, priority: undefined };
    return { matches: toMatcher(name), prices: [price] };
  });
  return [...models, ...listed()];
}

/** The price of a model at a time, which has to be refused where there is none. */
export function findPrice(model: string, whenMs: number, prices = listed()): Price | undefined {
  if (model.length > MAX_NAME_LENGTH) return undefined;
  const name = model.toLowerCase();
  const found = prices.find(({ matches }) => matches(name));
  return found?.prices.findLast(({ fromMs }) => fromMs <= whenMs) ?? found?.prices[0];
}

function parseList(): Prices {
  const models = PRICE_LIST.matchAll(/^((?:\S.*\n)+)((?: .*\n)+)/gm);
  return [...models].map(([, head = "", rows = ""]): PricedModel => {
    const names = head.trim().split(/\s+/);
    const matchers = names.map((name) =>
      name.startsWith("^") ? toPattern(name) : toMatcher(name),
    );
    const name = names.find((each) => !each.startsWith("^")) ?? head.trim();
    const priority = names.map((name) => PRIORITY.get(name)).find((ratio) => ratio !== undefined);
    return {
      matches: (model) => matchers.some((matches) => matches(model)),
      prices: parseRows(rows).map((price) => ({ ...price, name, flex: HALF, priority })),
    };
  });
}

/** Rows of one day and size are one; those of a larger size say only what differs. */
function parseRows(rows: string): readonly Dated[] {
  const days = new Map<string, Map<string, Record<string, number>>>();
  for (const row of rows.trim().split("\n")) {
    const pairs = Array.from(row.matchAll(/(\S+) (\S+)/g), ([, name = "", value = ""]) => {
      return [name, value] as const;
    });
    const { from = "1970-01-01", over = "-1", ...prices } = Object.fromEntries(pairs);
    const sizes = days.get(from) ?? new Map<string, Record<string, number>>();
    const dollars = { ...(sizes.get(over) ?? sizes.get("-1")) };
    for (const [name, price] of Object.entries(prices)) dollars[name] = Number(price);
    days.set(from, sizes.set(over, dollars));
  }
  return Array.from(days, ([from, sizes]) => ({
    fromMs: Date.parse(from),
    steps: Array.from(sizes, ([over, dollars]) => ({
      atLeast: Number(over) + 1,
      rates: toRates(dollars),
    })),
  }));
}

/** What has no price of its own has that of what it is a kind of, never less. */
function toRates(dollars: ModelPrice): Rates {
  const own = (item: PriceItem): bigint | undefined => {
    const price = dollars[item];
    // Three digits take away what binary fractions add; beyond, nothing is given away.
    const pico = Math.ceil(Number(((price ?? 0) * SCALES[PRICE_UNITS[item]]).toFixed(3)));
    return price === undefined ? undefined : BigInt(pico);
  };
  const input = own("input");
  const cachedInput = own("cachedInput") ?? input;
  const output = own("output");
  return {
    input,
    cachedInput,
    cacheWrite: own("cacheWrite") ?? input,
    audioInput: own("audioInput") ?? input,
    cachedAudioInput: own("cachedAudioInput") ?? own("audioInput") ?? cachedInput,
    imageInput: own("imageInput") ?? input,
    cachedImageInput: own("cachedImageInput") ?? own("imageInput") ?? cachedInput,
    output,
    audioOutput: own("audioOutput") ?? output,
    imageOutput: own("imageOutput") ?? output,
    audioHour: own("audioHour"),
    webSearch: own("webSearch") ?? WEB_SEARCH,
    fileSearch: own("fileSearch") ?? FILE_SEARCH,
  };
}

/** `*` stands for anything at the beginning and the end. */
function toMatcher(pattern: string): (model: string) => boolean {
  const name = pattern.toLowerCase();
  const [anyStart, anyEnd] = [name.startsWith("*"), name.endsWith("*")];
  const core = name.slice(anyStart ? 1 : 0, anyEnd ? -1 : undefined);
  if (anyStart && anyEnd) return (model) => model.includes(core);
  if (anyStart) return (model) => model.endsWith(core);
  return anyEnd ? (model) => model.startsWith(core) : (model) => model === core;
}

function toPattern(source: string): (model: string) => boolean {
  const pattern = new RegExp(source);
  return (model) => pattern.test(model);
}
