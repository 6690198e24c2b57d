// Takes what a call may come to from everybody's quotas that it counts against, and opens its bill.
import type { IncomingHttpHeaders } from "node:http";
import type { Caller } from "../access/caller.ts";
import { sentCredentials } from "../access/credential.ts";
import type { Clock } from "../clock.ts";
import type { RequestBody } from "../http/body.ts";
import type { Asked } from "../openai/endpoints.ts";
import { findParameters, type Parameters } from "../openai/parameters.ts";
import type { Admit } from "../quota/admit.ts";
import type { PriceBook } from "../quota/price-book.ts";
import { redact } from "../telemetry/log.ts";
import { Bill } from "./bill.ts";
import type { Exchange } from "./exchange.ts";
import type { Outgoing } from "./inspect.ts";

export interface Costing {
  readonly admit: Admit;
  readonly prices: PriceBook;
  readonly clock: Clock;
}

export interface AskedCall {
  readonly exchange: Exchange;
  readonly headers: IncomingHttpHeaders;
  readonly asked: Asked;
  readonly caller: Caller;
  /** Of a request with a body. */
  readonly outgoing?: Outgoing | undefined;
  readonly body?: RequestBody | undefined;
}

/** @throws GatewayError 403 for what has no price, 429 for what is too much, 503 */
export async function admit(call: AskedCall, { admit, prices, clock }: Costing): Promise<Bill> {
  const { exchange, headers, asked, caller, outgoing, body } = call;
  const { demand, hidesUsage = false } = outgoing ?? {};
  const parameters = toBilled(findParameters(asked));
  const announced = Number(headers["content-length"]) || undefined;
  const admission = await admit(caller, {
    id: exchange.id,
    demand,
    output: typeof parameters === "object" ? parameters.output : "nothing",
    bodyBytes: body?.complete === true ? body.bytes : announced,
  }).catch((refusal: unknown) => {
    // Clients may make names up: only one that there is gets told.
    if (prices.find(demand?.model) !== undefined) exchange.model = demand?.model;
    throw refusal;
  });
  return new Bill({
    id: exchange.id,
    route: exchange.route ?? exchange.method,
    caller,
    admission,
    parameters,
    demand,
    hidesUsage,
    body,
    prices,
    clock,
    clean: (name) => redact(name, sentCredentials(headers)),
  });
}

/** Nothing for what costs nothing. */
function toBilled(found: ReturnType<typeof findParameters>): Parameters | "unknown" | undefined {
  return found === "nothing" || (found !== "unknown" && found.free) ? undefined : found;
}
