// `/admin/…`: for whoever has the admin key. To everybody else these paths do not exist.
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { CredentialError } from "../access/jwt.ts";
import { mint, parseGrant, toSecretKey } from "../access/tokens.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { ConfigError, isRecord } from "../config/reader.ts";
import { GatewayError } from "../errors.ts";
import { Allowance } from "../http/allowance.ts";
import { RequestBody } from "../http/body.ts";
import { sendJson } from "../http/respond.ts";
import type { Target } from "../http/target.ts";
import { StoreError, type Store } from "../store/store.ts";
import { parseUsageQuery, summarize } from "../usage/summary.ts";

const BODY_LIMIT_BYTES = 64 * 1024;
const BODY_TIMEOUT_MS = 10_000;

/** What the routes may ask. */
export interface AdminParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly store: Store;
}

/** A call of somebody who may. */
interface AdminCall extends AdminParts {
  readonly query: URLSearchParams;
  readonly readJson: () => Promise<unknown>;
}

/** By method and path. */
const ROUTES: ReadonlyMap<string, (call: AdminCall) => Promise<unknown>> = new Map([
  ["POST /admin/tokens", mintToken],
  ["GET /admin/usage", readUsage],
]);

export const ADMIN_ROUTES: readonly string[] = [...ROUTES.keys()];

/** For the log: no path that a stranger made up. */
export function toAdminRoute(method: string, path: string): string {
  return ROUTES.has(`${method} ${path}`) ? `${method} ${path}` : `${method} /admin/*`;
}

/** @throws GatewayError 400, 403, 404 or 413 */
export type Admin = (
  req: IncomingMessage,
  res: ServerResponse,
  target: Target,
  /** Sends `100 Continue`, where the client waits for it. */
  invite: () => void,
) => Promise<void>;

export function createAdmin(parts: AdminParts): Admin {
  const { config, clock } = parts;
  const key = config.admin && digest(config.admin.key.reveal());
  return async (req, res, { path, search }, invite) => {
    const [, given = ""] = /^Bearer +(\S+) *$/i.exec(req.headers.authorization ?? "") ?? [];
    const route = ROUTES.get(`${req.method} ${path}`);
    const allowed = key !== undefined && timingSafeEqual(key, digest(given));
    if (!allowed || route === undefined) {
      const what = `${req.method} ${path}`;
      throw new GatewayError("unknown_url", `Unknown request URL: ${what}.`);
    }
    checkOrigin(req);
    const query = new URLSearchParams(search);
    const answer = await route({ ...parts, query, readJson: () => readJson(req, invite, clock) });
    res.setHeader("cache-control", "no-store");
    sendJson(res, 200, answer);
  };
}

async function mintToken({ readJson, config, clock }: AdminCall): Promise<unknown> {
  const { tokens } = config.access ?? {};
  if (tokens === undefined) {
    throw new GatewayError("unknown_url", "No tokens are minted here: TOKEN_SECRET is not set.");
  }
  const raw = await readJson();
  try {
    return mint(parseGrant(raw, config), toSecretKey(tokens.secret.reveal()), clock);
  } catch (error) {
    if (error instanceof CredentialError) throw new GatewayError("invalid_request", error.message);
    if (!(error instanceof ConfigError)) throw error;
    const [first] = error.problems;
    const message = error.message.replaceAll("\n", "; ");
    throw new GatewayError("invalid_request", message, { param: first?.where ?? "" });
  }
}

async function readUsage({ query, clock, store }: AdminCall): Promise<unknown> {
  const asked = parseUsageQuery(query, clock.now());
  try {
    return summarize(await store.usage(asked.from, asked.to), asked);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const message = `The record cannot be read now: ${error.message}`;
    throw new GatewayError("store_unavailable", message, { retryAfterMs: 1_000, cause: error });
  }
}

/** A page of another origin has no business here, whatever key it got hold of. */
function checkOrigin({ headers: { origin, host } }: IncomingMessage): void {
  if (origin === undefined) return;
  if (URL.canParse(origin) && new URL(origin).host === host) return;
  throw new GatewayError("origin_not_allowed", "Pages of other origins may not come here.");
}

async function readJson(req: IncomingMessage, invite: () => void, clock: Clock): Promise<unknown> {
  const controller = new AbortController();
  const body = new RequestBody(req, {
    limitBytes: BODY_LIMIT_BYTES,
    keepBytes: 0,
    allowance: new Allowance(BODY_LIMIT_BYTES),
    watcher: { waiting: () => {}, moving: () => {}, failed: () => {} },
    invite,
    signal: controller.signal,
  });
  const deadline = clock.after(BODY_TIMEOUT_MS, () => {
    const message = "The rest of the request did not come in time.";
    controller.abort(new GatewayError("request_timeout", message));
  });
  try {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body.pass()) chunks.push(chunk);
    const parsed = parse(Buffer.concat(chunks));
    if (isRecord(parsed)) return parsed;
    throw new GatewayError("invalid_json", "Send a JSON object.");
  } finally {
    deadline.cancel();
  }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
