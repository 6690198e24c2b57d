// A store that is still being opened: whoever asks waits for it.
import {
  StoreError,
  type Admission,
  type CallRecord,
  type Claim,
  type Store,
  type UsageRow,
  type Used,
} from "./store.ts";

export class LateStore implements Store {
  /** Rejects where it never can be asked. */
  readonly ready: Promise<void>;
  readonly #opening: Promise<Store>;
  #store: Store | undefined;
  #problem: string | undefined = "The store is not open yet.";

  constructor(opening: Promise<Store>) {
    this.#opening = opening;
    this.ready = opening.then(
      (store) => {
        this.#store = store;
        this.#problem = undefined;
      },
      (error: unknown) => {
        this.#problem = error instanceof Error ? error.message : String(error);
        throw error;
      },
    );
    this.ready.catch(() => {}); // Those who do not wait for it are told with their first call.
  }

  get problem(): string | undefined {
    return this.#problem ?? this.#store?.problem;
  }

  async admit(claim: Claim): Promise<Admission> {
    return (this.#store ?? (await this.#opened())).admit(claim);
  }

  async extend(claim: Claim, costMicroUsd: number): Promise<boolean> {
    return (this.#store ?? (await this.#opened())).extend(claim, costMicroUsd);
  }

  async settle(claim: Claim, used: Used, record: CallRecord): Promise<void> {
    // Where it cannot be opened nothing was admitted, or the settings say that this is fine.
    const store = this.#store ?? (await this.#opened().catch(() => undefined));
    await store?.settle(claim, used, record);
  }

  async usage(fromDay: string, toDay: string): Promise<readonly UsageRow[]> {
    return (this.#store ?? (await this.#opened())).usage(fromDay, toDay);
  }

  async close(): Promise<void> {
    const store = await this.#opening.catch(() => undefined);
    await store?.close();
  }

  async #opened(): Promise<Store> {
    return this.#opening.catch((cause: unknown) => {
      throw new StoreError(this.#problem ?? "The store cannot be opened.", { cause });
    });
  }
}
