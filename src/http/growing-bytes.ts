// Bytes put together from pieces, in time linear in the bytes however small the pieces are.

const FIRST_BYTES = 512;
const NOTHING = Buffer.alloc(0);

export class GrowingBytes {
  #room = NOTHING;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** What is there so far; a view that the next `push` may leave behind. */
  get view(): Buffer {
    return this.#room.subarray(0, this.#length);
  }

  push(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#room.length) {
      const roomier = Buffer.allocUnsafe(Math.max(length, 2 * this.#room.length, FIRST_BYTES));
      roomier.set(this.view);
      this.#room = roomier;
    }
    this.#room.set(piece, this.#length);
    this.#length = length;
  }

  /** Gives everything away; the next piece is the first again. */
  take(): Buffer {
    const all = this.view;
    this.#room = NOTHING;
    this.#length = 0;
    return all;
  }
}
