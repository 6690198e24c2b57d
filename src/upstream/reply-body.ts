// The bytes of an answer, from whoever gets them to whoever takes them: handed over at once, kept
// while they cannot be taken.
import type { ReplyBytes, Take } from "./attempt.ts";

/** More than that waits in the socket. */
const HELD_BYTES = 64 * 1024;

interface Reader {
  readonly take: Take;
  resolve(): void;
  reject(error: unknown): void;
}

export class ReplyBody implements ReplyBytes {
  /** Received so far. */
  bytes = 0;
  readonly #resume: () => void;
  readonly #cancel: () => void;
  readonly #held: Buffer[] = [];
  #heldBytes = 0;
  #paused = false;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #reader: Reader | undefined;
  /** The reader has asked to wait. */
  #busy = false;

  /**
   * @param resume lets more come after `push` has said that there is enough.
   * @param cancel tells that nobody wants the rest.
   */
  constructor(resume: () => void, cancel: () => void) {
    this.#resume = resume;
    this.#cancel = cancel;
  }

  /** @returns whether there may be more. */
  push(piece: Buffer): boolean {
    if (this.#ended) return true;
    this.bytes += piece.length;
    if (this.#reader !== undefined && !this.#busy) {
      this.#give(piece, this.#reader);
      return true;
    }
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    this.#paused = this.#heldBytes > HELD_BYTES;
    return !this.#paused;
  }

  end(): void {
    this.#ended = true;
    this.#settle();
  }

  /** What is held may be cut anywhere: nobody gets it. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = { error };
    this.#held.length = 0;
    this.#paused = false;
    this.#settle();
  }

  each(take: Take): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#reader = { take, resolve, reject };
      this.#goOn();
    });
  }

  cancel(): void {
    if (!this.#ended) this.#cancel();
  }

  #give(piece: Buffer, { take }: Reader): void {
    try {
      const room = take(piece);
      if (room === undefined) return;
      this.#busy = true;
      room.then(this.#goOn).catch(this.#stop);
    } catch (error) {
      this.#stop(error);
    }
  }

  readonly #goOn = (): void => {
    this.#busy = false;
    while (this.#reader !== undefined && !this.#busy) {
      const piece = this.#held.shift();
      if (piece === undefined) break;
      this.#heldBytes -= piece.length;
      this.#give(piece, this.#reader);
    }
    if (this.#paused && !this.#busy) {
      this.#paused = false;
      this.#resume();
    }
    this.#settle();
  };

  /** The reader wants no more. */
  readonly #stop = (error: unknown): void => {
    this.#reader?.reject(error);
    this.#reader = undefined;
    this.cancel();
  };

  #settle(): void {
    if (!this.#ended || this.#busy || this.#held.length > 0) return;
    if (this.#failure === undefined) this.#reader?.resolve();
    else this.#reader?.reject(this.#failure.error);
    this.#reader = undefined;
  }
}

/** What is all there. */
export function toReplyBytes(...pieces: readonly Buffer[]): ReplyBytes {
  return {
    async each(take) {
      for (const piece of pieces) await take(piece);
    },
    cancel() {},
  };
}
