// Who writes to a directory: a file that names the process, for the warning to a second one.
import { readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { codeOf } from "./journal-files.ts";

/** Another process that writes to the same directory. */
export interface Holder {
  readonly pid: number;
}

export interface Lock {
  /** It stays the holder's then. */
  readonly holder: Holder | undefined;
  release(): void;
}

/**
 * Locks nobody out: it only tells who was first. One that a dead process has left is taken over.
 * @throws when the directory cannot be written.
 */
export function takeLock(directory: string): Lock {
  const path = join(directory, "lock");
  const own = `${process.pid} ${hostname()}\n`;
  const aside = `${path}.${process.pid}.tmp`;
  writeFileSync(aside, own, { mode: 0o600 });
  const holder = findHolder(readText(path));
  if (holder !== undefined) {
    unlinkSync(aside);
    return { holder, release() {} };
  }
  renameSync(aside, path);
  return {
    holder,
    release() {
      if (readText(path) !== own) return;
      try {
        unlinkSync(path);
      } catch {
        // The next process takes it over.
      }
    },
  };
}

function findHolder(text: string): Holder | undefined {
  const [, digits, host] = /^(\d{1,10}) (.+)\n$/.exec(text) ?? [];
  const pid = Number(digits);
  // In a container every process has the number of the one before it.
  if (host !== hostname() || pid === process.pid || pid === 0) return undefined;
  return isAlive(pid) ? { pid } : undefined;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return codeOf(error) === "EPERM"; // Somebody else's.
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
