// gateway.json, with `${NAME}` in its texts replaced from the environment.
import { existsSync, readFileSync } from "node:fs";
import { toReason, type Environment } from "./environment.ts";
import { Expanded, UNREADABLE } from "./expanded.ts";
import { isRecord, type Problem } from "./reader.ts";

export type Tree = { [key: string]: unknown };

const DEFAULT_FILE = "gateway.json";
/** How much V8 quotes on either side of a mistake. */
const EXCERPT_LENGTH = 10;

export interface SettingsFile {
  readonly name: string;
  readonly tree: Tree;
}

/** @param name the file, if the operator named one; then it has to exist. */
export function readSettingsFile(name: string | undefined, problems: Problem[]): SettingsFile {
  const file = name ?? DEFAULT_FILE;
  if (name === undefined && !existsSync(file)) return { name: file, tree: {} };
  const refuse = (message: string): SettingsFile => {
    problems.push({ where: file, message });
    // It may well name the key, so that one is not reported as missing.
    return { name: file, tree: { upstreams: [{ apiKey: UNREADABLE }] } };
  };
  let text = "";
  try {
    text = readFileSync(file, "utf8").replace(/^\uFEFF/, "");
    const parsed: unknown = JSON.parse(text);
    return isRecord(parsed)
      ? { name: file, tree: { ...parsed } }
      : refuse("expected a JSON object");
  } catch (error) {
    if (!(error instanceof SyntaxError)) return refuse(toReason(error));
    return refuse(`is not valid JSON near line ${toLineNumber(error.message, text)}`);
  }
}

/** V8 quotes the text around a mistake, which may be a key: only the place is taken from it. */
function toLineNumber(message: string, text: string): number {
  const position = /at position (\d+)/.exec(message)?.[1];
  const [, cut, excerpt] = /(\.\.\.)?"(.*?)"(?:\.\.\.)? is not valid JSON$/s.exec(message) ?? [];
  let at = text.length;
  if (position !== undefined) at = Number(position);
  else if (excerpt !== undefined)
    at = text.indexOf(excerpt) + (cut === undefined ? 0 : EXCERPT_LENGTH);
  return text.slice(0, at).split("\n").length;
}

/** Replaces `${NAME}` in every text by the environment's value. */
export function expand(tree: Tree, environment: Environment, problems: Problem[]): Tree {
  const expandText = (written: string, where: string): unknown => {
    let readable = true;
    const note = (message: string): void => {
      readable = false;
      problems.push({ where, message });
    };
    const text = written.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
      const { value } = environment.findSecret(name) ?? {};
      if (!/^\w+$/.test(name)) note(`expected the name of a variable in \${${name}}`);
      else if (value === undefined) note(`\${${name}} is not set`);
      if (typeof value === "string") return value;
      readable = false;
      return "";
    });
    if (!readable) return UNREADABLE;
    return text === written ? text : new Expanded(text, written);
  };

  const expandValue = (value: unknown, path: string): unknown => {
    if (typeof value === "string") return expandText(value, path);
    if (Array.isArray(value))
      return value.map((item, index) => expandValue(item, `${path}[${index}]`));
    return isRecord(value) ? expandMembers(value, `${path}.`) : value;
  };

  const expandMembers = (members: Readonly<Tree>, prefix: string): Tree =>
    Object.fromEntries(
      Object.entries(members).map(([key, item]) => [key, expandValue(item, `${prefix}${key}`)]),
    );

  return expandMembers(tree, "");
}
