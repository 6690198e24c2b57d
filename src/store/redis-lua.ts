// What the scripts of redis-scripts.ts share, in Lua: account.ts once more, where Redis runs it. A
// test holds the two against each other. Milliseconds are doubles, as they are there.

/** Calendar periods of UTC, as in period.ts. `now` is the server's time. */
export const LUA_CALENDAR = `
local MINUTE, HOUR, DAY = 60000, 3600000, 86400000
local PERIODS = { "hour", "day", "month" }

local time = redis.call("TIME")
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = now_us / 1000

-- Civil from days (H. Hinnant): years begin in March, so that leap days come last.
local function month_of(ms)
  local days = math.floor(ms / DAY)
  local of_era = (days + 719468) % 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
    - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local of_month = of_year - math.floor((153 * month + 2) / 5)
  return (days - of_month) * DAY
end

local function start_of(per, ms)
  if per == "month" then return month_of(ms) end
  local length = per == "hour" and HOUR or DAY
  return math.floor(ms / length) * length
end

local function end_of(per, start)
  if per == "month" then return month_of(start + 31 * DAY) end
  return start + (per == "hour" and HOUR or DAY)
end
`;

/**
 * An account is a hash. Rates are kept as what is taken of them at a moment, and not as the moment
 * at which it has drained: a server whose clock is behind, after a failover, then locks nobody out.
 * A call is a field of it and a member of the sorted set beside it, whose score is when it is due:
 * With it stands when its tokens have drained.
 * `open`: tokens and money are set aside; when due, its store is dead, and it is
 * `lost`: given back, and still to be charged if its store is alive after all; when due, forgotten.
 * `void`: was never open, and must not be any more. `ended`: is charged.
 */
export const LUA_ACCOUNT = `${LUA_CALENDAR}
local SLACK = 1e-6
local HELD = 1000
local REAPED = 20
local GRACE = HOUR
local FIELDS = { "at", "requests", "tokens", "open", "heldTokens", "heldMicroUsd",
  "hour", "hourFrom", "day", "dayFrom", "month", "monthFrom", "total" }

-- Lua's own conversion keeps 14 digits, a reply's none behind the point.
local function text(number)
  return string.format("%.17g", number)
end

local function parse_call(value)
  if not value then return nil, 0, 0, 0 end
  local state, tokens, micro_usd, drained = string.match(value, "^(%a+) (%S+) (%S+) (%S+)$")
  return state, tonumber(tokens), tonumber(micro_usd), tonumber(drained)
end

-- The account of the quota at this place, and how the call stands in it.
local function load(index, quota, id)
  local account = { key = KEYS[2 * index - 1], calls = KEYS[2 * index], quota = quota }
  local values = redis.call("HMGET", account.key, "call:" .. id, unpack(FIELDS))
  account.state, account.call_tokens, account.call_micro_usd, account.call_drained =
    parse_call(values[1])
  for i, field in ipairs(FIELDS) do account[field] = tonumber(values[i + 1] or 0) end
  local passed = math.max(0, now_us - account.at) / 1000
  account.at = now_us
  account.requests = math.max(0, account.requests - passed)
  account.tokens = math.max(0, account.tokens - passed)
  for _, per in ipairs(PERIODS) do
    local start, known = start_of(per, now), account[per .. "From"]
    if start > known then account[per] = 0 end
    -- A period that is over stays over, but a clock that was days ahead was wrong.
    if start > known or known > now + DAY then account[per .. "From"] = start end
  end
  return account
end

local function load_all(quotas, id)
  local accounts = {}
  for i, quota in ipairs(quotas) do accounts[i] = load(i, quota, id) end
  return accounts
end

local function save(account)
  local values = {}
  for _, field in ipairs(FIELDS) do
    values[#values + 1] = field
    values[#values + 1] = account[field]
  end
  redis.call("HSET", account.key, unpack(values))
end

-- Both together: calls that nobody reaps would be held for ever.
local function keep(account)
  for _, key in ipairs({ account.key, account.calls }) do
    if account.quota.keepMs then redis.call("PEXPIRE", key, account.quota.keepMs)
    else redis.call("PERSIST", key) end
  end
end

local function hold(account, sign, tokens, micro_usd)
  account.open = account.open + sign
  account.heldTokens = account.heldTokens + sign * tokens
  account.heldMicroUsd = account.heldMicroUsd + sign * micro_usd
end

-- What has drained meanwhile is not given back: it would be somebody's second burst.
local function give_tokens(account, more)
  local left = math.max(0, account.call_drained - now)
  account.tokens = math.max(0, account.tokens + math.max(more, -left))
end

local function put_call(account, id, state, tokens, micro_usd, due, drained)
  local value = table.concat({ state, text(tokens), text(micro_usd), text(drained or 0) }, " ")
  redis.call("HSET", account.key, "call:" .. id, value)
  redis.call("ZADD", account.calls, due, id)
end

local function drop_call(account, id)
  redis.call("HDEL", account.key, "call:" .. id)
  redis.call("ZREM", account.calls, id)
end

-- Gives back what is set aside for calls whose store is gone.
local function reap(account)
  local due = redis.call("ZRANGEBYSCORE", account.calls, "-inf", now, "LIMIT", 0, REAPED)
  for _, id in ipairs(due) do
    local state, tokens, micro_usd, drained =
      parse_call(redis.call("HGET", account.key, "call:" .. id))
    if state == "open" then
      hold(account, -1, tokens, micro_usd)
      put_call(account, id, "lost", tokens, micro_usd, now + GRACE, drained)
    else
      drop_call(account, id)
    end
  end
  if #due > 0 then
    save(account)
    keep(account)
  end
end

local function to_wait(taken, cost)
  local over = math.max(taken, 0) + cost - MINUTE
  return over > SLACK and over or 0
end

local function remaining(limit, taken)
  return math.max(0, math.floor((MINUTE - taken + SLACK) * limit / MINUTE))
end

-- What refuse says: the rule's place in RULES of redis-admission.ts, how much is left, whether it
-- is held, how long to wait, and the budget's place.
local function refuse_money(account, wanted)
  for i, budget in ipairs(account.quota.budgets or {}) do
    local limit, spent = budget.limit, account[budget.per]
    local left = limit - spent - account.heldMicroUsd
    if wanted > left or spent >= limit then
      local held = wanted <= limit - spent and spent < limit
      local wait = false
      if held then wait = HELD
      elseif wanted <= limit and budget.per ~= "total" then
        wait = end_of(budget.per, account[budget.per .. "From"]) - now
      end
      return { 3, math.max(0, left), held, wait, i - 1 }
    end
  end
end

local function refuse(account, tokens, micro_usd)
  local quota = account.quota
  if quota.open and account.open >= quota.open then return { 0, 0, true, HELD } end
  if quota.requests then
    local wait = to_wait(account.requests, MINUTE / quota.requests)
    if wait > 0 then return { 1, 0, false, wait } end
  end
  if quota.tokens then
    local cost = tokens * MINUTE / quota.tokens
    local wait = to_wait(account.tokens, cost)
    if wait > 0 then
      local left = remaining(quota.tokens, account.tokens)
      if tokens > quota.tokens then return { 2, left, false, false } end
      local others = account.heldTokens * MINUTE / quota.tokens
      local held = to_wait(account.tokens - others, cost) == 0
      return { 2, left, held, held and math.min(HELD, wait) or wait }
    end
  end
  return refuse_money(account, micro_usd)
end

-- Of each rate the account of which the least is left: limit, remaining, milliseconds.
local function add_levels(reply, accounts)
  for _, rate in ipairs({ "requests", "tokens" }) do
    local least = false
    for _, account in ipairs(accounts) do
      local limit = account.quota[rate]
      local rest = limit and remaining(limit, account[rate])
      if rest and (not least or rest < least[2]) then least = { limit, rest, account[rate] } end
    end
    for i = 1, 3 do reply[#reply + 1] = least and text(least[i]) or "" end
  end
  return reply
end
`;
