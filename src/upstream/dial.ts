// A WebSocket's handshake with OpenAI. Global fetch cannot upgrade, so this is node:http's request.
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { TimeoutConfig, UpstreamConfig } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import type { Target } from "../http/target.ts";
import { publicProtocols } from "../http/upgrade.ts";
import { toUrl } from "./attempt.ts";
import { toFailure } from "./failure.ts";
import { fixedHeaders, toUpstreamHeaders } from "./headers.ts";

/** OpenAI's answer: its socket when it agreed, else a response with a body. */
export interface Dialled {
  readonly response: IncomingMessage;
  readonly socket?: Duplex;
}

/** @throws GatewayError `upstream_…`, or the reason that the signal was aborted for. */
export type Dial = (
  target: Target,
  headers: IncomingHttpHeaders,
  signal: AbortSignal,
) => Promise<Dialled>;

const HANDSHAKE = ["sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"];

export function createDial(upstream: UpstreamConfig, { connectMs }: TimeoutConfig): Dial {
  const base = upstream.baseUrl.href.replace(/\/+$/, "");
  const fixed = fixedHeaders(upstream);
  const secure = upstream.baseUrl.protocol === "https:";

  return async (target, headers, signal) => {
    // Not before it is needed: TLS takes its time to load.
    const { request } = await (secure ? import("node:https") : import("node:http"));
    const sent = { ...toUpstreamHeaders(headers, fixed), ...toHandshake(headers) };
    return new Promise((resolve, reject) => {
      // No connection of a refused handshake is used again: OpenAI may be closing it.
      const call = request(toUrl(base, target), { headers: sent, signal, agent: false });
      call.once("error", (error) => {
        reject(signal.aborted ? signal.reason : toFailure(error).error);
      });
      call.once("response", (response) => resolve({ response }));
      call.once("upgrade", (response, socket, head) => {
        socket.on("error", () => socket.destroy());
        if (head.length > 0) socket.unshift(head);
        resolve({ response, socket });
      });
      limitConnecting(call, connectMs);
      call.end();
    });
  };
}

function limitConnecting(call: ClientRequest, connectMs: number): void {
  const message = "The gateway could not connect to OpenAI.";
  const tooSlow = new GatewayError("upstream_unreachable", message);
  call.setTimeout(connectMs, () => call.destroy(tooSlow));
  // From here on the first-byte clock runs.
  const connected = (): void => void call.setTimeout(0);
  call.once("socket", (socket) => {
    if (!socket.connecting) connected();
    else socket.once("encrypted" in socket ? "secureConnect" : "connect", connected);
  });
}

/** What RFC 6455 needs; the caller's key, which browsers put among the subprotocols, stays here. */
function toHandshake(headers: IncomingHttpHeaders): Record<string, string> {
  const sent: Record<string, string> = { connection: "Upgrade", upgrade: "websocket" };
  for (const name of HANDSHAKE) {
    if (headers[name] !== undefined) sent[name] = String(headers[name]);
  }
  const offered = publicProtocols(headers);
  if (offered.length > 0) sent["sec-websocket-protocol"] = offered.join(", ");
  return sent;
}
