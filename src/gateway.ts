// The library: wires the parts and owns what lives longer than a request. Importing it starts
// nothing, reads no environment and installs no signal handler.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { sentCredentials } from "./access/credential.ts";
import { createIdentify } from "./access/identify.ts";
import { systemClock, type Clock } from "./clock.ts";
import type { Config, ConfigInput } from "./config/config.ts";
import { parseConfig } from "./config/parse.ts";
import { secretsOf } from "./config/secrets.ts";
import { createAdmin, toAdminRoute, type Admin } from "./endpoints/admin.ts";
import { findRoute, isPrivate } from "./endpoints/routes.ts";
import { GatewayError, toGatewayError } from "./errors.ts";
import { Allowance } from "./http/allowance.ts";
import { dropRest } from "./http/body.ts";
import { createCloser, type Closer } from "./http/close.ts";
import { createCors, type Cors } from "./http/cors.ts";
import { checkRequestHeaders } from "./http/headers.ts";
import { sendError } from "./http/respond.ts";
import { createHttpServer, listen, pendingAnswer, writeRaw } from "./http/server.ts";
import { parseTarget, type Target } from "./http/target.ts";
import { Turns } from "./http/turns.ts";
import { checkHandshake } from "./http/upgrade.ts";
import { createExchange, type Exchange } from "./pipeline/exchange.ts";
import { InFlight } from "./pipeline/in-flight.ts";
import { report } from "./pipeline/report.ts";
import { serve, type Stages } from "./pipeline/serve.ts";
import { tunnel } from "./pipeline/tunnel.ts";
import { createAdmit } from "./quota/admit.ts";
import { PriceBook } from "./quota/price-book.ts";
import type { Secret } from "./secret.ts";
import { openStore } from "./store/open.ts";
import type { Store } from "./store/store.ts";
import { hideSecrets } from "./telemetry/hide-secrets.ts";
import { createStdoutLog, type Log } from "./telemetry/log.ts";
import { Agent } from "./upstream/agent.ts";
import { createAttempt, type Fetch } from "./upstream/attempt.ts";
import { createDial } from "./upstream/dial.ts";

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
  readonly #secrets: readonly Secret[];
  readonly #log: Log;
  readonly #cors: Cors;
  readonly #store: Store;
  readonly #admin: Admin;
  readonly #turns = new Turns();
  readonly #inFlight: InFlight;
  readonly #stages: Stages;
  /** Of an embedder's fetch it is none of our business. */
  readonly #agent: Agent | undefined;
  #closer: Closer | undefined;

  constructor(config: Config, { clock = systemClock, fetch, log, store }: Parts) {
    this.#config = config;
    this.#clock = clock;
    this.#secrets = secretsOf(config);
    this.#log = log ?? createStdoutLog(config.log.level, this.#secrets, clock);
    this.#cors = createCors(config.cors);
    this.#store = store ?? openStore(config, clock, this.#log.warn);
    this.#admin = createAdmin({ config, clock, store: this.#store });
    this.#inFlight = new InFlight(config.server.maxConcurrentRequests);
    if (fetch === undefined) this.#agent = new Agent(config.timeouts, this.#log.warn);
    const prices = new PriceBook(config.prices, clock);
    this.#stages = {
      config,
      clock,
      prices,
      admit: createAdmit(config.store, this.#store, prices, clock),
      inFlight: this.#inFlight,
      allowance: new Allowance(config.server.maxHeldBytes),
      identify: createIdentify(config, clock, globalThis.fetch),
      attempt: createAttempt(config.upstreams[0], fetch ?? globalThis.fetch, this.#agent),
      dial: createDial(config.upstreams[0], config.timeouts),
    };
  }

  readonly handle = (req: IncomingMessage, res: ServerResponse): void => {
    this.#begin(req, res, () => {});
  };

  readonly upgrade = (req: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // Pipelined behind a call that is still open: two answers would mix on one connection.
    if (pendingAnswer(socket) !== undefined) socket.destroy();
    // An embedder's log may throw; that must not end its process.
    else this.#connect(req, socket, head).catch(() => socket.destroy());
  };

  async listen(): Promise<{ readonly url: string; readonly port: number }> {
    const { server: settings } = this.#config;
    if (this.#closer !== undefined) throw new Error("This gateway listens already.");
    await this.#store.ready;
    const server = createHttpServer(settings, {
      request: (req, res, invite = () => {}) => this.#begin(req, res, invite),
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
    await this.#closer?.close(this.#clock);
    await this.#agent?.close();
    await this.#store.close();
  }

  #begin(req: IncomingMessage, res: ServerResponse, invite: () => void): void {
    this.#turns.wait(req, res, () => {
      this.#receive(req, res, invite).catch(() => res.destroy());
    });
  }

  /** The first of the nine verbs, the errors of all, and the report at the end. */
  async #receive(req: IncomingMessage, res: ServerResponse, invite: () => void): Promise<void> {
    const exchange = createExchange(req, this.#clock);
    try {
      res.setHeader("x-gateway-request-id", exchange.id);
      res.setHeader("x-request-id", exchange.id); // OpenAI's replaces it when there is one.
      const target = parseTarget(req.url ?? "");
      if (target === undefined || !isPrivate(target)) this.#cors.apply(req, res);
      if (this.#inFlight.draining) res.setHeader("connection", "close");
      await this.#route(exchange, target, req, res, invite);
      exchange.status = res.statusCode;
    } catch (thrown) {
      exchange.error = this.#clean(thrown, req);
      exchange.status = res.headersSent ? res.statusCode : exchange.error.status;
      if (!res.headersSent) answerError(res, exchange.error);
    }
    dropRest(req, this.#clock);
    report(exchange, this.#log, this.#clock);
  }

  async #route(
    exchange: Exchange,
    target: Target | undefined,
    req: IncomingMessage,
    res: ServerResponse,
    invite: () => void,
  ): Promise<void> {
    checkRequestHeaders(req);
    if (req.method === "OPTIONS" && !(target !== undefined && isPrivate(target))) {
      exchange.route = "OPTIONS";
      this.#cors.preflight(req, res);
      return;
    }
    const route = findRoute(exchange.method, known(target));
    if (route.kind === "api") {
      this.#cors.checkOrigin(req);
      await serve({ exchange, req, res, invite, target: route.target }, this.#stages);
    } else if (route.kind === "admin") {
      exchange.route = toAdminRoute(exchange.method, route.target.path);
      await this.#admin(req, res, route.target, invite);
    } else {
      exchange.route = `${exchange.method} ${route.path}`;
      const { draining } = this.#inFlight;
      route.page(res, { draining, problem: this.#store.problem });
    }
  }

  #clean(thrown: unknown, { headers }: IncomingMessage): GatewayError {
    return hideSecrets(toGatewayError(thrown), [...this.#secrets, ...sentCredentials(headers)]);
  }

  /** `#receive` for a WebSocket's handshake. */
  async #connect(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // A handed-over socket has no listener; without one a reset would end the process.
    socket.on("error", () => socket.destroy());
    const exchange = createExchange(req, this.#clock);
    try {
      checkRequestHeaders(req);
      checkHandshake(req);
      this.#cors.checkOrigin(req);
      const route = findRoute("GET", known(parseTarget(req.url ?? "")));
      if (route.kind !== "api") throw new GatewayError("invalid_request", "Nothing to upgrade to.");
      await tunnel({ exchange, req, socket, head, target: route.target }, this.#stages);
    } catch (thrown) {
      exchange.error = this.#clean(thrown, req);
      if (exchange.status === undefined) writeRaw(socket, exchange.error);
      else socket.destroy();
      exchange.status ??= exchange.error.status;
    }
    report(exchange, this.#log, this.#clock);
  }
}

function known(target: Target | undefined): Target {
  if (target !== undefined) return target;
  throw new GatewayError("invalid_request", "The request target is malformed or ambiguous.");
}

function answerError(res: ServerResponse, error: GatewayError): void {
  // Nobody is there to read it, or nobody reads.
  if (error.code === "client_gone" || error.code === "client_stalled") res.destroy();
  else sendError(res, error);
}
