// One call of an operator who may, and what it may ask.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import type { KnownCallers } from "../pipeline/known-callers.ts";
import { StoreError, type Store } from "../store/store.ts";
import type { Events } from "./events.ts";

/** What the routes may ask. */
export interface AdminParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly store: Store;
  readonly callers: KnownCallers;
  readonly events: Events;
  readonly version: () => string;
  /** How the upstream does, for the operator. */
  readonly upstream: () => object;
  /** In Prometheus' text format. */
  readonly metrics: () => string;
  /** Ends the open calls of a caller. */
  readonly endCallsOf: (caller: string) => void;
}

export interface AdminCall extends AdminParts {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly query: URLSearchParams;
  readonly readJson: () => Promise<Record<string, unknown>>;
}

/** @throws GatewayError 503 where the store cannot say. */
export async function askStore<Answer>(what: string, answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const message = `${what}: ${error.message}`;
    throw new GatewayError("store_unavailable", message, { retryAfterMs: 1_000, cause: error });
  }
}

/** @throws GatewayError 400 for a name that the route does not have, or has twice. */
export function checkQuery(query: URLSearchParams, known: readonly string[]): void {
  for (const param of query.keys()) {
    const twice = query.getAll(param).length > 1;
    if (known.includes(param) && !twice) continue;
    const message = `"${param}" is ${twice ? "there twice" : "unknown here"}.`;
    throw new GatewayError("invalid_request", message, { param });
  }
}
