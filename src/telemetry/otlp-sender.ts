// One signal's way to its collector: OTLP/HTTP, one request at a time, retried where that may help.
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Clock, Timer } from "../clock.ts";
import type { OtlpTarget } from "../config/parse-otlp.ts";
import type { LogWriter } from "./log.ts";

/** Retries of one export take at most about a minute, unless the collector asks for patience. */
const MAX_ATTEMPTS = 5;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** For what is left when the gateway closes. */
const CLOSE_LIMIT_MS = 3_000;
const ANSWER_LIMIT_BYTES = 64 * 1024;
/** After an outage that was logged, until the next one is: some collectors only blink. */
const QUIET_MS = 60_000;

/** The specification's retryable statuses; all others are final. */
const TRANSIENT: ReadonlySet<number> = new Set([429, 502, 503, 504]);

const compress = promisify(gzip);

type Answer =
  | { readonly kind: "taken"; readonly rejected: number }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "again"; readonly reason: string; readonly afterMs: number };

export interface SenderParts {
  readonly clock: Clock;
  readonly warn: LogWriter;
  /** What is sent, in the words of a log line: `spans`. */
  readonly what: string;
}

export class OtlpSender {
  /** How many items did not get there, for whatever reason. */
  lost = 0;
  readonly #target: OtlpTarget;
  readonly #parts: SenderParts;
  #request: AbortController | undefined;
  #wake: () => void = () => {};
  #finishing = false;
  #over = false;
  #knownLost = 0;
  #troubled = false;
  #quietUntil = -Infinity;

  constructor(target: OtlpTarget, parts: SenderParts) {
    this.#target = target;
    this.#parts = parts;
  }

  /** Sends a JSON document that holds so many items. Not to be called again before it is done. */
  async send(json: string, items: number): Promise<void> {
    const body = this.#target.gzip ? await compress(json) : json;
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#post(body);
      if (answer.kind === "taken") return this.#settle(Math.min(answer.rejected, items));
      const last = answer.kind === "refused" || attempt === MAX_ATTEMPTS || this.#finishing;
      this.#tell(answer.reason);
      if (last) return this.#lose(items);
      const backoff = FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
      if (answer.kind === "again") await this.#pause(Math.max(backoff, answer.afterMs));
    }
  }

  /** From here on nothing waits, and all is over after a few seconds, unless cancelled. */
  finish(): Timer {
    this.#finishing = true;
    this.#wake();
    return this.#parts.clock.after(CLOSE_LIMIT_MS, () => {
      this.#over = true;
      this.#request?.abort();
    });
  }

  async #post(body: string | Uint8Array<ArrayBuffer>): Promise<Answer> {
    const { url, headers, timeoutMs, gzip: gzipped } = this.#target;
    const request = new AbortController();
    const { signal } = request;
    if (this.#over) request.abort();
    this.#request = request;
    const timer = this.#parts.clock.after(timeoutMs, () => request.abort());
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: {
          "user-agent": "openai-gateway",
          ...Object.fromEntries(Object.entries(headers).map(([name, v]) => [name, v.reveal()])),
          "content-type": "application/json",
          ...(gzipped && { "content-encoding": "gzip" }),
        },
        body,
        signal,
        // Following would hand the headers to wherever the answer points.
        redirect: "manual",
      });
      return this.#judge(response, await readStart(response, signal));
    } catch (error) {
      const reason = signal.aborted ? "no answer in time" : toReason(error);
      return { kind: "again", reason, afterMs: 0 };
    } finally {
      timer.cancel();
      this.#request = undefined;
    }
  }

  #judge({ ok, status, headers }: Response, text: string): Answer {
    if (ok) return { kind: "taken", rejected: countRejected(text) };
    const reason = `answered ${status}`;
    if (!TRANSIENT.has(status)) return { kind: "refused", reason };
    const written = headers.get("retry-after") ?? "";
    const seconds = /^\d+$/.test(written) ? Number(written) * 1_000 : undefined;
    const wished = seconds ?? (Date.parse(written) || 0) - this.#parts.clock.now();
    return { kind: "again", reason, afterMs: Math.min(wished, LONGEST_PAUSE_MS) };
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#parts.clock.after(delayMs, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  #lose(items: number): void {
    this.lost += items;
    this.#knownLost = this.lost;
  }

  #settle(rejected: number): void {
    const overrun = this.lost > this.#knownLost;
    this.#lose(rejected);
    if (rejected > 0) this.#tell(`rejected ${rejected}`);
    else this.#tell(overrun ? "is slower than they come" : undefined);
  }

  /** One line when an outage begins and one when it is over, however long it takes. */
  #tell(reason: string | undefined): void {
    const { clock, warn, what } = this.#parts;
    const collector = this.#target.url.origin;
    const dropped = this.lost;
    if (reason === undefined) {
      if (!this.#troubled) return;
      this.#troubled = false;
      this.#quietUntil = clock.elapsed() + QUIET_MS;
      warn(`OpenTelemetry: ${what} are exported again`, { collector, dropped });
    } else if (!this.#troubled && clock.elapsed() >= this.#quietUntil) {
      this.#troubled = true;
      warn(`OpenTelemetry: ${what} cannot be exported`, { collector, reason, dropped });
    }
  }
}

/** What the answer says, as far as it is read at all; the status has said what matters. */
async function readStart({ body }: Response, signal: AbortSignal): Promise<string> {
  if (body === null) return "";
  const reader = body.getReader();
  const cancel = (): void => void reader.cancel().catch(() => {});
  // Not left to fetch: undici 6 may have lost sight of the signal.
  signal.addEventListener("abort", cancel);
  const pieces: Uint8Array[] = [];
  try {
    for (let length = 0; length < ANSWER_LIMIT_BYTES; length += pieces.at(-1)?.length ?? 0) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
    }
  } catch {
    // Cut off; so be it.
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
  return Buffer.concat(pieces).toString();
}

/** Of `{"partialSuccess":{"rejectedSpans":"3"}}`; 64-bit numbers are strings or numbers. */
function countRejected(text: string): number {
  try {
    const { rejectedSpans, rejectedDataPoints } = Object(JSON.parse(text)?.partialSuccess);
    const count = Number(rejectedSpans ?? rejectedDataPoints ?? 0);
    return Number.isInteger(count) && count > 0 ? count : 0;
  } catch {
    return 0; // Accepted all the same.
  }
}

/** A code, never a message: those may quote what was sent. */
function toReason(error: unknown): string {
  const { cause, name } = Object(error);
  return String(Object(cause).code ?? Object(cause).name ?? name);
}
