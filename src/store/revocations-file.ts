// Revocations that outlive the process: `revocations.json` in the directory of the journal.
import { constants, readFileSync } from "node:fs";
import { open, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../clock.ts";
import { syncDirectory } from "./append-file.ts";
import { codeOf, toCause } from "./journal-files.ts";
import { Revocations } from "./revocations.ts";
import { StoreError, type Revocation } from "./store.ts";

const NAME = "revocations.json";

/** The directory is there already. @throws Error for a file that is damaged: nobody is let in. */
export function openRevocations(directory: string, clock: Clock): Revocations {
  const path = join(directory, NAME);
  return new Revocations(clock, read(path), (revocations) => write(path, revocations));
}

function read(path: string): readonly Revocation[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw new Error(`${path} cannot be read: ${toCause(error)}.`);
  }
  try {
    return parse(JSON.parse(text));
  } catch {
    const remedy = "mend it, or remove it to let everybody in";
    throw new Error(`${path} is damaged, so nobody knows who is revoked: ${remedy}.`);
  }
}

/** As the file has them; `until` is null for ever. @throws Error for anything else. */
function parse(value: unknown): readonly Revocation[] {
  const { revocations }: { revocations?: unknown } = Object(value);
  if (!Array.isArray(revocations)) throw new Error("no list");
  return revocations.map((each) => {
    const { caller, until }: { caller?: unknown; until?: unknown } = Object(each);
    const untilMs = until === null ? Infinity : Date.parse(String(until));
    if (typeof caller !== "string" || Number.isNaN(untilMs)) throw new Error("no revocation");
    return { caller, untilMs };
  });
}

/** Old or new, whenever the process dies. Not with fsync, which Node's permission model denies. */
async function write(path: string, revocations: readonly Revocation[]): Promise<void> {
  const list = revocations.map(({ caller, untilMs }) => {
    return { caller, until: untilMs === Infinity ? null : new Date(untilMs).toISOString() };
  });
  const aside = `${path}.${process.pid}.tmp`;
  const { O_WRONLY, O_CREAT, O_TRUNC, O_SYNC } = constants;
  try {
    const file = await open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_SYNC, 0o600);
    const text = `${JSON.stringify({ revocations: list }, null, 2)}\n`;
    await file.writeFile(text).finally(() => file.close());
    await rename(aside, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await unlink(aside).catch(() => {});
    throw new StoreError(`${path} cannot be written: ${toCause(error)}.`, { cause: error });
  }
}
