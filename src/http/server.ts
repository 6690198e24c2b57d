// The listening side: node:http with limits, and what its parser reports before any request exists.
import {
  STATUS_CODES,
  ServerResponse,
  createServer,
  type IncomingMessage,
  type Server,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { systemClock } from "../clock.ts";
import type { ServerConfig } from "../config/config.ts";
import { GatewayError, toEnvelope, toErrorHeaders, type ErrorCode } from "../errors.ts";
import { isWebSocket } from "./upgrade.ts";

/** For clients that dawdle over their headers (slow loris), checked every second. */
const HEADERS_TIMEOUT_MS = 30_000;
/** Connections that wait while the process is busy; Node's own is 511. */
const BACKLOG = 4_096;
/** Slower uploads than this, on average, are cut after five minutes. */
const UPLOAD_BYTES_PER_MS = 64;
/** To read an error and close; a client that does not close keeps no socket of ours. */
const LINGER_MS = 1_000;

export interface Handlers {
  request(req: IncomingMessage, res: ServerResponse, invite?: () => void): void;
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** A connection that never became a request. */
  refused(error: GatewayError): void;
}

export function createHttpServer(config: ServerConfig, handlers: Handlers): Server {
  const server = createServer({
    keepAliveTimeout: config.keepAliveSeconds * 1_000,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: Math.max(300_000, config.maxBodyBytes / UPLOAD_BYTES_PER_MS),
    connectionsCheckingInterval: 1_000,
    // Finds clients that vanished without a word; a WebSocket may be silent for hours otherwise.
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
    // Node's own refusal has no body; checkRequestHeaders has one.
    requireHostHeader: false,
    // Node 22.21 and later ask; older ones hand every Upgrade to the listener below.
    ...{ shouldUpgradeCallback: isWebSocket },
  });
  server.maxConnections = config.maxConnections;
  // A client that waits for leave to send its body gets it when the body is wanted, or its refusal.
  server.on("checkContinue", (req, res) => handlers.request(req, res, () => res.writeContinue()));
  // RFC 9110 §10.1.1 lets us ignore other expectations; Node's own refusal has no body.
  server.on("checkExpectation", (req, res) => handlers.request(req, res));
  server.on("request", (req, res) => handlers.request(req, res));
  server.on("upgrade", (req, socket, head) => handlers.upgrade(req, socket, head));
  server.on("clientError", (error, socket) => refuse(error, socket, handlers));
  server.on("drop", () => {
    handlers.refused(new GatewayError("overloaded", "Too many connections; one was closed."));
  });
  return server;
}

/** @throws Node's own errors, such as EADDRINUSE and EACCES. */
export async function listen(server: Server, { host, port }: ServerConfig): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen({ port, host, backlog: BACKLOG }, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP address");
  return address;
}

const PARSER_FAILURES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ["request_timeout", "The request did not come in time."],
  HPE_HEADER_OVERFLOW: ["headers_too_large", "The request's header fields are too large."],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ["request_too_large", "The chunk extensions are too large."],
};

const MALFORMED = ["invalid_request", "The request is malformed."] as const;

/** Without a request there is no response object: the answer is written by hand. */
function refuse(failure: Error, socket: Duplex, handlers: Handlers): void {
  const cause = "code" in failure ? String(failure.code) : failure.message;
  if (socket.writableEnded) return; // Refused already, and still sending: the linger below ends it.
  // Gone clients end up here too. Under an answer that has begun, ours would be garbage, and before
  // the answer to an earlier request it would be taken for that.
  const pending = pendingAnswer(socket);
  const busy = pending !== undefined && (pending.headersSent || pending.req.complete);
  if (!socket.writable || busy || cause === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [code, message] = PARSER_FAILURES[cause] ?? MALFORMED;
  const error = new GatewayError(code, message, { cause: failure });
  handlers.refused(error);
  writeRaw(socket, error);
}

/** The answer that a connection waits for. Node has no public name for it. */
export function pendingAnswer(socket: Duplex): ServerResponse | undefined {
  const pending: unknown = "_httpMessage" in socket ? socket._httpMessage : undefined;
  return pending instanceof ServerResponse ? pending : undefined;
}

/** Writes an error to a bare socket and closes it. */
export function writeRaw(socket: Duplex, error: GatewayError): void {
  const body = JSON.stringify(toEnvelope(error));
  const headers = {
    ...toErrorHeaders(error),
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const reason = STATUS_CODES[error.status] ?? "";
  endWith(socket, `HTTP/1.1 ${error.status} ${reason}\r\n${lines.join("")}\r\n${body}`);
}

/** Writes the last of an answer and lets go of the socket, also when its client never closes. */
export function endWith(socket: Duplex, last: string): void {
  socket.end(last);
  socket.resume(); // Bytes left unread would reset the connection under the answer (RFC 9112 §9.6).
  const timer = systemClock.after(LINGER_MS, () => socket.destroy());
  socket.once("close", () => timer.cancel());
}
