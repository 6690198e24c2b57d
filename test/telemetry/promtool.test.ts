// Prometheus' own tool finds nothing to say about what we write. Without it on this machine the
// test is skipped; in CI, which installs it, it fails.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { FAILURES, type ErrorCode } from "../../src/errors.ts";
import { openMetrics, toCall, toRefusal } from "./metric-traffic.ts";

const PROGRAM = "promtool";

const WITHOUT_PROMTOOL: string | false =
  process.env["CI"] === undefined && spawnSync(PROGRAM, ["--version"]).error !== undefined
    ? `${PROGRAM} is not installed`
    : false;

/** Its exit code and all that it says: hints about names, too. */
function check(input: string): readonly unknown[] {
  const { error, status, stdout, stderr } = spawnSync(PROGRAM, ["check", "metrics"], {
    input,
    encoding: "utf8",
    timeout: 7_000,
  });
  assert.ifError(error);
  return [status, stdout, stderr];
}

const skip = WITHOUT_PROMTOOL;

test("promtool has nothing to say before the first call", { skip }, () => {
  const metrics = openMetrics();

  assert.deepEqual(check(metrics.write()), [0, "", ""]);
});

test("promtool has nothing to say after every kind of outcome", { skip }, () => {
  const metrics = openMetrics({ upstream: 'my "own"\\\n{one}' });
  metrics.eventLoopDelayMs();
  const codes = Object.keys(FAILURES) as ErrorCode[];
  const routes = ["chat", "realtime", "other", "page", "operator", "none"] as const;
  for (const routeClass of routes) {
    for (const status of [101, 200, 302, 404, 500]) metrics.observe(toCall({ routeClass, status }));
    for (const error of codes) {
      const { status } = FAILURES[error];
      metrics.observe(toRefusal({ routeClass, error, status }));
      metrics.observe(toCall({ routeClass, error }));
    }
  }
  for (const outcome of ["2xx", "5xx", "unreached", "failed", "cancelled"] as const) {
    metrics.attempt(outcome, 1.5);
  }
  const refused = { rule: "tokensPerMinute", of: "address" } as const;
  metrics.observe(toRefusal({ refused, status: 429, error: "rate_limit_exceeded" }));
  metrics.observe(toCall({ pricedModel: 'a"b\\c', estimated: true, costMicroUsd: 1 }));
  metrics.observe(toCall({ durationMs: 1e9, firstByteMs: 1e-7, gatewayMs: 1e-9 }));
  metrics.retried();

  const said = check(metrics.write());
  metrics.close();

  assert.deepEqual(said, [0, "", ""]);
});

test("promtool would have something to say", { skip }, () => {
  const [status, , stderr] = check("# TYPE a counter\na 1\n");

  assert.notEqual(status, 0);
  assert.match(String(stderr), /no help text/);
});
