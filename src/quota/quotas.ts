// Whose quotas a call counts against: its caller's, those of all callers of the policy together,
// and its address's.
import type { BudgetConfig, Limits, Quota as QuotaConfig } from "../config/config.ts";
import type { Quota } from "../store/store.ts";

const MICRO_PER_USD = 1_000_000;

/** What is not set may be there as nothing. */
type Loose<Settings> = { readonly [Name in keyof Settings]?: Settings[Name] | undefined };

type Limited = Loose<QuotaConfig>;

/** A caller, as far as it matters here. */
export interface Subject {
  readonly id: string;
  /** Its network, where the policy has quotas for addresses. */
  readonly address: string | undefined;
  readonly policy: {
    readonly name: string;
    readonly limits: Limited & Loose<Pick<Limits, "maxOutputTokens">>;
    readonly shared: Limited | undefined;
    readonly perAddress: Limited | undefined;
    readonly assumedOutputTokens: number;
  };
}

/** A quota without whose it is. */
type Share = Omit<Quota, "scope">;

/** Policies are few and stay; those of minted tokens go with their call. */
const shares = new WeakMap<Limited, Share | undefined>();

export function quotasOf({ id, address, policy }: Subject): readonly Quota[] {
  const own = toShare(policy.limits);
  const quotas: Quota[] = own === undefined ? [] : [{ scope: `caller:${id}`, ...own }];
  const shared = policy.shared && toShare(policy.shared);
  if (shared !== undefined) quotas.push({ scope: `policy:${policy.name}`, ...shared });
  const each = policy.perAddress && toShare(policy.perAddress);
  if (each !== undefined) quotas.push({ scope: `address:${address}`, ...each });
  return quotas;
}

export function hasBudget(quotas: readonly Quota[]): boolean {
  return quotas.some(({ budgets }) => budgets !== undefined);
}

export function toShare(config: Limited): Share | undefined {
  if (!shares.has(config)) shares.set(config, compile(config));
  return shares.get(config);
}

function compile(config: Limited): Share | undefined {
  const { requestsPerMinute, tokensPerMinute, concurrentRequests, budget } = config;
  const share = { requestsPerMinute, tokensPerMinute, concurrentRequests };
  if (budget !== undefined) return { ...share, budgets: budget.map(toBudget) };
  return Object.values(share).some((limit) => limit !== undefined) ? share : undefined;
}

function toBudget({ usd, per }: BudgetConfig) {
  return { limitMicroUsd: Math.round(usd * MICRO_PER_USD), per };
}
