// Plays an answer to a client at a given pace, and breaks off or falls silent where that is wanted.
// The signal fires when the client is gone: it ends every wait, so no timer outlives its reader.

import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { Answer } from "./answer.ts";

export interface Script {
  /** Until the headers. */
  readonly delayMs: number;
  /** Between two events of a stream. */
  readonly intervalMs: number;
  /** Where the answer stops short, if it does. */
  readonly stop: Stop | undefined;
}

export interface Stop {
  readonly how: "reset" | "silence";
  /** After so many events, or after half of a body; 0 is before the headers. */
  readonly after: number;
}

export async function play(
  res: ServerResponse,
  answer: Answer,
  script: Script,
  gone: AbortSignal,
): Promise<void> {
  await pause(script.delayMs, gone);
  if (script.stop?.after === 0) await stopShort(res, script.stop);
  else if (answer.kind === "body") await playBody(res, answer, script.stop, gone);
  else await playEvents(res, answer.events, script, gone);
}

async function playBody(
  res: ServerResponse,
  answer: Extract<Answer, { kind: "body" }>,
  stop: Stop | undefined,
  gone: AbortSignal,
): Promise<void> {
  const bytes = Buffer.from(answer.body);
  res.writeHead(answer.status, { ...answer.headers, "content-length": bytes.length });
  if (stop === undefined) {
    res.end(bytes);
    return;
  }
  await write(res, bytes.subarray(0, Math.floor(bytes.length / 2)), gone);
  await stopShort(res, stop);
}

async function playEvents(
  res: ServerResponse,
  events: Iterable<string>,
  { intervalMs, stop }: Script,
  gone: AbortSignal,
): Promise<void> {
  const contentType = "text/event-stream; charset=utf-8";
  res.writeHead(200, { "content-type": contentType, "cache-control": "no-cache" });
  let played = 0;
  for (const event of events) {
    if (played > 0) await pause(intervalMs, gone);
    if (stop?.after === played) return stopShort(res, stop);
    await write(res, event, gone);
    played += 1;
  }
  res.end();
}

/** Silence takes no effort: an answer that nobody ends stays open. */
async function stopShort(res: ServerResponse, { how }: Stop): Promise<void> {
  if (how === "silence") return;
  // Node holds writes back until the next tick; a reset before that would lose the last event.
  await nextTurn();
  res.socket?.resetAndDestroy();
}

async function write(res: ServerResponse, chunk: string | Buffer, gone: AbortSignal) {
  if (!res.write(chunk)) await once(res, "drain", { signal: gone });
}

async function pause(ms: number, gone: AbortSignal): Promise<void> {
  gone.throwIfAborted();
  if (ms > 0) await sleep(ms, undefined, { signal: gone });
}
