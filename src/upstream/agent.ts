// The runtime's own undici agent, reached without a dependency. Node has no official way to it
// (nodejs/node #43187), so everything here is found by looking, and done without when not found.
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

const HIDDEN = "this runtime hides its fetch agent: calls are cut after 300 s without a byte";

/** Made with the first call, as it makes Node load undici: some 15 ms of a start. */
export class Agent {
  readonly #timeouts: Config["timeouts"];
  readonly #warn: (message: string) => void;
  #made: { readonly dispatcher: Dispatcher | undefined } | undefined;

  constructor(timeouts: Config["timeouts"], warn: (message: string) => void) {
    this.#timeouts = timeouts;
    this.#warn = warn;
  }

  get dispatcher(): Dispatcher | undefined {
    if (this.#made === undefined) {
      this.#made = { dispatcher: createDispatcher(this.#timeouts) };
      if (this.#made.dispatcher === undefined) this.#warn(HIDDEN);
    }
    return this.#made.dispatcher;
  }

  async close(): Promise<void> {
    await this.#made?.dispatcher?.destroy();
  }
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
