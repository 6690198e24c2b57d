// Every family of metrics: its name, its labels, and how many series it may have.
import { ENDPOINT_CLASSES } from "../config/config.ts";
import { toSeriesLimit, type Shape } from "./metric.ts";
import { PROCESS_METRICS } from "./process-metrics.ts";

/** The built-in price list has half as many; what the operator adds has no end. */
export const MODEL_LIMIT = 200;
/** Beside the class that is `other`. */
const ROUTES = ENDPOINT_CLASSES.length;

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];
const OVERHEAD_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1,
];

export const FAMILIES = {
  requests: counter(
    "requests_total",
    "Requests that are over, by the class of their route, of their status, and error code.",
    ["route", "status", "code"],
    1_000,
  ),
  inFlight: gauge("requests_in_flight", "Calls of the API that are open, WebSockets included.", []),
  streams: gauge("streams_open", "Answers that are streams of events and not over yet.", []),
  webSockets: gauge("websockets_open", "WebSockets between clients and OpenAI.", []),
  dashboards: gauge("dashboards_open", "Dashboards that are looking.", []),
  draining: gauge("draining", "1 while the gateway ends its calls to stop, else 0.", []),
  duration: histogram(
    "request_duration_seconds",
    "From a call's arrival to its end, refused ones too; of a WebSocket, the whole session.",
    ["route"],
    ROUTES,
    SECONDS,
  ),
  firstByte: histogram(
    "time_to_first_byte_seconds",
    "From a call's arrival to the first byte of OpenAI's answer that left the gateway.",
    ["route"],
    ROUTES,
    SECONDS,
  ),
  overhead: histogram(
    "overhead_seconds",
    "What of the time to the first byte was the gateway's own.",
    ["route"],
    ROUTES,
    OVERHEAD_SECONDS,
  ),
  tokens: counter(
    "tokens_total",
    "Tokens that calls used; cached_input is a part of input, not beside it.",
    ["kind", "model"],
    3 * (MODEL_LIMIT + 1),
  ),
  cost: counter(
    "cost_usd_total",
    "What calls cost by the price list, in US dollars.",
    ["model"],
    MODEL_LIMIT,
  ),
  estimated: counter(
    "estimated_requests_total",
    "Calls whose tokens nobody reported, so that they were estimated.",
    [],
    1,
  ),
  refused: counter(
    "refused_total",
    "Calls that a quota refused, by its rule and by whose quota it is.",
    ["rule", "of"],
    12,
  ),
  cancelled: counter(
    "cancelled_total",
    "Calls that ended early, by whoever or whatever ended them.",
    ["by"],
    5,
  ),
  attempts: counter(
    "upstream_attempts_total",
    "Attempts to reach OpenAI, by the class of the answer's status, or why there was none.",
    ["upstream", "outcome"],
    8,
  ),
  attemptDuration: histogram(
    "upstream_attempt_duration_seconds",
    "From an attempt's beginning to the head of its answer, where there was one.",
    ["upstream"],
    1,
    SECONDS,
  ),
  retries: counter(
    "upstream_retries_total",
    "Calls that were sent a second time, as OpenAI had not taken them the first time.",
    ["upstream"],
    1,
  ),
  openConnections: gauge("upstream_connections_open", "Connections to OpenAI that are open.", [
    "upstream",
  ]),
  connectionsOpened: counter(
    "upstream_connections_opened_total",
    "Connections to OpenAI that were ever opened.",
    ["upstream"],
    1,
  ),
  storeUp: gauge("store_up", "1 while quotas and usage can be kept as configured, else 0.", []),
  buildInfo: gauge("build_info", "1; its labels are the versions.", ["version", "node"]),
} as const satisfies Record<string, Shape>;

/** Every family that can be written. */
export const METRICS: readonly Shape[] = [...Object.values(FAMILIES), ...PROCESS_METRICS];

export const METRIC_NAMES: readonly string[] = METRICS.map(({ name }) => name);

/** Lines of samples that a scrape has at the very most. */
export const SERIES_LIMIT = METRICS.reduce((sum, shape) => sum + toSeriesLimit(shape), 0);

function counter<const Labels extends readonly string[]>(
  name: string,
  help: string,
  labels: Labels,
  limit: number,
): Shape<Labels> {
  return { name: `openai_gateway_${name}`, type: "counter", help, labels, limit };
}

function gauge<const Labels extends readonly string[]>(
  name: string,
  help: string,
  labels: Labels,
): Shape<Labels> {
  return { name: `openai_gateway_${name}`, type: "gauge", help, labels, limit: 1 };
}

function histogram<const Labels extends readonly string[]>(
  name: string,
  help: string,
  labels: Labels,
  limit: number,
  bounds: readonly number[],
): Shape<Labels> {
  return { name: `openai_gateway_${name}`, type: "histogram", help, labels, limit, bounds };
}
