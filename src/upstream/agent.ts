// The runtime's own undici agent, reached without a dependency. Node has no official way to it
// (nodejs/node #43187), so everything here is found by looking, and done without when not found.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import type { Config } from "../config/config.ts";

/** What Node's fetch takes as its `dispatcher`; browsers' types, an embedder's, have none. */
export type Dispatcher = RequestInit extends { dispatcher?: infer Known }
  ? NonNullable<Known>
  : never;

// Node 26 keeps a wrapper for older undicis in slot 1 and the real agent in slot 2.
const SLOTS = [Symbol.for("undici.globalDispatcher.2"), Symbol.for("undici.globalDispatcher.1")];

/**
 * An agent of our own, so that nothing global changes under an embedder: without undici's 300 s
 * limits, HTTP/1.1 only (one socket per call: a cancelled stream disturbs no other), and with idle
 * sockets kept long enough to be used again.
 * @returns nothing where the runtime does not offer it.
 */
export function createDispatcher(timeouts: Config["timeouts"]): Dispatcher | undefined {
  void globalThis.Headers; // Reading it loads undici, which fills the slots.
  for (const slot of SLOTS) {
    const dispatcher = construct(Reflect.get(globalThis, slot), timeouts);
    if (dispatcher !== undefined) return dispatcher;
  }
  return undefined;
}

const UNUSABLE =
  "this process's fetch agent is not as Node makes it: calls go by plain fetch, which cuts them " +
  "after 300 s without a byte";

/** undici tells here of every connection of the process. */
const CONNECTED = "undici:client:connected";

// What undici says of a handler of another major's.
const MISFIT = /^invalid on\w+ method$/;

/** Made with the first call, as it makes Node load undici: some 15 ms of a start. */
export class Agent {
  /** Connections to the upstream's host, whoever of this process made them: open now, and ever. */
  openConnections = 0;
  connectionsOpened = 0;
  readonly #timeouts: Config["timeouts"];
  readonly #host: string;
  readonly #warn: (message: string) => void;
  #made: { readonly dispatcher: Dispatcher | undefined } | undefined;

  /** @param host of the upstream, with its port where that is not the scheme's own. */
  constructor(timeouts: Config["timeouts"], host: string, warn: (message: string) => void) {
    this.#timeouts = timeouts;
    this.#host = host;
    this.#warn = warn;
  }

  get dispatcher(): Dispatcher | undefined {
    if (this.#made === undefined) {
      const dispatcher = createDispatcher(this.#timeouts);
      this.#made = { dispatcher };
      if (dispatcher === undefined) this.#warn(UNUSABLE);
      subscribe(CONNECTED, this.#onConnected);
    }
    return this.#made.dispatcher;
  }

  /**
   * Whether a call by our dispatcher failed as that does not fit this runtime, which is so where
   * somebody has put an undici of another major into its slot. It was not sent; no other is so.
   */
  isRefusedBy(error: unknown): boolean {
    if (!isMisfit(error)) return false;
    const dispatcher = this.#made?.dispatcher;
    if (dispatcher === undefined) return true; // Another call was the first.
    dispatcher.destroy().catch(() => {});
    this.#made = { dispatcher: undefined };
    this.#warn(UNUSABLE);
    return true;
  }

  async close(): Promise<void> {
    unsubscribe(CONNECTED, this.#onConnected);
    await this.#made?.dispatcher?.destroy();
  }

  readonly #onConnected = (message: unknown): void => {
    const { connectParams, socket }: { connectParams?: { host?: string }; socket?: Socket } =
      Object(message);
    if (connectParams?.host !== this.#host || socket === undefined) return;
    this.openConnections++;
    this.connectionsOpened++;
    socket.once("close", () => this.openConnections--);
  };
}

/** Of the slot's own class, which is EnvHttpProxyAgent under NODE_USE_ENV_PROXY. */
function construct(current: unknown, timeouts: Config["timeouts"]): Dispatcher | undefined {
  if (typeof current !== "object" || current === null) return undefined;
  const options = {
    allowH2: false,
    connect: { timeout: timeouts.connectMs },
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
  };
  try {
    const made: unknown = Reflect.construct(Object(current).constructor, [options]);
    return isDispatcher(made) ? made : undefined;
  } catch {
    return undefined;
  }
}

function isDispatcher(value: unknown): value is Dispatcher {
  return typeof value === "object" && value !== null && "dispatch" in value && "destroy" in value;
}

function isMisfit(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return MISFIT.test(error.message) || isMisfit(error.cause);
}
