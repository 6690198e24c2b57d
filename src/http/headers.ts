// Header rules that hold for any proxy.
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { GatewayError } from "../errors.ts";

// RFC 9110 §7.6.1 and the fields of RFC 9112 that speak of one connection.
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

// Two of these, and the gateway and whoever reads next may each believe another one.
const SINGLE = new Set([
  "host",
  "authorization",
  "api-key",
  "content-type",
  "content-length",
  "origin",
]);

// Node 20 keeps 1 000 fields and drops the rest silently (CVE-2026-58044).
const FIELD_LIMIT = 1_000;

const LISTS_NOTHING = /^(?:keep-alive|close)$/i;

/** The names that must not pass: the fixed ones and those that `Connection` lists. */
export function hopByHop(connection: string | null | undefined): ReadonlySet<string> {
  if (!connection || LISTS_NOTHING.test(connection)) return HOP_BY_HOP;
  const listed = connection.split(",").map((name) => name.trim().toLowerCase());
  return new Set([...HOP_BY_HOP, ...listed]);
}

/** Whether Node will write the field rather than throw (RFC 9110 §5.5, latin1 allowed). */
export function isWritable(name: string, value: string): boolean {
  return /^[\w!#$%&'*+\-.^`|~]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}

/**
 * Refuses what Node's parser lets through and two readers could read differently.
 * @throws GatewayError 400, 431 or 501
 */
export function checkRequestHeaders(req: IncomingMessage): void {
  const { headers, rawHeaders, httpVersion, method = "" } = req;
  // The parser takes a line without a version for HTTP/0.9, and HTTP/2.0 for something like 1.1.
  if (httpVersion !== "1.1" && httpVersion !== "1.0") {
    throw new GatewayError("invalid_request", "The only HTTP spoken here is 1.1.");
  }
  if (httpVersion === "1.1" && headers.host === undefined) {
    throw new GatewayError("invalid_request", "Send a host header."); // RFC 9112 §3.2
  }
  if (rawHeaders.length >= 2 * FIELD_LIMIT) {
    throw new GatewayError("headers_too_large", `Send fewer than ${FIELD_LIMIT} header fields.`);
  }
  const seen: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() ?? "";
    if (!SINGLE.has(name)) continue;
    if (seen.includes(name))
      throw new GatewayError("invalid_request", `Send one ${name} header only.`);
    seen.push(name);
  }
  checkFraming(headers);
  if (hasBody(headers) && (method === "GET" || method === "HEAD")) {
    throw new GatewayError("invalid_request", `A ${method} request carries no body.`);
  }
}

/** RFC 9112 §6.1: a coding other than chunked would reach us undecoded. */
function checkFraming(headers: IncomingHttpHeaders): void {
  const coding = headers["transfer-encoding"];
  if (coding !== undefined && coding.toLowerCase() !== "chunked") {
    throw new GatewayError("not_implemented", "The only transfer coding taken is chunked.");
  }
}

export function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}
