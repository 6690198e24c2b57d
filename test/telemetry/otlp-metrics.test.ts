// Sums of calls, with labels that no client can make up.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createCall,
  hangs,
  metricsOf,
  openCollector,
  openExporter,
  status,
  takes,
  until,
} from "./otlp-collector.ts";

const METRICS = { signals: ["metrics"] } as const;
const chat = { "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai" };
const mini = { ...chat, "gen_ai.request.model": "gpt-4o-mini" };

test("calls add up from one export to the next", async (t) => {
  const collector = await openCollector(t);
  const { exporter, clock } = openExporter(t, collector.url, METRICS);

  exporter.observe(createCall());
  clock.advance(60_000);
  await exporter.flush();
  exporter.observe(createCall({ inputTokens: 5, durationMs: 90_000 }));
  await exporter.flush();

  const [first, last] = [collector.received[0], collector.received.at(-1)].map((each) =>
    metricsOf(each ?? assert.fail("nothing came")),
  );
  const duration = last?.["gen_ai.client.operation.duration"];
  assert.equal(first?.["gen_ai.client.operation.duration"]?.[0]?.count, "1");
  assert.equal(duration?.length, 1);
  assert.deepEqual(duration?.[0]?.values, mini);
  assert.equal(duration?.[0]?.count, "2");
  assert.equal(duration?.[0]?.sum, 91.50025);
  assert.deepEqual(
    duration?.[0]?.explicitBounds,
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
  );
  assert.equal(duration?.[0]?.bucketCounts.join(""), "000000001000001");
  assert.equal(duration?.[0]?.startTimeUnixNano, "1767225600000000000");
  assert.equal(duration?.[0]?.timeUnixNano, "1767225660000000000");

  const tokens = last?.["gen_ai.client.token.usage"];
  assert.deepEqual(
    tokens?.map(({ values, sum }) => [values["gen_ai.token.type"], sum]),
    [
      ["input", 105],
      ["output", 40],
    ],
  );
  assert.equal(tokens?.[0]?.bucketCounts.join(""), "001010000000000");
  assert.equal(tokens?.[0]?.explicitBounds.at(-1), 67_108_864);
  assert.equal(last?.["gen_ai.client.operation.time_to_first_chunk"]?.[0]?.sum, 0.6);
  assert.equal(last?.["openai_gateway.cost"]?.[0]?.asDouble, 0.000054);
  assert.deepEqual(last?.["openai_gateway.overhead"]?.[0]?.values, chat);
  assert.deepEqual(last?.["openai_gateway.requests"]?.[0]?.values, {
    "openai_gateway.route_class": "chat",
  });
});

test("a value on a bound is in the bucket below it", async (t) => {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url, METRICS);

  exporter.observe(createCall({ durationMs: 10, inputTokens: 1, outputTokens: 0 }));
  await exporter.flush();

  const metrics = metricsOf(collector.received[0] ?? assert.fail("nothing came"));
  assert.equal(metrics["gen_ai.client.operation.duration"]?.[0]?.bucketCounts[0], "1");
  assert.equal(metrics["gen_ai.client.token.usage"]?.[0]?.bucketCounts[0], "1");
});

test("refusals and pages count as requests, and as nothing of OpenAI's", async (t) => {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url, METRICS);

  exporter.observe(createCall({ status: 401, error: "invalid_api_key", attempts: 0 }));
  exporter.observe(createCall({ routeClass: "page", route: "GET /", attempts: 0 }));
  await exporter.flush();

  const metrics = metricsOf(collector.received[0] ?? assert.fail("nothing came"));
  assert.deepEqual(Object.keys(metrics), ["openai_gateway.overhead", "openai_gateway.requests"]);
  assert.deepEqual(
    metrics["openai_gateway.requests"]?.map(({ values, asDouble }) => [values, asDouble]),
    [
      [{ "openai_gateway.route_class": "chat", "error.type": "invalid_api_key" }, 1],
      [{ "openai_gateway.route_class": "page" }, 1],
    ],
  );
  assert.equal(metrics["openai_gateway.overhead"]?.[0]?.count, "1");
});

test("no label has what a client made up", async (t) => {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url, METRICS);

  for (let index = 0; index < 100; index++) {
    const made = { model: `made-up-${index}`, pricedModel: undefined, route: `POST /x/${index}` };
    exporter.observe(createCall({ ...made, caller: `who-${index}`, routeClass: "other" }));
  }
  await exporter.flush();

  const { text } = collector.received[0] ?? assert.fail("nothing came");
  assert.doesNotMatch(text, /made-up|who-|\/x\//);
  const [point, ...others] =
    metricsOf({ path: "", headers: {}, text })["gen_ai.client.operation.duration"] ?? [];
  assert.equal(point?.values["gen_ai.request.model"], "other");
  assert.equal(point?.count, "100");
  assert.deepEqual(others, []);
});

test("guessed tokens are not in the usage", async (t) => {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url, METRICS);

  exporter.observe(createCall({ estimated: true }));
  exporter.observe(createCall({ clamped: true }));
  await exporter.flush();

  const metrics = metricsOf(collector.received[0] ?? assert.fail("nothing came"));
  assert.equal(metrics["gen_ai.client.token.usage"], undefined);
  assert.equal(metrics["openai_gateway.cost"]?.[0]?.asDouble, 0.000054);
});

test("points are bounded: what is beyond is one, and nothing is lost", async (t) => {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url, METRICS);

  for (let index = 0; index < 3_000; index++) {
    exporter.observe(createCall({ pricedModel: `model-${index}` }));
  }
  await exporter.flush();

  const metrics = metricsOf(collector.received[0] ?? assert.fail("nothing came"));
  const points = metrics["gen_ai.client.operation.duration"] ?? [];
  assert.equal(points.length, 1_000);
  assert.deepEqual(points.at(-1)?.values, { "otel.metric.overflow": true });
  assert.equal(
    points.reduce((sum, { count }) => sum + Number(count), 0),
    3_000,
  );
});

test("a failed export takes nothing from the next one", async (t) => {
  const collector = await openCollector(t, status(400));
  const { exporter } = openExporter(t, collector.url, METRICS);

  exporter.observe(createCall());
  await exporter.flush();
  exporter.observe(createCall());
  await exporter.flush();

  const counts = collector.received.map(
    (each) => metricsOf(each)["gen_ai.client.operation.duration"]?.[0]?.count,
  );
  assert.deepEqual(counts, ["1", "2"]);
});

test("a flush tells of what came while another export was under way", async (t) => {
  const collector = await openCollector(t, hangs);
  const { exporter, clock, lines } = openExporter(t, collector.url, METRICS);

  exporter.observe(createCall());
  clock.advance(60_000);
  await until(() => collector.received.length === 1);
  exporter.observe(createCall());
  const flushed = exporter.flush();
  collector.answer = takes;
  clock.advance(10_000); // The first request's time is over.
  await until(() => lines.length === 1); // And it is to be sent again.
  clock.advance(1_000);
  await flushed;

  const last = metricsOf(collector.received.at(-1) ?? assert.fail("nothing came"));
  assert.equal(last["gen_ai.client.operation.duration"]?.[0]?.count, "2");
});

test("what is no number is in no sum", async (t) => {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url, METRICS);

  exporter.observe(createCall({ durationMs: Number.NaN, gatewayMs: -1, costMicroUsd: Infinity }));
  exporter.observe(createCall());
  await exporter.flush();

  const metrics = metricsOf(collector.received[0] ?? assert.fail("nothing came"));
  assert.equal(metrics["gen_ai.client.operation.duration"]?.[0]?.sum, 1.50025);
  assert.equal(metrics["openai_gateway.overhead"]?.[0]?.count, "1");
  assert.equal(metrics["openai_gateway.cost"]?.[0]?.asDouble, 0.000027);
});
