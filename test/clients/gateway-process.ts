// The gateway as its users run it: the command line in a process of its own, ended with its test.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

/** The key that only the gateway has. */
export const UPSTREAM_KEY = "sk-upstream-0123456789";

export interface GatewayProcess {
  /** Without a path: `http://127.0.0.1:PORT`. */
  readonly origin: string;
  /** Sends a signal; resolves with the code that the process then ends with. */
  exitCode(signal: NodeJS.Signals): Promise<number | null>;
}

export interface GatewayOptions {
  /** `--mock`, or settings as flags. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The program and what comes before its arguments. Default: the source, run by tsx. */
  readonly command?: readonly [string, ...string[]];
}

const FROM_SOURCE = [
  process.execPath,
  "--import",
  import.meta.resolve("tsx"),
  fileURLToPath(new URL("../../src/index.ts", import.meta.url)),
] as const;

/** Starts it on a free port, in an empty directory: no `.env` and no `gateway.json` has a say. */
export async function runGateway(
  t: TestContext,
  options: GatewayOptions = {},
): Promise<GatewayProcess> {
  const [program, ...first] = options.command ?? FROM_SOURCE;
  const directory = await mkdtemp(join(tmpdir(), "gateway-process-"));
  const child = spawn(program, [...first, ...(options.args ?? [])], {
    cwd: directory,
    env: { ...inherited(), PORT: "0", ...options.env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  t.after(async () => {
    await stop(child);
    process.off("exit", kill);
    await rm(directory, { recursive: true });
  });
  return {
    origin: await originOf(child.stdout),
    async exitCode(signal) {
      const exited = once(child, "exit");
      child.kill(signal);
      const [code] = await exited;
      return code;
    },
  };
}

/** What a gateway in front of this upstream is told. */
export function inFrontOf(baseUrl: string): Record<string, string> {
  return { OPENAI_API_KEY: UPSTREAM_KEY, OPENAI_BASE_URL: baseUrl };
}

/** Coverage is counted in children too; nothing else of the tester's environment has a say. */
function inherited(): Record<string, string> {
  const { PATH = "", NODE_V8_COVERAGE: coverage } = process.env;
  return coverage === undefined ? { PATH } : { PATH, NODE_V8_COVERAGE: coverage };
}

async function originOf(stdout: Readable): Promise<string> {
  const printed: string[] = [];
  for await (const line of createInterface({ input: stdout })) {
    printed.push(line);
    const origin = /"listening on (http:[^"]+)"/.exec(line)?.[1];
    if (origin === undefined) continue;
    stdout.resume(); // Its log goes nowhere, but goes.
    return origin;
  }
  assert.fail(`the gateway ended before it listened:\n${printed.join("\n")}`);
}

/** Gently, so that its coverage is written; by force where that takes too long. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const force = setTimeout(() => {
    child.kill("SIGTERM"); // The second one ends it at once.
    setTimeout(() => child.kill("SIGKILL"), 500).unref();
  }, 1_000);
  await exited;
  clearTimeout(force);
}
