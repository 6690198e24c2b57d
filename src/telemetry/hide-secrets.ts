// Messages may repeat what a client sent, and it may have put its key anywhere.
import { GatewayError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { redact } from "./log.ts";

/** A message may quote a path of 16 KiB. */
const MESSAGE_LIMIT = 1_000;

/** The same error without any of them, and not longer than anybody reads. */
export function hideSecrets(error: GatewayError, secrets: readonly Secret[]): GatewayError {
  const { code, message, details } = error;
  const hidden = redact(message, secrets);
  const clean = hidden.length > MESSAGE_LIMIT ? `${hidden.slice(0, MESSAGE_LIMIT)}…` : hidden;
  const param = details.param && redact(details.param, secrets);
  if (clean === message && param === details.param) return error;
  return new GatewayError(code, clean, { ...details, ...(param !== undefined && { param }) });
}
