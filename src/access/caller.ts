// Somebody who may call, however they proved it.
import { createHmac } from "node:crypto";
import type { Policy } from "./policy.ts";

export interface Caller {
  /**
   * Names the caller in the log and wherever calls are counted: `key:backend`, `token:user-1`,
   * `https://login.example.com/#user-1`, or the address.
   */
  readonly id: string;
  readonly policy: Policy;
  /** Its network, where the policy has quotas for each: an IPv6 caller has a whole /64. */
  readonly address: string | undefined;
  /** What OpenAI knows the caller by, where the policy wants that: 64 characters. */
  readonly safetyIdentifier: string | undefined;
}

/** @param secret keeps OpenAI, and whoever reads what it says, from guessing the id. */
export function createCaller(id: string, policy: Policy, secret: string, address?: string): Caller {
  const wanted = policy.limits.safetyIdentifier === true;
  const hash = (): string => createHmac("sha256", secret).update(id).digest("hex");
  return { id, policy, address, safetyIdentifier: wanted ? hash() : undefined };
}
