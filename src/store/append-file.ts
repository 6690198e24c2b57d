// A file that lines are appended to. What a crash or a full disk has torn stays torn: a line break
// is put behind it, and the line is written again, whole.
import { constants, write, writeSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import type { StoreConfig } from "../config/config.ts";

const BREAK = 10;

/** What is to be written again, and why. */
export interface Interrupted {
  readonly rest: Buffer;
  readonly error: unknown;
}

export class AppendFile {
  readonly path: string;
  /** Something was written since it was last synced. */
  dirty = false;
  readonly #handle: FileHandle;
  readonly #write: typeof writeThrough;

  private constructor(path: string, handle: FileHandle, sync: StoreConfig["sync"]) {
    this.path = path;
    this.#handle = handle;
    this.#write = sync === "always" ? writeThrough : writeToKernel;
  }

  /** @param sync "always": every write reaches the disk before it is done. */
  static async open(path: string, sync: StoreConfig["sync"]): Promise<AppendFile> {
    const { O_RDWR, O_APPEND, O_CREAT, O_DSYNC } = constants;
    const flags = O_RDWR | O_APPEND | O_CREAT | (sync === "always" ? O_DSYNC : 0);
    const handle = await open(path, flags, 0o600);
    try {
      const { size } = await handle.stat();
      const last = Buffer.from([BREAK]);
      if (size > 0) await handle.read(last, 0, 1, size - 1);
      else if (sync !== "never") await syncDirectory(dirname(path));
      if (last[0] !== BREAK) await handle.write("\n");
      return new AppendFile(path, handle, sync);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Whole lines. After an interruption the file is of no use any more. */
  async append(lines: Buffer): Promise<Interrupted | undefined> {
    this.dirty = true;
    let written = 0;
    try {
      while (written < lines.length) written += await this.#write(this.#handle, lines, written);
      return undefined;
    } catch (error) {
      return { rest: toRest(lines, written), error };
    }
  }

  async sync(): Promise<void> {
    this.dirty = false;
    await this.#handle.datasync();
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => {});
  }
}

/** A new file has a name that outlives a power failure only then. As far as it can be had. */
export async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, "r");
    await directory.sync().finally(() => directory.close());
  } catch {
    // Denied by Node's permission model, or unknown to the system.
  }
}

/** Takes as long as a disk does. By the descriptor: a FileHandle's promise costs some lines. */
function writeThrough({ fd }: FileHandle, bytes: Buffer, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, at, bytes.length - at, null, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

/** The kernel takes some lines in microseconds: to wait in a thread would cost far more. */
async function writeToKernel({ fd }: FileHandle, bytes: Buffer, at: number): Promise<number> {
  return writeSync(fd, bytes, at, bytes.length - at, null);
}

/** What of whole lines is to be written again, where so many bytes were written. */
export function toRest(lines: Buffer, written: number): Buffer {
  // Whole but for its break, which opening the file makes good.
  if (lines[written] === BREAK) return lines.subarray(written + 1);
  return lines.subarray(written === 0 ? 0 : lines.lastIndexOf(BREAK, written - 1) + 1);
}

export function countLines(lines: Buffer): number {
  let count = 0;
  for (let at = lines.indexOf(BREAK); at >= 0; at = lines.indexOf(BREAK, at + 1)) count++;
  return count;
}
