// Which headers go up, which come down. Up is an allow-list: the caller's credentials, cookies and
// address never reach OpenAI. Down is everything but what belongs to a hop or to OpenAI's side.
import type { IncomingHttpHeaders } from "node:http";
import type { UpstreamConfig } from "../config/config.ts";
import { hasBody, hopByHop, isWritable } from "../http/headers.ts";
import { isEventStream } from "../http/sse.ts";
import type { Reply } from "./attempt.ts";
import { toCodings } from "./content-coding.ts";

const UP = new Set([
  "content-type",
  "accept",
  "user-agent",
  "idempotency-key",
  "x-client-request-id",
]);
const UP_PREFIX = /^(?:openai|x-stainless)-/;
const NEVER_UP = new Set(["openai-organization", "openai-project"]);

const NEVER_DOWN = new Set([
  // OpenAI's side: cookies of our address, the operator's identity.
  "set-cookie",
  "openai-organization",
  "openai-project",
  // The CDN's, true of its host and not of ours. HSTS would pin the gateway's own domain.
  "alt-svc",
  "server",
  "server-timing",
  "nel",
  "report-to",
  "reporting-endpoints",
  "strict-transport-security",
  "vary", // The gateway's own CORS answers instead.
]);
const NEVER_DOWN_PREFIX = /^(?:cf|access-control)-/;

/** The headers that are the same for every call to one upstream. */
export function fixedHeaders({ apiKey, auth, organization, project }: UpstreamConfig) {
  const key = apiKey.reveal();
  return {
    ...(auth === "bearer" ? { authorization: `Bearer ${key}` } : { "api-key": key }),
    ...(organization !== undefined && { "openai-organization": organization }),
    ...(project !== undefined && { "openai-project": project }),
    // Bytes pass as they are; fetch would undo a coding behind our back.
    "accept-encoding": "identity",
  };
}

export function toUpstreamHeaders(
  headers: IncomingHttpHeaders,
  fixed: Readonly<Record<string, string>>,
): Record<string, string> {
  const dropped = hopByHop(headers.connection);
  // Without these two, fetch sends its own.
  const sent: Record<string, string> = { accept: "*/*", "user-agent": "openai-gateway" };
  for (const [name, value] of Object.entries(headers)) {
    if (!UP.has(name) && !UP_PREFIX.test(name)) continue;
    if (NEVER_UP.has(name) || dropped.has(name)) continue;
    sent[name] = String(value);
  }
  const length = headers["content-length"];
  // fetch announces an empty body itself; a length that we pass on it holds us to.
  if (length !== undefined && hasBody(headers)) sent["content-length"] = length;
  return Object.assign(sent, fixed);
}

/**
 * What may pass to the client of an answer's head, and what the gateway itself reads of it.
 * @param fields name in small letters and value by turns.
 * @param undone whether the transport has undone the content coding: coding and length are then
 * not those of the bytes.
 */
export function toReply(
  status: number,
  fields: readonly string[],
  body: Reply["body"],
  undone = false,
): Reply {
  const dropped = hopByHop(valueOf("connection", fields));
  const contentType = valueOf("content-type", fields) ?? "";
  const streams = isEventStream(contentType);
  const headers: string[] = [];
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    if (!passesDown(name) || dropped.has(name)) continue;
    if (undone && (name === "content-encoding" || name === "content-length")) continue;
    // One that breaks off ends with an event of our own.
    if (name === "content-length" && streams) continue;
    // No body follows (RFC 9110 §8.6, §15.3.6): a client that believed a length would wait for it.
    if ((status === 204 || status === 205) && name === "content-length") continue;
    if (isWritable(name, value)) headers.push(name, value);
  }
  const length = undone ? undefined : valueOf("content-length", fields);
  return {
    status,
    headers,
    contentType,
    coded: !undone && toCodings(valueOf("content-encoding", fields)).length > 0,
    contentLength: length === undefined ? undefined : Number(length),
    requestId: valueOf("x-request-id", fields),
    body,
  };
}

/** OpenAI's names are always the same few. */
const known = new Map<string, boolean>();
const KNOWN_LIMIT = 1_000;

function passesDown(name: string): boolean {
  let passes = known.get(name);
  if (passes === undefined) {
    passes = !NEVER_DOWN.has(name) && !NEVER_DOWN_PREFIX.test(name);
    if (known.size === KNOWN_LIMIT) known.clear();
    known.set(name, passes);
  }
  return passes;
}

export function valueOf(name: string, fields: readonly string[]): string | undefined {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1];
  return undefined;
}
