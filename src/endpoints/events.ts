// `GET /admin/events`: what happens now, as server-sent events (WHATWG HTML §9.2). Every second is
// put into words once, for however many look.
import type { ServerResponse } from "node:http";
import type { Clock, Timer } from "../clock.ts";
import { GatewayError } from "../errors.ts";
import type { LiveFeed, Seen } from "../telemetry/live-feed.ts";

const TICK_MS = 1_000;
/** At one time. */
const VIEWER_LIMIT = 128;
/** Whoever is so far behind, and does not read on, is let go: it comes again, and starts anew. */
const BEHIND_LIMIT_BYTES = 1024 * 1024;
const GRACE_MS = 1_000;

const HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  "x-accel-buffering": "no", // nginx would hold events back.
};

export interface EventsParts {
  readonly feed: LiveFeed;
  readonly clock: Clock;
  /** What whoever begins to look has to know beside. */
  readonly introduce: () => object;
  /** How all is now. */
  readonly describe: () => object;
}

export class Events {
  readonly #parts: EventsParts;
  /** How many bytes each of them had not taken a second ago. */
  readonly #viewers = new Map<ServerResponse, number>();
  #seen: Seen;
  #timer: Timer | undefined;
  #closed = false;

  constructor(parts: EventsParts) {
    this.#parts = parts;
    this.#seen = parts.feed.seen();
  }

  /** How many look. */
  get viewers(): number {
    return this.#viewers.size;
  }

  /**
   * Resolves when the viewer has left, or was let go.
   * @throws GatewayError 503 when there are too many.
   */
  show(res: ServerResponse): Promise<void> {
    if (this.#viewers.size >= VIEWER_LIMIT) {
      const message = `More than ${VIEWER_LIMIT} look already.`;
      throw new GatewayError("overloaded", message, { retryAfterMs: 10_000 });
    }
    if (res.closed) return Promise.resolve(); // It left while others were answered.
    if (this.#closed) throw new GatewayError("draining", "The gateway has been closed.");
    if (this.#timer === undefined) this.#begin();
    const { feed, introduce } = this.#parts;
    res.writeHead(200, HEADERS);
    res.write(toEvent("hello", { ...introduce(), ...feed.past(this.#seen) }));
    this.#viewers.set(res, Infinity);
    return new Promise((resolve) => {
      res.once("close", () => {
        this.#viewers.delete(res);
        resolve();
      });
    });
  }

  /** Lets all of them go. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    const viewers = [...this.#viewers.keys()];
    for (const res of viewers) res.end();
    // Those that do not read would keep a server from closing.
    this.#parts.clock.after(GRACE_MS, () => {
      for (const res of viewers) res.socket?.destroy();
    });
  }

  #begin(): void {
    this.#seen = this.#parts.feed.seen();
    this.#timer = this.#parts.clock.after(TICK_MS, () => this.#tick());
  }

  #tick(): void {
    this.#timer = undefined;
    if (this.#viewers.size === 0) return;
    const { feed, describe } = this.#parts;
    const now = describe();
    const events = feed.news(this.#seen).map((news) => toEvent("tick", { ...news, ...now }));
    const text = events.join("");
    this.#begin();
    for (const [res, before] of this.#viewers) {
      const { writableLength: behind } = res;
      this.#viewers.set(res, behind);
      if (behind <= BEHIND_LIMIT_BYTES) res.write(text);
      else if (behind >= before) res.destroy();
    }
  }
}

function toEvent(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
