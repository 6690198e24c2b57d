// What an operator sends: a small JSON object.
import type { IncomingMessage } from "node:http";
import { Cancellation } from "../cancellation.ts";
import type { Clock } from "../clock.ts";
import { isRecord } from "../config/reader.ts";
import { GatewayError } from "../errors.ts";
import { Allowance } from "../http/allowance.ts";
import { RequestBody } from "../http/body.ts";

const LIMIT_BYTES = 64 * 1024;
const TIMEOUT_MS = 10_000;

/**
 * @param invite sends `100 Continue`, where the client waits for it.
 * @throws GatewayError 400, 408 or 413
 */
export async function readJson(
  req: IncomingMessage,
  invite: () => void,
  clock: Clock,
): Promise<Record<string, unknown>> {
  const cancellation = new Cancellation();
  const body = new RequestBody(req, {
    limitBytes: LIMIT_BYTES,
    keepBytes: 0,
    allowance: new Allowance(LIMIT_BYTES),
    watcher: { waiting: () => {}, moving: () => {}, failed: () => {} },
    invite,
    cancellation,
  });
  const deadline = clock.after(TIMEOUT_MS, () => {
    const message = "The rest of the request did not come in time.";
    cancellation.cancel(new GatewayError("request_timeout", message));
  });
  try {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body.pass()) chunks.push(chunk);
    const parsed = parse(Buffer.concat(chunks));
    if (isRecord(parsed)) return parsed;
    throw new GatewayError("invalid_json", "Send a JSON object.");
  } finally {
    deadline.cancel();
  }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
