// The real program in a process of its own: started as an operator would, in an empty directory.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const TSX = import.meta.resolve("tsx");
const INDEX = fileURLToPath(new URL("../../src/index.ts", import.meta.url));

/** What runs it: for `script`, which wants a command and not arguments. */
export const COMMAND: readonly string[] = [process.execPath, "--import", TSX, INDEX];

export interface Surroundings {
  readonly args?: readonly string[];
  /** All of its environment but PATH, the transport and what coverage needs. */
  readonly env?: Readonly<Record<string, string>>;
  /** Files of its working directory, by path. A path that ends in / is a directory. */
  readonly files?: Readonly<Record<string, string>>;
  /** A program that starts it with fewer rights. */
  readonly through?: readonly string[];
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly message: string;
  readonly [field: string]: string | number | boolean | undefined;
}

export interface RunningCli {
  readonly url: string;
  readonly port: number;
  readonly process: ChildProcess;
  /** Everything it has printed so far. */
  output(): string;
  /** The same as parsed log lines. */
  lines(): readonly LogLine[];
  /** Resolves with the first line, past or future, that answers. */
  line(answers: (line: LogLine) => boolean): Promise<LogLine>;
  /** Sends a signal. */
  stop(signal: NodeJS.Signals): void;
  readonly ended: Promise<Ended>;
}

/** A directory with these files, gone when the test is over. */
export function makeDirectory(t: TestContext, files: Surroundings["files"] = {}): string {
  const directory = mkdtempSync(join(tmpdir(), "gateway-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    const target = join(directory, path);
    mkdirSync(path.endsWith("/") ? target : dirname(target), { recursive: true });
    if (!path.endsWith("/")) writeFileSync(target, content);
  }
  return directory;
}

/** Runs it to its end. */
export async function runCli(t: TestContext, surroundings: Surroundings): Promise<Ended> {
  return watch(launch(t, surroundings)).ended;
}

/** Resolves as soon as it listens; on a free port unless told otherwise. */
export async function startCli(t: TestContext, surroundings: Surroundings): Promise<RunningCli> {
  const { files = {}, env = {} } = surroundings;
  const asked = "PORT" in env || (files[".env"] ?? "").includes("PORT=");
  const child = launch(t, asked ? surroundings : { ...surroundings, env: { ...env, PORT: "0" } });
  const running = watch(child);
  const listening = running.line(({ message }) => message.startsWith("listening on "));
  const early = running.ended.then(({ stdout, stderr }) => {
    throw new Error(`It ended instead of listening:\n${stdout}${stderr}`);
  });
  const { message } = await Promise.race([listening, early]);
  early.catch(() => {});
  const url = message.slice("listening on ".length);
  return { ...running, url, port: Number(new URL(url).port), process: child };
}

export function environmentFor(env: Surroundings["env"] = {}): Record<string, string> {
  const inherited = ["PATH", "NODE_V8_COVERAGE", "UPSTREAM_TRANSPORT"].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { ...Object.fromEntries(inherited), ...env };
}

function launch(
  t: TestContext,
  { args = [], env, files, through = [] }: Surroundings,
): ChildProcess {
  const [program = "", ...before] = [...through, ...COMMAND];
  const child = spawn(program, [...before, ...args], {
    cwd: makeDirectory(t, files),
    env: environmentFor(env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(() => void child.kill("SIGKILL"));
  return child;
}

function watch(child: ChildProcess) {
  let stdout = "";
  let stderr = "";
  const lookers = new Set<() => void>();
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    for (const look of [...lookers]) look();
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));

  const lines = (): readonly LogLine[] => {
    const complete = stdout.split("\n").slice(0, -1);
    return complete.map((line): LogLine => JSON.parse(line));
  };
  const ended = once(child, "close").then(([code, signal]): Ended => ({
    code,
    signal,
    stdout,
    stderr,
  }));
  return {
    output: () => stdout + stderr,
    lines,
    line: (answers: (line: LogLine) => boolean): Promise<LogLine> =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = lines().find(answers);
          if (found === undefined) return;
          lookers.delete(look);
          resolve(found);
        };
        lookers.add(look);
        look();
      }),
    stop: (signal: NodeJS.Signals): void => void child.kill(signal),
    ended,
  };
}
