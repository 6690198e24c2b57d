// What happens now, for whoever looks: the calls of the last hour summed up, and the latest ones
// as they are. All of this process alone, and gone with it.
import type { Clock } from "../clock.ts";
import { isApiCall, type CallReport, type Observer } from "./call-report.ts";
import { LiveSeries, SCALE, type LiveBucket } from "./live-series.ts";

/** Of the latest calls. */
const CALL_LIMIT = 100;
/** Characters of a name that are shown: clients make up long ones, and issuers have long ones. */
const MODEL_CHARACTERS = 100;
const CALLER_CHARACTERS = 200;
const REASON_CHARACTERS = 300;

/** A call as it is shown. */
export interface LiveCall {
  readonly id: string;
  /** When it came, in milliseconds since 1970. */
  readonly atMs: number;
  readonly caller: string;
  readonly policy: string;
  readonly model: string;
  readonly route: string;
  readonly status: number;
  readonly error: string | null;
  readonly reason: string | null;
  readonly stream: boolean;
  readonly durationMs: number;
  readonly firstByteMs: number | null;
  readonly gatewayMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costMicroUsd: number;
  readonly estimated: boolean;
  readonly upstreamRequestId: string | null;
}

/** How much somebody knows already. */
export interface Seen {
  /** So many calls. */
  readonly calls: number;
  /** All that was before this, in milliseconds since 1970. */
  readonly bucketAtMs: number;
}

/** What was before one started to look. */
export interface Past {
  readonly nowMs: number;
  readonly scale: number;
  readonly fine: readonly LiveBucket[];
  readonly coarse: readonly LiveBucket[];
  readonly calls: readonly LiveCall[];
}

/** What is new since. */
export interface News {
  readonly nowMs: number;
  /** As it is now, whatever of it was known. */
  readonly bucket: LiveBucket;
  readonly calls: readonly LiveCall[];
  /** Calls that were too many to be among them. */
  readonly missed: number;
}

export class LiveFeed {
  readonly #clock: Clock;
  readonly #series = new LiveSeries();
  /** The newest last. */
  readonly #calls: CallReport[] = [];
  #added = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  readonly observe: Observer = (report) => {
    if (!isApiCall(report)) return;
    const call = toShown(report);
    this.#series.add(call, this.#clock.now());
    this.#calls.push(call);
    this.#added++;
    if (this.#calls.length > CALL_LIMIT) this.#calls.shift();
  };

  /** What somebody knows who knows everything. */
  seen(): Seen {
    const bucketAtMs = this.#series.since(Infinity, this.#clock.now())[0]?.atMs ?? 0;
    return { calls: this.#added, bucketAtMs };
  }

  /** What somebody has to know for whom the rest is news. */
  past(seen: Seen): Past {
    const nowMs = this.#clock.now();
    return {
      nowMs,
      scale: SCALE,
      fine: this.#series.fine(nowMs),
      coarse: this.#series.coarse(nowMs),
      calls: this.#calls.slice(0, this.#calls.length - this.#fresh(seen)).map(toLiveCall),
    };
  }

  /** One for each bucket; the calls come with the last. */
  news(seen: Seen): readonly News[] {
    const nowMs = this.#clock.now();
    const calls = this.#calls.slice(this.#calls.length - this.#fresh(seen)).map(toLiveCall);
    const missed = this.#added - seen.calls - calls.length;
    const buckets = this.#series.since(seen.bucketAtMs, nowMs);
    return buckets.map((bucket, index) =>
      index === buckets.length - 1
        ? { nowMs, bucket, calls, missed }
        : { nowMs, bucket, calls: [], missed: 0 },
    );
  }

  #fresh({ calls }: Seen): number {
    return Math.min(this.#added - calls, this.#calls.length);
  }
}

/** What strangers make up takes no place: a model is shown that OpenAI knows, or the price list. */
function toShown(call: CallReport): CallReport {
  const { model, pricedModel, attempts, status, caller, reason } = call;
  const real = pricedModel !== undefined || (attempts > 0 && status < 400);
  const fits =
    (model?.length ?? 0) <= MODEL_CHARACTERS &&
    (caller?.length ?? 0) <= CALLER_CHARACTERS &&
    (reason?.length ?? 0) <= REASON_CHARACTERS;
  if (real && fits) return call;
  return {
    ...call,
    model: real ? clip(model, MODEL_CHARACTERS) : undefined,
    caller: clip(caller, CALLER_CHARACTERS),
    reason: clip(reason, REASON_CHARACTERS),
  };
}

function clip(text: string | undefined, characters: number): string | undefined {
  return text === undefined || text.length <= characters ? text : `${text.slice(0, characters)}…`;
}

function toLiveCall(call: CallReport): LiveCall {
  return {
    id: call.id,
    atMs: Math.round(call.startedAtMs),
    caller: call.caller ?? "",
    policy: call.policy ?? "",
    model: call.model ?? "",
    route: call.route ?? "",
    status: call.status,
    error: call.error ?? null,
    reason: call.reason ?? null,
    stream: call.stream,
    durationMs: round(call.durationMs),
    firstByteMs: call.firstByteMs === undefined ? null : round(call.firstByteMs),
    gatewayMs: round(call.gatewayMs),
    inputTokens: call.inputTokens,
    outputTokens: call.outputTokens,
    costMicroUsd: call.costMicroUsd,
    estimated: call.estimated,
    upstreamRequestId: call.upstreamRequestId ?? null,
  };
}

/** To hundredths. */
function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}
