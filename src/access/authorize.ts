// May this caller do this? Default-deny by method and path: OpenAI adds paths every month.
import type { PolicyConfig } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import { findOperation, isAdministrative, type Asked } from "../openai/endpoints.ts";

export interface Policy {
  readonly name: string;
  allows(asked: Asked): boolean;
}

/** All that OpenAI's API is made of. Nothing else goes up: `*` means paths; fetch has no TRACE. */
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

export function compilePolicy(name: string, { endpoints }: PolicyConfig): Policy {
  const words = new Set(endpoints.filter((text) => !text.includes(" ")));
  const patterns = endpoints.filter((text) => text.includes(" "));
  const matchers = patterns.map(compilePattern);
  return {
    name,
    allows(asked) {
      const { method, path, operation } = asked;
      if (operation !== undefined && words.has(operation.class)) return true;
      if (matchers.some((matches) => matches(asked))) return true;
      return words.has(isAdministrative(method, path) ? "admin" : "*");
    },
  };
}

type Matcher = (asked: Asked) => boolean;

/**
 * `GET /files/{id}` means every path of that shape, `GET /files/file-1` that path alone. A shape
 * covers no other operation of OpenAI's (`POST /threads/{id}` is not `POST /threads/runs`), and no
 * administrative path unless it is one itself.
 */
function compilePattern(pattern: string): Matcher {
  const [allowed = "", template = ""] = pattern.split(" ");
  const known = findOperation(allowed, template).operation;
  const segments = template.split("/");
  const opensAdmin = isAdministrative(allowed, template) && !template.startsWith("/{");
  return ({ method, path, operation }) => {
    if (method !== allowed && !(method === "HEAD" && allowed === "GET")) return false;
    if (operation !== undefined && operation !== known) return false;
    if (isAdministrative(method, path) && !opensAdmin) return false;
    const parts = path.split("/");
    return (
      parts.length === segments.length &&
      segments.every((segment, index) =>
        segment.startsWith("{") ? parts[index] !== "" : segment === parts[index],
      )
    );
  };
}

/**
 * @throws GatewayError 403 for what the policy does not open, 404 and 405 for what OpenAI does not
 * have, as far as we know.
 */
export function authorize(policy: Policy, asked: Asked): void {
  const { method, path, operation, methods } = asked;
  if (method !== "WEBSOCKET" && !METHODS.includes(method)) {
    throw wrongMethod(method, methods.length > 0 ? methods : METHODS);
  }
  if (policy.allows(asked)) return;
  const what = `${method} ${operation?.template ?? path.slice(0, 200)}`;
  if (operation !== undefined || isAdministrative(method, path)) {
    throw new GatewayError("endpoint_not_allowed", `${what} is not among the allowed endpoints.`);
  }
  if (methods.length > 0) throw wrongMethod(method, methods);
  throw new GatewayError("unknown_url", `Unknown request URL: ${what}.`);
}

function wrongMethod(method: string, methods: readonly string[]): GatewayError {
  const allow = methods.filter((name) => name !== "WEBSOCKET");
  if (allow.length === 0 || (method === "GET" && methods.includes("WEBSOCKET"))) {
    return new GatewayError("upgrade_required", "Connect here with a WebSocket.");
  }
  return new GatewayError("method_not_allowed", `Use ${allow.join(" or ")} here.`, { allow });
}
