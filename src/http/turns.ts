// Pipelined requests (RFC 9112 §9.3.2). Node hands over all that a connection has sent, at once; on
// Node 20 and 22 nothing tells when the client of one that still waits for its turn has gone.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** More than any client pipelines; each one that waits takes memory. */
const WAITING_LIMIT = 32;

export class Turns {
  readonly #waiting = new WeakMap<Socket, number>();

  /** Runs when the answers before this one are out, so that no call is made for nobody. */
  wait({ socket }: IncomingMessage, res: ServerResponse, begin: () => void): void {
    if (res.socket !== null || res.closed) return begin();
    const waiting = this.#waiting.get(socket) ?? 0;
    if (waiting === WAITING_LIMIT) {
      socket.destroy();
      return;
    }
    this.#waiting.set(socket, waiting + 1);
    res.once("socket", () => {
      this.#waiting.set(socket, (this.#waiting.get(socket) ?? 1) - 1);
      begin();
    });
  }
}
