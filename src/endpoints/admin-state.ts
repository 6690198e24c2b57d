// What an operator reads: the record, the upstream, the settings in force.
import { toShown } from "../config/describe.ts";
import { secretsOf } from "../config/secrets.ts";
import { redact } from "../telemetry/log.ts";
import { parseUsageQuery, summarize } from "../usage/summary.ts";
import { askStore, checkQuery, type AdminCall } from "./admin-call.ts";

export async function readUsage({ query, clock, store }: AdminCall): Promise<object> {
  const asked = parseUsageQuery(query, clock.now());
  const rows = await askStore("The record cannot be read now", store.usage(asked.from, asked.to));
  return summarize(rows, asked);
}

export function readUpstreams({ query, upstream }: AdminCall): object {
  checkQuery(query, []);
  return { upstreams: [upstream()] };
}

/** Secrets hidden: those that are known to be some, and whatever looks like one. */
export function readSettings({ query, config, version }: AdminCall): object {
  checkQuery(query, []);
  const secrets = secretsOf(config);
  const hide = (_: string, value: unknown): unknown =>
    typeof value === "string" ? redact(value, secrets) : value;
  const settings: unknown = JSON.parse(JSON.stringify(toShown(config), hide));
  const uptimeSeconds = Math.round(process.uptime());
  return { version: version(), node: process.version, uptimeSeconds, settings };
}
