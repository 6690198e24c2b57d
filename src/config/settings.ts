// The settings that need no file, and how the command line says them.
import { parseArgs } from "node:util";
import { closest } from "./closest.ts";
import type { Limits } from "./config.ts";
import { ConfigError, type Problem } from "./reader.ts";

interface Setting {
  /** The environment variable. Its flag is the same in kebab case: PORT, --port. */
  readonly name: string;
  readonly path: string;
  readonly about: string;
  /** Has a …_FILE form, and no flag: `ps` shows the arguments of a process to everybody. */
  readonly secret?: true;
}

export const SETTINGS: readonly Setting[] = [
  {
    name: "OPENAI_API_KEY",
    path: "upstreams[0].apiKey",
    about: "OpenAI's key; required",
    secret: true,
  },
  {
    name: "OPENAI_BASE_URL",
    path: "upstreams[0].baseUrl",
    about: "default https://api.openai.com/v1",
  },
  {
    name: "OPENAI_ORG_ID",
    path: "upstreams[0].organization",
    about: "sent as openai-organization",
  },
  { name: "OPENAI_PROJECT_ID", path: "upstreams[0].project", about: "sent as openai-project" },
  {
    name: "UPSTREAM_TRANSPORT",
    path: "upstreams[0].transport",
    about: "fetch, or direct: faster; default fetch",
  },
  { name: "HOST", path: "server.host", about: "address to listen on; 127.0.0.1 while open" },
  { name: "PORT", path: "server.port", about: "default 3000; 0 takes any free one" },
  {
    name: "CORS_ORIGINS",
    path: "cors.origins",
    about: "exact origins with commas between; default *",
  },
  {
    name: "TRUSTED_PROXIES",
    path: "server.trustedProxies",
    about: "CIDR ranges of the proxies in front",
  },
  {
    name: "GATEWAY_KEYS",
    path: "access.keys",
    about: "who may call: name:key, commas between",
    secret: true,
  },
  {
    name: "TOKEN_SECRET",
    path: "access.tokens.secret",
    about: "signs minted tokens; 32 characters or more",
    secret: true,
  },
  {
    name: "TOKEN_SECRET_PREVIOUS",
    path: "access.tokens.previousSecret",
    about: "the one before, still accepted",
    secret: true,
  },
  { name: "ADMIN_KEY", path: "admin.key", about: "opens /admin/…", secret: true },
  {
    name: "ALLOWED_ENDPOINTS",
    path: "policies.default.endpoints",
    about: "what callers may use; default inference",
  },
  {
    name: "ALLOWED_MODELS",
    path: "policies.default.models",
    about: "models with commas between, * for any characters",
  },
  {
    name: "MAX_OUTPUT_TOKENS",
    path: "policies.default.maxOutputTokens",
    about: "caps the output of a call",
  },
  { name: "REQUESTS_PER_MINUTE", path: "policies.default.requestsPerMinute", about: "per caller" },
  { name: "TOKENS_PER_MINUTE", path: "policies.default.tokensPerMinute", about: "per caller" },
  { name: "CONCURRENT_REQUESTS", path: "policies.default.concurrentRequests", about: "per caller" },
  {
    name: "BUDGET",
    path: "policies.default.budget",
    about: "dollars per caller: 5/day, or 1/day,20/month",
  },
  {
    name: "SHARED_BUDGET",
    path: "policies.default.shared.budget",
    about: "dollars of all callers together: 100/month",
  },
  {
    name: "REDIS_URL",
    path: "store.redisUrl",
    about: "redis://… for limits that several gateways share",
    secret: true,
  },
  { name: "DATA_DIR", path: "store.dataDir", about: "where the records of calls are kept" },
  {
    name: "LOG_LEVEL",
    path: "log.level",
    about: "debug, info, warn, error or silent; default info",
  },
];

export interface CommandLine {
  /** Values of the settings' flags by their environment name. */
  readonly flags: ReadonlyMap<string, string>;
  /** The command, and what it is for. */
  readonly words: readonly string[];
  /** Everything given, by its name without dashes. */
  readonly options: ReadonlyMap<string, string>;
  readonly config: string | undefined;
  readonly mock: boolean;
  readonly json: boolean;
  readonly help: boolean;
  readonly version: boolean;
}

/** How the command `token` says a token's limits. */
export const LIMIT_FLAGS = (
  [
    "endpoints",
    "models",
    "maxOutputTokens",
    "maxChoices",
    "tools",
    "storedState",
    "serviceTiers",
    "maxBodyBytes",
    "origins",
    "safetyIdentifier",
    "requestsPerMinute",
    "tokensPerMinute",
    "concurrentRequests",
    "budget",
  ] as const satisfies readonly (keyof Limits)[]
).map((field) => ({
  field,
  flag: field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
}));

/** Options that only some commands take. */
const COMMAND_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  key: ["policy", "expires"],
  token: ["policy", "expires-in", ...LIMIT_FLAGS.map(({ flag }) => flag)],
  usage: ["by", "from", "to"],
  top: ["once"],
};

const FLAGGED = SETTINGS.filter(({ secret }) => secret !== true);

type Option = { readonly type: "string" | "boolean"; readonly short?: string };

const OPTIONS: Readonly<Record<string, Option>> = {
  config: { type: "string" },
  mock: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
  ...Object.fromEntries(FLAGGED.map(({ name }) => [toFlag(name), { type: "string" }])),
  ...Object.fromEntries(
    Object.values(COMMAND_OPTIONS)
      .flat()
      .map((name) => [name, { type: "string" }]),
  ),
  once: { type: "boolean" },
};

/** @throws ConfigError naming everything that is wrong with the options. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  // Not strict: Node's own messages name no likely option and stop at the first problem.
  const { tokens } = parseArgs({ args: [...args], options: OPTIONS, strict: false, tokens: true });
  const given = new Map<string, string>();
  const words: string[] = [];
  const problems: Problem[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const message = findMistake(token.name, token.value);
    if (message !== undefined) problems.push({ where: token.rawName, message });
    given.set(token.name, token.value ?? "");
  }
  problems.push(...findMisplaced([...given.keys()], words[0] ?? "start"));
  if (problems.length > 0) throw new ConfigError(problems);

  const flags = FLAGGED.flatMap(({ name }) => {
    const value = given.get(toFlag(name));
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    flags: new Map(flags),
    words,
    options: given,
    config: given.get("config"),
    mock: given.has("mock"),
    json: given.has("json"),
    help: given.has("help"),
    version: given.has("version"),
  };
}

function findMisplaced(names: readonly string[], command: string): readonly Problem[] {
  const general = new Set(FLAGGED.map(({ name }) => toFlag(name)));
  return names.flatMap((name) => {
    const limit = name.replace(/^(?:allowed|shared)-/, "");
    if (command === "token" && limit !== name && general.has(name)) {
      return [{ where: `--${name}`, message: `limits no token, did you mean "--${limit}"?` }];
    }
    const users = Object.keys(COMMAND_OPTIONS).filter((user) =>
      COMMAND_OPTIONS[user]?.includes(name),
    );
    if (users.length === 0 || users.includes(command) || general.has(name)) return [];
    return [{ where: `--${name}`, message: `is for the command ${users.join(" or ")}` }];
  });
}

/** None of the answers repeats a value: it may be a key that was typed in the wrong place. */
function findMistake(name: string, value: string | undefined): string | undefined {
  const secret = SETTINGS.find(
    (setting) => setting.secret === true && toFlag(setting.name) === name,
  );
  if (secret !== undefined) {
    return `is no option, for others see arguments: expected ${secret.name} in the environment`;
  }
  const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
  if (option === undefined) {
    // Everything is near to what has two letters.
    const known = Object.keys(OPTIONS).filter(({ length }) => length > 2);
    const near = closest(
      `--${name}`,
      known.map((each) => `--${each}`),
    );
    return `unknown option${near || "; see --help"}`;
  }
  if (option.type === "boolean") return value === undefined ? undefined : "takes no value";
  return value === undefined || value === "" || value.startsWith("-")
    ? "expected a value behind it"
    : undefined;
}

export function toFlag(name: string): string {
  return name.toLowerCase().replaceAll("_", "-");
}
