// The first of the nine verbs: gives a request its id, its CORS headers and its route. And the last
// word on it: the errors of all verbs end here, and everybody is told what became of it.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { sentCredentials } from "../access/credential.ts";
import { GatewayError, toGatewayError } from "../errors.ts";
import { createCors, type Cors } from "../http/cors.ts";
import { dropRest } from "../http/drop-rest.ts";
import { checkRequestHeaders } from "../http/headers.ts";
import { sendError } from "../http/respond.ts";
import { pendingAnswer, writeRaw } from "../http/server.ts";
import { parseTarget, type Target } from "../http/target.ts";
import { Turns } from "../http/turns.ts";
import { checkHandshake } from "../http/upgrade.ts";
import { createExchange, type Exchange } from "../pipeline/exchange.ts";
import { report, type Reporting } from "../pipeline/report.ts";
import { serve, type Stages } from "../pipeline/serve.ts";
import { tunnel } from "../pipeline/tunnel.ts";
import type { Secret } from "../secret.ts";
import type { Store } from "../store/store.ts";
import { hideSecrets } from "../telemetry/hide-secrets.ts";
import { toAdminRoute, type Admin } from "./admin.ts";
import { checkOrigin } from "./admin-guard.ts";
import { findRoute, isPrivate } from "./routes.ts";

const ROUTE_CLASSES = { api: "other", admin: "operator", page: "page" } as const;

export interface ReceiverParts {
  readonly stages: Stages;
  readonly admin: Admin;
  readonly store: Store;
  readonly reporting: Reporting;
  /** No error message may have one. */
  readonly secrets: readonly Secret[];
}

export class Receiver {
  readonly #parts: ReceiverParts;
  readonly #cors: Cors;
  readonly #turns = new Turns();

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#cors = createCors(parts.stages.config.cors);
  }

  /** @param invite sends `100 Continue`, where the client waits for it. */
  request(req: IncomingMessage, res: ServerResponse, invite: () => void): void {
    this.#turns.wait(req, res, () => {
      // An embedder's log may throw; that must not end its process.
      this.#receive(req, res, invite).catch(() => res.destroy());
    });
  }

  /** A WebSocket's handshake. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Pipelined behind a call that is still open: two answers would mix on one connection.
    if (pendingAnswer(socket) !== undefined) socket.destroy();
    else this.#connect(req, socket, head).catch(() => socket.destroy());
  }

  async #receive(req: IncomingMessage, res: ServerResponse, invite: () => void): Promise<void> {
    const { stages, reporting } = this.#parts;
    const exchange = createExchange(req, stages.clock);
    try {
      res.setHeader("x-gateway-request-id", exchange.id);
      res.setHeader("x-request-id", exchange.id); // OpenAI's replaces it when there is one.
      const target = parseTarget(req.url ?? "");
      if (target === undefined || !isPrivate(target)) this.#cors.apply(req, res);
      if (stages.inFlight.draining) res.setHeader("connection", "close");
      await this.#route(exchange, target, req, res, invite);
      exchange.status = res.statusCode;
    } catch (thrown) {
      exchange.error = this.#clean(thrown, req);
      exchange.status = res.headersSent ? res.statusCode : exchange.error.status;
      if (!res.headersSent) answerError(res, exchange.error);
    }
    dropRest(req, stages.clock);
    report(exchange, reporting);
  }

  async #route(
    exchange: Exchange,
    target: Target | undefined,
    req: IncomingMessage,
    res: ServerResponse,
    invite: () => void,
  ): Promise<void> {
    const { stages, admin, store } = this.#parts;
    checkRequestHeaders(req);
    if (req.method === "OPTIONS" && !(target !== undefined && isPrivate(target))) {
      exchange.route = "OPTIONS";
      this.#cors.preflight(req, res);
      return;
    }
    const route = findRoute(exchange.method, known(target));
    exchange.routeClass = ROUTE_CLASSES[route.kind];
    if (route.kind === "api") {
      this.#cors.checkOrigin(req);
      await serve({ exchange, req, res, invite, target: route.target }, stages);
    } else if (route.kind === "admin") {
      exchange.route = toAdminRoute(exchange.method, route.target.path);
      await admin(req, res, route.target, invite);
    } else {
      exchange.route = `${exchange.method} ${route.path}`;
      if (isPrivate(known(target))) checkOrigin(req);
      const { draining } = stages.inFlight;
      route.page(res, { draining, problem: store.problem });
    }
  }

  async #connect(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { stages, reporting } = this.#parts;
    // A handed-over socket has no listener; without one a reset would end the process.
    socket.on("error", () => socket.destroy());
    const exchange = createExchange(req, stages.clock);
    try {
      checkRequestHeaders(req);
      checkHandshake(req);
      this.#cors.checkOrigin(req);
      const route = findRoute("GET", known(parseTarget(req.url ?? "")));
      if (route.kind !== "api") throw new GatewayError("invalid_request", "Nothing to upgrade to.");
      await tunnel({ exchange, req, socket, head, target: route.target }, stages);
    } catch (thrown) {
      exchange.error = this.#clean(thrown, req);
      if (exchange.status === undefined) writeRaw(socket, exchange.error);
      else socket.destroy();
      exchange.status ??= exchange.error.status;
    }
    report(exchange, reporting);
  }

  #clean(thrown: unknown, { headers }: IncomingMessage): GatewayError {
    const secrets = [...this.#parts.secrets, ...sentCredentials(headers)];
    return hideSecrets(toGatewayError(thrown), secrets);
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
