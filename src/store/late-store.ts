// A store that is still being opened: whoever asks waits for it.
import {
  StoreError,
  type Admission,
  type CallRecord,
  type Claim,
  type Quota,
  type Revocation,
  type Standing,
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

  // Once it is open, nobody waits for more than it.

  admit(claim: Claim): Promise<Admission> {
    return this.#store?.admit(claim) ?? this.#opened().then((store) => store.admit(claim));
  }

  extend(claim: Claim, costMicroUsd: number): Promise<boolean> {
    if (this.#store !== undefined) return this.#store.extend(claim, costMicroUsd);
    return this.#opened().then((store) => store.extend(claim, costMicroUsd));
  }

  /** Where it cannot be opened nothing was admitted, or the settings say that this is fine. */
  settle(claim: Claim, used: Used, record: CallRecord): Promise<void> {
    if (this.#store !== undefined) return this.#store.settle(claim, used, record);
    return this.#opened().then(
      (store) => store.settle(claim, used, record),
      () => {},
    );
  }

  usage(fromDay: string, toDay: string): Promise<readonly UsageRow[]> {
    return this.#opened().then((store) => store.usage(fromDay, toDay));
  }

  peek(quotas: readonly Quota[]): Promise<readonly Standing[]> {
    return this.#opened().then((store) => store.peek(quotas));
  }

  revoke(revocation: Revocation): Promise<void> {
    return this.#opened().then((store) => store.revoke(revocation));
  }

  revoked(caller: string): boolean {
    return this.#store?.revoked(caller) ?? false;
  }

  revocations(): Promise<readonly Revocation[]> {
    return this.#opened().then((store) => store.revocations());
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
