// One call to one upstream by the runtime's own undici, one layer below fetch: no web streams, a
// fraction of the time.
import type { UpstreamConfig } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import type { Agent } from "./agent.ts";
import { decode, toCodings } from "./content-coding.ts";
import { toUrl, type ApiCall, type Attempt, type Outcome } from "./attempt.ts";
import { toFailure } from "./failure.ts";
import { fixedHeaders, toReply, toUpstreamHeaders, valueOf } from "./headers.ts";
import { ReplyBody } from "./reply-body.ts";

/** @param byFetch instead, where the runtime has no such agent, or one that we do not know. */
export function createDirectAttempt(
  upstream: UpstreamConfig,
  agent: Agent,
  byFetch: Attempt,
): Attempt {
  const base = upstream.baseUrl.href.replace(/\/+$/, "");
  const { origin } = upstream.baseUrl;
  const fixed = fixedHeaders(upstream);

  return async (call) => {
    const { dispatcher } = agent;
    if (dispatcher === undefined) return byFetch(call);
    const { method, target, headers, body, cancellation } = call;
    cancellation.throwIfCancelled();
    const { pathname, search } = toUrl(base, target);
    try {
      return await new Promise<Outcome>((resolve, reject) => {
        const handler = new HandlerHere(call, resolve, reject);
        const options = {
          origin,
          path: pathname + search,
          method,
          headers: toUpstreamHeaders(headers, fixed),
          body: body?.(),
        };
        call.tell("connecting");
        Reflect.apply(dispatcher.dispatch, dispatcher, [options, handler]);
      });
    } catch (error) {
      cancellation.throwIfCancelled();
      if (agent.isRefusedBy(error)) return byFetch(call);
      const failure = toFailure(error);
      return { kind: failure.reached ? "failed" : "unreached", error: failure.error };
    }
  };
}

const NOT_WANTED = new Error("Nobody wants the answer.");

// Fetch Standard, "null body status": whatever follows is no body.
const BODILESS = new Set([204, 205, 304]);

/** What undici's own fetch does for a call with a body, too: see fetch.ts. */
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** What becomes of one call, as every undici tells it. */
class Handler {
  readonly #call: ApiCall;
  readonly #resolve: (outcome: Outcome) => void;
  readonly #reject: (error: unknown) => void;
  #body: ReplyBody | undefined;
  #abort: ((reason: Error) => void) | undefined;
  #sent = false;
  #over = false;

  constructor(
    call: ApiCall,
    resolve: (outcome: Outcome) => void,
    reject: (error: unknown) => void,
  ) {
    this.#call = call;
    this.#resolve = resolve;
    this.#reject = reject;
    call.cancellation.listen(this.#onCancelled);
  }

  onBodySent(): void {
    this.onRequestSent();
  }

  onRequestSent(): void {
    if (this.#sent) return;
    this.#sent = true;
    this.#call.tell("sent");
  }

  protected connected(abort: (reason: Error) => void): void {
    this.#abort = abort;
    this.#call.tell("connected");
    if (this.#over) abort(this.#call.cancellation.reason ?? NOT_WANTED);
  }

  protected head(status: number, raw: readonly unknown[], resume: () => void): void {
    if (status < 200) return;
    this.#call.tell("answered");
    if (this.#call.body !== undefined && REDIRECTS.has(status)) return this.#refuse();
    this.#body = new ReplyBody(resume, () => this.#cancel(NOT_WANTED));
    const fields = toFields(raw);
    const bodiless = BODILESS.has(status) || this.#call.method === "HEAD";
    if (bodiless) this.#body.end();
    const nothing = bodiless || valueOf("content-length", fields) === "0";
    const codings = nothing ? [] : toCodings(valueOf("content-encoding", fields));
    const content = decode(this.#body, codings);
    const reply = toReply(status, fields, content ?? this.#body, content !== undefined);
    this.#resolve({ kind: "reply", reply });
  }

  /** @returns whether there may be more. */
  protected data(chunk: Buffer): boolean {
    const body = this.#body;
    if (body === undefined) return true;
    if (body.bytes === 0) this.#call.tell("firstByte");
    return body.push(chunk);
  }

  protected end(): void {
    this.#close();
    this.#body?.end();
  }

  protected failed(error: unknown): void {
    this.#close();
    const why: unknown = this.#call.cancellation.reason ?? error;
    if (this.#body === undefined) this.#reject(why);
    else this.#body.fail(why);
  }

  /** Following would hand the key to wherever the answer points. */
  #refuse(): void {
    const message = "OpenAI answered with a redirect, which is not followed: see OPENAI_BASE_URL.";
    this.#cancel(new GatewayError("upstream_reset", message));
  }

  readonly #onCancelled = (): void => {
    this.#cancel(this.#call.cancellation.reason ?? NOT_WANTED);
  };

  #cancel(reason: Error): void {
    if (this.#over) return;
    this.failed(reason);
    this.#abort?.(reason);
  }

  #close(): void {
    this.#over = true;
    this.#call.cancellation.unlisten(this.#onCancelled);
  }
}

/**
 * The names that fields have, in small letters, and values: latin1 (RFC 9110 §5.5). Of fields with
 * one name the values make a list (§5.3), as fetch has it.
 */
function toFields(raw: readonly unknown[]): readonly string[] {
  const fields: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = toText(raw[at]).toLowerCase();
    const value = toText(raw[at + 1]);
    let known = fields.length - 2;
    while (known >= 0 && fields[known] !== name) known -= 2;
    if (known < 0) fields.push(name, value);
    else fields[known + 1] += `, ${value}`;
  }
  return fields;
}

function toText(field: unknown): string {
  return Buffer.isBuffer(field) ? field.toString("latin1") : String(field);
}

/** By the names of undici 6 and 7, those of Node 20 to 24. */
class Handler6 extends Handler {
  onConnect(abort: (reason: Error) => void): void {
    this.connected(abort);
  }

  onHeaders(status: number, raw: readonly Buffer[], resume: () => void): boolean {
    this.head(status, raw, resume);
    return true;
  }

  onData(chunk: Buffer): boolean {
    return this.data(chunk);
  }

  onComplete(): void {
    this.end();
  }

  onError(error: Error): void {
    this.failed(error);
  }
}

interface Controller {
  readonly rawHeaders: readonly unknown[];
  abort(reason: Error): void;
  pause(): void;
  resume(): void;
}

/** By those of undici 8, Node 26's. */
class Handler8 extends Handler {
  onRequestStart(controller: Controller): void {
    this.connected((reason) => controller.abort(reason));
  }

  onResponseStart(controller: Controller, status: number): void {
    this.head(status, controller.rawHeaders, () => controller.resume());
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (!this.data(chunk)) controller.pause();
  }

  onResponseEnd(): void {
    this.end();
  }

  onResponseError(_: Controller, error: Error): void {
    this.failed(error);
  }
}

const major = Number.parseInt(process.versions["undici"] ?? "0", 10);
const HandlerHere = major >= 8 ? Handler8 : Handler6;
