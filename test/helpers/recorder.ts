// A store whose record a test can look at.
import type { History, Entry, Spent } from "../../src/store/history.ts";
import type { Store, UsageRow } from "../../src/store/store.ts";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { systemClock, type Clock } from "../../src/clock.ts";

export class Recorder implements History {
  readonly entries: Entry[] = [];
  readonly problem = undefined;

  restore(_tell: (spent: Spent) => void): void {}

  async add(entry: Entry): Promise<void> {
    this.entries.push(entry);
  }

  async rows(): Promise<readonly UsageRow[]> {
    return [];
  }

  async close(): Promise<void> {}

  get spentMicroUsd(): number {
    return this.entries.reduce((sum, { costMicroUsd }) => sum + costMicroUsd, 0);
  }
}

export function recordingStore(clock: Clock = systemClock) {
  const record = new Recorder();
  return { record, store: new MemoryStore(clock, record) };
}

/** The same store, but for what is given. */
export function changed(store: Store, changes: Partial<Store>): Store {
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(changes, name) ?? Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
