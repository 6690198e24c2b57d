// W3C Trace Context, level 1: `traceparent` as a client may send it, and ids of our own.
import { randomFillSync } from "node:crypto";

export interface TraceContext {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string;
  /** Of the client's span, 16 digits. */
  readonly parentId: string;
  /** The client records this trace. */
  readonly sampled: boolean;
}

/** Version ff and ids of nothing but zeros are invalid (§3.2.2). */
const TRACEPARENT =
  /^(?!ff)([\da-f]{2})-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(-.*)?$/;

/** @returns nothing for a header that is malformed: the trace starts anew (§4.3). */
export function parseTraceparent(header: string | undefined): TraceContext | undefined {
  const [, version, traceId, parentId, flags = "", more] = TRACEPARENT.exec(header ?? "") ?? [];
  if (traceId === undefined || parentId === undefined) return undefined;
  // Later versions may go on after another dash (§3.2.4).
  if (version === "00" && more !== undefined) return undefined;
  return { traceId, parentId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

const POOL = Buffer.alloc(4096);
let taken = POOL.length;

/** Many ids from one call for random bytes, which costs more than the bytes do. */
function randomHex(bytes: number): string {
  if (taken + bytes > POOL.length) {
    randomFillSync(POOL);
    taken = 0;
  }
  taken += bytes;
  return POOL.toString("hex", taken - bytes, taken);
}

export function createTraceId(): string {
  return randomHex(16);
}

export function createSpanId(): string {
  return randomHex(8);
}
