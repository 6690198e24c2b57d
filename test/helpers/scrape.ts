// What Prometheus would read.
import assert from "node:assert/strict";
import { ADMIN } from "./admin.ts";

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export async function scrape(url: string): Promise<readonly Sample[]> {
  const response = await fetch(`${url}/metrics`, { headers: ADMIN });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map(parseSample);
}

/** The sum of the samples of a name that have these labels. */
export function sumOf(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  return samples
    .filter((sample) => sample.name === `openai_gateway_${name}`)
    .filter((sample) => Object.entries(labels).every(([label, is]) => sample.labels[label] === is))
    .reduce((sum, { value }) => sum + value, 0);
}

function parseSample(line: string): Sample {
  const [, name = "", text = "", value = ""] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  assert.notEqual(name, "", `not a sample: ${line}`);
  const labels = [...text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, is]) => [
    label,
    is,
  ]);
  return { name, labels: Object.fromEntries(labels), value: Number(value) };
}
