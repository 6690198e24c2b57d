// The bytes of an answer, from whoever gets them to whoever wants them: taken at once when they are
// here, waited for when they are not.

/** More than that waits in the socket. */
const HELD_BYTES = 64 * 1024;

type Next = IteratorResult<Uint8Array, undefined>;

interface Waiting {
  resolve(next: Next): void;
  reject(error: unknown): void;
}

const DONE = Promise.resolve<Next>({ done: true, value: undefined });

/** To be read once. */
export class ReplyBody implements AsyncIterableIterator<Uint8Array, undefined> {
  /** Received so far. */
  bytes = 0;
  readonly #resume: () => void;
  readonly #cancel: () => void;
  readonly #chunks: Uint8Array[] = [];
  #heldBytes = 0;
  #paused = false;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #waiting: Waiting | undefined;

  /**
   * @param resume lets more come after `push` has said that there is enough.
   * @param cancel tells that nobody wants the rest.
   */
  constructor(resume: () => void, cancel: () => void) {
    this.#resume = resume;
    this.#cancel = cancel;
  }

  /** @returns whether there may be more. */
  push(chunk: Uint8Array): boolean {
    if (this.#ended) return true;
    this.bytes += chunk.length;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: chunk });
      return true;
    }
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
    this.#paused = this.#heldBytes > HELD_BYTES;
    return !this.#paused;
  }

  end(): void {
    this.#ended = true;
    this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#failure = { error };
    this.#chunks.length = 0;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Next> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#heldBytes -= chunk.length;
      if (this.#paused && this.#heldBytes === 0) {
        this.#paused = false;
        this.#resume();
      }
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    if (this.#ended) return DONE;
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }

  return(): Promise<Next> {
    if (!this.#ended) this.#cancel();
    return DONE;
  }
}
