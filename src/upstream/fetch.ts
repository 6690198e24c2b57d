// One call to one upstream by fetch, the transport by default.
import type { Cancellation } from "../cancellation.ts";
import type { UpstreamConfig } from "../config/config.ts";
import type { Agent } from "./agent.ts";
import type { Payload } from "../http/splice.ts";
import { toCodings } from "./content-coding.ts";
import { toUrl, type Attempt, type Reply, type ReplyBytes, type Take } from "./attempt.ts";
import { toFailure } from "./failure.ts";
import { fixedHeaders, toReply, toUpstreamHeaders } from "./headers.ts";
import { toReplyBytes } from "./reply-body.ts";
import { Wire } from "./wire.ts";

export type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

// Before Node 26 fetch clones the body of every request that it could send again, and the half that
// nobody reads keeps the whole upload in memory. With these two it never could.
const UNCLONED = { redirect: "error", window: null } as const;

export function createFetchAttempt(
  upstream: UpstreamConfig,
  fetch: Fetch,
  agent: Agent | undefined,
): Attempt {
  const base = upstream.baseUrl.href.replace(/\/+$/, "");
  const fixed = fixedHeaders(upstream);

  const attempt: Attempt = async (call) => {
    const { method, target, headers, body, cancellation, tell } = call;
    cancellation.throwIfCancelled();
    const dispatcher = agent?.dispatcher;
    const wire = dispatcher && new Wire(dispatcher, tell);
    const payload = body?.();
    // Where no agent tells when it sends, whoever takes a small body does; of others nobody will.
    const sent = (): void => {
      if (wire === undefined) tell("sent");
    };
    if (!(payload instanceof Uint8Array)) sent();
    const init: RequestInit = {
      method,
      headers: toUpstreamHeaders(headers, fixed),
      // Following would hand the key to wherever the answer points.
      redirect: "manual",
      ...(payload !== undefined && {
        body: toIterable(payload, sent),
        duplex: "half",
        ...UNCLONED,
      }),
      ...(wire === undefined ? { signal: cancellation.signal } : { dispatcher: wire.dispatcher }),
    };
    try {
      const answer = fetch(toUrl(base, target), init);
      const response = await (wire?.until(answer, cancellation) ?? answer);
      return { kind: "reply", reply: readResponse(response, cancellation) };
    } catch (error) {
      cancellation.throwIfCancelled();
      if (wire !== undefined && agent?.isRefusedBy(error) === true) return attempt(call);
      const failure = toFailure(error);
      return { kind: failure.reached ? "failed" : "unreached", error: failure.error };
    }
  };
  return attempt;
}

// undici 7 (Node 24) learned zstd.
const DECODED = new Set(["gzip", "x-gzip", "deflate", "br"]);
if (Number.parseInt(process.versions["undici"] ?? "0", 10) >= 7) DECODED.add("zstd");

/** Bytes fetch could send again, and would after a 421 (Misdirected Request) without a word. */
function toIterable(payload: Payload, taken: () => void): AsyncIterable<Uint8Array> {
  return payload instanceof Uint8Array ? once(payload, taken) : payload;
}

async function* once(
  bytes: Uint8Array,
  taken: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  taken();
  yield bytes;
}

/** What fetch has made of the answer, and what it came with. */
export function readResponse(
  { status, headers, body }: Response,
  cancellation: Cancellation,
): Reply {
  const codings = toCodings(headers.get("content-encoding") ?? undefined);
  // All or nothing: one coding that fetch does not know, and it undoes none of them.
  const known = codings.length > 0 && codings.every((coding) => DECODED.has(coding));
  const undone = body !== null && known;
  const pieces = body === null ? toReplyBytes() : new Pieces(body, cancellation);
  const fields: string[] = [];
  // Their iterator takes eight times as long.
  headers.forEach((value, name) => fields.push(name, value));
  return toReply(status, fields, pieces, undone);
}

/**
 * The body as it comes. Its reader is cancelled here, not left to a signal: undici 6 (Node 20
 * and 22) may have lost sight of that when garbage was collected, and would wait for ever.
 */
class Pieces implements ReplyBytes {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #cancellation: Cancellation;

  constructor(body: NonNullable<Response["body"]>, cancellation: Cancellation) {
    this.#reader = body.getReader();
    this.#cancellation = cancellation;
    cancellation.listen(this.cancel);
    if (cancellation.reason !== undefined) this.cancel();
  }

  async each(take: Take): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        this.#cancellation.throwIfCancelled();
        if (done) return;
        const room = take(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
        if (room !== undefined) await room;
      }
    } finally {
      this.#cancellation.unlisten(this.cancel);
      this.cancel();
    }
  }

  readonly cancel = (): void => void this.#reader.cancel().catch(() => {});
}
