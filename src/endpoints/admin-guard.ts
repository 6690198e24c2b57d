// Who may come to `/admin/…` and `/metrics`: whoever has the admin key, and no page but our own.
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import { clientAddress, toAddressSet, toNetwork } from "../http/address.ts";
import type { Target } from "../http/target.ts";

/** Wrong keys from one network: so many at once, and one more every 6 seconds. */
const GUESSES = 10;
const GUESS_MS = 6_000;
/** Networks known at one time; the others have their guesses together. */
const NETWORK_LIMIT = 10_000;
const OTHERS = "others";

/**
 * To be asked before anything is answered. To whoever has no key nothing is there.
 * @throws GatewayError 403, 404 or 429
 */
export type Guard = (req: IncomingMessage, target: Target) => void;

export function createGuard({ admin, server }: Config, clock: Clock): Guard {
  const key = admin && digest(admin.key.reveal());
  const trusted = toAddressSet(server.trustedProxies);
  const guesses = new Guesses(clock);
  return (req, target) => {
    const [, given] = /^Bearer +(\S+) *$/i.exec(req.headers.authorization ?? "") ?? [];
    if (key === undefined || given === undefined) throw unknown(req, target);
    const network = toNetwork(clientAddress(req, trusted));
    guesses.check(network);
    if (!timingSafeEqual(key, digest(given))) {
      guesses.add(network);
      throw unknown(req, target);
    }
    checkOrigin(req);
    checkSite(req);
  };
}

/**
 * A page of another origin has no business here, whatever key it got hold of.
 * @throws GatewayError 403
 */
export function checkOrigin({ headers: { origin, host } }: IncomingMessage): void {
  if (origin === undefined) return;
  if (URL.canParse(origin) && new URL(origin).host === host) return;
  throw foreign();
}

/** Browsers say who asks, also without an `Origin` (Fetch Metadata); no script makes them lie. */
function checkSite({ headers }: IncomingMessage): void {
  const { "sec-fetch-site": site = "none" } = headers;
  if (site !== "same-origin" && site !== "none") throw foreign();
}

function foreign(): GatewayError {
  return new GatewayError("origin_not_allowed", "Pages of other origins may not come here.");
}

export function unknown({ method = "" }: IncomingMessage, { path }: Target): GatewayError {
  return new GatewayError("unknown_url", `Unknown request URL: ${method} ${path}.`);
}

/** Leaky buckets: for each network how long until all of its guesses are forgotten. */
class Guesses {
  readonly #clock: Clock;
  readonly #fullUntil = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws GatewayError 429, also to whoever has the right key: else to guess it would do. */
  check(network: string): void {
    const waitMs = this.#leftMs(this.#place(network)) - (GUESSES - 1) * GUESS_MS;
    if (waitMs <= 0) return;
    const message = "Too many wrong admin keys from your network.";
    throw new GatewayError("rate_limit_exceeded", message, { retryAfterMs: waitMs });
  }

  add(network: string): void {
    const place = this.#place(network);
    this.#fullUntil.set(place, this.#clock.elapsed() + this.#leftMs(place) + GUESS_MS);
  }

  #leftMs(place: string): number {
    return Math.max(0, (this.#fullUntil.get(place) ?? 0) - this.#clock.elapsed());
  }

  #place(network: string): string {
    if (this.#fullUntil.has(network) || this.#fullUntil.size < NETWORK_LIMIT) return network;
    const now = this.#clock.elapsed();
    for (const [known, until] of this.#fullUntil) if (until <= now) this.#fullUntil.delete(known);
    return this.#fullUntil.size < NETWORK_LIMIT ? network : OTHERS;
  }
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
