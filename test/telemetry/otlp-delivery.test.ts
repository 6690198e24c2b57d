// Spans on their way: in batches, bounded, past collectors of all kinds, and never in a call's way.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import {
  SECRET,
  createCall,
  hangs,
  openCollector,
  openExporter,
  resets,
  spansOf,
  status,
  takes,
  until,
} from "./otlp-collector.ts";

test("what comes within the delay is one request", async (t) => {
  const collector = await openCollector(t);
  const { exporter, clock } = openExporter(t, collector.url);

  for (let index = 0; index < 3; index++) exporter.observe(createCall());
  clock.advance(4_999);
  clock.advance(1);
  await until(() => collector.received.length > 0);
  exporter.observe(createCall());
  await exporter.flush();

  assert.deepEqual(
    collector.received.map((each) => spansOf(each).length),
    [3, 1],
  );
  const { path, headers, text } = collector.received[0] ?? assert.fail("nothing came");
  assert.equal(path, "/v1/x");
  assert.equal(headers["content-type"], "application/json");
  assert.equal(headers["x-key"], SECRET);
  const [{ resource, scopeSpans }] = JSON.parse(text).resourceSpans;
  const names = resource.attributes.map(({ key }: { readonly key: string }) => key);
  assert.deepEqual(names.sort(), [
    "deployment.environment.name",
    "service.instance.id",
    "service.name",
    "service.version",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "telemetry.sdk.version",
  ]);
  assert.deepEqual(scopeSpans[0].scope, { name: "openai-gateway", version: "1.2.3" });
});

test("nothing is sent while nothing happens", async (t) => {
  const collector = await openCollector(t);
  const { exporter, clock } = openExporter(t, collector.url, { signals: ["traces", "metrics"] });

  clock.advance(60_000);
  await exporter.flush();

  assert.equal(collector.received.length, 0);
});

test("a full batch does not wait for the delay", async (t) => {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url, { maxBatchSpans: 100 });

  for (let index = 0; index < 250; index++) exporter.observe(createCall());
  await until(() => collector.received.length === 2);
  await exporter.flush();

  assert.deepEqual(
    collector.received.map((each) => spansOf(each).length),
    [100, 100, 50],
  );
  assert.equal(exporter.dropped, 0);
});

test("a batch may be compressed", async (t) => {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url, { gzip: true });

  exporter.observe(createCall());
  await exporter.flush();

  assert.equal(collector.received[0]?.headers["content-encoding"], "gzip");
  assert.equal(collector.received.flatMap(spansOf).length, 1);
});

test("behind a collector that hangs the queue is bounded and the newest are dropped", async (t) => {
  const collector = await openCollector(t, hangs);
  const limits = { maxQueuedSpans: 4, maxBatchSpans: 2 };
  const { exporter, clock, lines } = openExporter(t, collector.url, limits);
  const observe = (from: number, to: number): void => {
    for (let id = from; id < to; id++) exporter.observe(createCall({ id: `gw_${id}` }));
  };

  observe(0, 2);
  await until(() => collector.received.length === 1);
  observe(2, 10);
  assert.equal(exporter.dropped, 4);
  collector.answer = takes;
  clock.advance(10_000); // The request's time is over.
  await until(() => lines.length === 1);
  clock.advance(1_000);
  await exporter.flush();

  const ids = collector.received.slice(1).flatMap(spansOf);
  assert.deepEqual(
    ids.map(({ values }) => values["openai_gateway.request_id"]),
    ["gw_0", "gw_1", "gw_2", "gw_3", "gw_4", "gw_5"],
  );
  assert.equal(lines[0]?.fields?.["reason"], "no answer in time");
});

test("a call costs next to nothing, whatever becomes of the export", async (t) => {
  const collector = await openCollector(t, hangs);
  const { exporter } = openExporter(t, collector.url, { signals: ["traces", "metrics"] });
  const call = createCall();

  const startedAt = performance.now();
  for (let index = 0; index < 100_000; index++) exporter.observe(call);
  const tookMs = performance.now() - startedAt;

  // 2 to 3 microseconds each on an idle machine.
  assert.ok(tookMs < 5_000, `${tookMs} ms`);
  assert.equal(exporter.dropped, 100_000 - 2_048);
});

for (const [what, answer] of [
  ["resets the connection", resets],
  ["answers 503", status(503)],
  ["answers 429", status(429)],
] as const) {
  test(`a batch is sent again, the same, when the collector ${what}`, async (t) => {
    const collector = await openCollector(t, answer);
    const { exporter, clock, lines } = openExporter(t, collector.url);

    exporter.observe(createCall());
    const flushed = exporter.flush();
    await until(() => lines.length === 1);
    collector.answer = takes;
    clock.advance(1_000);
    await flushed;

    const [first, second] = collector.received;
    assert.equal(collector.received.length, 2);
    assert.equal(first?.text, second?.text);
    assert.equal(exporter.dropped, 0);
  });
}

test("a collector that asks for patience gets it", async (t) => {
  const collector = await openCollector(t, status(503, { "retry-after": "30" }));
  const { exporter, clock, lines } = openExporter(t, collector.url);

  exporter.observe(createCall());
  const flushed = exporter.flush();
  await until(() => lines.length === 1);
  collector.answer = takes;
  const waiting = clock.pending;
  clock.advance(29_999);
  assert.equal(clock.pending, waiting);
  assert.equal(collector.received.length, 1);
  clock.advance(1);
  await flushed;

  assert.equal(collector.received.length, 2);
});

for (const code of [400, 401, 404, 413, 500]) {
  test(`a batch that is answered ${code} is dropped`, async (t) => {
    const collector = await openCollector(t, status(code));
    const { exporter, lines } = openExporter(t, collector.url);

    exporter.observe(createCall());
    exporter.observe(createCall());
    await exporter.flush();

    assert.equal(collector.received.length, 1);
    assert.equal(exporter.dropped, 2);
    assert.equal(lines[0]?.fields?.["reason"], `answered ${code}`);
  });
}

test("a redirect is not followed: it would get the headers", async (t) => {
  const other = await openCollector(t);
  const collector = await openCollector(t, status(307, { location: other.url.href }));
  const { exporter } = openExporter(t, collector.url);

  exporter.observe(createCall());
  await exporter.flush();

  assert.equal(other.received.length, 0);
  assert.equal(exporter.dropped, 1);
});

test("what stands in a good answer is believed, garbage is not", async (t) => {
  const collector = await openCollector(t);
  const { exporter } = openExporter(t, collector.url);
  const answers: readonly (readonly [string, number])[] = [
    [`{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}`, 2],
    [`{"partialSuccess":{"rejectedSpans":1}}`, 3],
    [`{"partialSuccess":{"rejectedSpans":"1000"}}`, 6],
    [`{"partialSuccess":{"rejectedSpans":-7}}`, 6],
    [`{"partialSuccess":[[]]}`, 6],
    [`{"partialSuccess":null}`, 6],
    ["null", 6],
    ["<html>", 6],
    ["", 6],
  ];

  for (const [answer, dropped] of answers) {
    collector.answer = (res) => res.end(answer);
    for (let index = 0; index < 3; index++) exporter.observe(createCall());
    await exporter.flush();

    assert.equal(exporter.dropped, dropped, answer);
  }
});

test("of an endless answer only the beginning is read", async (t) => {
  let cut = false;
  const collector = await openCollector(t, (res) => {
    const write = (): void => void res.write(Buffer.alloc(65_536));
    res.on("close", () => (cut = true)).on("drain", write);
    write();
  });
  const { exporter } = openExporter(t, collector.url);

  exporter.observe(createCall());
  await exporter.flush();
  await until(() => cut);

  assert.equal(exporter.dropped, 0);
});

test("an answer that never ends is given up after the request's time", async (t) => {
  const collector = await openCollector(t, (res) => void res.write("{"));
  const { exporter, clock } = openExporter(t, collector.url);

  exporter.observe(createCall());
  let done = false;
  void exporter.flush().then(() => (done = true));
  await until(() => collector.received.length === 1);
  while (!done) {
    for (let turn = 0; turn < 50; turn++) await setImmediate();
    clock.advance(10_000);
  }

  // Its status has said that the spans were taken.
  assert.equal(exporter.dropped, 0);
});

test("a batch is given up after five requests, ever longer apart; the next is not", async (t) => {
  const collector = await openCollector(t, status(503));
  const { exporter, clock } = openExporter(t, collector.url);
  const pauses: number[] = [];
  const after = clock.after.bind(clock);
  clock.after = (delayMs, run) => {
    if (delayMs !== 10_000) pauses.push(delayMs);
    return after(delayMs, run);
  };

  exporter.observe(createCall());
  const flushed = exporter.flush();
  for (const longestMs of [1_000, 2_000, 4_000, 8_000]) {
    await until(() => pauses.length > 0);
    const pauseMs = pauses.pop() ?? 0;
    assert.ok(pauseMs >= longestMs / 2 && pauseMs <= longestMs, `${pauseMs} of ${longestMs} ms`);
    assert.equal(exporter.dropped, 0);
    clock.advance(pauseMs);
  }
  await flushed;
  assert.equal(exporter.dropped, 1);
  collector.answer = takes;
  exporter.observe(createCall());
  await exporter.flush();

  assert.equal(collector.received.length, 6);
  assert.equal(exporter.dropped, 1);
});

test("an outage is one line, its end another, and no line has a secret", async (t) => {
  const collector = await openCollector(t, status(400));
  const { exporter, clock, lines } = openExporter(t, collector.url);
  const send = async (times: number): Promise<void> => {
    for (let index = 0; index < times; index++) {
      exporter.observe(createCall());
      await exporter.flush();
    }
  };

  await send(5);
  collector.answer = takes;
  await send(5);
  // A collector that blinks does not fill the log.
  for (let index = 0; index < 5; index++) {
    collector.answer = status(400);
    await send(1);
    collector.answer = takes;
    await send(1);
  }
  assert.equal(lines.length, 2);
  clock.advance(60_000);
  collector.answer = status(400);
  await send(2);

  const { origin } = collector.url;
  assert.deepEqual(lines, [
    {
      message: "OpenTelemetry: spans cannot be exported",
      fields: { collector: origin, reason: "answered 400", dropped: 0 },
    },
    {
      message: "OpenTelemetry: spans are exported again",
      fields: { collector: origin, dropped: 5 },
    },
    {
      message: "OpenTelemetry: spans cannot be exported",
      fields: { collector: origin, reason: "answered 400", dropped: 10 },
    },
  ]);
});

test("nobody there is a reason by its code, and a URL's secrets stay in it", async (t) => {
  const { port } = await closedPort();
  const { exporter, lines } = openExporter(t, new URL(`http://127.0.0.1:${port}/?key=hunter2`));

  exporter.observe(createCall());
  void exporter.flush();
  await until(() => lines.length === 1);

  assert.deepEqual(lines[0]?.fields, {
    collector: `http://127.0.0.1:${port}`,
    reason: "ECONNREFUSED",
    dropped: 0,
  });
});

/** One that was free a moment ago. */
async function closedPort(): Promise<AddressInfo> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address() as AddressInfo;
  await once(server.close(), "close");
  return address;
}

test("a log that throws harms nobody", async (t) => {
  const collector = await openCollector(t, status(400));
  const { exporter, lines } = openExporter(t, collector.url);
  lines.push = () => {
    throw new Error("no room");
  };

  exporter.observe(createCall());
  await exporter.flush();
  collector.answer = takes;
  exporter.observe(createCall());
  await exporter.flush();

  assert.equal(collector.received.length, 2);
});

test("closing sends what is left, and then nothing more", async (t) => {
  const collector = await openCollector(t);
  const options = { signals: ["traces", "metrics"], maxBatchSpans: 10 } as const;
  const { exporter, clock } = openExporter(t, collector.url, options);

  for (let index = 0; index < 25; index++) exporter.observe(createCall());
  await exporter.close();
  exporter.observe(createCall());
  await exporter.close();
  await exporter.flush();

  const sent = collector.received.filter(({ text }) => text.startsWith(`{"resourceSpans"`));
  assert.equal(sent.flatMap(spansOf).length, 25);
  assert.equal(clock.pending, 0);
});

test("closing does not wait for a retry", async (t) => {
  const collector = await openCollector(t, status(503, { "retry-after": "30" }));
  const { exporter, lines } = openExporter(t, collector.url);

  exporter.observe(createCall());
  void exporter.flush();
  await until(() => lines.length === 1);
  await exporter.close();

  assert.equal(collector.received.length, 2);
  assert.equal(exporter.dropped, 1);
});

test("closing takes three seconds at most, however much is left", async (t) => {
  const collector = await openCollector(t, hangs);
  const { exporter, clock } = openExporter(t, collector.url, { maxBatchSpans: 10 });

  for (let index = 0; index < 100; index++) exporter.observe(createCall());
  const closed = exporter.close();
  await until(() => collector.received.length === 1);
  clock.advance(3_000);
  await closed;

  assert.equal(exporter.dropped, 100);
});
