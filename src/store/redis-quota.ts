// A quota as the scripts are told of it.
import { DAY_MS } from "./period.ts";
import type { Quota } from "./store.ts";

export interface QuotaArgument {
  readonly requests?: number | undefined;
  readonly tokens?: number | undefined;
  readonly open?: number | undefined;
  readonly budgets?: readonly { readonly per: string; readonly limit: number }[] | undefined;
  /** How long the account stays after its last use. Nothing is for ever. */
  readonly keepMs?: number | undefined;
}

/** A month and a day. Accounts with a budget for ever stay for ever. */
const KEEP_MS = 32 * DAY_MS;

export function toQuotaArgument(quota: Quota): QuotaArgument {
  const { requestsPerMinute: requests, tokensPerMinute: tokens } = quota;
  const { concurrentRequests: open, budgets } = quota;
  const lasts = budgets?.some(({ per }) => per === "total") === true;
  return {
    requests,
    tokens,
    open,
    keepMs: lasts ? undefined : KEEP_MS,
    budgets: budgets?.map(({ per, limitMicroUsd: limit }) => ({ per, limit })),
  };
}
