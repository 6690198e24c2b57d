// The store's verbs as scripts, each of which is one step to everybody else. Each gets the keys of
// its quotas, an account and its calls each, and a JSON text; it decides first and writes then.
import { toScript } from "./redis-connection.ts";
import { LUA_ACCOUNT } from "./redis-lua.ts";
import type { QuotaArgument } from "./redis-quota.ts";

export interface ClaimArgument {
  readonly id: string;
  readonly quotas: readonly QuotaArgument[];
  readonly tokens: number;
  readonly microUsd: number;
  readonly leaseMs: number;
}

/** @returns a list that redis-admission.ts reads, or nothing for a call that is known already. */
export const ADMIT = toScript(`${LUA_ACCOUNT}
local claim = cjson.decode(ARGV[1])
local accounts = load_all(claim.quotas, claim.id)
for _, account in ipairs(accounts) do
  if account.state then return false end
end
for _, account in ipairs(accounts) do reap(account) end
for i, account in ipairs(accounts) do
  local refusal = refuse(account, claim.tokens, claim.microUsd)
  if refusal then
    local rule, left, held, wait, budget = unpack(refusal)
    local reply = add_levels({ "refused" }, accounts)
    local reason = { i - 1, rule, text(left), held and 1 or 0, wait and text(wait) or "",
      budget or "" }
    for _, each in ipairs(reason) do reply[#reply + 1] = each end
    return reply
  end
end
for _, account in ipairs(accounts) do
  local quota = account.quota
  hold(account, 1, claim.tokens, claim.microUsd)
  if quota.requests then account.requests = account.requests + MINUTE / quota.requests end
  if quota.tokens then account.tokens = account.tokens + claim.tokens * MINUTE / quota.tokens end
  save(account)
  put_call(account, claim.id, "open", claim.tokens, claim.microUsd, now + claim.leaseMs,
    now + account.tokens)
  keep(account)
end
return add_levels({ "admitted" }, accounts)`);

export interface ExtendArgument extends ClaimArgument {
  readonly more: number;
}

/** Holds again what is held no more: the call is open, whatever has become of the server. */
export const EXTEND = toScript(`${LUA_ACCOUNT}
local claim = cjson.decode(ARGV[1])
local accounts = load_all(claim.quotas, claim.id)
for _, account in ipairs(accounts) do
  if account.state == "ended" or account.state == "void" then return 0 end
end
local fits = true
for _, account in ipairs(accounts) do
  if not account.state then
    account.call_tokens, account.call_micro_usd = claim.tokens, claim.microUsd
  end
  if account.state ~= "open" then hold(account, 1, account.call_tokens, account.call_micro_usd) end
  fits = fits and not refuse_money(account, claim.more)
end
for _, account in ipairs(accounts) do
  local held = account.call_micro_usd + (fits and claim.more or 0)
  if fits then account.heldMicroUsd = account.heldMicroUsd + claim.more end
  save(account)
  put_call(account, claim.id, "open", account.call_tokens, held, now + claim.leaseMs,
    account.call_drained)
  keep(account)
end
return fits and 1 or 0`);

export interface SettleArgument extends Omit<ClaimArgument, "leaseMs"> {
  /** It may have been settled already, unmarked: only what shows to be unsettled is settled. */
  readonly again: boolean;
  /** So that whatever of it is sent again, or is still on its way, finds that it is settled. */
  readonly mark: boolean;
  /** Of the day's usage: requests, failed, estimated, tokens… as they are added. */
  readonly amounts: readonly number[];
  readonly usageKeepMs: number;
  /** How many rows a day has under each of the names that follow: first choice, second, third. */
  readonly rowLimits: readonly number[];
}

/** After the accounts' keys that of the day, after the JSON three names for the row. */
export const SETTLE = toScript(`${LUA_ACCOUNT}
local call = cjson.decode(ARGV[1])
local accounts = load_all(call.quotas, call.id)
local fresh = not call.again
for _, account in ipairs(accounts) do
  if account.state == "ended" then return 0 end
  fresh = fresh or account.state ~= nil
end
if not fresh then return 0 end

for _, account in ipairs(accounts) do
  local tokens, micro_usd = account.call_tokens, account.call_micro_usd
  if account.state == "open" then hold(account, -1, tokens, micro_usd) end
  for _, per in ipairs({ "hour", "day", "month", "total" }) do
    account[per] = account[per] + call.microUsd
  end
  if account.quota.tokens then
    give_tokens(account, (call.tokens - tokens) * MINUTE / account.quota.tokens)
  end
  save(account)
  if call.mark then put_call(account, call.id, "ended", 0, 0, now + GRACE)
  else drop_call(account, call.id) end
  keep(account)
end

local day = KEYS[#KEYS]
for i, limit in ipairs(call.rowLimits) do
  local known = redis.call("HGET", day, ARGV[i + 1])
  if known or redis.call("HLEN", day) < limit then
    local sums = {}
    for sum in string.gmatch(known or "", "%S+") do sums[#sums + 1] = tonumber(sum) end
    for place, amount in ipairs(call.amounts) do
      sums[place] = text((sums[place] or 0) + amount)
    end
    redis.call("HSET", day, ARGV[i + 1], table.concat(sums, " "))
    redis.call("PEXPIRE", day, call.usageKeepMs)
    break
  end
end
return 1`);

/** What an admission that nobody has heard of may have taken, it gives back, or never takes. */
export const RELEASE = toScript(`${LUA_ACCOUNT}
local claim = cjson.decode(ARGV[1])
for _, account in ipairs(load_all(claim.quotas, claim.id)) do
  local tokens, micro_usd = account.call_tokens, account.call_micro_usd
  if account.state == "open" then
    hold(account, -1, tokens, micro_usd)
    if account.quota.tokens then
      give_tokens(account, -tokens * MINUTE / account.quota.tokens)
    end
    save(account)
  end
  if account.state ~= "ended" then
    put_call(account, claim.id, "void", 0, 0, now + GRACE)
    keep(account)
  end
end
return 1`);

export interface RenewArgument {
  readonly leaseMs: number;
  /** Their quotas' keys follow each other. */
  readonly calls: readonly { readonly id: string; readonly quotas: readonly QuotaArgument[] }[];
}

/** For many calls at once: they stay open for another lease. */
export const RENEW = toScript(`${LUA_ACCOUNT}
local batch = cjson.decode(ARGV[1])
local index = 0
for _, call in ipairs(batch.calls) do
  for _, quota in ipairs(call.quotas) do
    index = index + 1
    local account = load(index, quota, call.id)
    local tokens, micro_usd = account.call_tokens, account.call_micro_usd
    if account.state == "lost" then
      hold(account, 1, tokens, micro_usd)
      save(account)
    end
    if account.state == "open" or account.state == "lost" then
      put_call(account, call.id, "open", tokens, micro_usd, now + batch.leaseMs,
        account.call_drained)
      keep(account)
    end
  end
end
return index`);
