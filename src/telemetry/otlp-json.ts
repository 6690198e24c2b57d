// What OTLP's JSON encoding has in common for spans and metrics: attributes, numbers, the resource.
// (opentelemetry-proto, "OTLP/HTTP": ids in hexadecimal, 64-bit integers as strings.)
import { randomUUID } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { OtlpConfig } from "../config/parse-otlp.ts";

export type AnyValue =
  | { readonly stringValue: string }
  | { readonly boolValue: boolean }
  | { readonly intValue: string }
  | { readonly doubleValue: number };

export interface KeyValue {
  readonly key: string;
  readonly value: AnyValue;
}

const TEXT_LIMIT = 256;

/**
 * Bounded, as clients make some of it up; and valid Unicode, as half a surrogate pair would have a
 * whole batch refused.
 */
export function text(value: string | undefined): AnyValue | undefined {
  if (value === undefined) return undefined;
  return { stringValue: Buffer.from(value.slice(0, TEXT_LIMIT)).toString() };
}

export function int(value: number | undefined): AnyValue | undefined {
  return value === undefined ? undefined : { intValue: String(Math.round(value)) };
}

export function double(value: number | undefined): AnyValue | undefined {
  return value === undefined ? undefined : { doubleValue: value };
}

export function bool(value: boolean): AnyValue {
  return { boolValue: value };
}

/** Without those that have no value. */
export function toKeyValues(values: Readonly<Record<string, AnyValue | undefined>>): KeyValue[] {
  return Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value }],
  );
}

/** Milliseconds since 1970 as nanoseconds, more than a double holds. */
export function toNanos(ms: number): string {
  return `${Math.round(ms * 1_000)}000`;
}

export interface Origin {
  readonly resource: { readonly attributes: readonly KeyValue[] };
  readonly scope: { readonly name: string; readonly version: string };
}

/** Who exports. Replicas differ by `service.instance.id`: their sums must not be taken for one. */
export function describeOrigin(config: OtlpConfig, version: string): Origin {
  const attributes = {
    "service.version": version,
    "service.instance.id": randomUUID(),
    ...config.resourceAttributes,
    "service.name": config.serviceName,
    "telemetry.sdk.name": "openai-gateway",
    "telemetry.sdk.language": "nodejs",
    "telemetry.sdk.version": version,
  };
  const values = Object.entries(attributes).map(([key, value]) => [key, text(value)] as const);
  return {
    resource: { attributes: toKeyValues(Object.fromEntries(values)) },
    scope: { name: "openai-gateway", version },
  };
}

const SLICE = 32;

/** A JSON list made in slices, between which requests have their turn. */
export async function toJsonList<Item>(
  items: readonly Item[],
  encode: (item: Item) => unknown,
): Promise<string> {
  const slices: string[] = [];
  for (let at = 0; at < items.length; at += SLICE) {
    if (at > 0) await setImmediate();
    const slice = items.slice(at, at + SLICE).map((item) => JSON.stringify(encode(item)));
    slices.push(slice.join(","));
  }
  return `[${slices.join(",")}]`;
}
