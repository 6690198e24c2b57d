// Every route of the gateway, one line each. What is not OpenAI's API is answered right here.
import type { ServerResponse } from "node:http";
import { GatewayError } from "../errors.ts";
import { sendJson, sendText } from "../http/respond.ts";
import type { Target } from "../http/target.ts";
import { sendDashboard } from "./dashboard.ts";

/** Both, so that an SDK's base URL may be either. */
export const API_PREFIXES = ["/api/openai/v1", "/v1"] as const;

/** What the pages may ask. */
export interface Health {
  readonly draining: boolean;
  /** What is not as it should be, though calls are served. */
  readonly problem: string | undefined;
}

type Page = (res: ServerResponse, health: Health) => void;

/** GET only. */
export const PAGES: ReadonlyMap<string, Page> = new Map<string, Page>([
  ["/", (res) => sendText(res, 200, "Welcome to the OpenAI Reverse Proxy!")],
  ["/healthz", (res) => sendJson(res, 200, { status: "ok" })],
  ["/readyz", (res, health) => sendReadiness(res, health)],
  ["/dashboard", sendDashboard],
]);

export type Route =
  /** OpenAI's API; the target is the rest, below the prefix. */
  | { readonly kind: "api"; readonly target: Target }
  | { readonly kind: "admin"; readonly target: Target }
  | { readonly kind: "page"; readonly path: string; readonly page: Page };

/** The operator's part: no page of another origin gets to see any of it. */
export function isPrivate({ path }: Target): boolean {
  return path.startsWith("/admin/") || path === "/metrics" || path === "/dashboard";
}

/** @throws GatewayError 404 or 405 */
export function findRoute(method: string, target: Target): Route {
  const { path, search } = target;
  const prefix = API_PREFIXES.find((candidate) => path.startsWith(`${candidate}/`));
  if (prefix !== undefined) {
    return { kind: "api", target: { path: path.slice(prefix.length), search } };
  }
  const page = PAGES.get(path);
  if (page === undefined && isPrivate(target)) return { kind: "admin", target };
  if (page === undefined) {
    throw new GatewayError("unknown_url", `Unknown request URL: ${method} ${path}.`);
  }
  if (method !== "GET" && method !== "HEAD") {
    const allow = ["GET", "HEAD"];
    throw new GatewayError("method_not_allowed", "Use GET here.", { allow });
  }
  return { kind: "page", path, page };
}

/** Without its store a gateway stays ready: else one store took all of them out at once. */
function sendReadiness(res: ServerResponse, { draining, problem }: Health): void {
  if (draining) res.setHeader("connection", "close");
  const status = problem === undefined ? "ready" : "degraded";
  sendJson(res, draining ? 503 : 200, { status: draining ? "draining" : status });
}
