// `GET /admin/callers`: who called lately or has a key, what each may still use, and what today
// came to.
import type { PolicyConfig, Quota as QuotaConfig } from "../config/config.ts";
import { quotasOf, toShare } from "../quota/quotas.ts";
import type { Quota, Revocation, Standing, UsageRow } from "../store/store.ts";
import { askStore, checkQuery, type AdminCall } from "./admin-call.ts";

/** Of one answer: the latest. */
const LIMIT = 100;
const CANNOT = "What callers have used cannot be read now";
const MICRO_PER_USD = 1_000_000;

interface Row {
  readonly caller: string;
  readonly policy: string | null;
  readonly lastSeenMs: number | undefined;
  /** Its own. */
  readonly quota: Quota | undefined;
}

export async function listCallers(call: AdminCall): Promise<object> {
  const { store, config, clock, query } = call;
  checkQuery(query, []);
  const today = new Date(clock.now()).toISOString().slice(0, 10);
  const [usage, revocations] = await askStore(
    CANNOT,
    Promise.all([store.usage(today, today), store.revocations()]),
  );
  const rows = toRows(call, usage, revocations);
  const shown = rows.slice(0, LIMIT);
  const shared = Object.entries(config.policies).flatMap(toShared);
  const quotas = [...shown, ...shared].flatMap(({ quota }) => quota ?? []);
  const standings = await askStore(CANNOT, store.peek(quotas));
  const byScope = new Map(standings.map((standing) => [standing.scope, standing]));
  const used = sumUp(usage, new Set(shown.map(({ caller }) => caller)));
  const barred = new Map(revocations.map(({ caller, untilMs }) => [caller, untilMs]));
  return {
    callers: shown.map(({ caller, policy, lastSeenMs, quota }) => ({
      caller,
      policy,
      lastSeenAt: lastSeenMs === undefined ? null : toTime(lastSeenMs),
      revokedUntil: toUntil(barred.get(caller)),
      requests: used.get(caller)?.requests ?? 0,
      costUsd: (used.get(caller)?.costMicroUsd ?? 0) / MICRO_PER_USD,
      limits: toLimits(byScope.get(quota?.scope ?? ""), "caller"),
    })),
    shared: shared.map(({ policy, quota }) => ({
      policy,
      limits: toLimits(byScope.get(quota.scope), "policy"),
    })),
    more: rows.length - shown.length,
  };
}

/** In one pass: a day may have 10 000 rows, and a hundred pages ask. */
function sumUp(usage: readonly UsageRow[], callers: ReadonlySet<string>) {
  const sums = new Map<string, { requests: number; costMicroUsd: number }>();
  for (const { caller, requests, costMicroUsd } of usage) {
    if (!callers.has(caller)) continue;
    const sum = sums.get(caller) ?? { requests: 0, costMicroUsd: 0 };
    sum.requests += requests;
    sum.costMicroUsd += costMicroUsd;
    sums.set(caller, sum);
  }
  return sums;
}

/** Whoever is shut out; whoever called this process, the latest first; has a key; has used. */
function toRows(
  { callers, config }: AdminCall,
  usage: readonly UsageRow[],
  revocations: readonly Revocation[],
): readonly Row[] {
  const rows = new Map<string, Row>();
  for (const { caller, lastSeenMs } of callers.list()) {
    const [own] = quotasOf(caller);
    const quota = own?.scope === `caller:${caller.id}` ? own : undefined;
    rows.set(caller.id, { caller: caller.id, policy: caller.policy.name, lastSeenMs, quota });
  }
  const add = (caller: string, policy: string | null, limits?: PolicyConfig): void => {
    if (rows.has(caller)) return;
    const share = limits && toShare(limits);
    const quota = share && { scope: `caller:${caller}`, ...share };
    rows.set(caller, { caller, policy, lastSeenMs: undefined, quota });
  };
  for (const { name, policy } of config.access?.keys ?? []) {
    add(`key:${name}`, policy, config.policies[policy]);
  }
  for (const { caller } of [...usage, ...revocations]) add(caller, null);
  const barred = new Set(revocations.map(({ caller }) => caller));
  const isBarred = ({ caller }: Row): number => (barred.has(caller) ? 1 : 0);
  return [...rows.values()].toSorted((one, other) => isBarred(other) - isBarred(one));
}

function toShared([policy, { shared }]: [string, { readonly shared?: QuotaConfig }]) {
  const share = shared && toShare(shared);
  return share === undefined ? [] : [{ policy, quota: { scope: `policy:${policy}`, ...share } }];
}

function toLimits(standing: Standing | undefined, of: "caller" | "policy"): readonly object[] {
  if (standing === undefined) return [];
  const { requests, tokens, open, budgets } = standing;
  const rates = { requestsPerMinute: requests, tokensPerMinute: tokens };
  return [
    ...Object.entries(rates).flatMap(([rule, level]) => {
      if (level === undefined) return [];
      const { limit, remaining: left, resetMs } = level;
      return [{ rule, of, limit, left, resetMs }];
    }),
    ...(open === undefined ? [] : [toOpenLimit(open, of)]),
    ...budgets.map(({ per, limitMicroUsd, spentMicroUsd, heldMicroUsd, resetMs = null }) => ({
      rule: "budget",
      of,
      per,
      limitUsd: limitMicroUsd / MICRO_PER_USD,
      spentUsd: spentMicroUsd / MICRO_PER_USD,
      heldUsd: heldMicroUsd / MICRO_PER_USD,
      leftUsd: Math.max(0, limitMicroUsd - spentMicroUsd - heldMicroUsd) / MICRO_PER_USD,
      resetMs,
    })),
  ];
}

function toOpenLimit({ count, limit }: NonNullable<Standing["open"]>, of: string): object {
  return { rule: "concurrentRequests", of, limit, left: Math.max(0, limit - count), resetMs: 0 };
}

function toUntil(untilMs: number | undefined): string | null {
  if (untilMs === undefined) return null;
  return untilMs === Infinity ? "forever" : toTime(untilMs);
}

function toTime(ms: number): string {
  return new Date(ms).toISOString();
}
