// The package as `npm install openai-gateway` leaves it: as it was built last, package.json and
// `files` alone, in a directory of its own where programs can be run.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");
const TIME_LIMIT_MS = 15_000;

export interface Installation {
  readonly directory: string;
  /** Writes a file into the directory and gives its path. */
  write(name: string, content: string): Promise<string>;
  remove(): Promise<void>;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function installPackage(): Promise<Installation> {
  const directory = await mkdtemp(join(tmpdir(), "gateway-package-"));
  const modules = join(directory, "node_modules");
  const installed = join(modules, "openai-gateway");
  await mkdir(installed, { recursive: true });
  await cp(join(ROOT, "package.json"), join(installed, "package.json"));
  await cp(join(ROOT, "dist"), join(installed, "dist"), { recursive: true });
  // What an embedder has beside it: Express, and the types of Node.
  await symlink(join(ROOT, "node_modules/@types"), join(modules, "@types"));
  await symlink(
    fileURLToPath(new URL("node_modules/express", import.meta.url)),
    join(modules, "express"),
  );
  return {
    directory,
    async write(name, content) {
      const path = join(directory, name);
      await writeFile(path, content);
      return path;
    },
    remove: () => rm(directory, { recursive: true }),
  };
}

/** Compiles a file as a user would, with the strictest settings. */
export function compile(file: string, cwd: string, ...options: readonly string[]): Promise<Ended> {
  const strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--ignoreConfig"];
  return run(TSC, [...strict, ...options, file], { cwd });
}

/** Runs a JavaScript file to its end, or for as long as any test would wait. */
export async function run(
  file: string,
  args: readonly string[],
  { cwd, env = {} }: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): Promise<Ended> {
  const child = spawn(process.execPath, [file, ...args], {
    cwd,
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIME_LIMIT_MS,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { code, stdout, stderr };
}
