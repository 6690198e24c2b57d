// The history of one process, which ends with it: enough for reports, nothing to restore.
import type { Entry, History } from "./history.ts";
import { toDay } from "./period.ts";
import { DONE, type UsageRow } from "./store.ts";
import { UsageTable } from "./usage-table.ts";

const DAY_LIMIT = 32;
/** In all days together. */
const ROW_LIMIT = 20_000;

export class MemoryHistory implements History {
  readonly problem = undefined;
  readonly #tables = new Map<string, UsageTable>();
  #rows = 0;

  restore(): void {}

  add(entry: Entry): Promise<void> {
    const day = toDay(entry.atMs);
    const table = this.#tables.get(day) ?? new UsageTable();
    this.#tables.set(day, table);
    const before = table.size;
    table.add(entry);
    this.#rows += table.size - before;
    while (this.#tables.size > DAY_LIMIT || this.#rows > ROW_LIMIT) this.#dropOldest();
    return DONE;
  }

  async rows(fromDay: string, toDay: string): Promise<readonly UsageRow[]> {
    return [...this.#tables]
      .filter(([day]) => day >= fromDay && day <= toDay)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .flatMap(([day, table]) => table.rows(day));
  }

  close(): Promise<void> {
    return DONE;
  }

  #dropOldest(): void {
    const oldest = [...this.#tables.keys()].reduce((one, other) => (one < other ? one : other));
    this.#rows -= this.#tables.get(oldest)?.size ?? 0;
    this.#tables.delete(oldest);
  }
}
