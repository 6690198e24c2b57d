// Appends lines to one file per day. While a write is in flight those that come gather, and go out
// together; while the disk is full they wait.
import type { Clock, Timer } from "../clock.ts";
import type { StoreConfig } from "../config/config.ts";
import { AppendFile, countLines, type Interrupted } from "./append-file.ts";
import { codeOf, toCause } from "./journal-files.ts";

export interface WriterOptions {
  readonly clock: Clock;
  readonly sync: StoreConfig["sync"];
  readonly toPath: (day: string) => string;
  readonly onProblem: (message: string) => void;
  /** Lines of that day are with the kernel. */
  readonly onWritten: (day: string) => void;
}

/** Characters of all lines that wait; those beyond are lost. */
export const WAITING_LIMIT = 8 * 1024 * 1024;
const RETRY_MS = 1_000;
const SYNC_MS = 1_000;
const DONE = Promise.resolve();
/** What Node's permission model says of fsync, and file systems that do not know of it. */
const NO_SYNC = ["ERR_ACCESS_DENIED", "EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"];

/** Lines of one day that go out together. */
interface Batch {
  readonly day: string;
  text: string;
  lines: number;
  readonly written: Promise<void>;
  readonly resolve: () => void;
}

interface Sending {
  readonly batch: Batch;
  bytes: Buffer;
}

export class JournalWriter {
  readonly #options: WriterOptions;
  /** By day. */
  readonly #waiting = new Map<string, Batch>();
  #sending: Sending | undefined;
  /** Of both. */
  #lines = 0;
  #size = 0;
  #lost = 0;
  #run: Promise<void> | undefined;
  #file: AppendFile | undefined;
  #failure: string | undefined;
  #retry: Timer | undefined;
  #syncs: boolean;
  #syncFailure = "";
  #syncTimer: Timer | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#syncs = options.sync === "interval";
  }

  get problem(): string | undefined {
    if (this.#failure === undefined) return undefined;
    return `${this.#failure}; calls that wait: ${this.#lines}, that are lost: ${this.#lost}`;
  }

  /** Whether lines of that day are on their way. */
  holds(day: string): boolean {
    return this.#waiting.has(day) || this.#sending?.batch.day === day;
  }

  /**
   * Resolves when the kernel has the line, or the disk where `sync` is "always"; and at once when
   * neither can be had now.
   */
  append(day: string, line: string): Promise<void> {
    if (this.#closed !== undefined) {
      this.#options.onProblem("A call ended after the journal was closed: it is not recorded.");
      return DONE;
    }
    if (this.#size + line.length > WAITING_LIMIT) {
      this.#lost++;
      return DONE;
    }
    const batch = this.#waiting.get(day) ?? this.#createBatch(day);
    batch.text += line;
    batch.lines++;
    this.#lines++;
    this.#size += line.length;
    if (this.#failure !== undefined) return DONE;
    this.#run ??= this.#sendAll();
    return batch.written;
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#shut());
  }

  #createBatch(day: string): Batch {
    let resolve = (): void => {};
    const written = new Promise<void>((done) => (resolve = done));
    const batch = { day, text: "", lines: 0, written, resolve };
    this.#waiting.set(day, batch);
    return batch;
  }

  async #sendAll(): Promise<void> {
    // A write wakes a thread, which costs more than its lines: those of one turn go together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      this.#sending = next;
      const interrupted = await this.#send(next);
      if (interrupted !== undefined) {
        this.#fail(next, interrupted);
        break;
      }
      this.#succeed(next);
    }
    this.#run = undefined;
  }

  #next(): Sending | undefined {
    if (this.#sending !== undefined) return this.#sending;
    const [batch] = this.#waiting.values();
    if (batch === undefined) return undefined;
    this.#waiting.delete(batch.day);
    return { batch, bytes: Buffer.from(batch.text) };
  }

  async #send({ batch, bytes }: Sending): Promise<Interrupted | undefined> {
    const { sync, toPath } = this.#options;
    const path = toPath(batch.day);
    try {
      if (this.#file?.path !== path) {
        await this.#closeFile();
        this.#file = await AppendFile.open(path, sync);
      }
      const interrupted = await this.#file.append(bytes);
      if (interrupted === undefined) return undefined;
      // Opened anew for the next attempt: it, or its disk, may have been replaced.
      await this.#file.close();
      this.#file = undefined;
      return interrupted;
    } catch (error) {
      return { rest: bytes, error };
    }
  }

  #succeed({ batch }: Sending): void {
    const { clock, onProblem, onWritten } = this.#options;
    this.#sending = undefined;
    this.#lines -= batch.lines;
    this.#size -= batch.text.length;
    if (this.#syncs) this.#syncTimer ??= clock.after(SYNC_MS, () => void this.#sync());
    if (this.#failure !== undefined) onProblem("Calls are recorded again.");
    if (this.#lost > 0) onProblem(`Calls that are lost to the record: ${this.#lost}.`);
    this.#failure = undefined;
    this.#lost = 0;
    batch.resolve();
    onWritten(batch.day);
  }

  #fail(sending: Sending, { rest, error }: Interrupted): void {
    const { clock, toPath, onProblem } = this.#options;
    const { batch } = sending;
    const left = countLines(rest);
    this.#lines -= batch.lines - left;
    batch.lines = left;
    sending.bytes = rest;
    const failure = `Calls cannot be recorded in ${toPath(batch.day)}: ${toCause(error)}`;
    if (failure !== this.#failure) onProblem(`${failure}.`);
    this.#failure = failure;
    if (this.#closed === undefined) {
      this.#retry = clock.after(RETRY_MS, () => (this.#run ??= this.#sendAll()));
    }
    // No call waits for a disk that does not work.
    for (const each of [batch, ...this.#waiting.values()]) each.resolve();
  }

  async #sync(): Promise<void> {
    this.#syncTimer?.cancel();
    this.#syncTimer = undefined;
    const file = this.#file;
    if (file === undefined || !file.dirty || !this.#syncs) return;
    try {
      await file.sync();
    } catch (error) {
      this.#syncs &&= !NO_SYNC.includes(codeOf(error) ?? "");
      const cause = toCause(error);
      if (cause === this.#syncFailure) return;
      this.#syncFailure = cause;
      const then = "what is written reaches the disk when the system sees fit";
      this.#options.onProblem(`${file.path} cannot be synced: ${cause}; ${then}.`);
    }
  }

  async #closeFile(): Promise<void> {
    await this.#sync();
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #shut(): Promise<void> {
    this.#retry?.cancel();
    await this.#run;
    if (this.#lines > 0) await this.#sendAll();
    const lost = this.#lost + this.#lines;
    if (lost > 0) this.#options.onProblem(`Calls that are lost to the record: ${lost}.`);
    await this.#closeFile();
  }
}
