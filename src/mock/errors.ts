// The errors that the mock answers, with the types, codes and words of the real API.

interface Fault {
  readonly type: string;
  readonly code: string | null;
  readonly message: string;
}

const INVALID = "invalid_request_error";

/** What OpenAI says with each status. Statuses not listed get one of the last two. */
const FAULTS: Readonly<Record<number, Fault>> = {
  400: { type: INVALID, code: null, message: "Your request was malformed." },
  401: { type: INVALID, code: "invalid_api_key", message: "Incorrect API key provided." },
  403: {
    type: "request_forbidden",
    code: "unsupported_country_region_territory",
    message: "Country, region, or territory not supported",
  },
  404: { type: INVALID, code: "model_not_found", message: "The model does not exist." },
  429: {
    type: "requests",
    code: "rate_limit_exceeded",
    message: "Rate limit reached for requests. Please try again in 1s.",
  },
  503: {
    type: "server_error",
    code: "overloaded",
    message: "The engine is currently overloaded, please try again later.",
  },
};
const CLIENT_FAULT: Fault = { type: INVALID, code: null, message: "The request was refused." };
const SERVER_FAULT: Fault = {
  type: "server_error",
  code: null,
  message: "The server had an error while processing your request. Sorry about that!",
};
const QUOTA_FAULT: Fault = {
  type: "insufficient_quota",
  code: "insufficient_quota",
  message: "You exceeded your current quota, please check your plan and billing details.",
};

/** An answer other than the one that was hoped for. */
export class MockError extends Error {
  override readonly name = "MockError";
  readonly status: number;
  readonly fault: Fault;
  readonly param: string | null;

  constructor(status: number, fault: Fault, param: string | null = null) {
    super(fault.message);
    this.status = status;
    this.fault = fault;
    this.param = param;
  }

  /** OpenAI leaves `retry-after` out where waiting does not help: the money is spent. */
  get retryable(): boolean {
    return this.status === 429 && this.fault !== QUOTA_FAULT;
  }
}

/** The error that OpenAI gives with this status, under another code if one is asked for. */
export function errorFor(status: number, code?: string): MockError {
  if (code === QUOTA_FAULT.code) return new MockError(status, QUOTA_FAULT);
  const fault = FAULTS[status] ?? (status < 500 ? CLIENT_FAULT : SERVER_FAULT);
  return new MockError(status, code === undefined ? fault : { ...fault, code });
}

export function invalid(
  message: string,
  param: string | null,
  code: string | null = null,
): MockError {
  return new MockError(400, { type: INVALID, code, message }, param);
}

export function refused(status: number, code: string, message: string): MockError {
  return new MockError(status, { type: INVALID, code, message });
}
