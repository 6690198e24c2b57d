// One call to one upstream by fetch. The transport's seam: a call goes in, an Outcome comes out.
import type { UpstreamConfig } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import type { Target } from "../http/target.ts";
import { fixedHeaders, toClientHeaders, toUpstreamHeaders } from "./headers.ts";
import { toFailure } from "./failure.ts";
import type { Agent, Moment } from "./agent.ts";
import type { IncomingHttpHeaders } from "node:http";

/** What was asked, as it goes to OpenAI. */
export interface ApiCall {
  readonly method: string;
  readonly target: Target;
  readonly headers: IncomingHttpHeaders;
  /** The body from its first byte, anew for every attempt; nothing for a request without one. */
  readonly body: (() => AsyncIterable<Uint8Array>) | undefined;
  /** Its reason is the GatewayError that ends the call. */
  readonly signal: AbortSignal;
  /** Is told when something happens on the wire, as far as the transport can see it. */
  readonly tell: (moment: Moment) => void;
}

/** What came back. The body must be read to its end or its call aborted. */
export interface Reply {
  readonly status: number;
  /** Name and value by turns, safe to write. */
  readonly headers: readonly string[];
  readonly contentType: string;
  /** Of the bytes as they come here; nothing where nobody said. */
  readonly contentLength: number | undefined;
  /** OpenAI's own id of the call. */
  readonly requestId: string | undefined;
  readonly body: AsyncIterable<Uint8Array>;
}

export function isEventStream({ contentType }: Pick<Reply, "contentType">): boolean {
  return contentType.toLowerCase().startsWith("text/event-stream");
}

export type Outcome =
  | { readonly kind: "reply"; readonly reply: Reply }
  /** OpenAI never saw it: it may be sent again. */
  | { readonly kind: "unreached"; readonly error: GatewayError }
  /** OpenAI may have done, and billed, the work. */
  | { readonly kind: "failed"; readonly error: GatewayError };

/** @throws the signal's reason when the call is aborted. */
export type Attempt = (call: ApiCall) => Promise<Outcome>;

export type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

// Before Node 26 fetch clones the body of every request that it could send again, and the half that
// nobody reads keeps the whole upload in memory. With these two it never could.
const UNCLONED = { redirect: "error", window: null } as const;

const NOTHING: AsyncIterable<Uint8Array> = { async *[Symbol.asyncIterator]() {} };

export function createAttempt(
  upstream: UpstreamConfig,
  fetch: Fetch,
  agent: Agent | undefined,
): Attempt {
  const base = upstream.baseUrl.href.replace(/\/+$/, "");
  const fixed = fixedHeaders(upstream);

  return async ({ method, target, headers, body, signal, tell }) => {
    const dispatcher = agent?.dispatcherFor(tell);
    const init: RequestInit = {
      method,
      headers: toUpstreamHeaders(headers, fixed),
      signal,
      // Following would hand the key to wherever the answer points.
      redirect: "manual",
      ...(body !== undefined && { body: body(), duplex: "half", ...UNCLONED }),
      ...(dispatcher !== undefined && { dispatcher }),
    };
    try {
      const response = await fetch(toUrl(base, target), init);
      return { kind: "reply", reply: toReply(response, signal) };
    } catch (error) {
      signal.throwIfAborted();
      const failure = toFailure(error);
      return { kind: failure.reached ? "failed" : "unreached", error: failure.error };
    }
  };
}

/** The checked path under the fixed base, and proof that it stayed there. */
export function toUrl(base: string, { path, search }: Target): URL {
  const url = new URL(base + path + search);
  if (url.href.startsWith(`${base}${path}`) && url.username === "") return url;
  throw new GatewayError("invalid_request", "The request target is malformed.");
}

function toReply(response: Response, signal: AbortSignal): Reply {
  const { status, headers, body } = response;
  return {
    status,
    headers: toClientHeaders(response),
    contentType: headers.get("content-type") ?? "",
    contentLength: toLength(response),
    requestId: headers.get("x-request-id") ?? undefined,
    body: body === null ? NOTHING : toPieces(body, signal),
  };
}

function toLength({ headers }: Response): number | undefined {
  const length = headers.get("content-length");
  // Of the coded bytes, where fetch has undone a coding.
  return length === null || headers.has("content-encoding") ? undefined : Number(length);
}

/**
 * The body piece by piece. Its reader is cancelled here, not left to the signal: undici 6 (Node 20
 * and 22) may have lost sight of that when garbage was collected, and would wait for ever.
 */
async function* toPieces(
  body: NonNullable<Response["body"]>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = body.getReader();
  const cancel = (): void => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", cancel);
  if (signal.aborted) cancel();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return;
      yield value;
    }
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
}
