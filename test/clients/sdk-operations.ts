// Every HTTP operation and WebSocket that the installed official SDK knows, read from its code.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface SdkOperation {
  /** As in HTTP, or `WEBSOCKET`. */
  readonly method: string;
  /** Below the base URL, without a query; parameters are `{}`. */
  readonly template: string;
  /** What the SDK itself puts behind the path: `?beta=true`. */
  readonly search: string;
  /** Whether it takes an administrator's key instead of a project's. */
  readonly needsAdminKey: boolean;
  /** The file of the SDK, for messages. */
  readonly file: string;
}

const PACKAGE = new URL(".", import.meta.resolve("openai"));
// Resources call `this._client.get(path `/files/${fileID}`, …)`.
const CALL = /\._client\.(get|post|put|patch|delete|getAPIList|request)\(/g;
const PATH = /^\s*(?:path\s*)?(['"`])(\/[^'"`]*)\1/;
// Sockets name theirs before they build the URL.
const SOCKET =
  /(?:const endpoint = (?:path\s*)?|url\.pathname = )(['"`])(?:\$\{versionedPath\})?(\/[^'"`]*)\1/g;

/** @throws Error where a call is written in a way that is not understood: none is left out silently. */
export function readSdkOperations(): readonly SdkOperation[] {
  const found = new Map<string, SdkOperation>();
  for (const file of listFiles("resources/", "realtime/")) {
    const code = readFileSync(new URL(file, PACKAGE), "utf8");
    for (const operation of [...readCalls(code, file), ...readSockets(code, file)]) {
      found.set(`${operation.method} ${operation.template}${operation.search}`, operation);
    }
  }
  return [...found.values()];
}

function listFiles(...folders: readonly string[]): readonly string[] {
  return folders.flatMap((folder) => {
    const names = readdirSync(fileURLToPath(new URL(folder, PACKAGE)), { recursive: true });
    const paths = names.map((name) => folder + String(name).replaceAll("\\", "/"));
    return paths.filter((path) => path.endsWith(".mjs")).sort();
  });
}

function* readCalls(code: string, file: string): Iterable<SdkOperation> {
  for (const { 0: start, 1: verb = "", index } of code.matchAll(CALL)) {
    const argumentsText = upToClosing(code.slice(index + start.length));
    const path = PATH.exec(argumentsText)?.[2];
    if (path === undefined)
      throw new Error(`${file}: cannot read ${start}${argumentsText.slice(0, 80)}`);
    // Lists are fetched with GET unless they say otherwise: a search is a POST.
    const method =
      verb === "getAPIList" ? (/method: ['"](\w+)['"]/.exec(argumentsText)?.[1] ?? "get") : verb;
    yield toOperation(method, path, file, argumentsText.includes("adminAPIKeyAuth: true"));
  }
}

function* readSockets(code: string, file: string): Iterable<SdkOperation> {
  for (const match of code.matchAll(SOCKET)) yield toOperation("websocket", match[2] ?? "", file);
}

function toOperation(
  method: string,
  path: string,
  file: string,
  needsAdminKey = false,
): SdkOperation {
  const [template = "", query] = path.replace(/\$\{[^}]*\}/g, "{}").split("?");
  const search = query === undefined ? "" : `?${query}`;
  return { method: method.toUpperCase(), template, search, needsAdminKey, file };
}

function upToClosing(code: string): string {
  let depth = 1;
  for (const { 0: bracket, index } of code.matchAll(/[()]/g)) {
    depth += bracket === "(" ? 1 : -1;
    if (depth === 0) return code.slice(0, index);
  }
  return code;
}
