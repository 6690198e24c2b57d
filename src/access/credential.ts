// Where callers put their credential, and how a wrong one is refused: without a word of why.
import type { IncomingHttpHeaders } from "node:http";
import { GatewayError } from "../errors.ts";
import { readKeyProtocols } from "../http/upgrade.ts";
import { Secret } from "../secret.ts";

/** RFC 6750 §3: what to answer with a 401. */
const REALM = `Bearer realm="openai-gateway"`;
const INVALID = `${REALM}, error="invalid_token"`;
const BEARER = /^Bearer +([\x21-\x7e]+) *$/i;
const LENGTH_LIMIT = 8_192;

/** SDKs insist on a key: this one says that there is none. */
const NOBODY = "anonymous";

/**
 * From `Authorization: Bearer` (RFC 6750), Azure's `api-key`, or, as browsers can put nothing else
 * on a WebSocket, a subprotocol. Beside an `api-key`, another scheme than Bearer is for whoever
 * stands in front, as HTTP Basic is.
 * @returns nothing where there is no credential.
 * @throws GatewayError 401 for two that differ, and for what cannot be one.
 */
export function readCredential(headers: IncomingHttpHeaders): string | undefined {
  const { authorization } = headers;
  const credentials = findCredentials(headers);
  const [credential] = credentials;
  if (credentials.some((each) => each !== credential)) throw refuse("Two credentials that differ.");
  if (credential === undefined && authorization !== undefined)
    throw refuse("The Authorization header holds no credential.");
  if (credential === undefined || credential === NOBODY) return undefined;
  if (credential.length > LENGTH_LIMIT) throw refuse("The credential is too long.");
  if (!/^[\x21-\x7e]+$/.test(credential)) throw refuse("The credential is malformed.");
  return credential;
}

/** Whatever they are worth: no log line may have them. */
export function sentCredentials(headers: IncomingHttpHeaders): readonly Secret[] {
  return findCredentials(headers).map((credential) => new Secret(credential));
}

function findCredentials(headers: IncomingHttpHeaders): readonly string[] {
  const { authorization = "", "api-key": apiKey } = headers;
  const bearer = BEARER.exec(authorization)?.[1];
  const found = bearer === undefined ? [] : [bearer];
  if (apiKey !== undefined) found.push(String(apiKey));
  if (headers["sec-websocket-protocol"] !== undefined) found.push(...readKeyProtocols(headers));
  return found;
}

/** @param reason for the log only. */
export function refuse(reason: unknown): GatewayError {
  return new GatewayError("invalid_api_key", "The API key or token is not valid here.", {
    challenge: INVALID,
    cause: reason,
  });
}

export function demand(): GatewayError {
  const message = "Send an API key or token as `Authorization: Bearer …`.";
  return new GatewayError("invalid_api_key", message, { challenge: REALM });
}
