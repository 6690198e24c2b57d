// OpenTelemetry's environment variables -> OtlpConfig: where calls are exported to, if anywhere.
// From its "OTLP Exporter Configuration" and "Environment Variable Specification".
import { Secret } from "../secret.ts";
import { closest } from "./closest.ts";
import type { Problem } from "./reader.ts";
import { show } from "./show.ts";

export interface OtlpConfig {
  /** Nothing where spans are not exported. */
  readonly traces?: OtlpTarget;
  /** Nothing where metrics are not exported. */
  readonly metrics?: OtlpTarget;
  readonly serviceName: string;
  readonly resourceAttributes: Readonly<Record<string, string>>;
  readonly sampler: OtlpSampler;
  /** Spans that wait for export; the ones that come when it is full are dropped. */
  readonly maxQueuedSpans: number;
  readonly maxBatchSpans: number;
  readonly spanDelayMs: number;
  readonly metricIntervalMs: number;
}

export interface OtlpTarget {
  /** Complete, `/v1/traces` included. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, Secret>>;
  /** Of one request. */
  readonly timeoutMs: number;
  readonly gzip: boolean;
}

export interface OtlpSampler {
  /** A client that sent a `traceparent` decides by its flag. */
  readonly parentBased: boolean;
  /** Of all other traces, 0 to 1. */
  readonly ratio: number;
}

type Get = (name: string) => string | undefined;

type Signal = "TRACES" | "METRICS";

const SAMPLERS: Readonly<Record<string, number | undefined>> = {
  always_on: 1,
  always_off: 0,
  traceidratio: undefined,
};
const SAMPLER_NAMES = Object.keys(SAMPLERS).flatMap((name) => [name, `parentbased_${name}`]);

/** Of the exporter's request itself; fetch would refuse some of them at every call. */
const OWN_HEADERS =
  /^(?:host|connection|keep-alive|upgrade|expect|te|trailer|transfer-encoding|content-.*)$/i;

/**
 * @param get the environment: an empty variable is not set.
 * @param hints what looks like a mistake but stops nothing.
 * @returns nothing where nothing is to be exported, whatever else the variables say: they may be
 * there for another program.
 */
export function readOtlp(
  get: Get,
  problems: Problem[],
  hints: Problem[] = [],
): OtlpConfig | undefined {
  const env = new OtelEnvironment(get, problems, hints);
  if (env.flag("OTEL_SDK_DISABLED")) return undefined;
  const traces = readTarget(env, "TRACES");
  const metrics = readTarget(env, "METRICS");
  if (traces === undefined && metrics === undefined) return undefined;
  const resource = env.pairs("OTEL_RESOURCE_ATTRIBUTES", /^[!-+\--:<>-~]+$/);
  const maxQueuedSpans = env.integer("OTEL_BSP_MAX_QUEUE_SIZE", 2_048, 1, 65_536);
  const batch = env.integer("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1, 65_536);
  return {
    ...(traces && { traces }),
    ...(metrics && { metrics }),
    serviceName: env.get("OTEL_SERVICE_NAME") || resource["service.name"] || "openai-gateway",
    resourceAttributes: resource,
    sampler: readSampler(env),
    maxQueuedSpans,
    maxBatchSpans: Math.min(batch, maxQueuedSpans),
    spanDelayMs: env.integer("OTEL_BSP_SCHEDULE_DELAY", 5_000, 1, 3_600_000),
    metricIntervalMs: env.integer("OTEL_METRIC_EXPORT_INTERVAL", 60_000, 1, 3_600_000),
  };
}

/** Where a signal goes: nowhere unless an endpoint says so, or the exporter's name alone. */
function readTarget(env: OtelEnvironment, signal: Signal): OtlpTarget | undefined {
  const exporter = env.get(`OTEL_${signal}_EXPORTER`);
  const [own, shared] = [`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`, "OTEL_EXPORTER_OTLP_ENDPOINT"];
  const named = env.get(own) ?? env.get(shared);
  if (exporter === undefined ? named === undefined : !wantsOtlp(env, signal)) return undefined;
  const url =
    env.get(own) === undefined
      ? env.url(shared, `/v1/${signal.toLowerCase()}`, "http://localhost:4318")
      : env.url(own, "");
  const of = (option: string): string => {
    const special = `OTEL_EXPORTER_OTLP_${signal}_${option}`;
    return env.get(special) === undefined ? `OTEL_EXPORTER_OTLP_${option}` : special;
  };
  if (!isSpoken(env, of("PROTOCOL"))) return undefined;
  const given = Object.entries(env.pairs(of("HEADERS"), /^[\w!#$%&'*+.^`|~-]+$/, /^[\t -~]*$/));
  const headers = given.filter(([name]) => !OWN_HEADERS.test(name));
  if (headers.length < given.length) {
    env.problem(of("HEADERS"), "names a header that the exporter itself sets");
  }
  return (
    url && {
      url,
      headers: Object.fromEntries(
        headers.map(([name, value]) => [name.toLowerCase(), new Secret(value)]),
      ),
      timeoutMs: env.integer(of("TIMEOUT"), 10_000, 1, 3_600_000),
      gzip: env.oneOf(of("COMPRESSION"), ["none", "gzip"]) === "gzip",
    }
  );
}

/** `prometheus` is served at /metrics all the same. */
function wantsOtlp(env: OtelEnvironment, signal: Signal): boolean {
  const known = ["otlp", "none", ...(signal === "METRICS" ? ["prometheus"] : [])];
  return env.oneOf(`OTEL_${signal}_EXPORTER`, known) === "otlp";
}

/** To a port of gRPC nothing is sent: nobody there would understand it. */
function isSpoken(env: OtelEnvironment, name: string): boolean {
  const protocol = env.get(name)?.toLowerCase();
  if (protocol === "grpc") {
    env.problem(
      name,
      "expected http/json, got grpc: collectors take HTTP too, mostly at port 4318",
    );
  } else if (env.oneOf(name, ["http/json", "http/protobuf"]) === "http/protobuf") {
    env.hint(name, "is http/protobuf, but JSON is sent, which collectors take at the same path");
  }
  return protocol !== "grpc";
}

function readSampler(env: OtelEnvironment): OtlpSampler {
  const name = env.oneOf("OTEL_TRACES_SAMPLER", SAMPLER_NAMES) ?? "parentbased_always_on";
  const ratio = SAMPLERS[name.replace("parentbased_", "")] ?? env.ratio("OTEL_TRACES_SAMPLER_ARG");
  return { parentBased: name.startsWith("parentbased_"), ratio };
}

/** The environment, and what is wrong with it. */
class OtelEnvironment {
  readonly #get: Get;
  readonly #problems: Problem[];
  readonly #hints: Problem[];

  constructor(get: Get, problems: Problem[], hints: Problem[]) {
    this.#get = get;
    this.#problems = problems;
    this.#hints = hints;
  }

  get(name: string): string | undefined {
    return this.#get(name)?.trim() || undefined;
  }

  /** Both signals may read the same variable. */
  problem(where: string, message: string): void {
    const known = this.#problems.some((each) => each.where === where && each.message === message);
    if (!known) this.#problems.push({ where, message });
  }

  hint(where: string, message: string): void {
    if (!this.#hints.some((each) => each.where === where)) this.#hints.push({ where, message });
  }

  flag(name: string): boolean {
    return this.oneOf(name, ["true", "false"]) === "true";
  }

  /** In any case, as the specification has it. */
  oneOf(name: string, choices: readonly string[]): string | undefined {
    const text = this.get(name);
    const choice = text?.toLowerCase();
    if (text === undefined || choice === undefined || choices.includes(choice)) return choice;
    const expected = `expected one of ${choices.join(", ")}, got ${show(text)}`;
    this.problem(name, expected + closest(text, choices));
    return undefined;
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const text = this.get(name);
    if (text === undefined) return fallback;
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    this.problem(name, `expected a whole number from ${min} to ${max}, got ${show(text)}`);
    return fallback;
  }

  ratio(name: string): number {
    const text = this.get(name);
    if (text === undefined) return 1;
    const value = /^(?:\d+\.?\d*|\.\d+)(?:e-\d+)?$/i.test(text) ? Number(text) : Number.NaN;
    if (value >= 0 && value <= 1) return value;
    this.problem(name, `expected a number from 0 to 1, got ${show(text)}`);
    return 1;
  }

  /** Never repeated in a message: vendors put tokens into paths and queries. */
  url(name: string, path: string, fallback?: string): URL | undefined {
    const text = this.get(name) ?? fallback ?? "";
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol) || /\s/.test(text)) {
      this.problem(name, "expected an http(s) URL such as http://localhost:4318");
      return undefined;
    }
    if (url.username !== "" || url.password !== "" || url.hash !== "") {
      this.problem(name, "expected a URL without user, password or fragment: use …_HEADERS");
      return undefined;
    }
    if (url.port === "4317") this.hint(name, "has port 4317, mostly gRPC's: for HTTP it is 4318");
    if (path !== "") url.pathname = url.pathname.replace(/\/*$/, path);
    return url;
  }

  /** `name=value,…`, values percent-encoded (W3C Baggage). No message repeats any of it. */
  pairs(name: string, key: RegExp, value = /^[^\0]*$/): Readonly<Record<string, string>> {
    const items = (this.get(name) ?? "").split(",").filter((item) => item.trim() !== "");
    const pairs = items.map((item) => {
      const at = item.indexOf("=");
      return [item.slice(0, Math.max(at, 0)).trim(), decode(item.slice(at + 1).trim())] as const;
    });
    const good = pairs.flatMap(([left, right]) =>
      key.test(left) && right !== undefined && value.test(right) ? [[left, right] as const] : [],
    );
    if (good.length < pairs.length) {
      const expected = "expected name=value with commas between, values percent-encoded";
      this.problem(name, `${expected}: a % by itself is %25, a comma %2C`);
    }
    return Object.fromEntries(good);
  }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
