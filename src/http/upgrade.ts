// The WebSocket handshake (RFC 6455 §4), seen by a proxy that joins two sockets and reads no frame.
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { Clock } from "../clock.ts";
import { GatewayError } from "../errors.ts";

/** How long a side may take to close after the other one has. */
const FAREWELL_MS = 1_000;

/** Browsers can set no header on a WebSocket, so SDKs put what belongs into one here. */
const KEY_PROTOCOL = /^openai-insecure-api-key\./i;
const PRIVATE_PROTOCOL = /^openai-(?:insecure-api-key|organization|project)\./i;

/** The keys among the subprotocols that a handshake offers. */
export function readKeyProtocols(headers: IncomingHttpHeaders): readonly string[] {
  const found = protocolsOf(headers).filter((name) => KEY_PROTOCOL.test(name));
  return found.map((name) => name.replace(KEY_PROTOCOL, ""));
}

/** The subprotocols that are meant for the server behind. */
export function publicProtocols(headers: IncomingHttpHeaders): readonly string[] {
  return protocolsOf(headers).filter((name) => !PRIVATE_PROTOCOL.test(name));
}

function protocolsOf(headers: IncomingHttpHeaders): readonly string[] {
  const list = (headers["sec-websocket-protocol"] ?? "").split(",");
  return list.map((name) => name.trim()).filter((name) => name !== "");
}

/** With an `upgrade` listener every request that names an Upgrade ends there: `h2c` POSTs too. */
export function isWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === "GET" && headers.upgrade?.toLowerCase() === "websocket";
}

/** @throws GatewayError 400 */
export function checkHandshake(req: IncomingMessage): void {
  if (!isWebSocket(req)) {
    throw new GatewayError("invalid_request", "The only upgrade offered here is to a WebSocket.");
  }
  const { "sec-websocket-key": key = "", "sec-websocket-version": version } = req.headers;
  if (version !== "13" || !/^[\w+/]{22}==$/.test(key)) {
    throw new GatewayError("invalid_request", "The WebSocket handshake is malformed.");
  }
}

/**
 * Lets bytes flow both ways until either side leaves; the other one then gets a moment to finish.
 * @returns how many bytes came from each side.
 */
export async function join(client: Duplex, upstream: Duplex, clock: Clock, signal: AbortSignal) {
  const bytes = { client: 0, upstream: 0 };
  const cut = (): void => {
    client.destroy();
    upstream.destroy();
  };
  const closings = [flow(client, upstream), flow(upstream, client)];
  client.on("data", (chunk: Buffer) => (bytes.client += chunk.length));
  upstream.on("data", (chunk: Buffer) => (bytes.upstream += chunk.length));
  signal.addEventListener("abort", cut, { once: true });
  await Promise.race(closings.map(({ left }) => left));
  const farewell = clock.after(FAREWELL_MS, cut);
  await Promise.all(closings.map(({ closed }) => closed));
  farewell.cancel();
  signal.removeEventListener("abort", cut);
  return bytes;
}

/** When one side has sent its last byte, and when it is gone. */
function flow(from: Duplex, to: Duplex) {
  from.pipe(to);
  const closed = new Promise<void>((resolve) => {
    if (from.closed) resolve();
    else from.once("close", resolve);
  });
  const ended = new Promise<void>((resolve) => from.once("end", resolve));
  // A side that was reset ends nothing by itself.
  void closed.then(() => to.end());
  return { closed, left: Promise.race([ended, closed]) };
}
