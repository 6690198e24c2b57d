// The command line says what it does not understand, all of it at once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SETTINGS, parseCommandLine, toFlag } from "../../src/config/settings.ts";
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
    if (secret === true) assert.match(refusal(args).join(), /^--openai-api-key: is no option/);
    else assert.deepEqual([...parseCommandLine(args).flags], [[name, "1"]]);
  }
});

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
] as const;

for (const [args, lines] of WRONG) {
  test(`refuses ${args.join(" ")}`, () => {
    assert.deepEqual(refusal(args), lines);
  });
}
