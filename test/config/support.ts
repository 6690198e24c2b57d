// Settings as loadConfig finds them: a directory and an environment of their own, in this process.
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { loadConfig, type Loaded } from "../../src/config/load.ts";
import { ConfigError } from "../../src/config/reader.ts";
import { parseCommandLine } from "../../src/config/settings.ts";
import { makeDirectory, type Surroundings } from "../helpers/run-cli.ts";

export function load(
  t: TestContext,
  { args = [], ...surroundings }: Surroundings,
  mockUrl?: string,
): Loaded {
  return within(t, surroundings, () => loadConfig(parseCommandLine(args), mockUrl));
}

/** Runs it there. */
export function within<Result>(
  t: TestContext,
  { env = {}, files }: Surroundings,
  run: () => Result,
): Result {
  const directory = process.cwd();
  const environment = { ...process.env };
  process.chdir(makeDirectory(t, files));
  replaceEnvironment(env);
  try {
    return run();
  } finally {
    process.chdir(directory);
    replaceEnvironment(environment);
  }
}

/** In place: `process.loadEnvFile` writes to the real one. */
function replaceEnvironment(values: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, values);
}

/** What is wrong with them, line by line. */
export function refusal(t: TestContext, surroundings: Surroundings): readonly string[] {
  return linesOf(() => load(t, surroundings));
}

/** The lines of the ConfigError that this throws. */
export function linesOf(refused: () => unknown): readonly string[] {
  try {
    refused();
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split("\n");
    throw error;
  }
  return assert.fail("nothing was refused");
}
