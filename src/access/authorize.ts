// May this caller do this? What of it shows without looking into the body.
import { INFERENCE_CLASSES } from "../config/config.ts";
import type { IncomingHttpHeaders } from "node:http";
import { GatewayError } from "../errors.ts";
import type { Target } from "../http/target.ts";
import { isAdministrative, type Asked } from "../openai/endpoints.ts";
import { findParameters, type Parameters } from "../openai/parameters.ts";
import { wrongModel, type Policy } from "./policy.ts";

/** All that OpenAI's API is made of. Nothing else goes up: `*` means paths; fetch has no TRACE. */
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/** OpenAI's calls with a body have no query, but for these. */
const HARMLESS_QUERY = /^(?:\?(?:beta=true|api-version=[\w.-]+))?$/;

/**
 * @returns where to look in the body, if the policy has rules for what is in one.
 * @throws GatewayError 403 for what the policy does not open, 404 and 405 for what OpenAI does not
 * have, as far as we know.
 */
export function authorize(
  policy: Policy,
  asked: Asked,
  { search }: Pick<Target, "search">,
  { origin }: IncomingHttpHeaders,
): Parameters | undefined {
  const { method, path, methods } = asked;
  if (method !== "WEBSOCKET" && !METHODS.includes(method)) {
    throw wrongMethod(method, methods.length > 0 ? methods : METHODS);
  }
  if (!policy.allows(asked)) throw notOpen(asked);
  checkOrigin(policy, origin);

  if (policy.limits.storedState === false) checkStateless(asked);

  const [, model] = /^\/models\/(.+)$/i.exec(path) ?? [];
  if (model !== undefined && policy.models !== undefined) {
    const name = decodeURIComponent(model);
    if (!policy.allowsModel(name)) throw wrongModel(policy, name);
  }

  const rules = policy.bodyRules;
  if (rules.length === 0) return undefined;
  const parameters = findParameters(asked);
  if (parameters === "nothing") return undefined;
  const blind = parameters === "unknown";
  if (blind || (parameters.uncapped && policy.limits.maxOutputTokens !== undefined)) {
    const held = blind ? rules.join(", ") : "maxOutputTokens";
    const message = `${describe(asked)} cannot be held to the rules of your access (${held}).`;
    throw new GatewayError("endpoint_not_allowed", message);
  }
  // Some servers that speak OpenAI's API let a query outdo the body.
  if (!HARMLESS_QUERY.test(search)) {
    throw new GatewayError("invalid_request", "Send no query: your access is held to the body.");
  }
  return parameters;
}

function checkOrigin({ limits: { origins } }: Policy, origin: string | undefined): void {
  if (origins === undefined || (origin !== undefined && origins.includes(origin))) return;
  const allowed = origins.join(", ") || "none";
  const message = `Your access is for pages of other origins. Allowed: ${allowed} (origins).`;
  throw new GatewayError("origin_not_allowed", message);
}

/** Whatever is not inference is about something that OpenAI keeps. */
function checkStateless(asked: Asked): void {
  const { operation } = asked;
  if (operation !== undefined && INFERENCE_CLASSES.includes(operation.class)) return;
  const message = `${describe(asked)} is about what OpenAI stores (storedState).`;
  throw new GatewayError("endpoint_not_allowed", message);
}

function notOpen(asked: Asked): GatewayError {
  const { method, path, operation, methods } = asked;
  const what = describe(asked);
  if (operation !== undefined || isAdministrative(method, path)) {
    return new GatewayError("endpoint_not_allowed", `${what} is not among the allowed endpoints.`);
  }
  if (methods.length > 0) return wrongMethod(method, methods);
  return new GatewayError("unknown_url", `Unknown request URL: ${what}.`);
}

function describe({ method, path, operation }: Asked): string {
  return `${method} ${operation?.template ?? path}`;
}

function wrongMethod(method: string, methods: readonly string[]): GatewayError {
  const allow = methods.filter((name) => name !== "WEBSOCKET");
  if (allow.length === 0 || (method === "GET" && methods.includes("WEBSOCKET"))) {
    return new GatewayError("upgrade_required", "Connect here with a WebSocket.");
  }
  return new GatewayError("method_not_allowed", `Use ${allow.join(" or ")} here.`, { allow });
}
