// What becomes of the rest of a request that was answered before it was all there.
import type { IncomingMessage } from "node:http";
import type { Clock } from "../clock.ts";

// Long enough for a client that reads its answer only after sending everything; not for ever.
const LINGER_MS = 5_000;

/**
 * After an early answer the rest of the request is read and dropped for a while before the
 * connection is cut: cutting at once could reset it under the answer (RFC 9112 §9.6).
 */
export function dropRest(req: IncomingMessage, clock: Clock): void {
  if (req.complete || req.destroyed) return;
  req.resume();
  const timer = clock.after(LINGER_MS, () => req.destroy());
  req.once("close", () => timer.cancel());
}
