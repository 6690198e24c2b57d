// Who is shut out, as gateways that share a Redis tell each other: each has a copy, and looks every
// 2 seconds whether there is news. While Redis is away the copies hold.
import { randomUUID } from "node:crypto";
import type { Clock, Timer } from "../clock.ts";
import { toScript, type RedisConnection } from "./redis-connection.ts";
import { REVOCATION_KEYS } from "./redis-keys.ts";
import type { Reply } from "./resp.ts";
import { Revocations, tooMany } from "./revocations.ts";
import { REVOCATION_LIMIT, StoreError, type Revocation } from "./store.ts";

const LOOK_MS = 2_000;

/**
 * A hash of callers and moments; and its version, which is an id for as long as Redis keeps it, and
 * a number that grows with every change.
 */
const REVOKE = toScript(`
local now, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local all = redis.call("HGETALL", KEYS[1])
for i = 1, #all, 2 do
  if tonumber(all[i + 1]) <= now then redis.call("HDEL", KEYS[1], all[i]) end
end
for i = 4, #ARGV, 2 do
  if tonumber(ARGV[i + 1]) <= now then redis.call("HDEL", KEYS[1], ARGV[i])
  elseif redis.call("HEXISTS", KEYS[1], ARGV[i]) == 1 or redis.call("HLEN", KEYS[1]) < limit then
    redis.call("HSET", KEYS[1], ARGV[i], ARGV[i + 1])
  else return 0 end
end
local version = redis.call("GET", KEYS[2]) or (ARGV[1] .. " 0")
local id, number = string.match(version, "^(%S+) (%d+)$")
redis.call("SET", KEYS[2], id .. " " .. (number + 1))
return 1`);

/** Nothing but the version where that is known already. */
const READ = toScript(`
local version = redis.call("GET", KEYS[2]) or ""
if version == ARGV[1] then return { version } end
return { version, redis.call("HGETALL", KEYS[1]) }`);

export class RedisRevocations {
  readonly #clock: Clock;
  readonly #redis: RedisConnection;
  readonly #known: Revocations;
  #version = "";
  #timer: Timer | undefined;
  #closed = false;

  constructor(clock: Clock, redis: RedisConnection) {
    this.#clock = clock;
    this.#redis = redis;
    this.#known = new Revocations(clock);
  }

  has(caller: string): boolean {
    return this.#known.has(caller);
  }

  /** @throws RedisError, StoreError */
  async list(): Promise<readonly Revocation[]> {
    await this.#read();
    return this.#known.list();
  }

  /** @throws RedisError, StoreError when there are too many. */
  async put(revocation: Revocation): Promise<void> {
    await this.#write([revocation]);
    await this.#read();
  }

  /** To be called whenever Redis is there: looks now, and from now on. */
  watch(): void {
    this.#timer?.cancel();
    if (this.#closed) return;
    const again = (): void => {
      if (!this.#closed) this.#timer = this.#clock.after(LOOK_MS, () => this.watch());
    };
    this.#read().then(again, again);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  async #read(): Promise<void> {
    const reply = await this.#redis.evaluate(READ, REVOCATION_KEYS, [this.#version]);
    const [version, all]: readonly Reply[] = Array.isArray(reply) ? reply : [];
    if (!Array.isArray(all)) return;
    const told = toRevocations(all.map(String));
    // Redis has lost what it had: what is known here is told to it again, and nobody is let in.
    const lost = isLost(this.#version, String(version));
    const missing = lost ? this.#known.list() : [];
    this.#known.replace([...missing, ...told]);
    this.#version = String(version);
    if (missing.length > 0) await this.#write(missing);
  }

  async #write(revocations: readonly Revocation[]): Promise<void> {
    const pairs = revocations.flatMap(({ caller, untilMs }) => {
      return [caller, untilMs === Infinity ? "inf" : String(untilMs)];
    });
    const args = [randomUUID(), String(this.#clock.now()), String(REVOCATION_LIMIT), ...pairs];
    const written = await this.#redis.evaluate(REVOKE, REVOCATION_KEYS, args);
    if (written === 0) throw tooMany();
    if (written !== 1) throw new StoreError("Redis answers nonsense.");
  }
}

/** Another Redis, an empty one, or one that is behind. */
function isLost(known: string, told: string): boolean {
  const [id, number] = known.split(" ");
  const [toldId, toldNumber] = told.split(" ");
  return known !== "" && (toldId !== id || Number(toldNumber) < Number(number));
}

function toRevocations(pairs: readonly string[]): readonly Revocation[] {
  const revocations: Revocation[] = [];
  for (let at = 0; at + 1 < pairs.length; at += 2) {
    const [caller = "", until] = pairs.slice(at);
    const untilMs = until === "inf" ? Infinity : Number(until);
    revocations.push({ caller, untilMs });
  }
  return revocations;
}
