// What the calls of the last hour came to, in buckets that never grow.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LiveSeries, SCALE, type LiveBucket } from "../../src/telemetry/live-series.ts";
import { callReport } from "../helpers/call-report.ts";

const NOON = Date.UTC(2026, 0, 1, 12);
const SECOND = 1_000;
const MINUTE = 60 * SECOND;

function requestsOf(buckets: readonly LiveBucket[]): number {
  return buckets.flatMap(({ rows }) => rows).reduce((sum, { requests }) => sum + requests, 0);
}

function startsOf(buckets: readonly LiveBucket[]): readonly number[] {
  return buckets.map(({ atMs }) => (atMs - NOON) / SECOND);
}

test("a call counts into its 5 seconds, by caller and model", () => {
  const series = new LiveSeries();
  series.add(callReport(), NOON + 1);
  series.add(callReport({ costMicroUsd: 5, durationMs: 0.4 }), NOON + 4_999);
  series.add(callReport({ caller: undefined, model: undefined }), NOON + 4_999);

  const [bucket, ...others] = series.since(NOON, NOON + 4_999);

  assert.deepEqual([bucket?.atMs, bucket?.ms, others.length], [NOON, 5_000, 0]);
  const [known, unknown] = bucket?.rows ?? [];
  assert.deepEqual(known, {
    caller: "key:backend",
    model: "gpt-4o-mini-2024-07-18",
    requests: 2,
    failed: 0,
    inputTokens: 20,
    cachedInputTokens: 8,
    outputTokens: 40,
    costMicroUsd: 12,
    gatewayMs: 4,
    waitedMs: 400,
    durations: [
      [Math.ceil(Math.log(1_000) / Math.log(SCALE)), 1],
      [0, 1],
    ],
    firstBytes: [[Math.ceil(Math.log(200) / Math.log(SCALE)), 2]],
    refused: {},
  });
  assert.deepEqual([unknown?.caller, unknown?.model, unknown?.requests], ["", "", 1]);
});

test("a time is within the step that it is counted in", () => {
  for (const durationMs of [0, 0.5, 1, 1.01, 2, 17, 999, 60_000, 600_000]) {
    const series = new LiveSeries();
    series.add(callReport({ durationMs }), NOON);

    const [[step = -1] = []] = series.since(NOON, NOON)[0]?.rows[0]?.durations ?? [];

    assert.ok(durationMs <= SCALE ** step * (1 + 1e-9), `${durationMs} ms is above step ${step}`);
    const below = step === 0 ? -1 : SCALE ** (step - 1);
    assert.ok(durationMs > below * (1 - 1e-9), `${durationMs} ms is below step ${step}`);
  }
});

test("endless and impossible times are in the last and the first step", () => {
  const series = new LiveSeries();
  for (const durationMs of [1e12, Infinity, -5]) series.add(callReport({ durationMs }), NOON);

  assert.deepEqual(series.since(NOON, NOON)[0]?.rows[0]?.durations, [
    [63, 2],
    [0, 1],
  ]);
});

describe("what was refused is told by its rule or its code", () => {
  const cases = [
    [{ error: "rate_limit_exceeded", refused: { rule: "budget", of: "caller" } }, { budget: 1 }],
    [{ error: "invalid_api_key" }, { invalid_api_key: 1 }],
    [{ error: "draining" }, {}],
    [{ error: "upstream_timeout", attempts: 1 }, {}],
    [{ error: "client_gone", attempts: 1 }, {}],
  ] as const;

  for (const [given, expected] of cases) {
    test(`${given.error} ${Object.keys(expected)}`, () => {
      const series = new LiveSeries();
      series.add(callReport({ status: 400, attempts: 0, ...given }), NOON);

      const [row] = series.since(NOON, NOON)[0]?.rows ?? [];

      assert.deepEqual([row?.refused, row?.failed], [expected, 1]);
    });
  }
});

test("a call that OpenAI never answered has no share in our overhead", () => {
  const series = new LiveSeries();
  series.add(callReport({ upstreamMs: undefined, gatewayMs: 9 }), NOON);
  series.add(callReport({ firstByteMs: undefined, gatewayMs: 9 }), NOON);

  const [row] = series.since(NOON, NOON)[0]?.rows ?? [];

  assert.deepEqual([row?.gatewayMs, row?.waitedMs, row?.firstBytes], [0, 0, []]);
});

test("buckets end: 60 fine ones stay, and their minutes are their sums", () => {
  const series = new LiveSeries();
  for (let at = 0; at < 10 * MINUTE; at += SECOND) series.add(callReport(), NOON + at);
  const nowMs = NOON + 10 * MINUTE;

  const fine = series.fine(nowMs);
  const coarse = series.coarse(nowMs);

  assert.deepEqual([fine.length, requestsOf(fine)], [60, 300]);
  assert.deepEqual(startsOf(coarse), [0, 60, 120, 180, 240, 300, 360, 420, 480, 540]);
  assert.deepEqual([requestsOf(coarse), coarse[3]?.rows[0]?.costMicroUsd], [600, 420]);
});

test("the minute that is not over is not among the minutes", () => {
  const series = new LiveSeries();
  for (let at = 0; at < 90 * SECOND; at += SECOND) series.add(callReport(), NOON + at);

  assert.deepEqual(startsOf(series.coarse(NOON + 90 * SECOND)), [0]);
  assert.equal(requestsOf(series.fine(NOON + 90 * SECOND)), 90);
});

test("whoever comes back is told of every bucket that has changed since", () => {
  const series = new LiveSeries();
  series.add(callReport(), NOON);
  series.add(callReport(), NOON + 6 * SECOND);
  series.add(callReport(), NOON + 12 * SECOND);

  assert.deepEqual(startsOf(series.since(NOON + 5 * SECOND, NOON + 13 * SECOND)), [5, 10]);
  assert.deepEqual(startsOf(series.since(NOON + 15 * SECOND, NOON + 15 * SECOND)), [15]);
});

test("what is long ago is gone, however long nothing came", () => {
  const series = new LiveSeries();
  series.add(callReport(), NOON);
  series.add(callReport(), NOON + 2 * 60 * MINUTE);

  assert.deepEqual(startsOf(series.fine(NOON + 2 * 60 * MINUTE + 6 * SECOND)), [7200]);
  assert.deepEqual(startsOf(series.coarse(NOON + 2 * 60 * MINUTE + MINUTE)), [7200]);
});

test("a clock that goes back a little loses nothing", () => {
  const series = new LiveSeries();
  series.add(callReport(), NOON);
  series.add(callReport(), NOON - 4 * SECOND);

  assert.equal(requestsOf(series.since(0, NOON)), 2);
});

test("a clock that was far ahead holds nothing up when it is right again", () => {
  const series = new LiveSeries();
  series.add(callReport(), NOON);
  series.add(callReport(), NOON + 365 * 24 * 60 * MINUTE);
  series.add(callReport(), NOON + 10 * SECOND);
  series.add(callReport(), NOON + 20 * SECOND);

  assert.deepEqual(startsOf(series.since(0, NOON + 21 * SECOND)), [0, 10, 20]);
});

test("12 000 callers and models are 50 rows at most, and all calls are counted", () => {
  const series = new LiveSeries();
  for (let index = 0; index < 12_000; index++) {
    const at = NOON + Math.floor(index / 1_000) * 5 * SECOND;
    series.add(callReport({ caller: `caller ${index}`, model: `model ${index % 7}` }), at);
    if (index % 1_000 === 77) series.add(callReport({ caller: "other", model: "other" }), at);
  }
  const all = series.since(0, NOON + MINUTE);
  const coarse = series.coarse(NOON + MINUTE);

  const most = Math.max(...[...all, ...coarse].map(({ rows }) => rows.length));
  assert.ok(most > 40 && most <= 50, `there are ${most} rows`);
  assert.equal(requestsOf(all), 12_012);
  assert.deepEqual([coarse.length, requestsOf(coarse)], [1, 12_012]);
});
