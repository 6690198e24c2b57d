// The history that outlives its process: an append-only journal of calls in a directory.
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import type { StoreConfig } from "../config/config.ts";
import type { Entry, History, Spent } from "./history.ts";
import {
  loadDay,
  loadDaySync,
  toCallsName,
  toCause,
  toDays,
  toTotalsName,
  writeTotals,
  type Take,
} from "./journal-files.ts";
import { toLine } from "./journal-line.ts";
import { takeLock, type Lock } from "./journal-lock.ts";
import { JournalWriter } from "./journal-writer.ts";
import { DAY_MS, toDay } from "./period.ts";
import { StoreError, type UsageRow } from "./store.ts";
import { UsageTable } from "./usage-table.ts";

export interface JournalOptions {
  readonly clock: Clock;
  /** Whole days that calls are kept; what they came to is kept for ever. */
  readonly keepDays: number;
  readonly sync: StoreConfig["sync"];
  /** Is told whatever is lost, damaged or not as it should be: sentences for the operator. */
  readonly onProblem: (message: string) => void;
}

/** Days of one report, the latest ones. */
const DAY_LIMIT = 400;
/** Of one report. */
const ROW_LIMIT = 200_000;
/** Days in memory: today, and what lies before it until its totals are written. */
const TABLE_LIMIT = 8;

/** @throws Error when the directory cannot be written. */
export function openJournal(directory: string, options: JournalOptions): Journal {
  let lock: Lock;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    lock = takeLock(directory);
  } catch (error) {
    throw new Error(`The directory ${directory} cannot be written: ${toCause(error)}.`);
  }
  return new Journal(directory, options, lock);
}

/** To be restored before anything is added. */
export class Journal implements History {
  readonly #directory: string;
  readonly #options: JournalOptions;
  readonly #lock: Lock;
  readonly #writer: JournalWriter;
  /** The latest day known. */
  #today: string;
  /** The days that are counted here and not read. */
  readonly #tables = new Map<string, UsageTable>();
  /** The days whose totals are to be written. */
  readonly #over = new Set<string>();
  #tidying: Promise<void> | undefined;
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  constructor(directory: string, options: JournalOptions, lock: Lock) {
    this.#directory = directory;
    this.#options = options;
    this.#lock = lock;
    this.#today = toDay(options.clock.now());
    this.#tables.set(this.#today, new UsageTable());
    const { clock, sync, onProblem } = options;
    this.#writer = new JournalWriter({
      clock,
      sync,
      onProblem,
      toPath: (day) => join(directory, toCallsName(day)),
      onWritten: (day) => this.#end(day),
    });
    if (lock.holder === undefined) return;
    const shared = "budgets are not shared between two; share them with REDIS_URL";
    onProblem(`Another process, ${lock.holder.pid}, writes to ${directory}: ${shared}.`);
  }

  get problem(): string | undefined {
    return this.#writer.problem;
  }

  /** Of days that are over, what each set of scopes has spent in all, as of the day's end. */
  restore(tell: (spent: Spent) => void): void {
    const names = readdirSync(this.#directory);
    if (this.#lock.holder === undefined) this.#sweep(names);
    for (const day of toDays(names)) {
      try {
        this.#restoreDay(day, tell);
      } catch (error) {
        const unknown = `What was spent on ${day} is not known`;
        this.#options.onProblem(`${unknown}: ${this.#toReason(day, error)}.`);
      }
    }
    this.#tidy();
  }

  add(entry: Entry): Promise<void> {
    const at = new Date(entry.atMs).toISOString();
    const day = at.slice(0, 10);
    if (day > this.#today) this.#begin(day);
    this.#tables.get(day)?.add(entry);
    return this.#writer.append(day, toLine(entry, at));
  }

  /** @throws StoreError when it would be too much. */
  async rows(fromDay: string, toDay: string): Promise<readonly UsageRow[]> {
    const stored = toDays(await readdir(this.#directory).catch(() => []));
    const days = [...new Set([...stored, ...this.#tables.keys()])]
      .filter((day) => day >= fromDay && day <= toDay)
      .sort()
      .slice(-DAY_LIMIT);
    const rows: UsageRow[] = [];
    const unread: string[] = [];
    for (const day of days) {
      try {
        const table = this.#tables.get(day) ?? (await loadDay(this.#directory, day)).totals.table;
        for (const row of table.rows(day)) rows.push(row);
      } catch (error) {
        unread.push(this.#toReason(day, error));
      }
      if (rows.length > ROW_LIMIT) {
        throw new StoreError(`The report has more than ${ROW_LIMIT} rows: ask for fewer days.`);
      }
    }
    const [first] = unread;
    const missing = `Days that are missing in a report: ${unread.length}`;
    if (first !== undefined) this.#options.onProblem(`${missing}; the first one: ${first}.`);
    return rows;
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#shut());
  }

  async #shut(): Promise<void> {
    this.#closing.abort();
    await this.#writer.close();
    await this.#tidying;
    this.#lock.release();
  }

  #restoreDay(day: string, tell: (spent: Spent) => void): void {
    const isOver = day < this.#today;
    const tellEach: Take = ({ table }, entry) => {
      table.add(entry);
      tell(entry);
    };
    const { onProblem } = this.#options;
    const loaded = loadDaySync(this.#directory, day, isOver ? undefined : tellEach);
    const { totals, current, spoilt, damaged } = loaded;
    for (const spent of totals.spent()) tell(spent);
    if (!isOver) this.#tables.set(day, totals.table);
    else if (!current) this.#over.add(day);
    if (spoilt) onProblem(`${toTotalsName(day)} is damaged: the calls were counted again.`);
    if (damaged === 0) return;
    const lines = damaged === 1 ? "1 damaged line was" : `${damaged} damaged lines were`;
    onProblem(`${lines} skipped in ${toCallsName(day)}.`);
  }

  #begin(day: string): void {
    const ended = this.#today;
    this.#today = day;
    if (!this.#tables.has(day)) this.#tables.set(day, new UsageTable());
    for (const each of [...this.#tables.keys()].sort().slice(0, -TABLE_LIMIT)) {
      this.#tables.delete(each);
    }
    this.#end(ended);
  }

  #end(day: string): void {
    if (day >= this.#today) return;
    this.#over.add(day);
    this.#tidy();
  }

  #tidy(): void {
    this.#tidying ??= this.#tidyAll();
  }

  /** Never rejects. What is not done when the journal is closed, the next process does. */
  async #tidyAll(): Promise<void> {
    for (const day of this.#over) {
      this.#over.delete(day);
      // While they are on their way half a line may be seen. It is told again when they are there.
      if (!this.#writer.holds(day)) await this.#attempt(day, () => this.#total(day));
    }
    const names: string[] = await readdir(this.#directory).catch(() => []);
    const first = toDay(Date.parse(this.#today) - this.#options.keepDays * DAY_MS);
    for (const day of toDays(names).filter((each) => each < first)) {
      const isKept = names.includes(toCallsName(day));
      if (isKept) await this.#attempt(day, () => this.#drop(day));
    }
    this.#tidying = undefined;
    if (this.#over.size > 0 && !this.#closing.signal.aborted) this.#tidy();
  }

  async #attempt(day: string, tidy: () => Promise<void>): Promise<void> {
    try {
      if (!this.#closing.signal.aborted) await tidy();
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#options.onProblem(`A day cannot be put away: ${this.#toReason(day, error)}.`);
    }
  }

  async #total(day: string): Promise<void> {
    const { totals, current } = await loadDay(this.#directory, day, this.#closing.signal);
    if (!current) await writeTotals(this.#directory, totals);
    this.#tables.delete(day);
  }

  /** Calls go when they are old, and their day has its totals. */
  async #drop(day: string): Promise<void> {
    const { current } = await loadDay(this.#directory, day, this.#closing.signal);
    if (current) await unlink(join(this.#directory, toCallsName(day)));
  }

  /** What a process that was killed had written aside. */
  #sweep(names: readonly string[]): void {
    const aside = /^(?:totals-|lock\.|revocations\.).*\.tmp$/;
    for (const name of names.filter((each) => aside.test(each))) {
      rmSync(join(this.#directory, name), { force: true });
    }
  }

  #toReason(day: string, error: unknown): string {
    const names = `${toTotalsName(day)}, ${toCallsName(day)}`;
    return `${names}: ${toCause(error)}`;
  }
}
