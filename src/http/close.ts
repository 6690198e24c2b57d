// Ending a server whose last answers are on their way.
import type { Server } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "../clock.ts";

/** For clients that still read their last bytes. */
const FAREWELL_MS = 1_000;

export interface Closer {
  /** Resolves when every connection is gone. */
  close(clock: Clock): Promise<void>;
}

/** To be called before the server listens. */
export function createCloser(server: Server): Closer {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  return {
    close: (clock) =>
      new Promise((resolve) => {
        const timer = clock.after(FAREWELL_MS, () => {
          // Upgraded ones too, which closeAllConnections() no longer knows.
          for (const socket of sockets) socket.destroy();
        });
        server.close(() => {
          timer.cancel();
          resolve();
        });
        server.closeIdleConnections();
        // Clients connect ahead of need; before 26.4 Node does not count such a socket as idle.
        for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
      }),
  };
}
