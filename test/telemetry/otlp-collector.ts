// A collector on a real socket, as bad as a test wants it; and calls to tell it of.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { setImmediate } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import type { OtlpConfig } from "../../src/config/parse-otlp.ts";
import { Secret } from "../../src/secret.ts";
import type { CallReport } from "../../src/telemetry/call-report.ts";
import type { LogFields } from "../../src/telemetry/log.ts";
import { OtlpExporter } from "../../src/telemetry/otlp-exporter.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { callReport } from "../helpers/call-report.ts";

export interface Received {
  readonly path: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

export type Answer = (res: ServerResponse, req: IncomingMessage) => void;

export const takes: Answer = (res) => res.end("{}");
export const status =
  (code: number, headers = {}): Answer =>
  (res) =>
    res.writeHead(code, headers).end("no");
export const hangs: Answer = () => {};
export const resets: Answer = (_, req) => req.socket.resetAndDestroy();

export async function openCollector(t: TestContext, answer: Answer = takes) {
  const received: Received[] = [];
  const collector = { answer, received, url: new URL("http://127.0.0.1") };
  const server = createServer(async (req, res) => {
    const pieces: Buffer[] = await req.toArray().catch(() => []);
    const bytes = Buffer.concat(pieces);
    const { url: path, headers } = req;
    const text = headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes;
    received.push({ path, headers, text: text.toString() });
    collector.answer(res, req);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  collector.url = new URL(`http://127.0.0.1:${port}/v1/x`);
  return collector;
}

export async function until(is: () => boolean): Promise<void> {
  const end = Date.now() + 5_000;
  while (!is()) {
    if (Date.now() > end) throw new Error(`still not: ${is}`);
    await setImmediate();
  }
}

export const SECRET = "token-that-nobody-sees";

interface Options extends Partial<OtlpConfig> {
  /** Signals that go there. */
  readonly signals?: readonly ("traces" | "metrics")[];
  readonly gzip?: boolean;
}

/** An exporter on a clock of its own, and what it logged. */
export function openExporter(
  t: TestContext,
  url: URL,
  { signals = ["traces"], gzip = false, ...rest }: Options = {},
) {
  const clock = new ManualClock();
  const lines: { readonly message: string; readonly fields: LogFields | undefined }[] = [];
  const target = { url, headers: { "x-key": new Secret(SECRET) }, timeoutMs: 10_000, gzip };
  const exporter = new OtlpExporter(
    {
      ...(signals.includes("traces") && { traces: target }),
      ...(signals.includes("metrics") && { metrics: target }),
      serviceName: "openai-gateway",
      resourceAttributes: { "deployment.environment.name": "test" },
      sampler: { parentBased: true, ratio: 1 },
      maxQueuedSpans: 2_048,
      maxBatchSpans: 512,
      spanDelayMs: 5_000,
      metricIntervalMs: 60_000,
      ...rest,
    },
    {
      clock,
      warn: (message, fields) => void lines.push({ message, fields }),
      version: "1.2.3",
      upstream: new URL("https://api.openai.com/v1"),
    },
  );
  t.after(() => exporter.close());
  return { exporter, clock, lines };
}

/** A chat that went well, but for what a test says. */
export function createCall(partial: Partial<CallReport> = {}): CallReport {
  return callReport({
    id: "gw_1",
    durationMs: 1_500.25,
    firstByteMs: 300,
    gatewayMs: 0.8,
    upstreamMs: 299.2,
    stream: true,
    caller: "alice",
    inputTokens: 100,
    cachedInputTokens: 60,
    outputTokens: 20,
    costMicroUsd: 27,
    requestBytes: 200,
    responseBytes: 900,
    upstreamRequestId: "req_1",
    ...partial,
  });
}

/** What every span was sent with, by name. */
export function spansOf({ text }: Received) {
  const [{ scopeSpans }] = JSON.parse(text).resourceSpans;
  return (scopeSpans[0].spans as Span[]).map((span) => ({
    ...span,
    values: valuesOf(span.attributes),
  }));
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly flags: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status?: object;
  readonly attributes: readonly Attribute[];
}

interface DataPoint {
  readonly attributes: readonly Attribute[];
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
  readonly count: string;
  readonly sum: number;
  readonly asDouble: number;
  readonly bucketCounts: readonly string[];
  readonly explicitBounds: readonly number[];
}

/** The points of every metric by its name. */
export function metricsOf({ text }: Received) {
  const [{ scopeMetrics }] = JSON.parse(text).resourceMetrics;
  const metrics = scopeMetrics[0].metrics as {
    readonly name: string;
    readonly sum?: { readonly dataPoints: readonly DataPoint[] };
    readonly histogram?: { readonly dataPoints: readonly DataPoint[] };
  }[];
  return Object.fromEntries(
    metrics.map(({ name, sum, histogram }) => [
      name,
      ((sum ?? histogram)?.dataPoints ?? []).map((point) => ({
        ...point,
        values: valuesOf(point.attributes),
      })),
    ]),
  );
}

export function valuesOf(attributes: readonly Attribute[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
