// The files of a journal: `calls-2026-11-23.jsonl` for the calls of a day, one a line, and
// `totals-2026-11-23.json` for what they came to, once the day is over.
import { closeSync, constants, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { open, readFile, rename, unlink } from "node:fs/promises";
import { isUtf8 } from "node:buffer";
import { join } from "node:path";
import type { Entry } from "./history.ts";
import { LINE_LIMIT_BYTES, parseLine } from "./journal-line.ts";
import { DayTotals } from "./journal-totals.ts";
import { toDay } from "./period.ts";

const PIECE_BYTES = 256 * 1024;
/** As far as the first call's id. */
const BEGIN_BYTES = 80;
const BREAK = 10;
const NAME = /^(?:calls-([\d-]{10})\.jsonl|totals-([\d-]{10})\.json)$/;

export function toCallsName(day: string): string {
  return `calls-${day}.jsonl`;
}

export function toTotalsName(day: string): string {
  return `totals-${day}.json`;
}

/** The days that these names are of, in order. */
export function toDays(names: readonly string[]): readonly string[] {
  const days = names.flatMap((name) => {
    const [, calls, totals] = NAME.exec(name) ?? [];
    const day = calls ?? totals ?? "";
    const ms = Date.parse(day);
    return Number.isNaN(ms) || toDay(ms) !== day ? [] : [day];
  });
  return [...new Set(days)].sort();
}

/** A day as its files tell it. */
export interface LoadedDay {
  readonly totals: DayTotals;
  /** Whether the file of totals says all of it. */
  readonly current: boolean;
  /** Whether there is such a file that cannot be understood. */
  readonly spoilt: boolean;
  /** Lines that are no calls, of those that the totals had not counted. */
  readonly damaged: number;
}

/** Counts a call that the file of totals had not counted. */
export type Take = (totals: DayTotals, entry: Entry) => void;

const COUNT: Take = (totals, entry) => totals.add(entry);

/** @throws when the files cannot be read, or are damaged beyond what lines make good. */
export function loadDaySync(directory: string, day: string, take = COUNT): LoadedDay {
  const text = orNothing(() => readFileSync(join(directory, toTotalsName(day)), "utf8"));
  const fd = orNothing(() => openSync(join(directory, toCallsName(day)), "r"));
  try {
    const steps = load(day, text, fd === undefined ? 0 : fstatSync(fd).size, take);
    const buffer = Buffer.allocUnsafe(PIECE_BYTES);
    let step = steps.next();
    while (step.done !== true) {
      const { at, bytes } = step.value;
      const count = fd === undefined ? 0 : readSync(fd, buffer, 0, bytes, at);
      step = steps.next(buffer.subarray(0, count));
    }
    return step.value;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The same between other work. @throws the signal's reason, too. */
export async function loadDay(
  directory: string,
  day: string,
  signal?: AbortSignal,
): Promise<LoadedDay> {
  const text = await readFile(join(directory, toTotalsName(day)), "utf8").catch(forgive);
  const file = await open(join(directory, toCallsName(day)), "r").catch(forgive);
  try {
    const steps = load(day, text, (await file?.stat())?.size ?? 0, COUNT);
    const buffer = Buffer.allocUnsafe(PIECE_BYTES);
    let step = steps.next();
    while (step.done !== true) {
      const { at, bytes } = step.value;
      const { bytesRead = 0 } = (await file?.read(buffer, 0, bytes, at)) ?? {};
      signal?.throwIfAborted();
      step = steps.next(buffer.subarray(0, bytesRead));
    }
    return step.value;
  } finally {
    await file?.close();
  }
}

interface Wanted {
  readonly at: number;
  readonly bytes: number;
}

/** Asks for pieces of the lines. */
function* load(
  day: string,
  text: string | undefined,
  size: number,
  take: Take,
): Generator<Wanted, LoadedDay, Buffer> {
  const known = text === undefined ? undefined : DayTotals.parse(text, day);
  const spoilt = text !== undefined && known === undefined;
  if (spoilt && size === 0) throw new Error("damaged, and the calls of that day are gone");
  const totals = known ?? new DayTotals(day);
  const begin = (yield { at: 0, bytes: BEGIN_BYTES }).toString("latin1");
  const from = begin.startsWith(totals.covered.begin) ? totals.covered.bytes : 0;
  const lines = new LineReader(day, (entry) => take(totals, entry));
  let at = from;
  while (at < size) {
    const piece = yield { at, bytes: Math.min(PIECE_BYTES, size - at) };
    if (piece.length === 0) break;
    at += lines.read(piece, at + piece.length >= size);
  }
  if (at > from) totals.covered = { bytes: at, begin };
  return { totals, current: at <= from && !spoilt, spoilt, damaged: lines.damaged };
}

class LineReader {
  damaged = 0;
  readonly #day: string;
  readonly #onEntry: (entry: Entry) => void;
  #overlong = false;

  constructor(day: string, onEntry: (entry: Entry) => void) {
    this.#day = day;
    this.#onEntry = onEntry;
  }

  /** Reads the whole lines of a piece, and says how many bytes they are. */
  read(piece: Buffer, isLast: boolean): number {
    const sound = isUtf8(piece.subarray(0, piece.lastIndexOf(BREAK) + 1));
    let start = 0;
    for (let end = piece.indexOf(BREAK); end >= 0; end = piece.indexOf(BREAK, start)) {
      this.#readLine(piece, start, end, sound);
      start = end + 1;
    }
    // Torn, unless it is only its break that is missing.
    if (isLast && start < piece.length) this.#readLine(piece, start, piece.length, false);
    if (isLast) return piece.length;
    if (start > 0) return start;
    if (!this.#overlong) this.damaged++;
    this.#overlong = true;
    return piece.length;
  }

  #readLine(piece: Buffer, start: number, end: number, sound: boolean): void {
    const rest = this.#overlong;
    this.#overlong = false;
    if (rest || start === end) return;
    const entry =
      end - start < LINE_LIMIT_BYTES && (sound || isUtf8(piece.subarray(start, end)))
        ? parseLine(piece.toString("utf8", start, end), this.#day)
        : undefined;
    if (entry === undefined) this.damaged++;
    else this.#onEntry(entry);
  }
}

/** Aside and renamed: whoever reads finds the old ones or the new ones, whole. */
export async function writeTotals(directory: string, totals: DayTotals): Promise<void> {
  const path = join(directory, toTotalsName(totals.day));
  const aside = `${path}.${process.pid}.tmp`;
  // Not with fsync, which Node's permission model denies.
  const { O_WRONLY, O_CREAT, O_TRUNC, O_SYNC } = constants;
  const file = await open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_SYNC, 0o600);
  try {
    await file.writeFile(totals.toText()).finally(() => file.close());
    await rename(aside, path);
  } catch (error) {
    await unlink(aside).catch(() => {});
    throw error;
  }
}

/** Undefined for a file that is not there. */
function forgive(error: unknown): undefined {
  if (codeOf(error) !== "ENOENT") throw error;
}

function orNothing<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    return forgive(error);
  }
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

const CAUSES: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EDQUOT: "the quota of the disk is used up",
  EFBIG: "the file is as large as it may be",
  EIO: "the disk does not work",
  ENOSPC: "no space is left",
  ENOTDIR: "not a directory",
  EEXIST: "not a directory",
  EROFS: "the file system is read-only",
  ERR_ACCESS_DENIED: "denied by Node's permission model",
};

/** Why a file cannot be had: `no space is left (ENOSPC)`. */
export function toCause(error: unknown): string {
  const code = codeOf(error);
  if (code === undefined) return error instanceof Error ? error.message : String(error);
  return `${CAUSES[code] ?? "it fails"} (${code})`;
}
