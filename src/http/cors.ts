// CORS by hand (Fetch standard, "CORS protocol"). Every answer carries it, errors and streams too:
// without it a browser hides status and body from the page.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { CorsConfig } from "../config/config.ts";
import { GatewayError } from "../errors.ts";

const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE";
// What the official JavaScript SDK sends from a browser; used when the preflight lists nothing.
const REQUEST_HEADERS =
  "authorization, content-type, openai-organization, openai-project, openai-beta, " +
  "idempotency-key, x-client-request-id, x-stainless-lang, x-stainless-package-version, " +
  "x-stainless-os, x-stainless-arch, x-stainless-runtime, x-stainless-runtime-version, " +
  "x-stainless-retry-count, x-stainless-timeout, x-stainless-helper-method";
const EXPOSED_HEADERS =
  "x-request-id, x-gateway-request-id, x-ratelimit-limit-requests, x-ratelimit-limit-tokens, " +
  "x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, " +
  "x-ratelimit-reset-tokens, retry-after, retry-after-ms, x-should-retry, openai-processing-ms, " +
  "openai-version, location, server-timing, www-authenticate";
const PREFLIGHT_VARY = "origin, access-control-request-method, access-control-request-headers";
const TOKEN_LIST = /^[\w!#$%&'*+\-.^`|~, ]{1,4096}$/;

export interface Cors {
  /** Puts the headers on the response. To be called before anything can fail. */
  apply(req: IncomingMessage, res: ServerResponse): void;
  /** @throws GatewayError 403: the browser would hide the answer, but the call would be paid. */
  checkOrigin(req: IncomingMessage): void;
  /** Answers a preflight, before authentication: preflights carry no credentials. */
  preflight(req: IncomingMessage, res: ServerResponse): void;
}

export function createCors({ origins, credentials }: CorsConfig): Cors {
  const everyone = origins.includes("*");
  const allowed = new Set(origins);
  const allows = (origin: string | undefined): boolean =>
    everyone || origin === undefined || allowed.has(origin);

  return {
    apply({ headers: { origin } }, res) {
      res.setHeader("access-control-expose-headers", EXPOSED_HEADERS);
      if (everyone) {
        res.setHeader("access-control-allow-origin", "*");
        return;
      }
      // On every answer, also without an Origin: a cache must not hand one origin's to another.
      res.setHeader("vary", "origin");
      if (origin === undefined || !allowed.has(origin)) return;
      res.setHeader("access-control-allow-origin", origin);
      if (credentials) res.setHeader("access-control-allow-credentials", "true");
    },

    checkOrigin({ headers: { origin } }) {
      if (allows(origin)) return;
      throw new GatewayError("origin_not_allowed", "This origin may not use the gateway.");
    },

    preflight({ headers }, res) {
      res.setHeader("vary", PREFLIGHT_VARY);
      if (allows(headers.origin)) {
        const asked = headers["access-control-request-headers"] ?? "";
        res.setHeader("access-control-allow-methods", METHODS);
        // Echoed, as "*" would not cover Authorization.
        const allowed = TOKEN_LIST.test(asked) ? asked : REQUEST_HEADERS;
        res.setHeader("access-control-allow-headers", allowed);
        res.setHeader("access-control-max-age", "7200");
      }
      res.writeHead(204).end();
    },
  };
}
