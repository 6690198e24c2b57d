// The life of a WebSocket: the verbs of serve.ts for a socket instead of a request.
import { STATUS_CODES, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { authorize } from "../access/authorize.ts";
import { toGatewayError } from "../errors.ts";
import { isWritable } from "../http/headers.ts";
import type { Target } from "../http/target.ts";
import { join } from "../http/upgrade.ts";
import { findOperation } from "../openai/endpoints.ts";
import { admit } from "./admit.ts";
import type { Bill } from "./bill.ts";
import { noteAsked, noteAttempt, noteCaller, noteFirstByte, type Exchange } from "./exchange.ts";
import type { Stages } from "./serve.ts";
import { Watch } from "./watch.ts";

export interface ReceivedSocket {
  readonly exchange: Exchange;
  readonly req: IncomingMessage;
  readonly socket: Duplex;
  /** What the client sent right behind its handshake. */
  readonly head: Buffer;
  readonly target: Target;
}

const PASSED_DOWN =
  /^(?:sec-websocket-(?:accept|protocol|extensions)|x-request-id|openai-version)$/;

/** @throws GatewayError when the sockets were not joined, or had to be cut. */
export async function tunnel(received: ReceivedSocket, stages: Stages): Promise<void> {
  const { exchange, req, socket, head, target } = received;
  const { config, clock, inFlight } = stages;
  const watch = new Watch(clock, config.timeouts, socket);
  let bill: Bill | undefined;
  try {
    inFlight.begin(watch, exchange);
    const asked = findOperation("WEBSOCKET", target.path);
    noteAsked(exchange, asked, req);

    const caller = await stages.identify(req);
    noteCaller(exchange, caller);

    authorize(caller.policy, asked, target, req.headers);

    bill = await admit({ exchange, headers: req.headers, asked, caller }, stages);

    watch.waitFor("firstByte");
    noteAttempt(exchange, clock);
    const { response, socket: upstream } = await stages.dial(target, req.headers, watch.signal);
    exchange.answeredAt = clock.elapsed();
    exchange.status = response.statusCode ?? 0;
    const left = bill.headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    if (upstream === undefined) return await decline(socket, response, exchange, left);

    const upgraded = "connection: Upgrade\r\nupgrade: websocket\r\n";
    socket.write(toHead(response, exchange, upgraded + left));
    noteFirstByte(exchange, clock);
    if (head.length > 0) socket.unshift(head);
    watch.end(); // A conversation may be silent for long, and either side may end it.
    const bytes = await join(socket, upstream, clock, watch.signal);
    exchange.requestBytes = bytes.client;
    exchange.responseBytes = bytes.upstream;
    watch.throwIfCancelled();
  } catch (thrown) {
    await bill?.settle(toGatewayError(thrown));
    throw thrown;
  } finally {
    await bill?.settle(undefined, exchange.status);
    watch.end();
    inFlight.end(watch);
  }
}

/** Hands OpenAI's refusal on. */
async function decline(
  socket: Duplex,
  response: IncomingMessage,
  exchange: Exchange,
  left: string,
): Promise<void> {
  const type = response.headers["content-type"] ?? "application/json";
  const own = `connection: close\r\ncontent-type: ${type}\r\n${left}`;
  socket.write(toHead(response, exchange, own));
  for await (const chunk of response) {
    exchange.responseBytes += chunk.length;
    socket.write(chunk);
  }
  socket.end();
}

function toHead(response: IncomingMessage, exchange: Exchange, own: string): string {
  const { statusCode = 502, headers } = response;
  const passed = Object.entries(headers)
    .map(([name, value]) => [name, String(value)] as const)
    .filter(([name, value]) => PASSED_DOWN.test(name) && isWritable(name, value))
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return (
    `HTTP/1.1 ${statusCode} ${STATUS_CODES[statusCode] ?? ""}\r\n${own}` +
    `x-gateway-request-id: ${exchange.id}\r\n${passed.join("")}\r\n`
  );
}
