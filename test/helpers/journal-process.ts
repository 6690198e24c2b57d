// Processes that record calls, for tests that end them at the worst moment.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const TSX = import.meta.resolve("tsx");
const CHILD = fileURLToPath(new URL("journal-child.ts", import.meta.url));

export interface JournalProcess {
  /** The calls that it has said are recorded, so far, or before so many complaints. */
  ids(complaints?: number): readonly string[];
  /** What its journal has complained of, so far. */
  problems(): readonly string[];
  /** Resolves when it is gone. */
  kill(): Promise<void>;
}

/**
 * @param name begins the ids of its calls.
 * @param fileLimit of its files, in blocks of 512 bytes.
 */
export function startJournalProcess(
  t: TestContext,
  directory: string,
  name: string,
  fileLimit?: number,
): JournalProcess {
  const command = [process.execPath, "--import", TSX, CHILD, directory, name];
  const limited = ["sh", "-c", `ulimit -f ${fileLimit}; exec "$@"`, "sh", ...command];
  const [program = "", ...args] = fileLimit === undefined ? command : limited;
  // Without what coverage wants: that is a file as well.
  const env = { PATH: process.env["PATH"] };
  const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const ended = once(child, "close");
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const lines = (): readonly string[] => output.split("\n").slice(0, -1);
  return {
    ids(complaints = Infinity) {
      const all = lines();
      const heard = all.flatMap((line, at) => (line.startsWith("! ") ? [at] : []));
      return all.slice(0, heard[complaints - 1]).filter((line) => !line.startsWith("! "));
    },
    problems: () => lines().flatMap((line) => (line.startsWith("! ") ? [line.slice(2)] : [])),
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** The ids of all whole lines in all files of calls, also of those that were put aside. */
export function readIds(directory: string): readonly string[] {
  const files = readdirSync(directory).filter((name) => name.includes("calls-"));
  const text = files.map((name) => readFileSync(join(directory, name), "utf8")).join("\n");
  return [...text.matchAll(/^\{.*"id":"([^"]+)".*\}$/gm)].map(([, id = ""]) => id);
}
