// Calls as the metrics are told of them, and a reader of Prometheus' text format 0.0.4 that knows
// nothing of our writer and forgives nothing.
import assert from "node:assert/strict";
import type { CallReport } from "../../src/telemetry/call-report.ts";
import { callReport } from "../helpers/call-report.ts";
import { GatewayMetrics, type MetricSources } from "../../src/telemetry/gateway-metrics.ts";

const USED = { inputTokens: 100, cachedInputTokens: 40, outputTokens: 20, costMicroUsd: 27 };
const TOOK = { durationMs: 1_500, firstByteMs: 400, upstreamMs: 398 };

/** One that went well, but for what is said of it. */
export function toCall(changes: Partial<CallReport> = {}): CallReport {
  return callReport({ ...USED, ...TOOK, ...changes });
}

/** One that ended before OpenAI was called, with nothing used. */
export function toRefusal(changes: Partial<CallReport>): CallReport {
  const nothing = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, costMicroUsd: 0 };
  const uncalled = { attempts: 0, upstreamMs: undefined, firstByteMs: undefined };
  return toCall({ ...nothing, ...uncalled, ...changes });
}

export function openMetrics(sources: Partial<MetricSources> = {}): GatewayMetrics {
  const none = (): number => 0;
  return new GatewayMetrics({
    inFlight: none,
    streams: none,
    webSockets: none,
    dashboards: none,
    draining: () => false,
    storeProblem: () => undefined,
    upstream: "openai",
    openConnections: none,
    connectionsOpened: none,
    version: () => "1.2.3",
    ...sources,
  });
}

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ReadFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

const ENDINGS: Readonly<Record<string, readonly string[]>> = {
  counter: [""],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
};

/** @throws AssertionError where the text is not to the letter. */
export function readExposition(text: string): readonly ReadFamily[] {
  assert.ok(text.endsWith("\n") && !text.endsWith("\n\n"), "the last line ends with one LF");
  assert.ok(!text.includes("\r"), "lines end with LF alone");
  const families: (ReadFamily & { readonly samples: Sample[] })[] = [];
  const seen = new Set<string>();
  const lines = text.slice(0, -1).split("\n");
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    const [, helped = "", help = ""] = /^# HELP ([a-zA-Z_:][\w:]*) (.*)$/.exec(line) ?? [];
    if (helped !== "") {
      const next = lines[++index] ?? "";
      const [, name, type = ""] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(next) ?? [];
      assert.equal(name, helped, `TYPE follows HELP of the same name, not ${next}`);
      assert.ok(!families.some((each) => each.name === name), `${name} is one group`);
      families.push({ name: helped, type, help: unescape(help, /\\[\\n]|[^\\]/y), samples: [] });
      continue;
    }
    const family = families.at(-1);
    assert.ok(family, `a sample after its TYPE: ${line}`);
    const sample = readSample(line);
    const endings = ENDINGS[family.type]?.map((ending) => family.name + ending);
    assert.ok(endings?.includes(sample.name), `${line} stands below ${family.name}`);
    const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
    assert.ok(!seen.has(key), `${line} stands there once`);
    seen.add(key);
    family.samples.push(sample);
  }
  for (const family of families) checkFamily(family);
  return families;
}

function readSample(line: string): Sample {
  const [whole, name = "", inner] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? /.exec(line) ?? [];
  assert.ok(whole !== undefined, `a sample: ${line}`);
  const labels: Record<string, string> = {};
  let rest = inner ?? "";
  while (rest !== "") {
    const [pair = "", label = "", value = "", comma] =
      /^([a-zA-Z_]\w*)="((?:\\[\\"n]|[^\\"])*)"(,(?=.)|$)/.exec(rest) ?? [];
    assert.ok(pair !== "" && comma !== undefined, `labels: ${line}`);
    assert.ok(!(label in labels), `${label} stands there once: ${line}`);
    labels[label] = unescape(value, /\\[\\"n]|[^\\"]/y);
    rest = rest.slice(pair.length);
  }
  return { name, labels, value: readNumber(line.slice(whole.length), line) };
}

function readNumber(text: string, line: string): number {
  const special: Record<string, number> = { NaN, "+Inf": Infinity, "-Inf": -Infinity };
  assert.match(text, /^(?:NaN|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/, line);
  return special[text] ?? Number(text);
}

function unescape(text: string, token: RegExp): string {
  let result = "";
  for (token.lastIndex = 0; token.lastIndex < text.length;) {
    const [found] = token.exec(text) ?? [];
    assert.ok(found !== undefined, `escapes: ${text}`);
    result += found === "\\n" ? "\n" : (found[1] ?? found);
  }
  return result;
}

function checkFamily({ name, type, help, samples }: ReadFamily): void {
  assert.ok(samples.length > 0, `${name} has samples`);
  assert.ok(help.length > 0, `${name} has help`);
  if (type !== "gauge") {
    for (const sample of samples) assert.ok(sample.value >= 0, `${sample.name} never falls`);
  }
  if (type === "counter") assert.match(name, /_total$/);
  else assert.doesNotMatch(name, /_total$/);
  if (type !== "histogram") return;
  for (const group of toGroups(samples)) checkHistogram(name, group);
}

/** By all labels but `le`. */
function toGroups(samples: readonly Sample[]): readonly (readonly Sample[])[] {
  const groups = new Map<string, Sample[]>();
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels;
    const key = JSON.stringify(Object.entries(labels).sort());
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    group.push(sample);
  }
  return [...groups.values()];
}

function checkHistogram(name: string, group: readonly Sample[]): void {
  const [sum, count] = group.slice(-2);
  const buckets = group.slice(0, -2);
  const ends = buckets.map(({ labels: { le = "" } }) => readNumber(le, name));
  const values = buckets.map(({ value }) => value);
  const ascending = (list: readonly number[]) =>
    list.every((each, i) => !(each < (list[i - 1] ?? 0)));
  assert.ok(
    buckets.every((each) => each.name === `${name}_bucket`),
    `${name}: buckets first`,
  );
  assert.deepEqual([sum?.name, count?.name], [`${name}_sum`, `${name}_count`]);
  assert.ok(ascending(ends) && new Set(ends).size === ends.length, `${name}: ${String(ends)}`);
  assert.equal(ends.at(-1), Infinity, `${name}: the last bucket`);
  assert.ok(ascending(values), `${name} is cumulative: ${String(values)}`);
  assert.equal(values.at(-1), count?.value, `${name}: the last bucket has all`);
}

/** Sum of the samples of this name that have these labels. */
export function sumOf(text: string, name: string, labels: Record<string, string> = {}): number {
  const samples = readExposition(text).flatMap((family) => family.samples);
  return samples
    .filter((sample) => sample.name === name)
    .filter((sample) =>
      Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )
    .reduce((sum, { value }) => sum + value, 0);
}
