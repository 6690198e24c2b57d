// What an endpoint of the mock is asked and what it answers: plain values, so that every endpoint
// is a pure function and only `play.ts` knows sockets and time.

import { errorFor, MockError } from "./errors.ts";
import type { Fields } from "./fields.ts";

export interface Call {
  readonly path: string;
  readonly fields: Fields;
  /** Hex SHA-256 of the request. Ids and wording derive from it: equal requests, equal answers. */
  readonly digest: string;
  /** The length of the answer, where the `openai-mock` header asks for one. */
  readonly tokens: number | undefined;
}

export type Answer =
  | {
      readonly kind: "body";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string | Buffer;
    }
  | { readonly kind: "events"; readonly events: Iterable<string> };

export type Endpoint = (call: Call) => Answer;

/** Every `created` and `created_at`: a constant, so that snapshots of answers are stable. */
export const CREATED = 1_735_689_600;

/** What ends a stream of chat or text completions; the other streams end with their last event. */
export const DONE = "data: [DONE]\n\n";

export function toJson(value: unknown, status = 200, headers: Record<string, string> = {}): Answer {
  return {
    kind: "body",
    status,
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(value),
  };
}

export function toBytes(contentType: string, body: string | Buffer): Answer {
  return { kind: "body", status: 200, headers: { "content-type": contentType }, body };
}

export function toErrorAnswer(thrown: unknown): Answer {
  const error = thrown instanceof MockError ? thrown : errorFor(500);
  const { message, type, code } = error.fault;
  const headers = error.retryable ? { "retry-after": "1", "retry-after-ms": "1000" } : {};
  return toJson({ error: { message, type, param: error.param, code } }, error.status, headers);
}

export function toEvents(events: Iterable<string>): Answer {
  return { kind: "events", events };
}

export function encodeEvent(data: unknown): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}

export interface StreamEvent {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** An event that repeats its type on the `event:` line, as responses and images have it. */
export function encodeNamedEvent(data: StreamEvent): string {
  return `event: ${data.type}\n${encodeEvent(data)}`;
}
