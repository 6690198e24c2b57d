// Every way a call can fail, in one table. A new failure is one row; the compiler finds the rest.

interface Failure {
  /** HTTP status (RFC 9110 §15). 499 is never sent: it marks clients that left, as nginx does. */
  readonly status: number;
  /** OpenAI's coarse `error.type`. */
  readonly type: "invalid_request_error" | "server_error" | "requests" | "insufficient_quota";
  /** Who can mend it; picks the log level. */
  readonly fault: "client" | "upstream" | "gateway";
  /** `false` sends `x-should-retry: false`, which the official SDKs obey before anything else. */
  readonly retry?: false;
}

const client = { type: "invalid_request_error", fault: "client" } as const;
const upstream = { type: "server_error", fault: "upstream" } as const;
const gateway = { type: "server_error", fault: "gateway" } as const;

/** Keyed by the `error.code` that the client sees. */
export const FAILURES = {
  invalid_request: { status: 400, ...client },
  invalid_json: { status: 400, ...client },
  invalid_form: { status: 400, ...client },
  invalid_api_key: { status: 401, ...client },
  endpoint_not_allowed: { status: 403, ...client },
  model_not_allowed: { status: 403, ...client },
  parameter_not_allowed: { status: 403, ...client },
  origin_not_allowed: { status: 403, ...client },
  model_price_unknown: { status: 403, ...client },
  unknown_url: { status: 404, ...client },
  method_not_allowed: { status: 405, ...client },
  request_timeout: { status: 408, ...client },
  request_too_large: { status: 413, ...client },
  unsupported_media_type: { status: 415, ...client },
  upgrade_required: { status: 426, ...client },
  rate_limit_exceeded: { status: 429, type: "requests", fault: "client" },
  // Until the budget's period is over; to try again earlier is in vain.
  insufficient_quota: { status: 429, type: "insufficient_quota", fault: "client", retry: false },
  headers_too_large: { status: 431, ...client },
  client_gone: { status: 499, ...client },
  client_stalled: { status: 499, ...client },
  internal_error: { status: 500, ...gateway },
  // 500 and not 502 or 504: CDNs replace the bodies of those with pages of their own.
  upstream_unreachable: { status: 500, ...upstream },
  // OpenAI may have done, and billed, the work: a blind retry could pay twice.
  upstream_timeout: { status: 500, ...upstream, retry: false },
  upstream_reset: { status: 500, ...upstream, retry: false },
  not_implemented: { status: 501, ...client },
  overloaded: { status: 503, ...gateway },
  draining: { status: 503, ...gateway },
  issuer_unavailable: { status: 503, ...gateway },
  store_unavailable: { status: 503, ...gateway },
} as const satisfies Record<string, Failure>;

export type ErrorCode = keyof typeof FAILURES;

/** Which quota refused, and whose it is. */
export interface RefusedRule {
  readonly rule: "requestsPerMinute" | "tokensPerMinute" | "concurrentRequests" | "budget";
  readonly of: "caller" | "policy" | "address";
}

export interface ErrorDetails {
  /** The request field at fault, for `error.param`. */
  readonly param?: string;
  readonly retryAfterMs?: number;
  /** As in the table, where only some failures of a kind forbid a retry. */
  readonly retry?: false;
  /** Methods the resource offers, for `allow` (RFC 9110 §15.5.6). */
  readonly allow?: readonly string[];
  /** For `www-authenticate` (RFC 9110 §11.6.1), with every 401. */
  readonly challenge?: string;
  /** `x-ratelimit-…`, where a limit is the reason. */
  readonly limits?: readonly (readonly [name: string, value: string])[];
  readonly refused?: RefusedRule;
  /** For the log only, never sent. */
  readonly cause?: unknown;
}

/** A failure that ends the call. The message is a sentence for the client: no secret, no host. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.details = details;
  }

  get status(): number {
    return FAILURES[this.code].status;
  }

  get fault(): Failure["fault"] {
    return FAILURES[this.code].fault;
  }
}

/** OpenAI's error object: all four keys, always (`ErrorResponse` in the OpenAPI document). */
export interface ErrorEnvelope {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

export function toEnvelope({ code, message, details }: GatewayError): ErrorEnvelope {
  return { error: { message, type: FAILURES[code].type, param: details.param ?? null, code } };
}

/** The response headers that belong to a failure. */
export function toErrorHeaders({ code, details }: GatewayError): Record<string, string> {
  const failure: Failure = FAILURES[code];
  const headers: Record<string, string> = Object.fromEntries(details.limits ?? []);
  if ((details.retry ?? failure.retry) === false) headers["x-should-retry"] = "false";
  if (details.allow !== undefined) headers["allow"] = details.allow.join(", ");
  if (details.challenge !== undefined) headers["www-authenticate"] = details.challenge;
  if (details.retryAfterMs !== undefined) {
    headers["retry-after"] = String(Math.ceil(details.retryAfterMs / 1000));
    headers["retry-after-ms"] = String(Math.ceil(details.retryAfterMs));
  }
  return headers;
}

/** Anything thrown becomes a GatewayError; the unforeseen stays bland and keeps its cause. */
export function toGatewayError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown;
  return new GatewayError("internal_error", "The gateway failed to handle this request.", {
    cause: thrown,
  });
}
