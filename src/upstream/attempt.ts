// The transports' seam: a call goes in, an Outcome comes out.
import type { IncomingHttpHeaders } from "node:http";
import type { Cancellation } from "../cancellation.ts";
import { GatewayError } from "../errors.ts";
import type { Payload } from "../http/splice.ts";
import type { Target } from "../http/target.ts";

/**
 * A connection is asked for; it is there; the first of the request has gone out; the answer's head
 * is here; the first of its body is.
 */
export type Moment = "connecting" | "connected" | "sent" | "answered" | "firstByte";

/** What was asked, as it goes to OpenAI. */
export interface ApiCall {
  readonly method: string;
  readonly target: Target;
  readonly headers: IncomingHttpHeaders;
  /** The body from its first byte, anew for every attempt; nothing for a request without one. */
  readonly body: (() => Payload) | undefined;
  readonly cancellation: Cancellation;
  /** Is told when something happens on the wire, as far as the transport can see it. */
  readonly tell: (moment: Moment) => void;
}

/** What came back. The body must be read to its end or its call cancelled. */
export interface Reply {
  readonly status: number;
  /** Name and value by turns, safe to write. */
  readonly headers: readonly string[];
  readonly contentType: string;
  /** In a content coding that is not undone: what it says is not known. */
  readonly coded: boolean;
  /** Of the bytes as they come here; nothing where nobody said. */
  readonly contentLength: number | undefined;
  /** OpenAI's own id of the call. */
  readonly requestId: string | undefined;
  readonly body: ReplyBytes;
}

/** @returns a wait, where there is no room for more yet. */
export type Take = (piece: Buffer) => Promise<void> | undefined;

/** A body as it comes, to be taken once. */
export interface ReplyBytes {
  /**
   * Hands over piece by piece, and resolves behind the last one.
   * @throws what the body broke off with; what `take` threw, which cancels the rest.
   */
  each(take: Take): Promise<void>;
  /** Nobody wants the rest. */
  cancel(): void;
}

export type Outcome =
  | { readonly kind: "reply"; readonly reply: Reply }
  /** OpenAI never saw it: it may be sent again. */
  | { readonly kind: "unreached"; readonly error: GatewayError }
  /** OpenAI may have done, and billed, the work. */
  | { readonly kind: "failed"; readonly error: GatewayError };

/** @throws the reason when the call is cancelled. */
export type Attempt = (call: ApiCall) => Promise<Outcome>;

/** The checked path under the fixed base, and proof that it stayed there. */
export function toUrl(base: string, { path, search }: Target): URL {
  const url = new URL(base + path + search);
  if (url.href.startsWith(`${base}${path}`) && url.username === "") return url;
  throw new GatewayError("invalid_request", "The request target is malformed.");
}
