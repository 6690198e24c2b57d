// Answers that the gateway gives itself.
import type { ServerResponse } from "node:http";
import { toEnvelope, toErrorHeaders, type GatewayError } from "../errors.ts";

export function sendText(
  res: ServerResponse,
  status: number,
  text: string,
  type = "text/plain; charset=utf-8",
): void {
  send(res, status, type, text);
}

export function sendJson(res: ServerResponse, status: number, value: unknown): void {
  send(res, status, "application/json", JSON.stringify(value));
}

/**
 * Sends the failure in OpenAI's envelope. The request may still be arriving: Node then reads and
 * drops the rest, as closing at once could reset the connection under the answer (RFC 9112 §9.6).
 */
export function sendError(res: ServerResponse, error: GatewayError): void {
  for (const [name, value] of Object.entries(toErrorHeaders(error))) res.setHeader(name, value);
  sendJson(res, error.status, toEnvelope(error));
}

function send(res: ServerResponse, status: number, type: string, body: string): void {
  res.setHeader("content-type", type);
  res.setHeader("content-length", Buffer.byteLength(body));
  res.writeHead(status).end(body);
}
