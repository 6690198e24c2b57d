// The same connection against a real Redis: its logins, its scripts, its errors, its bad days.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import {
  createRedisConnection,
  toScript,
  type RedisConnection,
  type RedisOptions,
} from "../../src/store/redis-connection.ts";
import { systemClock } from "../../src/clock.ts";
import { RedisError } from "../../src/store/redis-error.ts";
import { parseRedisUrl } from "../../src/config/redis-url.ts";
import { TEST_CERTIFICATE, TEST_KEY } from "../helpers/certificate.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { startRedis, WITHOUT_REDIS } from "../helpers/redis-server.ts";
import { makeDirectory } from "../helpers/run-cli.ts";

const skip = WITHOUT_REDIS;

/** The time on the server, and how often this script has run for the key. */
const COUNT = toScript(`
  local now = redis.call("TIME")
  local count = redis.call("INCRBY", KEYS[1], ARGV[1])
  redis.call("PEXPIRE", KEYS[1], 60000)
  return { now[1], count, false, { err = "ERR inner" } }`);

function open(t: TestContext, url: string, options: Partial<RedisOptions> = {}) {
  const clock = new ManualClock();
  const problems: string[] = [];
  const onState: RedisOptions["onState"] = (_, problem) => {
    if (problem !== undefined) problems.push(problem);
  };
  const address = parseRedisUrl(url);
  if (typeof address === "string") throw new Error(address);
  const redis = createRedisConnection(address, { clock, onState, ...options });
  t.after(() => redis.close());
  return { redis, clock, problems };
}

async function eventually(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(1);
}

async function failure(promise: Promise<unknown>): Promise<readonly [string, string | undefined]> {
  const error = await promise.then(
    (reply) => new Error(`It did not fail: ${String(reply)}`),
    (reason: unknown) => reason,
  );
  if (error instanceof RedisError) return [error.kind, error.code];
  throw error;
}

async function count(redis: RedisConnection, key: string): Promise<unknown> {
  const reply = await redis.evaluate(COUNT, [key], [1]);
  return Array.isArray(reply) ? reply[1] : reply;
}

test("a thousand commands at once are answered in order", { skip }, async (t) => {
  const server = await startRedis(t);
  const { redis } = open(t, server.url());

  const numbers = Array.from({ length: 1_000 }, (_, index) => index + 1);
  const replies = await Promise.all(
    numbers.map((number) =>
      number % 2 === 0 ? redis.command("INCR", "a") : redis.command("ECHO", number),
    ),
  );

  assert.deepEqual(
    replies.map((reply) => (Buffer.isBuffer(reply) ? Number(reply) : Number(reply) * 2)),
    numbers,
  );
});

test(
  "values of any bytes and any size below the limit come back as they were",
  { skip },
  async (t) => {
    const server = await startRedis(t);
    const { redis } = open(t, server.url());

    for (const length of [0, 1, 255, 70_000, 1_000_000]) {
      const value = randomBytes(length);
      assert.equal(await redis.command("SET", "key\r\n\0ü", value), "OK");
      assert.deepEqual(await redis.command("GET", "key\r\n\0ü"), value);
    }
    assert.equal(await redis.command("GET", "nothing"), null);
    await redis.command("SET", "large", Buffer.alloc(1_100_000));
    assert.deepEqual(await failure(redis.command("GET", "large")), ["fate_unknown", "EPROTO"]);
  },
);

test("passwords, users and their rights are the server's", { skip }, async (t) => {
  const server = await startRedis(t, ["--requirepass", "hunter2 @:/"]);
  const { redis } = open(t, server.url(":hunter2%20%40%3A%2F@"));
  const rights = ["~gateway:*", "+evalsha", "+eval", "+incrby", "+pexpire", "+time"];
  await redis.command("ACL", "SETUSER", "gate:way", "on", ">p@ss", ...rights);
  const limited = open(t, server.url("gate%3Away:p%40ss@")).redis;

  assert.equal(await count(limited, "gateway:a"), 1);
  assert.deepEqual(await failure(limited.command("GET", "gateway:a")), ["refused", "NOPERM"]);
  assert.deepEqual(await failure(count(limited, "other")), ["refused", "NOPERM"]);

  const wrong = [
    ["", /wants a password.*\(NOAUTH\)/],
    [":hunter3@", /user or the password.*\(WRONGPASS\)/],
    ["gate%3Away:hunter2@", /user or the password.*\(WRONGPASS\)/],
    ["nobody:hunter2@", /user or the password.*\(WRONGPASS\)/],
  ] as const;
  for (const [login, problem] of wrong) {
    const { redis: refused, problems } = open(t, server.url(login));
    await eventually(() => refused.state === "down");
    assert.match(problems.join(), problem);
    assert.ok(!problems.join().includes("hunter"), problems.join());
  }
});

test("a password for a server that has none is refused, not ignored", { skip }, async (t) => {
  const server = await startRedis(t);
  const { redis, problems } = open(t, server.url(":hunter2@"));

  await eventually(() => redis.state === "down");

  assert.deepEqual(problems, ["Redis does not accept the user or the password of REDIS_URL."]);
});

test("databases are apart, and one that does not exist is said", { skip }, async (t) => {
  const server = await startRedis(t);
  const [zero, three, many] = [0, 3, 99].map((db) => open(t, server.url("", db)));

  await three?.redis.command("SET", "a", "three");

  assert.equal(await zero?.redis.command("GET", "a"), null);
  assert.equal(String(await three?.redis.command("GET", "a")), "three");
  await eventually(() => many?.redis.state === "down");
  assert.deepEqual(many?.problems, ["Redis does not accept the database of REDIS_URL."]);
});

test("a script runs once per call, also when the server has forgotten it", { skip }, async (t) => {
  const server = await startRedis(t);
  const { redis } = open(t, server.url());

  const reply = await redis.evaluate(COUNT, ["a"], [1]);
  if (!Array.isArray(reply)) throw new Error("not a list");
  const [seconds, first, none, inner] = reply;
  assert.ok(Math.abs(Number(seconds) - Date.now() / 1_000) < 60, String(seconds));
  assert.deepEqual([first, none, inner.message], [1, null, "ERR inner"]);

  const calls = Array.from({ length: 300 }, (_, index) => {
    if (index % 50 === 0) void redis.command("SCRIPT", "FLUSH");
    return count(redis, "a");
  });
  const counts = (await Promise.all(calls)).map(Number).sort((a, b) => a - b);
  assert.deepEqual(
    counts,
    Array.from({ length: 300 }, (_, index) => index + 2),
  );
});

test("a restart in the middle is survived, and what was lost is said", { skip }, async (t) => {
  const server = await startRedis(t);
  const { redis, clock, problems } = open(t, server.url());
  assert.equal(await count(redis, "a"), 1);

  server.freeze();
  const lost = failure(count(redis, "a"));
  await sleep(5);
  await server.stop();
  assert.equal((await lost)[0], "fate_unknown");
  assert.equal((await failure(count(redis, "a")))[0], "unavailable");
  clock.advance(50);
  await eventually(() => problems.some((problem) => problem.includes("ECONNREFUSED")));
  await server.start();
  clock.advance(5_000);
  await eventually(() => redis.ready);

  // It came back empty: nothing is on disk.
  assert.equal(await count(redis, "a"), 1);
});

test(
  "a server that pauses costs a time-out each, and gives nobody another's reply",
  { skip },
  async (t) => {
    const server = await startRedis(t);
    const { redis, clock } = open(t, server.url());

    await redis.command("CLIENT", "PAUSE", 200, "ALL");
    const late = ["a", "b", "c"].map((key) => failure(redis.command("ECHO", key)));
    clock.advance(250);
    assert.deepEqual(await Promise.all(late), Array(3).fill(["fate_unknown", "ETIMEDOUT"]));
    const next = ["d", "e"].map((key) => redis.command("ECHO", key));

    assert.deepEqual((await Promise.all(next)).map(String), ["d", "e"]);
    assert.equal(clock.pending, 0);
  },
);

test("a server that hangs is given up, and found again when it wakes", { skip }, async (t) => {
  const server = await startRedis(t);
  const { redis, clock, problems } = open(t, server.url());
  await redis.command("SET", "a", 1);

  server.freeze();
  const lost = failure(redis.command("INCR", "a"));
  clock.advance(250);
  assert.deepEqual(await lost, ["fate_unknown", "ETIMEDOUT"]);
  clock.advance(750);
  assert.deepEqual([redis.state, problems], ["down", ["Redis has stopped answering."]]);
  clock.advance(50);
  assert.equal((await failure(redis.command("INCR", "a")))[0], "unavailable");
  server.thaw();
  await eventually(() => redis.ready);

  assert.equal(String(await redis.command("GET", "a")), "2");
});

test("a replica is left for wherever the name leads next", { skip }, async (t) => {
  const server = await startRedis(t, ["--replicaof", "127.0.0.1", "1"]);
  const { redis, clock } = open(t, server.url());

  const attempts = [["SET", "a", 1] as const, ["EVAL", COUNT.source, 1, "a", 1] as const].map(
    (command) => failure(redis.command(...command)),
  );
  assert.deepEqual(await Promise.all(attempts), Array(2).fill(["unavailable", "READONLY"]));
  assert.equal(redis.state, "down");
  const admin = open(t, server.url()).redis;
  await admin.command("REPLICAOF", "NO", "ONE");
  clock.advance(50);
  await eventually(() => redis.ready);
  assert.equal(await count(redis, "a"), 1);
});

test("a replica without its primary, one connection too many: tried again", { skip }, async (t) => {
  const lonely = await startRedis(t, [
    ...["--replicaof", "127.0.0.1", "1"],
    ...["--replica-serve-stale-data", "no"],
  ]);
  const full = await startRedis(t, ["--maxclients", "1"]);
  const first = open(t, full.url());
  await first.redis.command("SET", "a", 1);

  const attempts = [open(t, lonely.url()), open(t, full.url())];
  await eventually(() => attempts.every(({ redis }) => redis.state === "down"));

  assert.match(attempts[0]?.problems.join() ?? "", /lost its primary \(MASTERDOWN\)/);
  assert.match(attempts[1]?.problems.join() ?? "", /no connection left \(MAXCLIENTS\)/);
  first.redis.close();
  await eventually(() => {
    attempts[1]?.clock.advance(50);
    return attempts[1]?.redis.ready === true;
  });
});

test("a server out of memory or busy with a script has done nothing", { skip }, async (t) => {
  const small = await startRedis(t, ["--maxmemory", "1"]);
  const { redis } = open(t, small.url());
  const writes = [redis.command("SET", "a", 1), count(redis, "a")].map(failure);
  assert.deepEqual(await Promise.all(writes), Array(2).fill(["unavailable", "OOM"]));
  assert.equal(redis.ready, true);

  const busy = await startRedis(t, ["--lua-time-limit", "1"]);
  const { redis: other } = open(t, busy.url());
  await other.command("SET", "a", 1);
  const looping = open(t, busy.url()).redis.command("EVAL", "while true do end", 0);
  const stopped = failure(looping);
  let answer: readonly [string, string | undefined] | undefined;
  while (answer === undefined) {
    answer = await other.command("GET", "a").then(
      () => sleep(5, undefined),
      (error: RedisError) => [error.kind, error.code],
    );
  }
  assert.deepEqual(answer, ["unavailable", "BUSY"]);
  await other.command("SCRIPT", "KILL");
  assert.equal((await stopped)[0], "refused");
  assert.equal(String(await other.command("GET", "a")), "1");
});

test("a cluster is answered with a clear no", { skip }, async (t) => {
  const server = await startRedis(t, ["--cluster-enabled", "yes"]);
  const { redis } = open(t, server.url());

  assert.deepEqual(await failure(redis.command("GET", "a")), ["unavailable", "CLUSTERDOWN"]);
  await redis.command("CLUSTER", "ADDSLOTS", 15495, 3300);
  assert.deepEqual(await failure(redis.command("MGET", "a", "b")), ["refused", "CROSSSLOT"]);
});

test("TLS works with what Redis speaks", { skip }, async (t) => {
  const directory = makeDirectory(t);
  const [key, certificate] = [join(directory, "key.pem"), join(directory, "certificate.pem")];
  writeFileSync(key, TEST_KEY);
  writeFileSync(certificate, TEST_CERTIFICATE);
  const files = ["--tls-key-file", key, "--tls-cert-file", certificate];
  const plain = await startRedis(t);
  await plain.stop();
  const tlsPort = ["--tls-port", String(plain.port), "--tls-auth-clients", "no"];
  await startRedis(t, [...files, ...tlsPort]);

  const ca = TEST_CERTIFICATE;
  const { redis } = open(t, `rediss://localhost:${plain.port}/2`, { ca });
  assert.equal(await count(redis, "a"), 1);

  const plainly = open(t, plain.url());
  await eventually(() => plainly.redis.state === "down");
  assert.match(plainly.problems.join(), /hung up .*begins with rediss:/);
});

test("a reply that came while this process was busy is not late", { skip }, async (t) => {
  const server = await startRedis(t);
  const { redis } = open(t, server.url(), { clock: systemClock, timeoutMs: 50 });
  await eventually(() => redis.ready);

  // After this the event loop looks at its timers before it reads.
  await setImmediate();
  const reply = redis.command("PING");
  const busyUntil = performance.now() + 200;
  while (performance.now() < busyUntil);

  assert.equal(String(await reply), "PONG");
});
