// Finds the raw settings: flags, the environment (a .env file included), gateway.json.
// The only file that reads process.env.
import { existsSync, readFileSync } from "node:fs";
import type { Config } from "./config.ts";
import { Environment, toReason, type Found } from "./environment.ts";
import { expand, readSettingsFile, type Tree } from "./file.ts";
import { parseConfig } from "./parse.ts";
import { readOtlp } from "./parse-otlp.ts";
import { ConfigError, isRecord, type Problem } from "./reader.ts";
import { SETTINGS, toFlag, type CommandLine } from "./settings.ts";

export interface Loaded {
  readonly config: Config;
  /** What looks like a mistake but stops nothing. */
  readonly hints: readonly Problem[];
  /** Where the setting at these steps was set: "PORT", "--port", the file's name, or "default". */
  sourceOf(steps: readonly string[]): string;
}

/**
 * Reads the file, the environment over it and the flags over both.
 * @param mockUrl the only upstream, whatever the settings say: with --mock nothing may be spent.
 * @throws ConfigError naming all problems at once.
 */
export function loadConfig(commandLine: CommandLine, mockUrl?: string): Loaded {
  const problems: Problem[] = [];
  loadEnvFile(problems);
  const environment = new Environment(process.env, problems);
  const file = readSettingsFile(commandLine.config ?? environment.get("GATEWAY_CONFIG"), problems);
  // Before `${…}` is looked at: the mock needs no key.
  const upstreams = mockUrl && { upstreams: [{ name: "mock", baseUrl: mockUrl, apiKey: "mock" }] };
  const tree = expand({ ...file.tree, ...upstreams }, environment, problems);
  const origins = overlay(tree, environment, commandLine.flags);
  const hints: Problem[] = [];
  // They may be there for other programs: what is wrong with them stops nothing.
  const otlp = readOtlp((name) => environment.get(name), hints, hints);
  const config = parse(tree, origins, problems);
  hints.push(...environment.findNearMisses());
  if (config === undefined) throw new ConfigError([...problems, ...hints]);
  return {
    config: otlp === undefined ? config : { ...config, otlp },
    hints,
    sourceOf: (steps) => {
      // A variable may have set all that is below a path, as GATEWAY_KEYS does.
      const paths = steps.map((_, index) => toPath(steps.slice(0, index + 1)));
      const origin = paths.findLast((path) => origins.has(path));
      const whole = origin !== undefined && origin !== paths.at(-1);
      if (!whole && !has(tree, steps)) return "default";
      return origins.get(origin ?? "") ?? file.name;
    },
  };
}

/** `keys[0].name`. */
export function toPath(steps: readonly string[]): string {
  return steps.reduce((path, step) => path + (/^\d+$/.test(step) ? `[${step}]` : `.${step}`));
}

/** None when there are problems, its own or earlier ones. */
function parse(
  tree: Tree,
  origins: ReadonlyMap<string, string>,
  problems: Problem[],
): Config | undefined {
  try {
    const config = parseConfig(tree, origins);
    return problems.length === 0 ? config : undefined;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}

/** The environment wins over the file (Node's rule), but for `PORT=`, which says nothing. */
function loadEnvFile(problems: Problem[]): void {
  if (!existsSync(".env")) return;
  const refuse = (message: string): void => void problems.push({ where: ".env", message });
  try {
    // Notepad and PowerShell put it there; to Node it is a part of the first name.
    if (/^(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)/.test(readFileSync(".env", "latin1"))) {
      return refuse("starts with a byte-order mark: expected UTF-8 without one");
    }
    const empty = Object.keys(process.env).filter((name) => process.env[name] === "");
    for (const name of empty) delete process.env[name];
    process.loadEnvFile(".env");
  } catch (error) {
    refuse(toReason(error));
  }
}

/** Lays environment and flags over the file's tree; tells where each value is from. */
function overlay(
  tree: Tree,
  environment: Environment,
  flags: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const origins = new Map<string, string>();
  for (const { name, path, secret } of SETTINGS) {
    const flag = flags.get(name);
    const found: Found | undefined =
      flag === undefined
        ? environment[secret === true ? "findSecret" : "find"](name)
        : { value: flag, from: `--${toFlag(name)}` };
    const target = findTarget(tree, path, found !== undefined);
    if (target === undefined) continue;
    if (found !== undefined) target.parent[target.key] = found.value;
    // What is missing is known by the name that it could have been set by.
    const missing = target.parent[target.key] === undefined;
    if (found !== undefined || missing) origins.set(path, found?.from ?? name);
  }
  return origins;
}

/**
 * The object that a setting's path ends in, made in the tree where `grow` says so. None where the
 * file has another shape there (the parser says so), or where OPENAI_… would describe an upstream
 * of another name: OpenAI's key must not reach somebody else's server.
 */
function findTarget(
  tree: Tree,
  path: string,
  grow: boolean,
): { parent: Tree; key: string } | undefined {
  const steps = path.split(/\.|\[0\]\.?/);
  const key = steps.pop() ?? "";
  let parent = tree;
  for (const step of steps) {
    const absent = parent[step] === undefined;
    if (absent && grow) parent[step] = step === "upstreams" ? [{}] : {};
    const next: unknown = step === "upstreams" ? first(parent[step]) : parent[step];
    if (absent && !grow) return { parent: {}, key };
    if (!isTree(next)) return undefined;
    parent = next;
  }
  if (steps[0] === "upstreams" && (parent["name"] ?? "openai") !== "openai") return undefined;
  return { parent, key };
}

function first(value: unknown): unknown {
  return Array.isArray(value) ? value[0] : undefined;
}

function isTree(value: unknown): value is Tree {
  return isRecord(value);
}

function has(tree: unknown, [step, ...rest]: readonly string[]): boolean {
  if (step === undefined) return tree !== undefined;
  return Object.hasOwn(Object(tree), step) && has(Object(tree)[step], rest);
}
