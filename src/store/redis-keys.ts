// What the store's keys are called. All are of one hash slot: a call's scopes are counted together.
import { createHash } from "node:crypto";

/** Everything in braces decides the slot, and only the first pair counts. */
const PREFIX = "openai-gateway:{limits}";
const SCOPE_CHARACTERS = 200;
const DIGEST_CHARACTERS = 64;

/** A hash of what a scope has used and of its calls; the calls again, in the order of their due. */
export function toScopeKeys(scope: string): readonly [account: string, open: string] {
  const name = toName(scope);
  return [`${PREFIX}:account:${name}`, `${PREFIX}:open:${name}`];
}

/** A hash of what the calls of a day came to. */
export function toUsageKey(day: string): string {
  return `${PREFIX}:usage:${day}`;
}

/** A hash of who is shut out, and one of its version. */
export const REVOCATION_KEYS = [`${PREFIX}:revoked`, `${PREFIX}:revoked:version`] as const;

/** Shortened ones have one character more than any other: nobody's scope looks like another's. */
function toName(scope: string): string {
  if (scope.length <= SCOPE_CHARACTERS) return scope;
  const digest = createHash("sha256").update(scope).digest("hex");
  return scope.slice(0, SCOPE_CHARACTERS + 1 - DIGEST_CHARACTERS) + digest;
}
