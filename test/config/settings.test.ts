// The command line says what it does not understand, all of it at once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMIT_FLAGS, SETTINGS, parseCommandLine, toFlag } from "../../src/config/settings.ts";
import { linesOf } from "./support.ts";

function refusal(args: readonly string[]): readonly string[] {
  return linesOf(() => parseCommandLine(args));
}

test("takes flags in both notations, words, and the last of two values", () => {
  const parsed = parseCommandLine([
    "check",
    "--port=1",
    "--host",
    "::",
    "--port",
    "2",
    "--json",
    "--config",
    "a.json",
  ]);

  assert.deepEqual(
    [...parsed.flags],
    [
      ["HOST", "::"],
      ["PORT", "2"],
    ],
  );
  assert.deepEqual(parsed, {
    ...parsed,
    words: ["check"],
    config: "a.json",
    json: true,
    mock: false,
  });
});

test("takes -h and -v, also together", () => {
  const { help, version } = parseCommandLine(["-hv"]);

  assert.deepEqual([help, version], [true, true]);
});

test("every setting but the secret ones has a flag, named after the variable", () => {
  for (const { name, secret } of SETTINGS) {
    const args = [`--${toFlag(name)}`, "1"];
    if (secret === true) {
      assert.deepEqual(refusal(args), [
        `--${toFlag(name)}: is no option, for others see arguments: ` +
          `expected ${name} in the environment`,
      ]);
    } else assert.deepEqual([...parseCommandLine(args).flags], [[name, "1"]]);
  }
});

const NO_OPTION = "is no option, for others see arguments: expected";

const WRONG = [
  [["--prot", "1"], ['--prot: unknown option, did you mean "--port"?']],
  [["--frobnicate"], ["--frobnicate: unknown option; see --help"]],
  [["-p", "1"], ["-p: unknown option; see --help"]],
  [["--constructor"], ["--constructor: unknown option; see --help"]],
  [["--port"], ["--port: expected a value behind it"]],
  [["--port="], ["--port: expected a value behind it"]],
  [["--config", "--mock"], ["--config: expected a value behind it"]],
  [["--mock=no"], ["--mock: takes no value"]],
  [
    ["--openai-api-key=sk-1"],
    [
      "--openai-api-key: is no option, for others see arguments: " +
        "expected OPENAI_API_KEY in the environment",
    ],
  ],
  [
    ["--mokc", "--por", "1"],
    [
      '--mokc: unknown option, did you mean "--mock"?',
      '--por: unknown option, did you mean "--port"?',
    ],
  ],
  [["--policy", "demo"], ["--policy: is for the command key or token"]],
  [["check", "--expires", "90d"], ["--expires: is for the command key"]],
  [["token", "alice", "--expires", "90d"], ["--expires: is for the command key"]],
  [["health", "--models", "gpt-4o"], ["--models: is for the command token"]],
  [
    ["key", "backend", "--expires-in", "60", "--stored-state", "false"],
    ["--expires-in: is for the command token", "--stored-state: is for the command token"],
  ],
  [["key", "backend", "--policy"], ["--policy: expected a value behind it"]],
  [["key", "backend", "--expires", "-1d"], ["--expires: expected a value behind it"]],
  [["key", "--polcy", "demo"], ['--polcy: unknown option, did you mean "--policy"?']],
  [
    ["token", "alice", "--shared-budget", "1/day"],
    ['--shared-budget: limits no token, did you mean "--budget"?'],
  ],
  [
    ["start", "--redis-url", "redis://:seeded@h"],
    [`--redis-url: ${NO_OPTION} REDIS_URL in the environment`],
  ],
  [["token", "--model", "gpt-4o"], ['--model: unknown option, did you mean "--models"?']],
] as const;

for (const [args, lines] of WRONG) {
  test(`refuses ${args.join(" ")}`, () => {
    assert.deepEqual(refusal(args), lines);
  });
}

test("takes a token's limits as options of `token`, in kebab case, one per field of a policy", () => {
  const args = LIMIT_FLAGS.flatMap(({ flag }) => [`--${flag}`, "1"]);

  const { options } = parseCommandLine(["token", "alice", ...args]);

  assert.deepEqual([...options.keys()].sort(), [
    "budget",
    "concurrent-requests",
    "endpoints",
    "max-body-bytes",
    "max-choices",
    "max-output-tokens",
    "models",
    "origins",
    "requests-per-minute",
    "safety-identifier",
    "service-tiers",
    "stored-state",
    "tokens-per-minute",
    "tools",
  ]);
});

const BOTH = [
  ["max-output-tokens", "MAX_OUTPUT_TOKENS"],
  ["requests-per-minute", "REQUESTS_PER_MINUTE"],
  ["tokens-per-minute", "TOKENS_PER_MINUTE"],
  ["concurrent-requests", "CONCURRENT_REQUESTS"],
  ["budget", "BUDGET"],
] as const;

for (const [flag, name] of BOTH) {
  test(`--${flag} is a setting for the commands that have no limit of that name`, () => {
    for (const command of ["start", "check", "health", "key"]) {
      const { flags } = parseCommandLine([command, `--${flag}`, "5"]);

      assert.deepEqual([...flags], [[name, "5"]], command);
    }
  });
}
