// The life of an API call: nine verbs, in this order. `receive` is behind us, in gateway.ts; admit,
// look up and settle wait for limits, cache and budgets.
import type { IncomingMessage, ServerResponse } from "node:http";
import { authorize } from "../access/authorize.ts";
import type { Identify } from "../access/identify.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import { RequestBody } from "../http/body.ts";
import { hasBody } from "../http/headers.ts";
import type { Target } from "../http/target.ts";
import { findOperation } from "../openai/endpoints.ts";
import type { ApiCall, Attempt } from "../upstream/attempt.ts";
import type { Dial } from "../upstream/dial.ts";
import { forward } from "../upstream/forward.ts";
import {
  noteAnswer,
  noteAsked,
  noteAttempt,
  noteChunk,
  toServerTiming,
  type Exchange,
} from "./exchange.ts";
import type { InFlight } from "./in-flight.ts";
import { relay } from "./relay.ts";
import { Watch } from "./watch.ts";

/** Kept aside of a body, so that a call that never reached OpenAI can be sent again. */
const KEEP_BYTES = 1024 * 1024;

/** What the steps need beside the call itself. */
export interface Stages {
  readonly config: Config;
  readonly clock: Clock;
  readonly inFlight: InFlight;
  readonly identify: Identify;
  readonly attempt: Attempt;
  readonly dial: Dial;
}

/** One request as it was received. */
export interface Received {
  readonly exchange: Exchange;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Below the API's prefix. */
  readonly target: Target;
  /** Sends `100 Continue`, where the client waits for it. */
  readonly invite: () => void;
}

/** @throws GatewayError for every call that did not end well. */
export async function serve(received: Received, stages: Stages): Promise<void> {
  const { exchange, req, res, target } = received;
  const { config, clock, inFlight } = stages;
  const watch = new Watch(clock, config.timeouts, res);
  let body: RequestBody | undefined;
  try {
    inFlight.begin(watch);
    const asked = findOperation(exchange.method, target.path);
    noteAsked(exchange, asked);

    const caller = stages.identify(req);
    exchange.caller = caller.id;

    body = read(received, config, watch);

    authorize(caller.policy, asked);

    watch.waitFor("firstByte");
    const call = toCall(received, body, watch.signal);
    const again = (): boolean => body?.replayable ?? true;
    const reply = await forward(call, noting(exchange, stages), again, clock);
    body?.release();
    noteAnswer(exchange, reply, clock);

    res.setHeader("server-timing", toServerTiming(exchange, clock));
    await relay(reply, res, watch, (chunk) => noteChunk(exchange, chunk, clock), asked.operation);
  } finally {
    exchange.requestBytes = body?.bytes ?? 0;
    body?.discard();
    watch.end();
    inFlight.end(watch);
  }
}

/** No rule looks inside yet, so the body streams. */
function read({ req, invite }: Received, config: Config, watch: Watch): RequestBody | undefined {
  if (!hasBody(req.headers)) return undefined;
  if (req.readableDidRead) {
    throw new GatewayError(
      "internal_error",
      "The body was read before the gateway saw it: mount the gateway before body parsers.",
    );
  }
  return new RequestBody(req, {
    limitBytes: config.server.maxBodyBytes,
    keepBytes: KEEP_BYTES,
    invite,
    watcher: {
      waiting: () => watch.waitFor("request"),
      moving: () => watch.waitFor("firstByte"),
      failed: (error) => watch.cancel(error),
    },
  });
}

function toCall(
  { req: { method = "", headers }, target }: Received,
  body: RequestBody | undefined,
  signal: AbortSignal,
): ApiCall {
  return { method, target, headers, signal, body: body && (() => body.pass()) };
}

function noting(exchange: Exchange, { attempt, clock }: Stages): Attempt {
  return (call) => {
    noteAttempt(exchange, clock);
    return attempt(call);
  };
}
