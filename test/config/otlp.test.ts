// OpenTelemetry's environment variables: what they make, and one sentence about each wrong one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readOtlp } from "../../src/config/parse-otlp.ts";
import type { Problem } from "../../src/config/reader.ts";
import { secretsOf } from "../../src/config/secrets.ts";

type Variables = Readonly<Record<string, string>>;

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://localhost:4318" };

function read(env: Variables) {
  const problems: Problem[] = [];
  const hints: Problem[] = [];
  const config = readOtlp((name) => env[name], problems, hints);
  return { config, problems, hints };
}

/** Of settings that are right. */
function readGood(env: Variables) {
  const { config, problems } = read(env);
  assert.deepEqual(problems, []);
  assert.ok(config !== undefined, "there is a configuration");
  return config;
}

test("nothing is exported unless something says where", () => {
  const silent: readonly Variables[] = [
    {},
    { OTEL_EXPORTER_OTLP_ENDPOINT: "" },
    { OTEL_SERVICE_NAME: "x", OTEL_TRACES_SAMPLER: "nonsense", OTEL_BSP_SCHEDULE_DELAY: "x" },
    { ...ENDPOINT, OTEL_SDK_DISABLED: "TRUE" },
    { ...ENDPOINT, OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none" },
    { OTEL_EXPORTER_OTLP_HEADERS: "a=b" },
  ];

  for (const env of silent) {
    assert.deepEqual(read(env), { config: undefined, problems: [], hints: [] });
  }
});

test("an endpoint alone is enough", () => {
  const { traces, metrics, ...rest } = readGood(ENDPOINT);

  assert.equal(traces?.url.href, "http://localhost:4318/v1/traces");
  assert.equal(metrics?.url.href, "http://localhost:4318/v1/metrics");
  assert.deepEqual(traces?.headers, {});
  assert.equal(traces?.timeoutMs, 10_000);
  assert.equal(traces?.gzip, false);
  assert.deepEqual(rest, {
    serviceName: "openai-gateway",
    resourceAttributes: {},
    sampler: { parentBased: true, ratio: 1 },
    maxQueuedSpans: 2_048,
    maxBatchSpans: 512,
    spanDelayMs: 5_000,
    metricIntervalMs: 60_000,
  });
});

test("the shared endpoint gets the signal's path, a signal's own is used as it is", () => {
  const shared = (url: string) => readGood({ OTEL_EXPORTER_OTLP_ENDPOINT: url }).traces?.url.href;
  const own = (url: string) => readGood({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: url });

  assert.equal(shared("https://c.example/otlp"), "https://c.example/otlp/v1/traces");
  assert.equal(shared("https://c.example/otlp//"), "https://c.example/otlp/v1/traces");
  assert.equal(shared("https://c.example?t=1"), "https://c.example/v1/traces?t=1");
  assert.equal(shared(" https://c.example\n"), "https://c.example/v1/traces");
  assert.equal(own("https://c.example").traces?.url.href, "https://c.example/");
  assert.equal(own("https://c.example/a/b?c").traces?.url.href, "https://c.example/a/b?c");
  assert.equal(own("https://c.example").metrics, undefined);
});

test("the exporters' names choose signals, and by themselves mean the local collector", () => {
  const traces = readGood({ OTEL_TRACES_EXPORTER: "otlp" });
  const metrics = readGood({ ...ENDPOINT, OTEL_TRACES_EXPORTER: "none" });
  const scraped = readGood({ ...ENDPOINT, OTEL_METRICS_EXPORTER: "prometheus" });

  assert.equal(traces.traces?.url.href, "http://localhost:4318/v1/traces");
  assert.equal(traces.metrics, undefined);
  assert.equal(metrics.traces, undefined);
  assert.equal(metrics.metrics?.url.href, "http://localhost:4318/v1/metrics");
  assert.equal(scraped.metrics, undefined);
});

test("a signal's own options win over the shared ones", () => {
  const { traces, metrics } = readGood({
    ...ENDPOINT,
    OTEL_EXPORTER_OTLP_HEADERS: "a=1",
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: "b=2",
    OTEL_EXPORTER_OTLP_TIMEOUT: "1000",
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "2000",
    OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
    OTEL_EXPORTER_OTLP_METRICS_COMPRESSION: "none",
    OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "http/json",
  });

  assert.deepEqual(Object.keys(traces?.headers ?? {}), ["b"]);
  assert.deepEqual(Object.keys(metrics?.headers ?? {}), ["a"]);
  assert.equal(traces?.timeoutMs, 2_000);
  assert.equal(metrics?.timeoutMs, 1_000);
  assert.equal(traces?.gzip, true);
  assert.equal(metrics?.gzip, false);
});

test("headers are a list with percent-encoded values, and secrets", () => {
  const config = readGood({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://c.example",
    OTEL_EXPORTER_OTLP_HEADERS: " Authorization = Basic%20YTpi== , x-team=a%2Cb,,empty=",
  });

  const headers = Object.entries(config.traces?.headers ?? {});
  assert.deepEqual(
    headers.map(([name, value]) => [name, value.reveal()]),
    [
      ["authorization", "Basic YTpi=="],
      ["x-team", "a,b"],
      ["empty", ""],
    ],
  );
  assert.doesNotMatch(JSON.stringify(config), /YTpi/);
  assert.equal(secretsOf(config).length, 3);
});

test("the service has a name, whoever gives it", () => {
  const attributes = "service.name=one,service.namespace=shop,deployment.environment.name=a%20b";
  const resource = { ...ENDPOINT, OTEL_RESOURCE_ATTRIBUTES: attributes };

  assert.equal(readGood(resource).serviceName, "one");
  assert.equal(readGood({ ...resource, OTEL_SERVICE_NAME: "two" }).serviceName, "two");
  assert.equal(readGood(resource).resourceAttributes["deployment.environment.name"], "a b");
});

test("samplers have OpenTelemetry's names", () => {
  const sampler = (name: string, arg?: string) =>
    readGood({
      ...ENDPOINT,
      OTEL_TRACES_SAMPLER: name,
      ...(arg !== undefined && { OTEL_TRACES_SAMPLER_ARG: arg }),
    }).sampler;

  assert.deepEqual(sampler("always_on"), { parentBased: false, ratio: 1 });
  assert.deepEqual(sampler("always_off", "0.5"), { parentBased: false, ratio: 0 });
  assert.deepEqual(sampler("traceidratio", "0.25"), { parentBased: false, ratio: 0.25 });
  assert.deepEqual(sampler("traceidratio", "1e-3"), { parentBased: false, ratio: 0.001 });
  assert.deepEqual(sampler("traceidratio"), { parentBased: false, ratio: 1 });
  assert.deepEqual(sampler("parentbased_always_on"), { parentBased: true, ratio: 1 });
  assert.deepEqual(sampler("parentbased_always_off"), { parentBased: true, ratio: 0 });
  assert.deepEqual(sampler("parentbased_traceidratio", ".5"), { parentBased: true, ratio: 0.5 });
});

test("the queue's numbers are read, and a batch is never larger than the queue", () => {
  const config = readGood({
    ...ENDPOINT,
    OTEL_BSP_MAX_QUEUE_SIZE: "100",
    OTEL_BSP_SCHEDULE_DELAY: "250",
    OTEL_METRIC_EXPORT_INTERVAL: "1000",
  });

  assert.equal(config.maxQueuedSpans, 100);
  assert.equal(config.maxBatchSpans, 100);
  assert.equal(config.spanDelayMs, 250);
  assert.equal(config.metricIntervalMs, 1_000);
});

test("what is wrong is said once, with what would be right", () => {
  const url = "expected an http(s) URL such as http://localhost:4318";
  const pairs =
    "expected name=value with commas between, values percent-encoded: " +
    "a % by itself is %25, a comma %2C";
  const wrong: readonly (readonly [string, string, string])[] = [
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", url],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2", url],
    ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "unix:///run/x", url],
    [
      "OTEL_EXPORTER_OTLP_ENDPOINT",
      "https://me:hunter2@c.example",
      "expected a URL without user, password or fragment: use …_HEADERS",
    ],
    ["OTEL_EXPORTER_OTLP_HEADERS", "hunter2", pairs],
    ["OTEL_EXPORTER_OTLP_HEADERS", "=hunter2", pairs],
    ["OTEL_EXPORTER_OTLP_HEADERS", "key=hunter%", pairs],
    ["OTEL_EXPORTER_OTLP_HEADERS", "key=hunter2%0D%0Ax:y", pairs],
    ["OTEL_EXPORTER_OTLP_HEADERS", "a key=hunter2", pairs],
    [
      "OTEL_EXPORTER_OTLP_HEADERS",
      "Content-Length=5",
      "names a header that the exporter itself sets",
    ],
    ["OTEL_RESOURCE_ATTRIBUTES", "hunter2", pairs],
    ["OTEL_EXPORTER_OTLP_TIMEOUT", "10s", 'expected a whole number from 1 to 3600000, got "10s"'],
    [
      "OTEL_EXPORTER_OTLP_COMPRESSION",
      "gzipp",
      'expected one of none, gzip, got "gzipp", did you mean "gzip"?',
    ],
    [
      "OTEL_EXPORTER_OTLP_PROTOCOL",
      "grpc",
      "expected http/json, got grpc: collectors take HTTP too, mostly at port 4318",
    ],
    [
      "OTEL_EXPORTER_OTLP_PROTOCOL",
      "thrift",
      'expected one of http/json, http/protobuf, got "thrift"',
    ],
    ["OTEL_TRACES_EXPORTER", "zipkin", 'expected one of otlp, none, got "zipkin"'],
    ["OTEL_SDK_DISABLED", "yes", 'expected one of true, false, got "yes"'],
    [
      "OTEL_TRACES_SAMPLER",
      "allways_on",
      "expected one of always_on, parentbased_always_on, always_off, parentbased_always_off, " +
        'traceidratio, parentbased_traceidratio, got "allways_on", did you mean "always_on"?',
    ],
    ["OTEL_BSP_MAX_QUEUE_SIZE", "0", 'expected a whole number from 1 to 65536, got "0"'],
    ["OTEL_METRIC_EXPORT_INTERVAL", "-1", 'expected a whole number from 1 to 3600000, got "-1"'],
  ];

  for (const [where, value, message] of wrong) {
    const { problems } = read({ ...ENDPOINT, [where]: value });

    assert.deepEqual(problems, [{ where, message }]);
    assert.doesNotMatch(message, /hunter/);
  }
  const { problems } = read({
    ...ENDPOINT,
    OTEL_TRACES_SAMPLER: "traceidratio",
    OTEL_TRACES_SAMPLER_ARG: "1.5",
  });
  assert.deepEqual(problems, [
    { where: "OTEL_TRACES_SAMPLER_ARG", message: 'expected a number from 0 to 1, got "1.5"' },
  ]);
});

test("what only looks wrong is a hint", () => {
  const { config, problems, hints } = read({
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://localhost:4317",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
  });

  assert.ok(config !== undefined, "it works all the same");
  assert.deepEqual(problems, []);
  assert.deepEqual(hints, [
    {
      where: "OTEL_EXPORTER_OTLP_ENDPOINT",
      message: "has port 4317, mostly gRPC's: for HTTP it is 4318",
    },
    {
      where: "OTEL_EXPORTER_OTLP_PROTOCOL",
      message: "is http/protobuf, but JSON is sent, which collectors take at the same path",
    },
  ]);
});
