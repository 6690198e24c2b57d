// The page, the metrics, the record, the log and OpenAI itself tell the same.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test, type TestContext } from "node:test";
import type { LiveBucket } from "../../src/telemetry/live-series.ts";
import { ADMIN_KEY, readAdmin, watchEvents } from "../helpers/admin.ts";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import { scrape, sumOf } from "../helpers/scrape.ts";
import { startGateway, type LogLine } from "../helpers/start-gateway.ts";

const KEYS = { backend: "backend-key-0123456789", phone: "phone-key-0123456789" } as const;

/** What the client wants OpenAI to do, as the content of its message. */
type Deed = "answer" | "stream" | "half" | "fail" | "reset";

/** Dollars per million: 0.15 in, 0.6 out. */
const USAGE = { prompt_tokens: 2_000, completion_tokens: 1_000, total_tokens: 3_000 };
const COST_MICRO_USD = 900;

function event(data: object): string {
  return `data: ${JSON.stringify({ model: "gpt-4o-mini-2024-07-18", ...data })}\n\n`;
}

const text = event({ choices: [{ index: 0, delta: { content: "Once upon a time " } }] });

/** Tells what it has done. */
function playing(done: Record<Deed, number>): Script {
  return async (res, { body }) => {
    const { messages } = JSON.parse((await body).toString());
    const deed: Deed = messages[0].content;
    done[deed]++;
    if (deed === "reset") return void res.destroy();
    if (deed === "fail") {
      res.writeHead(500, { "content-type": "application/json" });
      return void res.end(
        '{"error":{"message":"no","type":"server_error","param":null,"code":null}}',
      );
    }
    if (deed === "answer") {
      res.writeHead(200, { "content-type": "application/json" });
      return void res.end(JSON.stringify({ model: "gpt-4o-mini-2024-07-18", usage: USAGE }));
    }
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(text.repeat(20));
    if (deed === "stream") res.end(`${event({ choices: [], usage: USAGE })}data: [DONE]\n\n`);
  };
}

async function start(t: TestContext) {
  const done: Record<Deed, number> = { answer: 0, stream: 0, half: 0, fail: 0, reset: 0 };
  const openai = await fakeOpenAI(t, playing(done));
  const keys = Object.entries(KEYS).map(([name, key]) => {
    const sha256 = createHash("sha256").update(key).digest("hex");
    return { name, sha256, policy: name };
  });
  const settings = {
    server: { host: "127.0.0.1" },
    access: { keys },
    policies: {
      backend: { budget: "100/day", maxOutputTokens: 4_000 },
      phone: { requestsPerMinute: 3, budget: "100/day", maxOutputTokens: 4_000 },
    },
    admin: { key: ADMIN_KEY },
  };
  const clock = new ManualClock();
  const running = await startGateway(t, openai.baseUrl, settings, { clock });
  const call = async (key: string, deed: Deed): Promise<void> => {
    const headers = { authorization: `Bearer ${key}` };
    const messages = [{ role: "user", content: deed }];
    const stream = deed === "stream" || deed === "half";
    const controller = new AbortController();
    const { signal } = controller;
    const init = { headers, signal };
    const body = { model: "gpt-4o-mini", messages, stream };
    const response = await post(`${running.url}/v1/chat/completions`, body, init);
    const reader = readStream(response);
    if (deed !== "half") return void (await reader.rest());
    await reader.next();
    controller.abort();
  };
  return { ...running, openai, clock, call, done };
}

interface Hello {
  readonly bucket: LiveBucket;
}

function sum(lines: readonly LogLine[], field: string): number {
  return lines.reduce((all, line) => all + Number(line[field] ?? 0), 0);
}

test("all of them tell the same of a mixed run", async (t) => {
  const { url, call, done, openai, clock, log, reported } = await start(t);
  const viewer = watchEvents<Hello>(url);
  await viewer.next();
  const plan: readonly (readonly [Deed, number])[] = [
    ["answer", 40],
    ["stream", 25],
    ["half", 15],
    ["fail", 10],
    ["reset", 5],
  ];
  const calls = plan.flatMap(([deed, times]) => Array<Deed>(times).fill(deed));
  // Strangers, and one who asks too often: of seven, three a minute are let through.
  const outcomes = await Promise.all([
    ...calls.map((deed) => call(KEYS.backend, deed)),
    ...Array.from({ length: 7 }, () => call(KEYS.phone, "answer")),
    ...Array.from({ length: 6 }, () => call("nobody", "answer")),
  ]);
  const all = outcomes.length;
  for (let line = 0; line < all; line++) await reported();

  clock.advance(1_000);
  const { value: tick } = await viewer.next();
  await viewer.return();
  const rows = tick?.data.bucket.rows ?? [];
  const live = (field: "requests" | "failed" | "inputTokens" | "outputTokens" | "costMicroUsd") =>
    rows.reduce((whole, row) => whole + row[field], 0);
  const metrics = await scrape(url);
  const { total } = await readAdmin<{ total: Record<string, number> }>(
    url,
    "/admin/usage?by=caller,model",
  );
  const { upstreams } = await readAdmin<{ upstreams: { attempts: Record<string, number> }[] }>(
    url,
    "/admin/upstreams",
  );
  const lines = log.filter(({ route }) => route === "POST /chat/completions");

  // Requests: whoever asked, and whoever got to OpenAI.
  assert.equal(all, 108);
  assert.deepEqual(
    [lines.length, live("requests"), sumOf(metrics, "requests_total", { route: "chat" })],
    [all, all, all],
  );
  const reached = 98;
  assert.equal(
    Object.values(done).reduce((one, other) => one + other),
    reached,
  );
  const attempts = Object.values(upstreams[0]?.attempts ?? {}).reduce((one, other) => one + other);
  assert.deepEqual(
    [
      openai.arrivals.length,
      attempts,
      sumOf(metrics, "upstream_attempts_total"),
      total["requests"],
    ],
    [reached, reached, reached, reached],
  );
  assert.equal(sumOf(metrics, "upstream_attempts_total", { outcome: "5xx" }), done.fail);
  assert.equal(sumOf(metrics, "upstream_attempts_total", { outcome: "failed" }), done.reset);

  // Failures: 10 of OpenAI's, 5 resets, 15 that left, 4 that were too many, 6 strangers.
  const failed = lines.filter(({ status, error }) => Number(status) >= 400 || error !== undefined);
  const refused = { status: "4xx", code: "rate_limit_exceeded" };
  assert.deepEqual([failed.length, live("failed"), total["failed"]], [40, 40, 30]);
  assert.equal(sumOf(metrics, "requests_total", { route: "chat", code: "none" }), all - 40);
  assert.equal(sumOf(metrics, "requests_total", refused), 4);
  const rule = { rule: "requests_per_minute", of: "caller" };
  assert.equal(sumOf(metrics, "refused_total", rule), 4);
  assert.equal(sumOf(metrics, "cancelled_total", { by: "client" }), done.half);
  const refusals = rows.map(({ refused: by }) => by);
  assert.equal(
    refusals.reduce((whole, by) => whole + (by["requestsPerMinute"] ?? 0), 0),
    4,
  );
  assert.equal(
    refusals.reduce((whole, by) => whole + (by["invalid_api_key"] ?? 0), 0),
    6,
  );

  // Tokens and dollars: what OpenAI has counted, and what was estimated for those who left.
  const estimated = lines.filter((line) => line["estimated"] === true);
  const counted = done.answer + done.stream;
  assert.deepEqual([estimated.length, total["estimated"]], [done.half, done.half]);
  assert.equal(sumOf(metrics, "estimated_requests_total"), done.half);
  assert.equal(sum(lines, "inputTokens") - sum(estimated, "inputTokens"), counted * 2_000);
  const cost = sum(lines, "costMicroUsd");
  assert.equal(cost - sum(estimated, "costMicroUsd"), counted * COST_MICRO_USD);
  assert.ok(sum(estimated, "costMicroUsd") > 0, "whoever left has paid nothing");
  for (const [kind, field] of [
    ["input", "inputTokens"],
    ["output", "outputTokens"],
  ] as const) {
    const whole = sum(lines, field);
    const told = [sumOf(metrics, "tokens_total", { kind }), live(field), total[field]];
    assert.deepEqual(told, [whole, whole, whole], field);
  }
  const dollars = sumOf(metrics, "cost_usd_total", { model: "gpt-4o-mini" });
  assert.deepEqual(
    [Math.round(dollars * 1e6), live("costMicroUsd"), Math.round((total["costUsd"] ?? 0) * 1e6)],
    [cost, cost, cost],
  );
});
