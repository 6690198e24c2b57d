// How this process does, as Prometheus sees it: for any number of scrapers, and at no cost for none.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Registry } from "../../src/telemetry/metric.ts";
import { PROCESS_METRICS, ProcessMetrics } from "../../src/telemetry/process-metrics.ts";
import { readExposition } from "./metric-traffic.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MAX_LAG = "nodejs_eventloop_lag_max_seconds";

/** What a scrape at a time sees. */
type Scrape = (atMs: number) => ReadonlyMap<string, number>;

function open(t: TestContext): Scrape {
  const registry = new Registry();
  let nowMs = 0;
  const metrics = new ProcessMetrics(registry, () => nowMs);
  t.after(() => metrics.close());
  return (atMs) => {
    nowMs = atMs;
    const families = readExposition(registry.write());
    return new Map(families.map(({ name, samples }) => [name, samples[0]?.value ?? NaN]));
  };
}

function block(ms: number): void {
  const startedAt = performance.now();
  while (performance.now() - startedAt < ms);
}

test("tells of processor, memory and files under the names that Node's services use", (t) => {
  const seen = open(t)(0);

  const of = (name: string): number => seen.get(name) ?? NaN;
  assert.ok(of("process_cpu_user_seconds_total") > 0.01, "some of it was spent to get here");
  assert.ok(of("process_cpu_system_seconds_total") > 0, "and some by the system");
  assert.ok(of("process_resident_memory_bytes") > 1e7, "a Node process has tens of megabytes");
  assert.ok(of("nodejs_heap_size_used_bytes") > 1e6, "the heap has something in it");
  assert.ok(of("nodejs_heap_size_total_bytes") >= of("nodejs_heap_size_used_bytes"), "as a part");
  assert.ok(of("nodejs_external_memory_bytes") > 0, "there are buffers");
  const uptime = Date.now() / 1_000 - of("process_start_time_seconds");
  assert.ok(Math.abs(uptime - process.uptime()) < 5, `started ${uptime} s ago`);
  if (existsSync("/proc/self/fd")) assert.ok(of("process_open_fds") >= 3, "0, 1 and 2 at least");
});

test("says nothing of the event loop until it has been watched, then all of it", async (t) => {
  const scrape = open(t);

  const first = scrape(0);
  await sleep(150);
  const second = scrape(15_000);

  const names = PROCESS_METRICS.map(({ name }) => name).filter((name) => /eventloop/.test(name));
  assert.equal(names.length, 5);
  assert.deepEqual(
    names.filter((name) => first.has(name)),
    [],
  );
  assert.deepEqual(
    names.filter((name) => !second.has(name)),
    [],
  );
  const utilization = second.get("nodejs_eventloop_utilization") ?? NaN;
  assert.ok(utilization >= 0 && utilization <= 1, `utilization ${utilization}`);
});

test("a stall shows for a minute to all who scrape, and not for ever", async (t) => {
  const scrape = open(t);
  scrape(0);
  await sleep(150); // The loop has to be seen before it can be seen to stand still.
  block(1_000);
  await sleep(120);

  const lagAt = (atMs: number): number => scrape(atMs).get(MAX_LAG) ?? NaN;
  const minute = [15_000, 16_000, 30_000, 45_000, 60_000, 61_001].map(lagAt);
  await sleep(120);
  const later = [121_000, 122_001, 190_000].map(lagAt);

  assert.ok(
    minute.every((lag) => lag > 0.8 && lag < 30),
    `seconds: ${String(minute)}`,
  );
  assert.ok((later.at(-1) ?? NaN) < 0.8, `seconds: ${String(later)}`);
});

test("an idle loop has next to no lag, though Node counts the wait in", async (t) => {
  const scrape = open(t);
  scrape(0);
  await sleep(400);

  const median = scrape(15_000).get("nodejs_eventloop_lag_p50_seconds") ?? NaN;

  assert.ok(median >= 0 && median < 0.05, `median of ${median} s`);
});

test("looks once a second at most, however often it is scraped", (t) => {
  const scrape = open(t);
  const first = scrape(0);
  block(20);

  assert.deepEqual(scrape(999), first);
  assert.notDeepEqual(scrape(1_000), first);
});

test("keeps no process alive", () => {
  const code = `
    import { Registry } from "./src/telemetry/metric.ts";
    import { ProcessMetrics } from "./src/telemetry/process-metrics.ts";
    const registry = new Registry();
    const metrics = new ProcessMetrics(registry);
    metrics.eventLoopDelayMs();
    process.stdout.write(registry.write().slice(0, 6));`;
  const args = ["--import", "tsx", "--input-type=module", "-e", code];

  const { status, stdout } = spawnSync(process.execPath, args, { cwd: ROOT, timeout: 7_000 });

  assert.deepEqual([status, String(stdout)], [0, "# HELP"]);
});

const UNTYPED = process.features.typescript ? false : "this Node runs no TypeScript by itself";

test("leaves open files out where Node's permission model hides them", { skip: UNTYPED }, () => {
  const code = `
    import { Registry } from "${new URL("../../src/telemetry/metric.ts", import.meta.url).href}";
    import { ProcessMetrics } from
      "${new URL("../../src/telemetry/process-metrics.ts", import.meta.url).href}";
    const registry = new Registry();
    new ProcessMetrics(registry);
    process.stdout.write(registry.write());`;
  const flags = ["--permission", `--allow-fs-read=${ROOT}*`, "--input-type=module"];
  const options = { cwd: ROOT, timeout: 7_000, encoding: "utf8" } as const;

  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, "-e", code], options);

  assert.equal(status, 0, stderr);
  const names = readExposition(stdout).map(({ name }) => name);
  assert.ok(names.includes("process_resident_memory_bytes"), stdout);
  assert.ok(!names.includes("process_open_fds"), stdout);
});
