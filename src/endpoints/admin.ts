// `/admin/…` and `/metrics`: for whoever has the admin key. To everybody else they do not exist.
import type { IncomingMessage, ServerResponse } from "node:http";
import { sendJson, sendText } from "../http/respond.ts";
import type { Target } from "../http/target.ts";
import { CONTENT_TYPE } from "../telemetry/metric.ts";
import { listRevocations, liftRevocation, mintToken, revoke } from "./admin-access.ts";
import { readJson } from "./admin-body.ts";
import type { AdminCall, AdminParts } from "./admin-call.ts";
import { listCallers } from "./admin-callers.ts";
import { createGuard, unknown } from "./admin-guard.ts";
import { readSettings, readUpstreams, readUsage } from "./admin-state.ts";

/** Gives what is sent as JSON, or nothing where it has answered. */
type AdminRoute = (call: AdminCall) => Promise<object | void> | object | void;

/** By method and path. */
const ROUTES: ReadonlyMap<string, AdminRoute> = new Map<string, AdminRoute>([
  ["GET /metrics", ({ res, metrics }) => sendText(res, 200, metrics(), CONTENT_TYPE)],
  ["GET /admin/events", ({ res, events }) => events.show(res)],
  ["GET /admin/usage", readUsage],
  ["GET /admin/callers", listCallers],
  ["GET /admin/upstreams", readUpstreams],
  ["GET /admin/settings", readSettings],
  ["POST /admin/tokens", mintToken],
  ["GET /admin/revocations", listRevocations],
  ["POST /admin/revocations", revoke],
  ["DELETE /admin/revocations", liftRevocation],
]);

export const ADMIN_ROUTES: readonly string[] = [...ROUTES.keys()];

/** For the log: no path that a stranger made up. */
export function toAdminRoute(method: string, path: string): string {
  return ROUTES.has(`${method} ${path}`) ? `${method} ${path}` : `${method} /admin/*`;
}

/** @throws GatewayError 400, 403, 404, 408, 413, 429 or 503 */
export type Admin = (
  req: IncomingMessage,
  res: ServerResponse,
  target: Target,
  /** Sends `100 Continue`, where the client waits for it. */
  invite: () => void,
) => Promise<void>;

export function createAdmin(parts: AdminParts): Admin {
  const guard = createGuard(parts.config, parts.clock);
  return async (req, res, target, invite) => {
    guard(req, target);
    const route = ROUTES.get(`${req.method} ${target.path}`);
    if (route === undefined) throw unknown(req, target);
    res.setHeader("cache-control", "no-store");
    const answer = await route({
      ...parts,
      req,
      res,
      query: new URLSearchParams(target.search),
      readJson: () => readJson(req, invite, parts.clock),
    });
    if (answer !== undefined) sendJson(res, 200, answer);
  };
}
