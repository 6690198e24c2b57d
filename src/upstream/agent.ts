// The runtime's own undici agent, reached without a dependency. Node has no official way to it
// (nodejs/node #43187), so everything here is found by looking, and done without when not found.
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import type { Config } from "../config/config.ts";

/** What Node's fetch takes as its `dispatcher`; browsers' types, an embedder's, have none. */
export type Dispatcher = RequestInit extends { dispatcher?: infer Known }
  ? NonNullable<Known>
  : never;

/**
 * A connection is asked for; it is there; the first of the request has gone out; the answer's head
 * is here; the first of its body is.
 */
export type Moment = "connecting" | "connected" | "sent" | "answered" | "firstByte";

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

const HIDDEN = "this runtime hides its fetch agent: calls are cut after 300 s without a byte";

/** undici tells here of every connection of the process. */
const CONNECTED = "undici:client:connected";

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

  /** For one call, and tells what becomes of it on the wire. */
  dispatcherFor(tell: (moment: Moment) => void): Dispatcher | undefined {
    if (this.#made === undefined) {
      this.#made = { dispatcher: createDispatcher(this.#timeouts) };
      if (this.#made.dispatcher === undefined) this.#warn(HIDDEN);
      subscribe(CONNECTED, this.#onConnected);
    }
    const { dispatcher } = this.#made;
    return dispatcher && watched(dispatcher, tell);
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

/** By the names that the handlers of undici 6 and 7 have, and those of 8. */
const MOMENTS: Readonly<Record<string, Moment>> = {
  onConnect: "connected",
  onRequestStart: "connected",
  onHeaders: "answered",
  onResponseStart: "answered",
  onData: "firstByte",
  onResponseData: "firstByte",
};
/** Handlers of fetch have none of these, and are told all the same. */
const ON_SENT = ["onBodySent", "onRequestSent"];

/** fetch takes its time before it sends and after it was answered: that is ours, not OpenAI's. */
function watched(dispatcher: Dispatcher, tell: (moment: Moment) => void): Dispatcher {
  const one: Dispatcher = Object.create(dispatcher);
  one.dispatch = (options, handler) => {
    tell("connecting");
    for (const name of ON_SENT) once(handler, name, () => tell("sent"));
    for (const [name, moment] of Object.entries(MOMENTS)) {
      if (name in handler) once(handler, name, () => tell(moment));
    }
    return dispatcher.dispatch(options, handler);
  };
  return one;
}

/** Runs before a method of an object is called for the first time. */
function once(handler: object, name: string, run: () => void): void {
  const original: unknown = Reflect.get(handler, name);
  Reflect.set(handler, name, (...args: unknown[]): unknown => {
    if (original === undefined) Reflect.deleteProperty(handler, name);
    else Reflect.set(handler, name, original);
    run();
    return typeof original === "function" ? Reflect.apply(original, handler, args) : undefined;
  });
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
