// The life of an API call: nine verbs, in this order. `receive` is behind us, in gateway.ts; `look
// up` waits for a cache.
import type { IncomingMessage, ServerResponse } from "node:http";
import { authorize } from "../access/authorize.ts";
import type { Caller } from "../access/caller.ts";
import type { Identify } from "../access/identify.ts";
import type { Policy } from "../access/policy.ts";
import type { Cancellation } from "../cancellation.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { GatewayError, toGatewayError } from "../errors.ts";
import type { Allowance } from "../http/allowance.ts";
import { RequestBody } from "../http/body.ts";
import { hasBody } from "../http/headers.ts";
import type { Target } from "../http/target.ts";
import { findOperation } from "../openai/endpoints.ts";
import type { ApiCall, Attempt, Moment } from "../upstream/attempt.ts";
import type { Dial } from "../upstream/dial.ts";
import { forward } from "../upstream/forward.ts";
import { admit, type Costing } from "./admit.ts";
import type { Bill } from "./bill.ts";
import {
  noteAnswer,
  noteAsked,
  noteAttempt,
  noteBody,
  noteCaller,
  noteFirstByte,
  noteMoment,
  noteTotal,
  toServerTiming,
  type Exchange,
} from "./exchange.ts";
import type { InFlight } from "./in-flight.ts";
import { inspect, type Outgoing } from "./inspect.ts";
import { showModels } from "./models.ts";
import { relay, type Passage } from "./relay.ts";
import { Watch } from "./watch.ts";

/** Kept aside of a body, so that a call that never reached OpenAI can be sent again. */
const KEEP_BYTES = 1024 * 1024;

/** What the steps need beside the call itself. */
export interface Stages extends Costing {
  readonly config: Config;
  readonly inFlight: InFlight;
  readonly allowance: Allowance;
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
  let bill: Bill | undefined;
  try {
    inFlight.begin(watch, exchange);
    const asked = findOperation(exchange.method, target.path);
    noteAsked(exchange, asked, req);

    const caller = await stages.identify(req);
    noteCaller(exchange, caller);

    body = read(received, caller.policy, stages, watch);

    const parameters = authorize(caller.policy, asked, target, req.headers);
    const outgoing = await inspect(body, caller, parameters, req.headers, (error) => {
      watch.cancel(toGatewayError(error));
    });

    bill = await admit({ exchange, headers: req.headers, asked, caller, outgoing, body }, stages);
    for (const [name, value] of bill.headers) res.setHeader(name, value);

    watch.waitFor("firstByte");
    const call = toCall(received, caller, outgoing, body, watch, clock);
    const again = (): boolean => body?.replayable ?? true;
    const answer = await forward(call, counting(exchange, bill, stages), again, clock);
    body?.release();
    const reply = bill.open(await showModels(answer, caller.policy, asked));
    noteAnswer(exchange, reply, clock);

    res.setHeader("server-timing", toServerTiming(exchange, clock));
    const { operation } = asked;
    const { passed, begun } = noting(exchange, clock);
    await relay(reply, res, { watch, tap: bill, operation, passed, begun });
  } catch (thrown) {
    await bill?.settle(toGatewayError(thrown));
    throw thrown;
  } finally {
    await bill?.settle();
    noteTotal(exchange, bill?.total);
    exchange.requestBytes = body?.bytes ?? 0;
    body?.discard();
    watch.end();
    inFlight.end(watch);
  }
}

/** Opens the body; whoever needs it reads it, the rules or OpenAI. */
function read(
  { req, invite, exchange }: Received,
  { limits: { maxBodyBytes = Infinity } }: Policy,
  { config, allowance, clock }: Stages,
  watch: Watch,
): RequestBody | undefined {
  if (!hasBody(req.headers)) return undefined;
  if (req.readableDidRead) {
    throw new GatewayError(
      "internal_error",
      "The body was read before the gateway saw it: mount the gateway before body parsers.",
    );
  }
  return new RequestBody(req, {
    limitBytes: Math.min(config.server.maxBodyBytes, maxBodyBytes),
    keepBytes: KEEP_BYTES,
    allowance,
    cancellation: watch,
    invite,
    watcher: {
      waiting() {
        watch.waitFor("request");
        noteBody(exchange, true, clock);
      },
      moving() {
        watch.waitFor("firstByte");
        noteBody(exchange, false, clock);
      },
      failed: (error) => watch.cancel(error),
    },
  });
}

function toCall(
  { exchange, req: { method = "", headers: received }, target }: Received,
  { safetyIdentifier }: Caller,
  outgoing: Outgoing | undefined,
  body: RequestBody | undefined,
  cancellation: Cancellation,
  clock: Clock,
): ApiCall {
  const tell = (moment: Moment): void => {
    noteMoment(exchange, moment, clock);
    if (moment === "sent") body?.sent();
  };
  // Realtime's way to say it, which a client may have tried.
  const headers =
    safetyIdentifier === undefined
      ? received
      : { ...received, "openai-safety-identifier": safetyIdentifier };
  if (outgoing === undefined)
    return { method, target, headers, cancellation, tell, body: undefined };
  const { growthBytes } = outgoing;
  const length = Number(headers["content-length"]) + growthBytes;
  // NaN where the client sends in chunks, whose length nobody has to know.
  const grown = growthBytes !== 0 && length > 0;
  const sent = grown ? { ...headers, "content-length": String(length) } : headers;
  return { method, target, headers: sent, cancellation, tell, body: () => outgoing.pass() };
}

function noting(exchange: Exchange, clock: Clock): Pick<Passage, "passed" | "begun"> {
  return {
    passed(piece) {
      exchange.bodyAt ??= clock.elapsed(); // Where the transport has not told.
      exchange.responseBytes += piece.length;
    },
    begun: () => noteFirstByte(exchange, clock),
  };
}

function counting(exchange: Exchange, bill: Bill, { attempt, clock }: Stages): Attempt {
  return (call) => {
    call.cancellation.throwIfCancelled(); // The client may have left while others were asked.
    bill.begin();
    noteAttempt(exchange, clock);
    return attempt(call);
  };
}
