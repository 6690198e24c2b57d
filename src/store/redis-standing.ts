// How parties stand, as Redis knows it: a script that looks and changes nothing.
import { toScript, type RedisConnection } from "./redis-connection.ts";
import { toScopeKeys } from "./redis-keys.ts";
import { LUA_ACCOUNT } from "./redis-lua.ts";
import { toQuotaArgument } from "./redis-quota.ts";
import type { Reply } from "./resp.ts";
import { StoreError, type Level, type Quota, type Standing } from "./store.ts";

/** What is due was set aside by gateways that are dead: the next call gives it back. */
export const PEEK = toScript(`${LUA_ACCOUNT}
local replies = {}
for index, quota in ipairs(cjson.decode(ARGV[1])) do
  local account = load(index, quota, "")
  for _, id in ipairs(redis.call("ZRANGEBYSCORE", account.calls, "-inf", now, "LIMIT", 0, 100)) do
    local state, tokens, micro_usd = parse_call(redis.call("HGET", account.key, "call:" .. id))
    if state == "open" then hold(account, -1, tokens, micro_usd) end
  end
  local reply = {}
  for _, rate in ipairs({ "requests", "tokens" }) do
    local limit = quota[rate]
    reply[#reply + 1] = limit and text(remaining(limit, account[rate])) or ""
    reply[#reply + 1] = limit and text(account[rate]) or ""
  end
  reply[#reply + 1] = text(account.open)
  reply[#reply + 1] = text(account.heldMicroUsd)
  for _, budget in ipairs(quota.budgets or {}) do
    reply[#reply + 1] = text(account[budget.per])
    local ends = budget.per ~= "total" and end_of(budget.per, account[budget.per .. "From"]) - now
    reply[#reply + 1] = ends and text(ends) or ""
  end
  replies[index] = reply
end
return replies`);

/** @throws RedisError, and StoreError for what is no answer. */
export async function readStandings(
  redis: RedisConnection,
  quotas: readonly Quota[],
): Promise<readonly Standing[]> {
  if (quotas.length === 0) return [];
  const keys = quotas.flatMap(({ scope }) => toScopeKeys(scope));
  const replies = await redis.evaluate(PEEK, keys, [JSON.stringify(quotas.map(toQuotaArgument))]);
  return quotas.map((quota, index) => toStanding(quota, Object(replies)[index]));
}

function toStanding(quota: Quota, reply: Reply | undefined): Standing {
  if (!Array.isArray(reply)) throw new StoreError("Redis answers nonsense.");
  const { scope, concurrentRequests: limit, budgets = [] } = quota;
  const [requests, requestsMs, tokens, tokensMs, open, held, ...spendings] = reply.map(String);
  return {
    scope,
    requests: toLevel(quota.requestsPerMinute, requests, requestsMs),
    tokens: toLevel(quota.tokensPerMinute, tokens, tokensMs),
    open: limit === undefined ? undefined : { count: Number(open), limit },
    budgets: budgets.map((budget, index) => {
      const [spent, resetMs] = spendings.slice(2 * index);
      return {
        ...budget,
        spentMicroUsd: Number(spent),
        heldMicroUsd: Number(held),
        resetMs: resetMs === "" ? undefined : Number(resetMs),
      };
    }),
  };
}

function toLevel(
  limit: number | undefined,
  remaining: string | undefined,
  resetMs: string | undefined,
): Level | undefined {
  if (limit === undefined) return undefined;
  return { limit, remaining: Number(remaining), resetMs: Number(resetMs) };
}
