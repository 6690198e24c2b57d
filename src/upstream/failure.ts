// What went wrong on the way to OpenAI, read from what undici throws.
import { GatewayError } from "../errors.ts";

// Provably before OpenAI saw a byte of the request (RFC 9110 §9.2.2). ECONNRESET and
// UND_ERR_SOCKET are not here: the request may have been read.
const UNREACHED = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_HAS_EXPIRED",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
]);

/** An embedder's fetch may throw errors that are their own cause. */
const DEPTH_LIMIT = 8;

export interface Failure {
  /** Whether OpenAI may have seen the request: then it must not be sent again. */
  readonly reached: boolean;
  readonly error: GatewayError;
}

/** Names the code but not the host: the address of an upstream is the operator's business. */
export function toFailure(cause: unknown): Failure {
  if (cause instanceof GatewayError) return { reached: true, error: cause };
  const codes = codesOf(cause);
  const unreached = codes.find((code) => UNREACHED.has(code));
  if (unreached !== undefined || isConnecting(cause)) {
    const code = unreached ?? "ETIMEDOUT";
    const message = `The gateway could not connect to OpenAI (${code}).`;
    return { reached: false, error: new GatewayError("upstream_unreachable", message, { cause }) };
  }
  if (isSaid(cause, "bad port")) {
    const message = "OPENAI_BASE_URL has a port that fetch refuses to connect to.";
    return { reached: false, error: new GatewayError("upstream_unreachable", message, { cause }) };
  }
  if (isSaid(cause, "unexpected redirect")) {
    const message = "OpenAI answered with a redirect, which is not followed: see OPENAI_BASE_URL.";
    return { reached: true, error: new GatewayError("upstream_reset", message, { cause }) };
  }
  const code = codes[0];
  const message = `The connection to OpenAI broke${code === undefined ? "" : ` (${code})`}.`;
  return { reached: true, error: new GatewayError("upstream_reset", message, { cause }) };
}

/** What fetch refuses by itself has words and no code. */
function isSaid(error: unknown, words: string): boolean {
  return error instanceof Error && error.cause instanceof Error && error.cause.message === words;
}

/** The codes along the chain of causes, Happy Eyeballs' several attempts included. */
function codesOf(error: unknown, depth = 0): readonly string[] {
  if (!(error instanceof Error) || depth === DEPTH_LIMIT) return [];
  const own = "code" in error && typeof error.code === "string" ? [error.code] : [];
  const several: unknown[] = error instanceof AggregateError ? error.errors : [];
  return own.concat([...several, error.cause].flatMap((each) => codesOf(each, depth + 1)));
}

/** ETIMEDOUT is provable when the system call was `connect`. */
function isConnecting(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth === DEPTH_LIMIT) return false;
  if ("syscall" in error && error.syscall === "connect") return true;
  if (error instanceof AggregateError && error.errors.length > 0) {
    return error.errors.every((each) => isConnecting(each, depth + 1));
  }
  return isConnecting(error.cause, depth + 1);
}
