// How much: takes what a call may come to from everybody's quotas that it counts against, and puts
// back afterwards what it did not come to.
import type { Clock } from "../clock.ts";
import type { StoreConfig } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import { worstCostMicroUsd, type Sizes } from "../openai/cost.ts";
import type { Parameters } from "../openai/parameters.ts";
import type { Price } from "../openai/prices.ts";
import { MemoryStore } from "../store/memory-store.ts";
import {
  StoreError,
  type Admission as Answer,
  type CallRecord,
  type Claim,
  type Quota,
  type Store,
  type Used,
} from "../store/store.ts";
import { toSizes, type Demand } from "./demand.ts";
import type { PriceBook } from "./price-book.ts";
import { hasBudget, quotasOf, type Subject } from "./quotas.ts";
import { toLimitHeaders, toRefusal } from "./refusal.ts";

interface Quotas {
  readonly store: Store;
  /** Instead of the store while that does not answer, where limits then stay open. */
  readonly local: Store | undefined;
  readonly whenDown: StoreConfig["whenDown"];
  readonly prices: PriceBook;
}

/** A call, as far as it decides what is set aside. */
export interface Need {
  /** The call's own. */
  readonly id: string;
  /** Nothing where no tokens or money are counted, or the call has none. */
  readonly demand: Demand | undefined;
  readonly output: Parameters["output"];
  /** Nothing where it is not known yet. */
  readonly bodyBytes: number | undefined;
}

const NO_SIZES: Sizes = { inputTokens: 0, outputTokens: 0 };

/** What the store has given. */
interface Given {
  readonly weight: Weight;
  readonly headers: readonly (readonly [string, string])[];
  readonly from: Store;
}

/** What a call has been given. To be settled once, however it ends. */
export class Admission {
  /** Output up to here is paid for. */
  outputTokens: number;
  #extendedMicroUsd = 0;
  readonly #quotas: Quotas;
  readonly #claim: Claim;
  readonly #given: Given;

  constructor(quotas: Quotas, claim: Claim, given: Given) {
    this.#quotas = quotas;
    this.#claim = claim;
    this.#given = given;
    this.outputTokens = given.weight.outputTokens;
  }

  /** How much is left, for the client to know. */
  get headers(): Given["headers"] {
    return this.#given.headers;
  }

  /** What was set aside for it in the beginning. */
  get sizes(): Sizes {
    return this.#given.weight.sizes;
  }

  /** Set aside by now. */
  get costMicroUsd(): number {
    return this.#claim.costMicroUsd + this.#extendedMicroUsd;
  }

  /**
   * Sets money aside for more output than was.
   * @throws GatewayError 429 when there is none, 503 where nobody can say.
   */
  async extend(): Promise<void> {
    const { from, weight } = this.#given;
    // Let through while nobody could say what is left: nor can anybody now.
    if (from !== this.#quotas.store) {
      this.outputTokens = Infinity;
      return;
    }
    const costMicroUsd = weight.moreMicroUsd();
    const fits = await from.extend(this.#claim, costMicroUsd).catch((error: unknown) => {
      if (this.#quotas.whenDown.budgets === "closed") throw toUnavailable(error);
      return true;
    });
    if (!fits) {
      const message = "Your budget is spent: the answer ends here.";
      throw new GatewayError("insufficient_quota", message);
    }
    this.outputTokens += weight.moreTokens;
    this.#extendedMicroUsd += costMicroUsd;
  }

  /** Resolves when killing the process loses nothing of it. The second time nothing happens. */
  settle(used: Used, record: CallRecord): Promise<void> {
    const { from } = this.#given;
    const { store } = this.#quotas;
    const all = (): Promise<void> => store.settle(this.#claim, used, record);
    try {
      return from === store ? all() : from.settle(this.#claim, used, record).then(all);
    } catch (error) {
      return Promise.reject(error); // An embedder's store may break its word.
    }
  }
}

/**
 * @throws GatewayError 403 for what has no price, 429 for what is too much, 503 while nobody can
 * say and that is closed.
 */
export type Admit = (subject: Subject, need: Need) => Promise<Admission>;

export function createAdmit(
  { redis, whenDown }: StoreConfig,
  store: Store,
  prices: PriceBook,
  clock: Clock,
): Admit {
  const local = redis && new MemoryStore(clock);
  const parts: Quotas = { store, local, whenDown, prices };

  const ask = async (claim: Claim): Promise<{ readonly answer: Answer; readonly from: Store }> => {
    try {
      return { answer: await store.admit(claim), from: store };
    } catch (error) {
      const closed = hasBudget(claim.quotas) && whenDown.budgets === "closed";
      if (local === undefined || closed || whenDown.limits === "closed") throw toUnavailable(error);
      // Each gateway by itself, and nobody's money: what is spent meanwhile is not known here.
      const quotas = claim.quotas.map((quota): Quota => ({ ...quota, budgets: undefined }));
      return { answer: await local.admit({ ...claim, quotas }), from: local };
    }
  };

  const unlimited: Given = { weight: weighSizes(NO_SIZES), headers: [], from: store };

  return async (subject, need) => {
    const { id } = need;
    const quotas = quotasOf(subject);
    if (quotas.length === 0) {
      return new Admission(parts, { id, quotas, tokens: 0, costMicroUsd: 0 }, unlimited);
    }
    const weight = weigh(need, subject, hasBudget(quotas), prices);
    const { sizes, costMicroUsd } = weight;
    const tokens = sizes.inputTokens + sizes.outputTokens;
    const claim: Claim = { id, quotas, tokens, costMicroUsd };
    const { answer, from } = await ask(claim);
    if (answer.kind === "refused") throw toRefusal(answer);
    return new Admission(parts, claim, { weight, headers: toLimitHeaders(answer.levels), from });
  };
}

/** What a call may come to. */
interface Weight {
  readonly sizes: Sizes;
  readonly costMicroUsd: number;
  /** Output that is paid for by that. */
  readonly outputTokens: number;
  /** How much output is paid for at a time beyond it, and what that costs. */
  readonly moreTokens: number;
  readonly moreMicroUsd: () => number;
}

/** Where no money is counted. */
function weighSizes(sizes: Sizes): Weight {
  const nothing = (): number => 0;
  return { sizes, costMicroUsd: 0, outputTokens: Infinity, moreTokens: 0, moreMicroUsd: nothing };
}

/** @throws GatewayError 403 for what has no price, where there is a budget. */
function weigh(
  { demand, output, bodyBytes }: Need,
  { policy }: Subject,
  priced: boolean,
  prices: PriceBook,
): Weight {
  if (demand === undefined) return weighSizes(NO_SIZES);
  const { limits, assumedOutputTokens: moreTokens } = policy;
  const sizes = toSizes(demand, output, bodyBytes, limits.maxOutputTokens, moreTokens);
  if (!priced) return weighSizes(sizes);
  const price = demandPrice(prices, demand);
  const costMicroUsd = demandCost(price, sizes, demand);
  const capped = (demand.outputCap ?? limits.maxOutputTokens) !== undefined;
  const more = (): number => {
    const longer = { ...sizes, outputTokens: sizes.outputTokens + moreTokens };
    return demandCost(price, longer, demand) - costMicroUsd;
  };
  return {
    sizes,
    costMicroUsd,
    outputTokens: capped ? Infinity : sizes.outputTokens,
    moreTokens,
    moreMicroUsd: more,
  };
}

function demandPrice(prices: PriceBook, { model }: Demand): Price {
  const price = prices.find(model);
  if (price !== undefined) return price;
  const what = model === undefined ? "Name a model" : `The price of "${model}" is not known`;
  const message = `${what}: your access has a budget. Operators can add prices to the settings.`;
  throw new GatewayError("model_price_unknown", message, { param: "model" });
}

function demandCost(price: Price, sizes: Sizes, { serviceTier }: Demand): number {
  const costMicroUsd = worstCostMicroUsd(price, sizes, serviceTier);
  if (costMicroUsd !== undefined) return costMicroUsd;
  const what = `The price of this model's service tier "${serviceTier}" is not known`;
  const message = `${what}: your access has a budget.`;
  throw new GatewayError("model_price_unknown", message, { param: "service_tier" });
}

function toUnavailable(error: unknown): GatewayError {
  if (!(error instanceof StoreError)) throw error;
  const message = "The gateway cannot look up what you have used; try again.";
  return new GatewayError("store_unavailable", message, { retryAfterMs: 1_000, cause: error });
}
