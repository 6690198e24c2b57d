// The library: wires the parts and owns what lives longer than a request. Importing it starts
// nothing, reads no environment and installs no signal handler.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { createIdentify } from "./access/identify.ts";
import { systemClock, type Clock } from "./clock.ts";
import type { Config, ConfigInput } from "./config/config.ts";
import { parseConfig } from "./config/parse.ts";
import { secretsOf } from "./config/secrets.ts";
import { Operations } from "./endpoints/operations.ts";
import { Receiver } from "./endpoints/receive.ts";
import { Allowance } from "./http/allowance.ts";
import { createCloser, type Closer } from "./http/close.ts";
import { createHttpServer, listen } from "./http/server.ts";
import { InFlight } from "./pipeline/in-flight.ts";
import { KnownCallers } from "./pipeline/known-callers.ts";
import { createAdmit } from "./quota/admit.ts";
import { PriceBook } from "./quota/price-book.ts";
import { openStore } from "./store/open.ts";
import type { Store } from "./store/store.ts";
import { createStdoutLog, type Log } from "./telemetry/log.ts";
import { Agent } from "./upstream/agent.ts";
import { createDial } from "./upstream/dial.ts";
import { createDirectAttempt } from "./upstream/direct.ts";
import { createFetchAttempt, type Fetch } from "./upstream/fetch.ts";

export { mintToken, type Grant, type MintedToken } from "./access/tokens.ts";
export type { Clock, Timer } from "./clock.ts";
export type { Config, ConfigInput, Limits, LimitsInput } from "./config/config.ts";
export { ConfigError, type Problem } from "./config/reader.ts";
export type { ErrorCode, ErrorEnvelope } from "./errors.ts";
export type { Log, LogFields } from "./telemetry/log.ts";
export type * from "./store/store.ts";

/** What an embedder may replace. */
export interface Parts {
  readonly clock?: Clock;
  /** Instead of global fetch; it then owns connecting, pooling and the connect clock. */
  readonly fetch?: Fetch;
  /** Instead of JSON lines on stdout. */
  readonly log?: Log;
  /** Instead of the one that `store` in the settings describes; closed with the gateway. */
  readonly store?: Store;
}

export interface Gateway {
  /** A request listener, bound: for `http.createServer`, or `app.use` before any body parser. */
  readonly handle: (req: IncomingMessage, res: ServerResponse) => void;
  /** For the server's `upgrade` event: WebSockets to OpenAI. */
  readonly upgrade: (req: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /**
   * Listens on a server of its own, at `server.host` and `server.port`.
   * @throws Node's own errors, such as EADDRINUSE, and one for a directory that is not writable.
   */
  listen(): Promise<{ readonly url: string; readonly port: number }>;
  /** Takes no new calls, waits `server.drainSeconds` for the open ones, then ends them. */
  close(): Promise<void>;
}

/**
 * Makes a gateway from plain settings.
 * @throws ConfigError naming everything that is wrong with them.
 */
export function createGateway(settings: ConfigInput, parts: Parts = {}): Gateway {
  return new OpenAIGateway(parseConfig(settings), parts);
}

/** The same from settings that are parsed already. */
export class OpenAIGateway implements Gateway {
  readonly #config: Config;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #store: Store;
  readonly #inFlight: InFlight;
  readonly #operations: Operations;
  readonly #receiver: Receiver;
  /** Of an embedder's fetch it is none of our business. */
  readonly #agent: Agent | undefined;
  #closer: Closer | undefined;

  constructor(config: Config, { clock = systemClock, fetch, log, store }: Parts) {
    const secrets = secretsOf(config);
    const [upstream] = config.upstreams;
    this.#config = config;
    this.#clock = clock;
    this.#log = log ?? createStdoutLog(config.log.level, secrets, clock);
    this.#store = store ?? openStore(config, clock, this.#log.warn);
    this.#inFlight = new InFlight(config.server.maxConcurrentRequests);
    if (fetch === undefined) {
      this.#agent = new Agent(config.timeouts, upstream.baseUrl.host, this.#log.warn);
    }
    const prices = new PriceBook(config.prices, clock);
    const callers = new KnownCallers(clock);
    const revoked = (caller: string): boolean => this.#store.revoked(caller);
    this.#operations = new Operations({
      config,
      clock,
      log: this.#log,
      store: this.#store,
      inFlight: this.#inFlight,
      callers,
      agent: this.#agent,
    });
    const { admin, observers } = this.#operations;
    const byFetch = createFetchAttempt(upstream, fetch ?? globalThis.fetch, this.#agent);
    const direct = upstream.transport === "direct" && this.#agent;
    const attempt = direct ? createDirectAttempt(upstream, direct, byFetch) : byFetch;
    const stages = {
      config,
      clock,
      prices,
      admit: createAdmit(config.store, this.#store, prices, clock),
      inFlight: this.#inFlight,
      allowance: new Allowance(config.server.maxHeldBytes),
      identify: callers.watch(createIdentify(config, clock, globalThis.fetch, revoked)),
      attempt: this.#operations.watch(attempt),
      dial: createDial(upstream, config.timeouts),
    };
    const reporting = { clock, prices, observers };
    this.#receiver = new Receiver({ stages, admin, store: this.#store, reporting, secrets });
  }

  readonly handle = (req: IncomingMessage, res: ServerResponse): void => {
    this.#receiver.request(req, res, () => {});
  };

  readonly upgrade = (req: IncomingMessage, socket: Duplex, head: Buffer): void => {
    this.#receiver.upgrade(req, socket, head);
  };

  async listen(): Promise<{ readonly url: string; readonly port: number }> {
    const { server: settings } = this.#config;
    if (this.#closer !== undefined) throw new Error("This gateway listens already.");
    await Promise.all([this.#store.ready, this.#operations.ready]);
    const server = createHttpServer(settings, {
      request: (req, res, invite = () => {}) => this.#receiver.request(req, res, invite),
      upgrade: this.upgrade,
      refused: ({ code, message }) => this.#log.debug("refused", { error: code, reason: message }),
    });
    const closer = createCloser(server);
    const { address, family, port } = await listen(server, settings);
    this.#closer = closer;
    const host = family === "IPv6" ? `[${address}]` : address;
    return { url: `http://${host}:${port}`, port };
  }

  async close(): Promise<void> {
    const deadline = this.#clock.after(this.#config.server.drainSeconds * 1_000, () => {
      this.#inFlight.cancelAll();
    });
    await this.#inFlight.drain();
    deadline.cancel();
    // Until here it listened, so that probes and balancers could see it drain.
    await Promise.all([this.#operations.close(), this.#closer?.close(this.#clock)]);
    await this.#agent?.close();
    await this.#store.close();
  }
}
