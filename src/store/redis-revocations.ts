// Who is shut out, as gateways that share a Redis tell each other: each has a copy, and looks every
// 2 seconds whether there is news. While Redis is away the copies hold, and when it has lost what
// it had, they make it good: nobody is let in by a restart, a failover or an eviction.
import { randomUUID } from "node:crypto";
import type { Clock, Timer } from "../clock.ts";
import { toScript, type RedisConnection } from "./redis-connection.ts";
import { REVOCATION_KEYS } from "./redis-keys.ts";
import type { Reply } from "./resp.ts";
import { LAST_MS, Revocations, toRevocation, tooMany } from "./revocations.ts";
import { REVOCATION_LIMIT, StoreError, type Revocation } from "./store.ts";
import { Turns } from "./turns.ts";

const LOOK_MS = 2_000;
const [CALLERS, STATE] = REVOCATION_KEYS;
/** Read or written at one time, so that no reply is large: a caller may have 1 000 characters. */
const AT_ONCE = 50;
/** Changes that a version tells of. */
const TOLD = 100;

/**
 * A hash of callers and moments, and one of its version: the tag of the first change, how many
 * there were, and the tags of the last of them, the latest first. Nothing is written where there is
 * no room.
 */
export const REVOKE = toScript(`
local callers, state = KEYS[1], KEYS[2]
local tag, now, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local latest = tonumber(redis.call("HGET", state, "until") or 0)
local more = 0
for i = 4, #ARGV, 2 do
  local ends = tonumber(ARGV[i + 1])
  latest = math.max(latest, ends)
  if ends > now and not redis.call("HGET", callers, ARGV[i]) then more = more + 1 end
end

if more > 0 and redis.call("HLEN", callers) + more > limit then
  local cursor, over = "0", {}
  repeat
    local page = redis.call("HSCAN", callers, cursor, "COUNT", 1000)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      if tonumber(page[2][i + 1]) <= now then over[#over + 1] = page[2][i] end
    end
  until cursor == "0"
  for _, caller in ipairs(over) do redis.call("HDEL", callers, caller) end
  if redis.call("HLEN", callers) + more > limit then return false end
end

for i = 4, #ARGV, 2 do
  if tonumber(ARGV[i + 1]) > now then redis.call("HSET", callers, ARGV[i], ARGV[i + 1])
  else redis.call("HDEL", callers, ARGV[i]) end
end
local before = redis.call("HGET", state, "version") or ""
local first, count, tags = string.match(before, "^(%S+) (%d+)(.*)$")
local earlier = string.sub(tags or "", 1, ${TOLD - 1} * (#tag + 1))
local after = (first or tag) .. " " .. ((count or 0) + 1) .. " " .. tag .. earlier
redis.call("HSET", state, "version", after, "until", string.format("%.0f", latest))
for _, key in ipairs({ callers, state }) do
  redis.call("PEXPIRE", key, string.format("%.0f", math.max(0, latest - now) + 32 * 86400000))
end
return { before, after }`);

export class RedisRevocations {
  readonly #clock: Clock;
  readonly #redis: RedisConnection;
  readonly #known: Revocations;
  /** Looks and changes: what is read must not be older than what was written. */
  readonly #turns = new Turns();
  #version = "";
  #problem: string | undefined;
  #timer: Timer | undefined;
  #watching = false;

  constructor(clock: Clock, redis: RedisConnection) {
    this.#clock = clock;
    this.#redis = redis;
    this.#known = new Revocations(clock);
  }

  /** What keeps them from being read, for the operator. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Of a gateway that has never read any nobody is shut out: it starts without its Redis. */
  has(caller: string): boolean {
    return this.#known.has(caller);
  }

  /** @throws RedisError, StoreError */
  async list(): Promise<readonly Revocation[]> {
    await this.#turns.take(() => this.#look());
    return this.#known.list();
  }

  /** @throws RedisError, and StoreError when there are too many. */
  put(revocation: Revocation): Promise<void> {
    const wanted = toRevocation(revocation);
    return this.#turns.take(async () => {
      const { before, after } = await this.#write([wanted], REVOCATION_LIMIT);
      this.#known.replace(this.#known.with(wanted));
      if (before === this.#version) this.#version = after;
      else await this.#look().catch(() => {}); // It is kept, and others' will be seen.
    });
  }

  /** To be called whenever Redis is there: looks now, and from now on. */
  watch(): void {
    this.#watching = true;
    this.#problem = undefined;
    const look = (): void => {
      const again = (): void => {
        this.#timer?.cancel();
        if (this.#watching) this.#timer = this.#clock.after(LOOK_MS, look);
      };
      this.#turns.take(() => this.#look()).then(again, again);
    };
    look();
  }

  /** While Redis is away the copy holds. */
  rest(): void {
    this.#watching = false;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    try {
      await this.#read();
      this.#problem = undefined;
    } catch (error) {
      const reason = error instanceof Error ? error.message : "Redis answers nonsense.";
      this.#problem = `Revocations cannot be read: ${reason}`;
      throw error;
    }
  }

  async #read(): Promise<void> {
    const version = await this.#readVersion();
    if (version === this.#version) return;
    const told = await this.#readAll();
    const lost = isLost(this.#version, version);
    // What was cut off in the middle, or was lost, lets nobody in.
    const settled = (await this.#readVersion()) === version;
    const ends = new Map(told.map(({ caller, untilMs }) => [caller, untilMs]));
    const missing =
      lost || !settled
        ? this.#known.list().filter(({ caller, untilMs }) => (ends.get(caller) ?? 0) < untilMs)
        : [];
    this.#known.replace([...told, ...missing]);
    // They were in force: there is room for them, however many others there are by now.
    for (let next = 0; lost && next < missing.length; next += AT_ONCE) {
      await this.#write(missing.slice(next, next + AT_ONCE), Number.MAX_SAFE_INTEGER);
    }
    if (settled) this.#version = version;
  }

  async #readVersion(): Promise<string> {
    return String((await this.#redis.command("HGET", STATE, "version")) ?? "");
  }

  /** By and by. What is there all the while is found. */
  async #readAll(): Promise<readonly Revocation[]> {
    const revocations: Revocation[] = [];
    let cursor = "0";
    do {
      const reply = await this.#redis.command("HSCAN", CALLERS, cursor, "COUNT", AT_ONCE);
      const [next, items]: readonly Reply[] = Array.isArray(reply) ? reply : [];
      cursor = String(next ?? 0);
      const texts = Array.isArray(items) ? items.map(String) : [];
      for (let at = 0; at + 1 < texts.length; at += 2) {
        const caller = String(JSON.parse(texts[at] ?? ""));
        revocations.push(toRevocation({ caller, untilMs: Number(texts[at + 1]) }));
      }
    } while (cursor !== "0");
    return revocations;
  }

  /** Callers as JSON, which escapes what UTF-8 cannot say. */
  async #write(revocations: readonly Revocation[], limit: number) {
    const tag = randomUUID().slice(0, 8);
    const pairs = revocations.flatMap(({ caller, untilMs }) => {
      return [JSON.stringify(caller), Math.max(0, Math.min(untilMs, LAST_MS))];
    });
    const args = [tag, this.#clock.now(), limit, ...pairs];
    const reply = await this.#redis.evaluate(REVOKE, REVOCATION_KEYS, args);
    if (reply === null) throw tooMany();
    if (!Array.isArray(reply)) throw new StoreError("Redis answers nonsense.");
    const [before = "", after = ""] = reply.map(String);
    return { before, after };
  }
}

/** Whether what is told does not go back to what is known: an empty Redis, or one left behind. */
function isLost(known: string, told: string): boolean {
  const [first, count, tag = ""] = known.split(" ");
  const [toldFirst, toldCount, ...tags] = told.split(" ");
  if (known === "" || first !== toldFirst) return known !== "";
  return !tags.includes(tag) && Number(toldCount) < Number(count) + TOLD;
}
