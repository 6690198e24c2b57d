// Which operations a list of endpoints opens. Default-deny by method and path: OpenAI adds paths
// every month.
import { findOperation, isAdministrative, type Asked } from "../openai/endpoints.ts";

export type Matcher = (asked: Asked) => boolean;

/** @param endpoints class names, patterns, `*` and `admin`: what `Limits` says of them. */
export function compileEndpoints(endpoints: readonly string[]): Matcher {
  const words = new Set(endpoints.filter((text) => !text.includes(" ")));
  const matchers = endpoints.filter((text) => text.includes(" ")).map(compilePattern);
  return (asked) => {
    const { method, path, operation } = asked;
    if (operation !== undefined && words.has(operation.class)) return true;
    if (matchers.some((matches) => matches(asked))) return true;
    return words.has(isAdministrative(method, path) ? "admin" : "*");
  };
}

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
