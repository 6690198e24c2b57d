// What the script ADMIT answers, in the words of the contract.
import type { Reply } from "./resp.ts";
import { StoreError, type Admission, type Claim, type Level, type Quota } from "./store.ts";

const RULES = ["concurrentRequests", "requestsPerMinute", "tokensPerMinute", "budget"] as const;

/** @throws StoreError for what is no answer. */
export function toAdmission(reply: Reply, claim: Claim): Admission {
  if (!Array.isArray(reply)) throw new StoreError("Redis has given up this call already.");
  const [kind = "", ...rest] = reply.map(String);
  const levels = { requests: toLevel(rest.slice(0, 3)), tokens: toLevel(rest.slice(3, 6)) };
  if (kind === "admitted") return { kind, levels };
  const [quotaIndex, ruleIndex, left, held, wait, budgetIndex] = rest.slice(6);
  const quota = claim.quotas[Number(quotaIndex)];
  const rule = RULES[Number(ruleIndex)];
  if (quota === undefined || rule === undefined) throw new StoreError("Redis answers nonsense.");
  return {
    kind: "refused",
    scope: quota.scope,
    rule,
    ...toNeed(rule, claim, quota, Number(budgetIndex)),
    left: Number(left),
    held: held === "1",
    waitMs: wait === "" ? undefined : Number(wait),
    levels,
  };
}

/** What the rule allows, and how much of it the claim is. */
function toNeed(rule: (typeof RULES)[number], claim: Claim, quota: Quota, budgetIndex: number) {
  if (rule === "tokensPerMinute") return { limit: quota[rule] ?? 0, wanted: claim.tokens };
  if (rule !== "budget") return { limit: quota[rule] ?? 0, wanted: 1 };
  const { limitMicroUsd = 0, per } = quota.budgets?.[budgetIndex] ?? {};
  return { limit: limitMicroUsd, wanted: claim.costMicroUsd, ...(per !== undefined && { per }) };
}

function toLevel([limit = "", remaining, resetMs]: readonly string[]): Level | undefined {
  if (limit === "") return undefined;
  return { limit: Number(limit), remaining: Number(remaining), resetMs: Number(resetMs) };
}
