// What a call comes to: its reply is watched as it passes, and paid for once, however it ends.
import type { Caller } from "../access/caller.ts";
import type { GatewayError } from "../errors.ts";
import { costMicroUsd, worstCostMicroUsd, type Sizes } from "../openai/cost.ts";
import type { Parameters } from "../openai/parameters.ts";
import { NO_USAGE, type Report, type Usage } from "../openai/usage.ts";
import type { Admission } from "../quota/admit.ts";
import { NOTHING_ASKED, toSizes, type Demand } from "../quota/demand.ts";
import type { PriceBook } from "../quota/price-book.ts";
import { DONE, type CallRecord } from "../store/store.ts";
import type { Reply } from "../upstream/attempt.ts";
import { Work } from "../usage/work.ts";
import { Meter } from "../usage/meter.ts";
import { hideUsage } from "../usage/hide-usage.ts";
import type { Clock } from "../clock.ts";
import type { RequestBody } from "../http/body.ts";
import { isEventStream } from "../http/sse.ts";
import { findModel } from "../openai/model.ts";

/** A store that takes longer to remember a call keeps neither its client nor its place. */
const SETTLE_MS = 1_000;

/** Or had to leave: the last one is of callers that were revoked meanwhile. */
const LEFT: ReadonlySet<string> = new Set(["client_gone", "client_stalled", "invalid_api_key"]);

export interface BillParts {
  readonly id: string;
  /** `POST /chat/completions` */
  readonly route: string;
  readonly caller: Caller;
  readonly admission: Admission;
  /** What the operation takes. Nothing where it costs nothing. */
  readonly parameters: Parameters | "unknown" | undefined;
  readonly demand: Demand | undefined;
  /** Takes out of a name what a client may have put there by mistake: its key. */
  readonly clean: (name: string) => string;
  readonly hidesUsage: boolean;
  readonly body: RequestBody | undefined;
  readonly prices: PriceBook;
  readonly clock: Clock;
}

/** What was used, and how sure that is. */
export interface Total {
  readonly usage: Usage;
  readonly costMicroUsd: number;
  readonly model: string | undefined;
  readonly estimated: boolean;
}

export class Bill {
  /** Once it is settled. */
  total: Total | undefined;
  readonly #parts: BillParts;
  /** Nothing until OpenAI is called. */
  #work: Work | undefined;
  #reply: Reply | undefined;
  #meter: Meter | undefined;
  #streams = false;
  #answered = false;
  #model: string | undefined;
  #settled: Promise<void> | undefined;

  constructor(parts: BillParts) {
    this.#parts = parts;
  }

  /** To be called when OpenAI is. */
  begin(): void {
    this.#work = new Work(this.#parts.clock.elapsed());
  }

  /** How much is left, for the client to know. */
  get headers(): Admission["headers"] {
    return this.#parts.admission.headers;
  }

  /** @returns the reply with what is ours to tell. */
  open(reply: Reply): Reply {
    this.#reply = reply;
    this.#watch(reply);
    if (this.headers.length === 0) return reply;
    const { headers } = reply;
    return { ...reply, headers: headers.filter((_, at) => !isLimit(headers[at - (at % 2)])) };
  }

  /** @returns what the client gets of it. */
  push(piece: Buffer): Buffer {
    const events = this.#meter?.push(piece);
    this.#work?.hear(this.#shown, this.#meter?.begun === true, this.#parts.clock.elapsed());
    if (!this.#answered) this.#model = findModel(piece);
    this.#answered = true;
    return this.#parts.hidesUsage && events !== undefined ? hideUsage(events) : piece;
  }

  /** @returns what was held back until now. */
  end(): Buffer {
    return hideUsage((this.#parts.hidesUsage && this.#meter?.end()) || []);
  }

  /**
   * Whether something has to be done before the client gets what was pushed last: it may take that
   * for the end, or it is more than was paid for.
   */
  get due(): boolean {
    const { admission } = this.#parts;
    if (this.#meter === undefined || this.#settled !== undefined) return false;
    if (this.#meter.complete) return true;
    // A whole answer is there already, and paid.
    return this.#streams && this.#meter.outputTokens > admission.outputTokens;
  }

  /** @throws GatewayError 429 when no money is left for more. */
  pay(): Promise<void> {
    return this.#meter?.complete === true ? this.settle() : this.#parts.admission.extend();
  }

  /**
   * To be called when the call is over, however it ended; what comes later changes nothing.
   * Resolves when killing the process loses nothing of it.
   */
  settle(error?: GatewayError, status?: number): Promise<void> {
    return (this.#settled ??= this.#limit(this.#settle(error, status)));
  }

  /** Resolves in time, whatever becomes of it. */
  #limit(settling: Promise<void>): Promise<void> {
    if (settling === DONE) return settling;
    return new Promise((resolve) => {
      const timer = this.#parts.clock.after(SETTLE_MS, resolve);
      const end = (): void => resolve(timer.cancel());
      settling.then(end, end);
    });
  }

  #watch(reply: Reply): void {
    const { parameters } = this.#parts;
    // What failed costs nothing.
    if (parameters === undefined || reply.status >= 400 || reply.coded) return;
    this.#meter = new Meter(reply);
    this.#streams = isEventStream(reply.contentType);
  }

  #settle(error: GatewayError | undefined, given: number | undefined): Promise<void> {
    const answered = this.#hid(error) ? undefined : this.#reply?.status;
    const status = given ?? answered ?? error?.status ?? 200;
    const { id, route, admission, caller } = this.#parts;
    const total = (this.total = this.#toTotal(error));
    const { costMicroUsd } = total;
    const { inputTokens, cachedInputTokens, outputTokens } = total.usage;
    const record: CallRecord = {
      id,
      caller: caller.id,
      policy: caller.policy.name,
      route,
      model: total.model,
      status,
      error: error?.code,
      inputTokens,
      cachedInputTokens,
      outputTokens,
      costMicroUsd,
      estimated: total.estimated,
    };
    return admission.settle({ tokens: inputTokens + outputTokens, costMicroUsd }, record);
  }

  #toTotal(error: GatewayError | undefined): Total {
    const { parameters, body, prices, clean } = this.#parts;
    const report = this.#meter?.report();
    const named = report?.model ?? this.#model ?? this.#asked();
    const model = prices.find(named) === undefined ? named && clean(named) : named;
    if (report !== undefined) return this.#reported(report, model);
    // What failed costs nothing; but whoever leaves has it made all the same.
    const left = body?.passed === true && error !== undefined && LEFT.has(error.code);
    const made = this.#reply === undefined ? left : this.#reply.status < 400 && !this.#hid(error);
    if (made && typeof parameters === "object") return this.#estimate(parameters, model);
    return { usage: NO_USAGE, costMicroUsd: 0, model, estimated: false };
  }

  /** The answer broke off before the client had any of it: it gets a whole error instead. */
  #hid(error: GatewayError | undefined): boolean {
    return error?.fault === "upstream" && !this.#answered && !this.#streams;
  }

  /** Clients may ask for whatever they like: only what there is gets a name. */
  #asked(): string | undefined {
    const { demand, prices } = this.#parts;
    const real = this.#reply === undefined ? prices.find(demand?.model) : this.#reply.status < 400;
    return real ? demand?.model : undefined;
  }

  /** OpenAI has said what was used. */
  #reported(report: Report, model: string | undefined): Total {
    const { parameters, admission } = this.#parts;
    const costs = [report, ...report.others].map((each) => this.#costOf(each, report));
    const known = costs.filter((cost) => cost !== undefined);
    const complete = known.length === costs.length;
    const cost = complete ? known.reduce((sum, each) => sum + each, 0) : admission.costMicroUsd;
    const { usage } = report;
    // What cannot be is no reason to charge less.
    const floored = usage.clamped && typeof parameters === "object";
    const least = floored ? this.#estimate(parameters, model).costMicroUsd : 0;
    const estimated = usage.clamped || (!complete && cost > 0);
    return { usage, costMicroUsd: Math.max(cost, least), model, estimated };
  }

  #costOf({ usage, model }: Pick<Report, "usage" | "model">, whole: Report): number | undefined {
    const { prices, demand } = this.#parts;
    const price = prices.find(model) ?? prices.find(demand?.model);
    const tier = whole.serviceTier ?? demand?.serviceTier;
    return price && costMicroUsd(price, usage, tier);
  }

  /** Nobody has said: what was seen, at the dearest; where nothing shows, what was set aside. */
  #estimate({ output }: Parameters, model: string | undefined): Total {
    const { prices, demand = NOTHING_ASKED } = this.#parts;
    const most = this.#sizes(output);
    const readable = output === "text" && this.#reply?.coded !== true;
    const outputTokens = readable ? this.#written(most) : most.outputTokens;
    const price = prices.find(model) ?? prices.find(demand.model);
    const cost = price && worstCostMicroUsd(price, { ...most, outputTokens }, demand.serviceTier);
    const { inputTokens, audioMs = 0 } = most;
    const usage = { ...NO_USAGE, inputTokens, outputTokens, audioMs };
    return { usage, costMicroUsd: cost ?? 0, model, estimated: true };
  }

  /** Tokens of a stream so far; a whole answer is measured when it is over. */
  get #shown(): number {
    return this.#streams ? (this.#meter?.outputTokens ?? 0) : 0;
  }

  #written({ outputTokens: most }: Sizes): number {
    const tokens = this.#meter?.outputTokens ?? 0;
    return this.#work?.outputTokens(tokens, most, this.#parts.clock.elapsed()) ?? tokens;
  }

  #sizes(output: Parameters["output"]): Sizes {
    const { admission, demand, caller, body } = this.#parts;
    if (demand !== undefined) return admission.sizes;
    const { limits, assumedOutputTokens } = caller.policy;
    return toSizes(NOTHING_ASKED, output, body?.bytes, limits.maxOutputTokens, assumedOutputTokens);
  }
}

/** OpenAI's, which are of the operator's account. */
function isLimit(name = ""): boolean {
  return name.startsWith("x-ratelimit-");
}
