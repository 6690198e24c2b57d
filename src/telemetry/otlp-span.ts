// One call of the API as one span, in the words of OpenTelemetry's conventions for generative AI.
import type { CallReport } from "./call-report.ts";
import { bool, double, int, text, toKeyValues, toNanos, type AnyValue } from "./otlp-json.ts";
import { createSpanId } from "./trace-context.ts";

/** Only their enumerations' numbers are legal in OTLP's JSON. */
const KIND_CLIENT = 3;
const STATUS_ERROR = 2;
/** Bits 8 and 9 of a span's flags: whether its parent is remote is known, and it is. */
const REMOTE_KNOWN = 0x100;
const REMOTE = 0x200;
const SAMPLED = 1;

/** The well-known names; any other operation goes by its class. */
const OPERATIONS: ReadonlyMap<string | undefined, string> = new Map([
  ["POST /chat/completions", "chat"],
  ["POST /responses", "chat"],
  ["POST /completions", "text_completion"],
  ["POST /embeddings", "embeddings"],
  ["POST /vector_stores/{vector_store_id}/search", "retrieval"],
]);

/** As the conventions for HTTP have them; whatever else a client sends is `_OTHER`. */
const METHODS: ReadonlySet<string> = new Set(
  "CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT TRACE QUERY".split(" "),
);

/** The server that is called. */
export interface Peer {
  readonly address: string;
  readonly port: number;
}

export function toPeer({ hostname, port, protocol }: URL): Peer {
  const fallback = protocol === "https:" ? 443 : 80;
  return { address: hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(port || fallback) };
}

export function toOperation({ route, routeClass }: CallReport): string {
  return OPERATIONS.get(route) ?? routeClass;
}

/** One of a closed set: our code, else the status. */
export function toErrorType({ error, status }: CallReport): string | undefined {
  return error ?? (status >= 400 ? String(status) : undefined);
}

/**
 * A client's span, as tools for generative AI look for: of the two sides of a gateway's call, it
 * is the one to OpenAI that has model, tokens and price. Never content, nor an error's message,
 * which may quote some.
 */
export function toSpan(call: CallReport, traceId: string, peer: Peer): object {
  const { trace, pricedModel, startedAtMs, durationMs } = call;
  const failed = toErrorType(call) !== undefined;
  return {
    traceId,
    spanId: createSpanId(),
    ...(trace && { parentSpanId: trace.parentId }),
    flags: SAMPLED | REMOTE_KNOWN | (trace === undefined ? 0 : REMOTE),
    // Names become labels in many a backend: not the client's word for a model.
    name: pricedModel === undefined ? toOperation(call) : `${toOperation(call)} ${pricedModel}`,
    kind: KIND_CLIENT,
    startTimeUnixNano: toNanos(startedAtMs),
    endTimeUnixNano: toNanos(startedAtMs + durationMs),
    attributes: toKeyValues({ ...describe(call, peer), ...describeOwn(call) }),
    ...(failed && { status: { code: STATUS_ERROR } }),
  };
}

type Values = Readonly<Record<string, AnyValue | undefined>>;

function describe(call: CallReport, { address, port }: Peer): Values {
  const { method, route, status, firstByteMs, stream } = call;
  const called = call.attempts > 0;
  const verb = method === "WEBSOCKET" ? "GET" : method;
  return {
    "gen_ai.operation.name": text(toOperation(call)),
    "gen_ai.provider.name": text("openai"),
    // Not as `gen_ai.response.model`, too: whose word it is, is not known any more.
    "gen_ai.request.model": text(call.model),
    "gen_ai.request.stream": stream ? bool(true) : undefined,
    "gen_ai.response.time_to_first_chunk":
      stream && firstByteMs !== undefined ? double(firstByteMs / 1_000) : undefined,
    ...(hasUsage(call) && {
      "gen_ai.usage.input_tokens": int(call.inputTokens),
      "gen_ai.usage.cache_read.input_tokens": int(call.cachedInputTokens),
      "gen_ai.usage.output_tokens": int(call.outputTokens),
    }),
    "server.address": called ? text(address) : undefined,
    "server.port": called ? int(port) : undefined,
    "http.request.method": text(METHODS.has(verb) ? verb : "_OTHER"),
    "http.route": text(route?.replace(/^.* /, "")),
    "http.response.status_code": int(status),
    "error.type": text(toErrorType(call)),
  };
}

/** Names of our own for what the conventions have none for. */
function describeOwn(call: CallReport): Values {
  const { refused, firstByteMs, estimated } = call;
  return {
    "openai_gateway.request_id": text(call.id),
    "openai_gateway.upstream_request_id": text(call.upstreamRequestId),
    "openai_gateway.caller": text(call.caller),
    "openai_gateway.policy": text(call.policy),
    "openai_gateway.attempts": int(call.attempts),
    "openai_gateway.cost_usd": double(call.costMicroUsd / 1e6),
    "openai_gateway.overhead_ms": double(call.gatewayMs),
    "openai_gateway.time_to_first_byte_ms": double(firstByteMs),
    "openai_gateway.refused": text(refused && `${refused.of} ${refused.rule}`),
    // What nobody reported is no usage in the conventions' sense.
    ...(estimated && {
      "openai_gateway.usage.estimated": bool(true),
      "openai_gateway.usage.input_tokens": int(call.inputTokens),
      "openai_gateway.usage.output_tokens": int(call.outputTokens),
    }),
  };
}

/** Whether OpenAI itself said how many tokens it was. */
export function hasUsage(call: CallReport): boolean {
  const { inputTokens, outputTokens, estimated, clamped } = call;
  return inputTokens + outputTokens > 0 && !estimated && !clamped;
}
