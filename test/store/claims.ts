// Claims and records for tests of stores, each of a call of its own.
import type {
  Admission,
  CallRecord,
  Claim,
  Quota,
  Refused,
  Store,
  Used,
} from "../../src/store/store.ts";

let calls = 0;

export function toClaim(
  quotas: Quota | readonly Quota[],
  wanted: Partial<Omit<Claim, "quotas">> = {},
): Claim {
  const list = "scope" in quotas ? [quotas] : quotas;
  return { id: `call-${++calls}`, quotas: list, tokens: 0, costMicroUsd: 0, ...wanted };
}

export function toRecord({ id }: Claim, over: Partial<CallRecord> = {}): CallRecord {
  return {
    id,
    caller: "token:ada",
    policy: "demo",
    route: "POST /chat/completions",
    model: "gpt-5-mini",
    status: 200,
    error: undefined,
    inputTokens: 0,
    cachedInputTokens: 0,
    outputTokens: 0,
    costMicroUsd: 0,
    estimated: false,
    ...over,
  };
}

/** Ends a call at what it came to. */
export function settle(store: Store, claim: Claim, used: Partial<Used> = {}): Promise<void> {
  const { tokens = 0, costMicroUsd = 0 } = used;
  const record = toRecord(claim, { inputTokens: tokens, costMicroUsd });
  return store.settle(claim, { tokens, costMicroUsd }, record);
}

export function refused(admission: Admission): Refused {
  if (admission.kind === "refused") return admission;
  throw new Error("It was admitted.");
}

/** What of a total budget is neither spent nor set aside: asked without taking any of it. */
export async function leftOf(store: Store, scope: string, limitMicroUsd: number): Promise<number> {
  const budgets = [{ limitMicroUsd, per: "total" as const }];
  const claim = toClaim({ scope, budgets }, { costMicroUsd: limitMicroUsd + 1 });
  return refused(await store.admit(claim)).left;
}
