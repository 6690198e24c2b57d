// What the gateway counts for Prometheus, call by call.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ENDPOINT_CLASSES } from "../../src/config/config.ts";
import { FAILURES, type ErrorCode } from "../../src/errors.ts";
import type { CallReport, RefusedRule, RouteClass } from "../../src/telemetry/call-report.ts";
import {
  METRICS,
  METRIC_NAMES,
  MODEL_LIMIT,
  SERIES_LIMIT,
} from "../../src/telemetry/gateway-families.ts";
import { openMetrics, readExposition, sumOf, toCall, toRefusal } from "./metric-traffic.ts";

const CODES = Object.keys(FAILURES) as ErrorCode[];
const OWN: readonly RouteClass[] = ["page", "operator", "none"];
const ROUTES = [...new Set<RouteClass>([...ENDPOINT_CLASSES, "other", ...OWN])];
const API = ROUTES.filter((route) => !OWN.includes(route));
const RULES: readonly RefusedRule["rule"][] = [
  ...(["requestsPerMinute", "tokensPerMinute", "concurrentRequests", "budget"] as const),
];
const OWNERS: readonly RefusedRule["of"][] = ["caller", "policy", "address"];
const OUTCOMES = [
  ...(["1xx", "2xx", "3xx", "4xx", "5xx", "unreached", "failed", "cancelled"] as const),
];

const p = (name: string): string => `openai_gateway_${name}`;

/** What is written after these calls. */
function writeAfter(...calls: readonly CallReport[]): string {
  const metrics = openMetrics();
  for (const call of calls) metrics.observe(call);
  const text = metrics.write();
  metrics.close();
  return text;
}

/** The samples of a family that are not 0, as `label=value,…` and their value. */
function nonZero(text: string, name: string): Record<string, number> {
  const family = readExposition(text).find((each) => each.name === p(name));
  const samples = family?.samples.filter(({ value }) => value !== 0) ?? [];
  return Object.fromEntries(
    samples.map(({ labels, value }) => [
      Object.entries(labels)
        .map((pair) => pair.join("="))
        .join(","),
      value,
    ]),
  );
}

test("counts every request by the classes of its route and status, and by its error", () => {
  const text = writeAfter(
    toCall(),
    toCall({ status: 201 }),
    toCall({ routeClass: "responses", status: 429 }),
    toCall({ routeClass: "responses", status: 503 }),
    toCall({ routeClass: "realtime", status: 101 }),
    toCall({ status: 200, error: "upstream_reset" }),
    toRefusal({ status: 499, error: "client_gone" }),
    toRefusal({ routeClass: "other", status: 404 }),
    toRefusal({ routeClass: "none", status: 404, error: "unknown_url" }),
    toRefusal({ routeClass: "page", status: 503 }),
    toRefusal({ routeClass: "operator", status: 400 }),
    toRefusal({ routeClass: "none", status: 0 }),
  );

  assert.deepEqual(nonZero(text, "requests_total"), {
    "route=chat,status=2xx,code=none": 2,
    "route=responses,status=4xx,code=openai_error": 1,
    "route=responses,status=5xx,code=openai_error": 1,
    "route=realtime,status=1xx,code=none": 1,
    "route=chat,status=2xx,code=upstream_reset": 1,
    "route=chat,status=4xx,code=client_gone": 1,
    "route=other,status=4xx,code=openai_error": 1,
    "route=none,status=4xx,code=unknown_url": 1,
    "route=page,status=5xx,code=none": 1,
    "route=operator,status=4xx,code=none": 1,
    "route=none,status=other,code=none": 1,
  });
});

test("leaves probes, scrapes and what has no route out of the histograms", () => {
  const text = writeAfter(...OWN.map((routeClass) => toCall({ routeClass })));

  const names = readExposition(text).map(({ name }) => name);
  for (const name of ["request_duration", "time_to_first_byte", "overhead"]) {
    assert.ok(!names.includes(p(`${name}_seconds`)), name);
  }
  assert.equal(sumOf(text, p("requests_total")), 3);
});

test("measures in seconds, each time only where there was one", () => {
  const text = writeAfter(
    toCall({ durationMs: 45_000, firstByteMs: 700, gatewayMs: 0.8 }),
    // Answered by nobody: neither a first byte nor an overhead before it.
    toCall({ durationMs: 600_000, firstByteMs: undefined, gatewayMs: 3 }),
    toRefusal({ durationMs: 0.3, gatewayMs: 0.3, status: 401, error: "invalid_api_key" }),
    // A first byte that was not OpenAI's.
    toCall({ durationMs: 20, firstByteMs: 15, gatewayMs: 15, upstreamMs: undefined }),
  );

  const inBuckets = (name: string, le: string) => sumOf(text, p(`${name}_bucket`), { le });
  assert.equal(sumOf(text, p("request_duration_seconds_count"), { route: "chat" }), 4);
  assert.ok(Math.abs(sumOf(text, p("request_duration_seconds_sum")) - 645.0203) < 1e-9, text);
  assert.equal(inBuckets("request_duration_seconds", "30"), 2);
  assert.equal(inBuckets("request_duration_seconds", "60"), 3);
  assert.equal(inBuckets("request_duration_seconds", "600"), 4);
  assert.equal(sumOf(text, p("time_to_first_byte_seconds_count")), 2);
  assert.equal(inBuckets("time_to_first_byte_seconds", "0.5"), 1);
  assert.equal(sumOf(text, p("overhead_seconds_count")), 1);
  assert.equal(inBuckets("overhead_seconds", "0.0005"), 0);
  assert.equal(inBuckets("overhead_seconds", "0.001"), 1);
});

test("counts tokens and money by the price list's model, and what it does not know as other", () => {
  const used = { inputTokens: 100, cachedInputTokens: 40, outputTokens: 20, costMicroUsd: 1_500 };
  const text = writeAfter(
    toCall({ ...used, model: "gpt-5-2025-08-07", pricedModel: "gpt-5" }),
    toCall({ ...used, model: "gpt-5", pricedModel: "gpt-5" }),
    toCall({ ...used, model: "made-up", pricedModel: undefined, costMicroUsd: 0 }),
    toCall({ ...used, model: undefined, pricedModel: undefined, estimated: true }),
    toRefusal({ model: "gpt-4o", pricedModel: "gpt-4o", status: 429 }),
  );

  assert.deepEqual(nonZero(text, "tokens_total"), {
    "kind=input,model=gpt-5": 200,
    "kind=cached_input,model=gpt-5": 80,
    "kind=output,model=gpt-5": 40,
    "kind=input,model=other": 200,
    "kind=cached_input,model=other": 80,
    "kind=output,model=other": 40,
  });
  assert.deepEqual(nonZero(text, "cost_usd_total"), {
    "model=gpt-5": 0.003,
    "model=other": 0.0015,
  });
  assert.equal(sumOf(text, p("estimated_requests_total")), 1);
  assert.ok(!text.includes("made-up"), "a client's own name for a model is no label");
});

test("counts what quotas refused by rule and owner", () => {
  const refusals = RULES.flatMap((rule) => OWNERS.map((of) => ({ rule, of })));
  const text = writeAfter(
    ...refusals.map((refused) => toRefusal({ refused, status: 429, error: "rate_limit_exceeded" })),
    toRefusal({ refused: { rule: "budget", of: "policy" }, status: 429 }),
  );

  assert.equal(sumOf(text, p("refused_total")), 13);
  assert.equal(sumOf(text, p("refused_total"), { rule: "budget", of: "policy" }), 2);
  assert.equal(sumOf(text, p("refused_total"), { rule: "requests_per_minute" }), 3);
  assert.equal(sumOf(text, p("refused_total"), { rule: "tokens_per_minute" }), 3);
  assert.equal(sumOf(text, p("refused_total"), { rule: "concurrent_requests" }), 3);
});

test("counts calls that ended early by whoever ended them, and refusals not among them", () => {
  const expected: Partial<Record<ErrorCode, string>> = {
    client_gone: "client",
    client_stalled: "deadline",
    request_timeout: "deadline",
    upstream_timeout: "deadline",
    draining: "shutdown",
    insufficient_quota: "budget",
    invalid_api_key: "revoked",
  };
  const early = ["client_gone", "client_stalled", "request_timeout", "upstream_timeout"];

  for (const error of CODES) {
    const by = expected[error];
    const cut = nonZero(writeAfter(toCall({ error })), "cancelled_total");
    assert.deepEqual(cut, by === undefined ? {} : { [`by=${by}`]: 1 }, error);
    const uncalled = nonZero(writeAfter(toRefusal({ error })), "cancelled_total");
    assert.deepEqual(uncalled, early.includes(error) ? { [`by=${by}`]: 1 } : {}, error);
  }
});

test("counts attempts by outcome, and how long the answered ones took to be so", () => {
  const metrics = openMetrics({ upstream: "azure" });
  for (const outcome of OUTCOMES) metrics.attempt(outcome, 0.2);
  metrics.attempt("2xx", 40);
  metrics.retried();

  const text = metrics.write();

  const upstream = "azure";
  for (const outcome of OUTCOMES) {
    const times = outcome === "2xx" ? 2 : 1;
    assert.equal(sumOf(text, p("upstream_attempts_total"), { upstream, outcome }), times, outcome);
  }
  assert.equal(sumOf(text, p("upstream_attempt_duration_seconds_count"), { upstream }), 6);
  assert.equal(
    sumOf(text, p("upstream_attempt_duration_seconds_bucket"), { upstream, le: "0.25" }),
    5,
  );
  assert.equal(sumOf(text, p("upstream_retries_total"), { upstream }), 1);
});

test("reads what is as it is now with every scrape", () => {
  let now = 3;
  let problem: string | undefined = "Redis does not answer";
  const metrics = openMetrics({
    inFlight: () => now,
    streams: () => now + 1,
    webSockets: () => now + 2,
    dashboards: () => now + 3,
    openConnections: () => now + 4,
    connectionsOpened: () => now + 5,
    draining: () => now === 3,
    storeProblem: () => problem,
  });
  const scrape = (): readonly number[] => {
    const text = metrics.write();
    return [
      ...["requests_in_flight", "streams_open", "websockets_open", "dashboards_open"],
      ...["upstream_connections_open", "upstream_connections_opened_total"],
      ...["draining", "store_up"],
    ].map((name) => sumOf(text, p(name)));
  };

  assert.deepEqual(scrape(), [3, 4, 5, 6, 7, 8, 1, 0]);
  now = 0;
  problem = undefined;
  assert.deepEqual(scrape(), [0, 1, 2, 3, 4, 5, 0, 1]);
});

test("says which versions of the gateway and of Node it is", () => {
  const build = { version: "1.2.3", node: process.version };

  assert.equal(sumOf(writeAfter(), p("build_info"), build), 1);
});

test("begins at zero what alerts look at, so that the first of each has a rate", () => {
  const count = (name: string): number | undefined => {
    const family = readExposition(writeAfter()).find((each) => each.name === p(name));
    return family?.samples.filter(({ value }) => value === 0).length;
  };

  assert.equal(count("refused_total"), 12);
  assert.equal(count("cancelled_total"), 5);
  assert.equal(count("upstream_attempts_total"), 8);
  assert.equal(count("upstream_retries_total"), 1);
  assert.equal(count("estimated_requests_total"), 1);
});

test("an upstream's name may be any text", () => {
  const metrics = openMetrics({ upstream: 'my "own"\\\n{one}' });
  metrics.attempt("2xx", 1);

  const labels = { upstream: 'my "own"\\\n{one}', outcome: "2xx" };
  assert.equal(sumOf(metrics.write(), p("upstream_attempts_total"), labels), 1);
});

/** mulberry32: the same traffic every time. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("whatever the traffic, the format is kept to the letter and nothing is lost", () => {
  const random = createRandom(5);
  const pick = <Value>(values: readonly Value[]): Value | undefined =>
    values[Math.floor(random() * values.length)];
  const times = (): number | undefined =>
    pick([undefined, 0, random(), random() * 1e3, random() * 1e7]);
  const toRandomCall = (): CallReport => {
    const inputTokens = pick([0, 1, 1_000_000]) ?? 0;
    return toCall({
      routeClass: pick(ROUTES) ?? "none",
      status: pick([101, 200, 204, 302, 400, 404, 429, 499, 500, 503, 999]) ?? 200,
      error: pick([undefined, ...CODES]),
      durationMs: times() ?? 0,
      firstByteMs: times(),
      gatewayMs: times() ?? -1e-9,
      upstreamMs: times(),
      attempts: pick([0, 1, 2]) ?? 0,
      pricedModel: pick([undefined, "gpt-5", "mine-*", 'a"b\\c']),
      inputTokens,
      cachedInputTokens: Math.floor(inputTokens / 3),
      outputTokens: pick([0, 7]) ?? 0,
      costMicroUsd: pick([0, 1, 123_456]) ?? 0,
      estimated: random() < 0.5,
      refused: pick([undefined, { rule: pick(RULES) ?? "budget", of: pick(OWNERS) ?? "caller" }]),
    });
  };
  const metrics = openMetrics();

  for (let round = 1; round <= 20; round++) {
    const calls = Array.from({ length: round * 10 }, toRandomCall);
    const before = metrics.write();
    for (const call of calls) metrics.observe(call);
    metrics.attempt(pick(OUTCOMES) ?? "failed", random() * 100);
    const text = metrics.write();

    const api = calls.filter(({ routeClass }) => API.includes(routeClass));
    const grown = (name: string): number => sumOf(text, p(name)) - sumOf(before, p(name));
    assert.equal(grown("requests_total"), calls.length);
    assert.equal(grown("request_duration_seconds_count"), api.length);
    const tokens = api.map((call) => call.inputTokens + call.cachedInputTokens + call.outputTokens);
    assert.equal(
      grown("tokens_total"),
      tokens.reduce((sum, each) => sum + each, 0),
    );
    assert.equal(grown("refused_total"), calls.filter(({ refused }) => refused).length);
    assert.equal(grown("upstream_attempts_total"), 1);
  }
});

test("no traffic makes more series than stated, not even what types forbid", () => {
  const metrics = openMetrics();
  for (let n = 0; n < 10_000; n++) {
    const odd = `odd "${n}"`;
    metrics.observe(
      toCall({
        method: odd,
        route: odd,
        routeClass: odd as RouteClass,
        status: n,
        error: odd as ErrorCode,
        model: odd,
        pricedModel: odd,
        caller: odd,
        policy: odd,
      }),
    );
  }
  for (const routeClass of ROUTES) {
    for (const error of [undefined, ...CODES]) {
      for (const status of [101, 200, 302, 404, 500]) {
        metrics.observe(toCall({ routeClass, error, status }));
      }
    }
  }

  const text = metrics.write();

  const samples = readExposition(text).flatMap((family) => family.samples);
  assert.ok(samples.length <= SERIES_LIMIT, `${samples.length} of ${SERIES_LIMIT}`);
  assert.ok(SERIES_LIMIT < 4_000, `${SERIES_LIMIT} lines`);
  assert.ok(text.length < 500_000, `${text.length} characters`);
  assert.equal(sumOf(text, p("requests_total"), { code: "other" }) > 0, true);
  assert.equal(sumOf(text, p("requests_total")), 10_000 + ROUTES.length * (CODES.length + 1) * 5);
});

test("real traffic has room for every route with its errors, and no client can fill it", () => {
  const metrics = openMetrics();
  // What a client can bring about by itself.
  const codes = CODES.filter((code) => FAILURES[code].fault === "client");
  for (const routeClass of ROUTES) {
    for (const error of codes) metrics.observe(toCall({ routeClass, ...FAILURES[error], error }));
    for (const status of [200, 400, 500]) metrics.observe(toCall({ routeClass, status }));
  }

  const text = metrics.write();

  assert.equal(sumOf(text, p("requests_total"), { code: "other" }), 0);
});

test("an operator's thousand models are two hundred and the others, and no token is lost", () => {
  const calls = Array.from({ length: 1_000 }, (_, n) => toCall({ pricedModel: `mine-${n}` }));
  const text = writeAfter(...calls, ...calls);

  const models = Object.keys(nonZero(text, "cost_usd_total"));
  assert.equal(models.length, MODEL_LIMIT + 1);
  assert.equal(sumOf(text, p("tokens_total"), { kind: "input" }), 200_000);
  assert.equal(sumOf(text, p("tokens_total"), { kind: "input", model: "other" }), 160_000);
  assert.equal(sumOf(text, p("tokens_total"), { kind: "output", model: "mine-0" }), 40);
});

test("what is written is what the list of metrics says, and all of it", async () => {
  const metrics = openMetrics();
  metrics.observe(toCall());
  metrics.eventLoopDelayMs();

  const families = readExposition(metrics.write());
  metrics.close();

  assert.equal(new Set(METRIC_NAMES).size, METRIC_NAMES.length);
  const sorted = (names: readonly string[]): readonly string[] => [...names].sort();
  const linux = process.platform === "linux" ? [] : ["process_open_fds"];
  assert.deepEqual(sorted([...families.map(({ name }) => name), ...linux]), sorted(METRIC_NAMES));
  for (const { name, type, help, samples } of families) {
    const shape = METRICS.find((each) => each.name === name);
    assert.deepEqual([type, help], [shape?.type, shape?.help]);
    const labels = Object.keys(samples[0]?.labels ?? {}).filter((label) => label !== "le");
    assert.deepEqual(labels, [...(shape?.labels ?? [])], name);
  }
});

test("tells how late the event loop is, for whoever shows it", () => {
  const metrics = openMetrics();

  assert.equal(metrics.eventLoopDelayMs(), 0);
  assert.ok(metrics.eventLoopDelayMs() >= 0, "a time");
  metrics.close();
});
