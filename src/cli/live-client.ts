// Reads `GET /admin/events` of a gateway that runs, and comes back when the connection is lost.
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import type { Clock } from "../clock.ts";
import { EventSplitter, findDataLines } from "../http/event-splitter.ts";
import type { Secret } from "../secret.ts";

const EVENT_LIMIT_BYTES = 8 * 1024 * 1024;
/** A gateway tells something every second. */
const SILENCE_MS = 10_000;
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const LONGEST_WAIT_MS = 10_000;
const BUCKET_MS = 5_000;
/** A minute of them, and the one that is being filled. */
const BUCKET_LIMIT = 13;
const CALL_LIMIT = 100;

// The shapes of what is read, each a sample of it. The gateway tells more.
const SPENT = { caller: "", model: "", inputTokens: 0, outputTokens: 0, costMicroUsd: 0 };
const STEPS = { durations: [[0]], firstBytes: [[0]], refused: {} as Record<string, number> };
const ROW = { ...SPENT, ...STEPS, requests: 0, failed: 0, gatewayMs: 0, waitedMs: 0 };
const TIMES = { atMs: 0, durationMs: 0, firstByteMs: 0, gatewayMs: 0 };
const CALL = { ...SPENT, ...TIMES, route: "", status: 0, error: "", reason: "" };
const BUCKET = { atMs: 0, rows: [ROW] };
const GATEWAY = { version: "", startedAtMs: 0, scale: 0, open: false, mock: false };
const NOW = { inFlight: 0, streams: 0, draining: false, problem: "" };
const UPSTREAM = { host: "", healthy: false, lastFailure: { atMs: 0, code: "", reason: "" } };
const HELLO = { ...GATEWAY, nowMs: 0, fine: [BUCKET], calls: [CALL] };
const TICK = { nowMs: 0, bucket: BUCKET, calls: [CALL], now: NOW, upstream: UPSTREAM };

export type LiveCall = typeof CALL;
type Row = typeof ROW;

export type LiveEvent =
  | { readonly kind: "hello"; readonly hello: typeof HELLO }
  /** `told` is all that came. */
  | { readonly kind: "tick"; readonly tick: typeof TICK; readonly told: object }
  /** Every second until it is tried again. */
  | { readonly kind: "lost"; readonly reason: string; readonly againInMs: number };

export interface LiveSource {
  /** Of the gateway: http://127.0.0.1:3000 */
  readonly url: URL;
  /** The admin key. */
  readonly key: Secret;
  readonly clock: Clock;
  /** Ends it, without an error. */
  readonly signal: AbortSignal;
}

/**
 * What happens, until it is aborted. A connection that is lost is made anew after 1, 2, 4, 8 and
 * then every 10 seconds; its `hello` tells all from the beginning.
 * @throws Error that tells the operator why there never was one.
 */
export async function* watchGateway(source: LiveSource): AsyncGenerator<LiveEvent, void, void> {
  const { clock, signal } = source;
  let known = false;
  let waitMs = SECOND_MS;
  while (!signal.aborted) {
    let reason = `${source.url.origin} has ended the connection.`;
    try {
      for await (const event of readEvents(source)) {
        known = true;
        if (event.kind === "tick") waitMs = SECOND_MS;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      reason = explain(error, source.url);
    }
    if (!known) throw new Error(reason);
    for (let leftMs = waitMs; leftMs > 0 && !signal.aborted; leftMs -= SECOND_MS) {
      yield { kind: "lost", reason, againInMs: leftMs };
      await passSecond(clock, signal);
    }
    waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS);
  }
}

/** Less of it where it is aborted. */
async function passSecond(clock: Clock, signal: AbortSignal): Promise<void> {
  const over = new EventTarget();
  const timer = clock.after(SECOND_MS, () => over.dispatchEvent(new Event("over")));
  await once(over, "over", { signal }).catch(() => timer.cancel());
}

/** One connection. */
async function* readEvents({ url, key, clock, signal }: LiveSource): AsyncGenerator<LiveEvent> {
  const headers = { authorization: `Bearer ${key.reveal()}`, accept: "text/event-stream" };
  // Not fetch, which refuses some ports, such as 6000 and 10080.
  const req = get(new URL("/admin/events", url), { agent: false, headers, signal });
  req.on("error", () => {}); // It may come when nobody waits any more.
  let silent = false;
  const silence = clock.after(SILENCE_MS, () => {
    silent = true;
    req.destroy();
  });
  try {
    const res: IncomingMessage = (await once(req, "response"))[0];
    const refusal = toRefusal(res);
    if (refusal !== undefined) throw new Refusal(`${url.origin} ${refusal}`);
    const splitter = new EventSplitter(EVENT_LIMIT_BYTES);
    for await (const chunk of res) {
      silence.refresh();
      for (const { bytes, whole } of splitter.push(chunk)) {
        if (!whole) throw new Refusal(`${url.origin} sends more than 8 MiB at once.`);
        const event = parseEvent(bytes);
        if (event !== undefined) yield event;
      }
    }
  } catch (error) {
    throw silent ? new Refusal(`${url.origin} is silent for 10 s.`) : error;
  } finally {
    silence.cancel();
    req.destroy();
  }
}

function parseEvent(bytes: Buffer): LiveEvent | undefined {
  const [, kind] = /(?:^|[\r\n])event: ?(\w+)/.exec(bytes.toString()) ?? [];
  if (kind !== "hello" && kind !== "tick") return undefined;
  const lines = findDataLines(bytes).map(({ from, to }) => bytes.toString("utf8", from, to));
  const told = Object(JSON.parse(lines.join("\n")));
  if (kind === "hello") return { kind, hello: toShape(HELLO, told) };
  return { kind, tick: toShape(TICK, told), told };
}

/** What is missing, or of another type, is as in the sample: nothing. */
function toShape<Shape>(sample: Shape, given: unknown): Shape {
  return shape(sample, given) as Shape;
}

function shape(sample: unknown, given: unknown): unknown {
  if (Array.isArray(sample)) {
    return Array.isArray(given) ? given.map((item) => shape(sample[0], item)) : [];
  }
  if (typeof sample !== "object") return typeof given === typeof sample ? given : sample;
  const [known, fields] = [Object(sample), Object(given)];
  // Where no name is given there may be any, each with a number.
  const names = Object.keys(Object.keys(known).length > 0 ? known : fields);
  const sampleOf = (name: string): unknown => (Object.hasOwn(known, name) ? known[name] : 0);
  return Object.fromEntries(names.map((name) => [name, shape(sampleOf(name), fields[name])]));
}

/** Its message needs no explanation. */
class Refusal extends Error {}

/** What stands for the stream of events. */
function toRefusal({ statusCode = 0, headers }: IncomingMessage): string | undefined {
  const isStream = headers["content-type"]?.startsWith("text/event-stream");
  if (statusCode === 200 && isStream) return undefined;
  if (statusCode === 404) {
    return "has another admin key, or none at all: set the same ADMIN_KEY for it and here.";
  }
  if (statusCode === 429) {
    const [seconds = "60"] = /^\d{1,5}$/.exec(headers["retry-after"] ?? "") ?? [];
    return `has seen too many wrong admin keys from here: wait ${seconds} s.`;
  }
  const answer = `answers ${statusCode} to GET /admin/events`;
  if (statusCode >= 500) return `${answer}: it is about to stop, or overloaded.`;
  return `${answer}: set HOST and PORT to where OpenAI Gateway listens.`;
}

function explain(error: unknown, { origin }: URL): string {
  const { code, message } = Object(error);
  if (error instanceof Refusal) return message;
  if (error instanceof SyntaxError) return `${origin} sends what is no JSON.`;
  if (code !== "ECONNREFUSED") return `The connection to ${origin} failed (${code ?? message}).`;
  return `Nothing listens at ${origin}: start the gateway, or set HOST and PORT to where it does.`;
}

/** What the events of one connection come to. */
export class Live {
  hello = HELLO;
  tick = TICK;
  /** The newest first. */
  calls: readonly LiveCall[] = [];
  #buckets: readonly (typeof BUCKET)[] = [];

  add(event: LiveEvent): void {
    if (event.kind === "hello") {
      this.hello = event.hello;
      this.tick = { ...TICK, nowMs: event.hello.nowMs };
      this.calls = event.hello.calls.toReversed();
      this.#buckets = event.hello.fine.slice(-BUCKET_LIMIT);
    } else if (event.kind === "tick") {
      const { bucket, calls } = event.tick;
      this.tick = event.tick;
      this.calls = [...calls.toReversed(), ...this.calls].slice(0, CALL_LIMIT);
      const others = this.#buckets.filter(({ atMs }) => atMs !== bucket.atMs);
      this.#buckets = [...others, bucket].slice(-BUCKET_LIMIT);
    }
  }

  /** Of the last minute. Not a number: nothing is known of it. */
  total() {
    return this.#sum("all", () => true);
  }

  totals(by: "caller" | "model") {
    const names = new Set(this.#rows.map((row) => row[by]));
    return [...names].map((name) => this.#sum(name, (row) => row[by] === name));
  }

  get #fromMs(): number {
    return Math.ceil((this.tick.nowMs - MINUTE_MS) / BUCKET_MS) * BUCKET_MS;
  }

  get #rows(): readonly Row[] {
    return this.#buckets.filter(({ atMs }) => atMs >= this.#fromMs).flatMap(({ rows }) => rows);
  }

  #sum(name: string, isMeant: (row: Row) => boolean) {
    const { startedAtMs, scale } = this.hello;
    const seconds = Math.max(1, (this.tick.nowMs - Math.max(this.#fromMs, startedAtMs)) / 1_000);
    const rows = this.#rows.filter(isMeant);
    const add = (of: (row: Row) => number) => rows.reduce((sum, row) => sum + of(row), 0);
    const took = rows.flatMap((row) => row.durations);
    const waited = rows.flatMap((row) => row.firstBytes);
    const refused = rows.flatMap((row) => Object.values(row.refused));
    return {
      name,
      requests: add((row) => row.requests),
      requestsPerSecond: add((row) => row.requests) / seconds,
      failed: add((row) => row.failed),
      refused: refused.reduce((sum, count) => sum + count, 0),
      durationP50Ms: quantile(took, 0.5, scale),
      durationP95Ms: quantile(took, 0.95, scale),
      firstByteP50Ms: quantile(waited, 0.5, scale),
      firstByteP95Ms: quantile(waited, 0.95, scale),
      overheadShare: add((row) => row.gatewayMs) / add((row) => row.waitedMs),
      tokensPerSecond: add((row) => row.inputTokens + row.outputTokens) / seconds,
      usdPerHour: (add((row) => row.costMicroUsd) / seconds) * 0.0036,
    };
  }
}

/** Step `n` counts what is over `scale ** (n - 1)` and up to `scale ** n` milliseconds. */
function quantile(steps: readonly (readonly number[])[], share: number, scale: number): number {
  const counts: Record<number, number> = {}; // In the steps' order.
  for (const [step = 0, count = 0] of steps) counts[step] = (counts[step] ?? 0) + count;
  let left = share * Object.values(counts).reduce((sum, count) => sum + count, 0);
  for (const [step, count] of Object.entries(counts)) {
    if (count >= left) return scale ** (Number(step) - 1 + left / count);
    left -= count;
  }
  return NaN;
}
