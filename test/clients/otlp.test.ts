// What is exported, against OpenTelemetry's own definitions: the messages of its protocol, and the
// names of its conventions.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test, type TestContext } from "node:test";
import { isDeepStrictEqual } from "node:util";
import * as conventions from "@opentelemetry/semantic-conventions/incubating";
import type { CallReport } from "../../src/telemetry/call-report.ts";
import { createCall, openCollector, openExporter } from "../telemetry/otlp-collector.ts";

// Generated from opentelemetry-proto, and without types of its own.
const GENERATED = "@opentelemetry/otlp-transformer/build/src/generated/root.js";
const { collector } = createRequire(import.meta.url)(GENERATED).opentelemetry.proto;

const MESSAGES: Readonly<Record<string, Message>> = {
  traces: collector.trace.v1.ExportTraceServiceRequest,
  metrics: collector.metrics.v1.ExportMetricsServiceRequest,
};

interface Message {
  fromObject(json: object): object;
  verify(message: object): string | null;
  encode(message: object): { finish(): Uint8Array };
  decode(bytes: Uint8Array): object;
  toObject(message: object, options: object): object;
}

const IDS: ReadonlySet<string> = new Set(["traceId", "spanId", "parentSpanId"]);

/**
 * Reads JSON as the message it should be, and fails for a field that there is not, a 64-bit number
 * that is none or no string, an enumeration's name.
 */
function decode(of: string, json: object): object {
  const message = MESSAGES[of] ?? assert.fail(of);
  // The mapping of OTLP has ids in hexadecimal, against that of Protocol Buffers.
  const binary = revive(json, (text) => Buffer.from(text, "hex"));
  const made = message.fromObject(binary);
  assert.equal(message.verify(made), null);
  const read = message.decode(message.encode(made).finish());
  return message.toObject(read, { longs: String, enums: Number, bytes: Array });
}

function revive(json: object, toId: (text: string) => unknown): object {
  const text = JSON.stringify(json);
  return JSON.parse(text, (key, value: unknown) => (IDS.has(key) ? toId(String(value)) : value));
}

/** Whether the message says as much as the JSON does, and nothing else. */
function means(of: string, json: object): boolean {
  try {
    const wanted = revive(json, (text) => [...Buffer.from(text, "hex")]);
    return isDeepStrictEqual(decode(of, json), wanted);
  } catch {
    return false; // No number, or no list, where there should be one.
  }
}

const trace = {
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  parentId: "00f067aa0ba902b7",
  sampled: true,
};

const CALLS: readonly CallReport[] = [
  createCall(),
  createCall({ trace, stream: false, durationMs: 0.125, costMicroUsd: 0 }),
  createCall({ estimated: true, status: 499, error: "client_gone" }),
  createCall({ status: 429, refused: { rule: "budget", of: "policy" }, attempts: 0 }),
  createCall({ routeClass: "page" }),
];

async function exportedAs(t: TestContext, of: "traces" | "metrics"): Promise<object> {
  const { received, url } = await openCollector(t);
  const { exporter } = openExporter(t, url, { signals: [of] });
  for (const call of CALLS) exporter.observe(call);
  await exporter.flush();
  return JSON.parse(received[0]?.text ?? assert.fail("nothing came"));
}

for (const of of ["traces", "metrics"] as const) {
  test(`${of} are the message that the protocol has for them`, async (t) => {
    const json = await exportedAs(t, of);

    assert.ok(means(of, json), JSON.stringify(decode(of, json)));
  });

  test(`a misspelt field among ${of} would not pass`, async (t) => {
    const text = JSON.stringify(await exportedAs(t, of));
    const names = new Set([...text.matchAll(/"(\w+)":/g)].map(([, name]) => name ?? ""));

    assert.ok(names.size >= 14, [...names].join());
    for (const name of names) {
      const misspelt = JSON.parse(text.replaceAll(`"${name}":`, `"${name}x":`));
      assert.ok(!means(of, misspelt), name);
    }
  });
}

test("numbers of 64 bits are strings, and numbers of enumerations are numbers", async (t) => {
  const traces = JSON.stringify(await exportedAs(t, "traces"));
  const metrics = JSON.stringify(await exportedAs(t, "metrics"));
  const wrong = [
    ["traces", traces.replace(/("startTimeUnixNano":)"(\d+)"/, "$1$2")],
    ["traces", traces.replace(/("intValue":)"(\d+)"/, "$1$2")],
    ["traces", traces.replace(`"kind":3`, `"kind":"SPAN_KIND_CLIENT"`)],
    ["metrics", metrics.replace(/("count":)"(\d+)"/, "$1$2")],
    ["metrics", metrics.replace(`"aggregationTemporality":2`, `"aggregationTemporality":"2"`)],
  ] as const;

  for (const [of, text] of wrong) {
    assert.ok(![traces, metrics].includes(text), "it has been changed");
    assert.ok(!means(of, JSON.parse(text)), text.slice(0, 200));
  }
});

test("every name is one of the conventions', or begins with our own", async (t) => {
  const known = new Set<unknown>(Object.values(conventions));
  const all = [await exportedAs(t, "traces"), await exportedAs(t, "metrics")];
  const names: string[] = [];
  JSON.stringify(all, (key, value: unknown) => {
    if (key === "key") names.push(String(value));
    return value;
  });
  const metrics = Object(all[1]).resourceMetrics[0].scopeMetrics[0].metrics;
  names.push(...metrics.map(({ name }: { readonly name: string }) => name));

  const foreign = [...new Set(names)].filter(
    (name) => !known.has(name) && !name.startsWith("openai_gateway."),
  );

  assert.ok(new Set(names).size > 30, "there are many");
  assert.deepEqual(foreign, []);
});
