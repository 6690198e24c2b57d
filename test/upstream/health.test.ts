// How the upstream does, from what became of the attempts to reach it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Cancellation } from "../../src/cancellation.ts";
import { GatewayError } from "../../src/errors.ts";
import type { ApiCall, Outcome, Reply } from "../../src/upstream/attempt.ts";
import { UpstreamHealth } from "../../src/upstream/health.ts";
import { toReplyBytes } from "../../src/upstream/reply-body.ts";
import { ManualClock } from "../helpers/manual-clock.ts";

const CALL: ApiCall = {
  method: "GET",
  target: { path: "/models", search: "" },
  headers: {},
  body: undefined,
  cancellation: new Cancellation(),
  tell: () => {},
};

function answer(status: number): Outcome {
  const reply: Reply = {
    status,
    headers: [],
    contentType: "",
    coded: false,
    contentLength: undefined,
    requestId: undefined,
    body: toReplyBytes(),
  };
  return { kind: "reply", reply };
}

const BROKEN: Outcome = { kind: "failed", error: new GatewayError("upstream_reset", "It broke.") };
const REFUSED: Outcome = {
  kind: "unreached",
  error: new GatewayError("upstream_unreachable", "Nobody listens."),
};

function begin() {
  const clock = new ManualClock();
  const health = new UpstreamHealth(clock);
  const told: (readonly [string, number])[] = [];
  const attempt = async (...outcomes: readonly Outcome[]): Promise<void> => {
    for (const outcome of outcomes) {
      const watched = health.watch(
        async () => {
          clock.advance(250);
          return outcome;
        },
        (name, seconds) => told.push([name, seconds]),
      );
      assert.equal(await watched(CALL), outcome);
    }
  };
  return { clock, health, told, attempt };
}

test("each attempt is counted by what became of it, with the time it took", async () => {
  const { health, told, attempt } = begin();

  await attempt(answer(200), answer(304), answer(404), answer(503), BROKEN, REFUSED);

  assert.deepEqual(told, [
    ["2xx", 0.25],
    ["3xx", 0.25],
    ["4xx", 0.25],
    ["5xx", 0.25],
    ["failed", 0.25],
    ["unreached", 0.25],
  ]);
  assert.deepEqual(
    Object.entries(health.attempts).filter(([, count]) => count !== 1),
    [
      ["1xx", 0],
      ["cancelled", 0],
    ],
  );
});

test("one that was cancelled says nothing about the upstream", async () => {
  const { health, told } = begin();
  const gone = new GatewayError("client_gone", "The client left.");
  const watched = health.watch(
    () => Promise.reject(gone),
    (name, seconds) => told.push([name, seconds]),
  );

  await assert.rejects(watched(CALL), gone);

  assert.deepEqual([told, health.attempts.cancelled], [[["cancelled", 0]], 1]);
  assert.deepEqual([health.healthy, health.lastFailure], [true, undefined]);
});

test("one that the upstream was too slow for has failed", async () => {
  const { health, told } = begin();
  const late = new GatewayError("upstream_timeout", "OpenAI did not begin to answer in time.");
  const watched = health.watch(
    () => Promise.reject(late),
    (name, seconds) => told.push([name, seconds]),
  );

  await assert.rejects(watched(CALL), late);

  assert.deepEqual([told, health.healthy], [[["failed", 0]], false]);
  assert.deepEqual(health.lastFailure?.code, "upstream_timeout");
});

test("it is healthy until most of the latest attempts fail, and again when they do not", async () => {
  const { health, attempt } = begin();
  assert.equal(health.healthy, true);
  await attempt(...Array<Outcome>(20).fill(answer(200)));
  await attempt(...Array<Outcome>(10).fill(BROKEN));
  assert.equal(health.healthy, true);
  await attempt(answer(500));
  assert.equal(health.healthy, false);
  await attempt(...Array<Outcome>(10).fill(answer(429)));
  assert.equal(health.healthy, true);
});

test("the last failure and the last answer are told with their time", async () => {
  const { clock, health, attempt } = begin();
  await attempt(REFUSED);
  const failedAt = clock.now();
  clock.advance(1_000);
  await attempt(answer(200));

  assert.deepEqual(health.lastFailure, {
    atMs: failedAt,
    code: "upstream_unreachable",
    reason: "Nobody listens.",
  });
  assert.equal(health.lastAnswerAtMs, failedAt + 1_250);
});
