// What a collector is told of a call: one span, in the words of the conventions.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { OtlpSampler } from "../../src/config/parse-otlp.ts";
import type { CallReport, RouteClass } from "../../src/telemetry/call-report.ts";
import { createCall, openCollector, openExporter, spansOf } from "./otlp-collector.ts";

const trace = {
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  parentId: "00f067aa0ba902b7",
  sampled: true,
};

/** The spans of these calls, as they arrive. */
async function exported(
  t: TestContext,
  calls: readonly CallReport[],
  sampler: OtlpSampler = { parentBased: true, ratio: 1 },
) {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url, { sampler });
  for (const call of calls) exporter.observe(call);
  await exporter.flush();
  return collector.received.flatMap(spansOf);
}

async function exportedOne(t: TestContext, call: Partial<CallReport>) {
  const [span] = await exported(t, [createCall(call)]);
  assert.ok(span !== undefined, "there is a span");
  return span;
}

test("a stream is a client's span with model, tokens, price and times", async (t) => {
  const span = await exportedOne(t, {});

  assert.equal(span.name, "chat gpt-4o-mini");
  assert.equal(span.kind, 3);
  assert.equal(span.startTimeUnixNano, "1767225600000000000");
  assert.equal(span.endTimeUnixNano, "1767225601500250000");
  assert.equal(span.status, undefined);
  assert.deepEqual(span.values, {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.request.stream": true,
    "gen_ai.response.time_to_first_chunk": 0.3,
    "gen_ai.usage.input_tokens": "100",
    "gen_ai.usage.cache_read.input_tokens": "60",
    "gen_ai.usage.output_tokens": "20",
    "server.address": "api.openai.com",
    "server.port": "443",
    "http.request.method": "POST",
    "http.route": "/chat/completions",
    "http.response.status_code": "200",
    "openai_gateway.request_id": "gw_1",
    "openai_gateway.upstream_request_id": "req_1",
    "openai_gateway.caller": "alice",
    "openai_gateway.policy": "default",
    "openai_gateway.attempts": "1",
    "openai_gateway.cost_usd": 0.000027,
    "openai_gateway.overhead_ms": 0.8,
    "openai_gateway.time_to_first_byte_ms": 300,
  });
});

test("what was refused is an error of its code, and called nobody", async (t) => {
  const { values, status } = await exportedOne(t, {
    status: 429,
    error: "rate_limit_exceeded",
    reason: "Too much of the words that a client said.",
    refused: { rule: "tokensPerMinute", of: "caller" },
    attempts: 0,
    inputTokens: 0,
    outputTokens: 0,
  });

  assert.deepEqual(status, { code: 2 });
  assert.equal(values["error.type"], "rate_limit_exceeded");
  assert.equal(values["openai_gateway.refused"], "caller tokensPerMinute");
  assert.equal(values["server.address"], undefined);
  assert.equal(values["gen_ai.usage.input_tokens"], undefined);
  assert.doesNotMatch(JSON.stringify(values), /words/);
});

test("OpenAI's own errors are of their status", async (t) => {
  const { values, status } = await exportedOne(t, { status: 404 });

  assert.equal(values["error.type"], "404");
  assert.deepEqual(status, { code: 2 });
});

test("guesses at tokens do not pass for usage", async (t) => {
  const { values } = await exportedOne(t, { estimated: true });

  assert.deepEqual(
    Object.keys(values).filter((name) => name.startsWith("gen_ai.usage")),
    [],
  );
  assert.equal(values["openai_gateway.usage.estimated"], true);
  assert.equal(values["openai_gateway.usage.input_tokens"], "100");
});

test("a client's trace goes on, with its span as the parent", async (t) => {
  const [own, continued] = await exported(t, [createCall(), createCall({ trace })]);

  assert.match(own?.traceId ?? "", /^[\da-f]{32}$/);
  assert.equal(own?.parentSpanId, undefined);
  assert.equal(own?.flags, 0x101);
  assert.equal(continued?.traceId, trace.traceId);
  assert.equal(continued?.parentSpanId, trace.parentId);
  assert.equal(continued?.flags, 0x301);
  assert.notEqual(own?.spanId, continued?.spanId);
});

test("operations have the well-known names, or else their class's", async (t) => {
  const named: readonly (readonly [string, RouteClass, string])[] = [
    ["POST /responses", "responses", "chat"],
    ["POST /responses/input_tokens", "responses", "responses"],
    ["POST /completions", "completions", "text_completion"],
    ["POST /embeddings", "embeddings", "embeddings"],
    ["POST /vector_stores/{vector_store_id}/search", "vector_stores", "retrieval"],
    ["GET /files/{file_id}", "files", "files"],
    ["WEBSOCKET /realtime", "realtime", "realtime"],
  ];
  const calls = named.map(([route, routeClass]) => createCall({ route, routeClass }));

  const spans = await exported(t, calls);

  assert.deepEqual(
    spans.map(({ values }) => values["gen_ai.operation.name"]),
    named.map(([, , operation]) => operation),
  );
});

test("there is no span of pages, of the admin's calls, nor of unknown addresses", async (t) => {
  const classes: readonly RouteClass[] = ["page", "operator", "none", "other"];

  const spans = await exported(
    t,
    classes.map((routeClass) => createCall({ routeClass, route: undefined })),
  );

  assert.deepEqual(
    spans.map(({ values }) => values["gen_ai.operation.name"]),
    ["other"],
  );
});

test("a client's words do no harm", async (t) => {
  const span = await exportedOne(t, {
    method: "SP\u00c4M",
    model: `\ud800${"x".repeat(100_000)}`,
    pricedModel: undefined,
  });

  assert.equal(span.values["http.request.method"], "_OTHER");
  assert.equal(span.values["gen_ai.request.model"], `\ufffd${"x".repeat(255)}`);
  assert.equal(span.name, "chat");
});

test("a WebSocket's handshake is a GET", async (t) => {
  const { values } = await exportedOne(t, { method: "WEBSOCKET", route: "WEBSOCKET /responses" });

  assert.equal(values["http.request.method"], "GET");
  assert.equal(values["http.route"], "/responses");
});

test("a parent's flag decides where the sampler says so, and only there", async (t) => {
  const unsampled = createCall({ trace: { ...trace, sampled: false } });
  const sampled = createCall({ trace });
  const calls = [unsampled, sampled, createCall()];
  const count = async (sampler: OtlpSampler) => (await exported(t, calls, sampler)).length;

  assert.equal(await count({ parentBased: true, ratio: 1 }), 2);
  assert.equal(await count({ parentBased: true, ratio: 0 }), 1);
  assert.equal(await count({ parentBased: false, ratio: 1 }), 3);
  assert.equal(await count({ parentBased: false, ratio: 0 }), 0);
});

test("a ratio samples about so many, and a trace's id alone decides", async (t) => {
  const calls = Array.from({ length: 1_000 }, () => createCall());

  const spans = await exported(t, calls, { parentBased: true, ratio: 0.25 });

  assert.ok(spans.length > 150 && spans.length < 350, `${spans.length} of 1000`);
  for (const { traceId } of spans) {
    assert.ok(Number.parseInt(traceId.slice(-14, -12), 16) >= 0xc0, traceId);
  }
});
