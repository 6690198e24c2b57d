// The connection to Redis: what a caller is told when things go wrong, played by a stand-in that
// misbehaves as told. What a real server does is in redis-server.test.ts.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createRedisConnection,
  toScript,
  type RedisConnection,
  type RedisOptions,
} from "../../src/store/redis-connection.ts";
import { RedisError } from "../../src/store/redis-error.ts";
import { parseRedisUrl, type RedisAddress } from "../../src/config/redis-url.ts";
import { ReplyError } from "../../src/store/resp.ts";
import { TEST_CERTIFICATE } from "../helpers/certificate.ts";
import { afterLogin, fakeRedis, type FakeRedis, type RedisScript } from "../helpers/fake-redis.ts";
import { ManualClock } from "../helpers/manual-clock.ts";

const SCRIPT = toScript("return redis.call('TIME')");

interface Opened {
  readonly redis: RedisConnection;
  readonly clock: ManualClock;
  /** Every state it was told, with the problem. */
  readonly states: string[];
}

function toAddress(url: string): RedisAddress {
  const address = parseRedisUrl(url);
  if (typeof address === "string") throw new Error(address);
  return address;
}

function open(t: TestContext, url: string, options: Partial<RedisOptions> = {}): Opened {
  const clock = new ManualClock();
  const states: string[] = [];
  const onState: RedisOptions["onState"] = (state, problem) => {
    states.push(problem === undefined ? state : `${state}: ${problem}`);
  };
  const redis = createRedisConnection(toAddress(url), { clock, onState, ...options });
  t.after(() => redis.close());
  return { redis, clock, states };
}

/** With a stand-in that has let it in. */
async function openFake(
  t: TestContext,
  script: RedisScript,
  options: Partial<RedisOptions> = {},
): Promise<Opened & { readonly fake: FakeRedis }> {
  const fake = await fakeRedis(t, afterLogin(script));
  const opened = open(t, `redis://127.0.0.1:${fake.port}`, options);
  await eventually(() => opened.redis.ready);
  return { ...opened, fake };
}

/** For what other processes do; the test's own limit ends it. */
async function eventually(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(1);
}

async function failure(promise: Promise<unknown>): Promise<RedisError> {
  const error = await promise.then(
    (reply) => new Error(`It did not fail: ${String(reply)}`),
    (reason: unknown) => reason,
  );
  if (error instanceof RedisError) return error;
  throw error;
}

async function kindOf(promise: Promise<unknown>): Promise<string> {
  return (await failure(promise)).kind;
}

test("replies reach their commands in order, however they are split", async (t) => {
  let held = "";
  const { redis } = await openFake(t, ([, value = ""], client) => {
    held += `$${value.length}\r\n${value}\r\n`;
    if (value !== "last") return;
    void (async () => {
      for (const byte of held) {
        client.write(byte);
        await sleep(0);
      }
    })();
  });

  const replies = await Promise.all(["a", "bc", "last"].map((value) => redis.command("E", value)));

  assert.deepEqual(replies.map(String), ["a", "bc", "last"]);
});

test("logs in with the user, the password and the database of its URL", async (t) => {
  const fake = await fakeRedis(t);

  for (const login of ["", ":p%40s%2Fs@", "us%3Aer:p@"]) {
    const { redis } = open(t, `redis://${login}127.0.0.1:${fake.port}/${login === "" ? "" : 3}`);
    await redis.command("GET", "a");
  }

  assert.deepEqual(fake.commands, [
    ["PING"],
    ["GET", "a"],
    ["AUTH", "p@s/s"],
    ["SELECT", "3"],
    ["PING"],
    ["GET", "a"],
    ["AUTH", "us:er", "p"],
    ["SELECT", "3"],
    ["PING"],
    ["GET", "a"],
  ]);
});

test("commands wait for the first connection, but not longer than any other", async (t) => {
  let admit = (): void => {};
  const fake = await fakeRedis(t, ([name], client) => {
    if (name !== "PING") return "+OK\r\n";
    admit = () => void client.write("+PONG\r\n");
    return undefined;
  });
  const { redis, clock } = open(t, `redis://127.0.0.1:${fake.port}`);

  const early = redis.command("GET", "early");
  await fake.received(1);
  clock.advance(250);
  const late = redis.command("GET", "late");

  assert.equal(await kindOf(early), "unavailable");
  assert.deepEqual([redis.state, redis.ready], ["connecting", false]);
  admit();
  assert.equal(await late, "OK");
  assert.deepEqual(fake.commands, [["PING"], ["GET", "late"]]);
});

test("commands that waited for a connection that fails were not sent", async (t) => {
  const fake = await fakeRedis(t, (_, client) => void client.destroy());
  const { redis, states } = open(t, `redis://127.0.0.1:${fake.port}`);

  assert.equal(await kindOf(redis.command("GET", "a")), "unavailable");
  assert.deepEqual(fake.commands, [["PING"]]);
  assert.equal(states.length, 1);
  assert.match(states[0] ?? "", /^down: /);
});

test("a late reply is given to nobody", async (t) => {
  const asked: string[] = [];
  const { redis, clock, fake } = await openFake(t, ([, key = ""], client) => {
    asked.push(key);
    if (key === "second") client.write(asked.map((each) => `+${each}\r\n`).join(""));
  });

  const first = redis.command("GET", "first");
  await fake.received(2);
  clock.advance(250);
  const error = await failure(first);
  const second = await redis.command("GET", "second");

  assert.deepEqual([error.kind, error.code], ["fate_unknown", "ETIMEDOUT"]);
  assert.equal(second, "second");
  assert.equal(clock.pending, 0);
});

test("a server that stops answering is given up after four time-outs", async (t) => {
  let silent = true;
  const { redis, clock, fake } = await openFake(t, () => (silent ? undefined : "+OK\r\n"));

  const lost = redis.command("GET", "a");
  await fake.received(2);
  clock.advance(250);
  assert.equal(await kindOf(lost), "fate_unknown");
  clock.advance(749);
  assert.equal(redis.state, "ready");
  clock.advance(1);
  assert.equal(redis.state, "down");

  silent = false;
  clock.advance(50);
  await eventually(() => redis.ready);
  assert.equal(await redis.command("GET", "b"), "OK");
});

test("what is in flight when the connection breaks has an unknown fate and is not repeated", async (t) => {
  const { redis, clock, fake } = await openFake(t, ([name], client) => {
    if (name === "EVALSHA") client.end("*2\r\n:1\r\n");
    return undefined;
  });

  const lost = [redis.command("INCR", "a"), redis.evaluate(SCRIPT, [], [])];
  const kinds = await Promise.all(lost.map(kindOf));
  clock.advance(50);
  await eventually(() => redis.ready);

  assert.deepEqual(kinds, ["fate_unknown", "fate_unknown"]);
  const names = fake.commands.map(([name]) => name);
  assert.deepEqual(names, ["PING", "INCR", "EVALSHA", "PING"]);
});

test("while it is down commands fail at once, and it comes back by itself", async (t) => {
  const { redis, clock, states, fake } = await openFake(t, () => "+OK\r\n");

  await fake.drop("stop");
  await eventually(() => redis.state === "down");
  const refused = await failure(redis.command("GET", "a"));
  clock.advance(50);
  await eventually(() => states.at(-1)?.includes("ECONNREFUSED") === true);
  await fakeRedis(
    t,
    afterLogin(() => "+back\r\n"),
    { port: fake.port },
  );
  clock.advance(100);
  await eventually(() => redis.ready);

  assert.equal(refused.kind, "unavailable");
  assert.match(refused.message, /^Redis is not connected: /);
  assert.equal(await redis.command("GET", "a"), "back");
  assert.equal(clock.pending, 0);
  assert.deepEqual(states, [
    "ready",
    "down: The connection to Redis broke (ECONNRESET).",
    "down: Redis could not be reached (ECONNREFUSED).",
    "ready",
  ]);
});

test("the pauses between attempts double up to five seconds, and vary by half", async (t) => {
  const fake = await fakeRedis(t, (_, client) => void client.destroy());
  const { clock, states } = open(t, `redis://127.0.0.1:${fake.port}`);

  for (const [failures, pauseMs] of [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000].entries()) {
    await fake.received(failures + 1);
    await eventually(() => clock.pending === 1 && fake.clients.every(({ closed }) => closed));
    clock.advance(pauseMs / 2 - 1);
    await sleep(2);
    assert.equal(fake.clients.length, failures + 1, `too early after ${failures + 1}`);
    clock.advance(pauseMs / 2 + 1);
  }
  await fake.received(10);

  // Told once, not every time.
  assert.equal(states.length, 1);
});

test("a connection that held for a while starts the pauses anew", async (t) => {
  const { redis, clock, fake } = await openFake(t, () => "+OK\r\n");

  for (let round = 0; round < 10; round++) {
    clock.advance(5_000);
    await fake.drop();
    await eventually(() => redis.state === "down");
    clock.advance(50);
    await eventually(() => redis.ready);
  }

  assert.equal(fake.clients.length, 11);
});

test("an attempt that gets no answer ends after its own time", async (t) => {
  const fake = await fakeRedis(t, () => undefined);
  const { redis, clock, states } = open(t, `redis://127.0.0.1:${fake.port}`);

  await fake.received(1);
  clock.advance(5_000);

  assert.equal(redis.state, "down");
  assert.deepEqual(states, ["down: Redis could not be reached within 5000 ms."]);
});

test("a script is asked for by its hash, and sent once when the server does not know it", async (t) => {
  const known = new Set<string>();
  const { redis, fake } = await openFake(t, ([name, what = ""]) => {
    if (name === "EVALSHA") return known.has(what) ? ":1\r\n" : "-NOSCRIPT No matching script.\r\n";
    known.add(toScript(what).sha1);
    return ":1\r\n";
  });

  assert.equal(await redis.evaluate(SCRIPT, ["k"], ["a", 2]), 1);
  assert.equal(await redis.evaluate(SCRIPT, ["k"], []), 1);

  assert.deepEqual(fake.commands.slice(1), [
    ["EVALSHA", SCRIPT.sha1, "1", "k", "a", "2"],
    ["EVAL", SCRIPT.source, "1", "k", "a", "2"],
    ["EVALSHA", SCRIPT.sha1, "1", "k"],
  ]);
});

test("a script that is unknown even when sent is not sent again", async (t) => {
  const { redis, fake } = await openFake(t, () => "-NOSCRIPT No matching script.\r\n");

  const error = await failure(redis.evaluate(SCRIPT, [], []));

  assert.deepEqual([error.kind, error.code], ["refused", "NOSCRIPT"]);
  assert.equal(fake.commands.length, 3);
});

test("sending a script after all does not give it more time", async (t) => {
  const { redis, clock, fake } = await openFake(t, ([name]) => {
    if (name !== "EVALSHA") return undefined;
    clock.advance(200);
    return "-NOSCRIPT No matching script.\r\n";
  });

  const lost = redis.evaluate(SCRIPT, [], []);
  await fake.received(3);
  clock.advance(50);

  assert.equal(await kindOf(lost), "fate_unknown");
});

const TEMPORARY = [
  "LOADING Redis is loading the dataset in memory",
  "BUSY Redis is busy running a script.",
  "OOM command not allowed when used memory > 'maxmemory'.",
  "MASTERDOWN Link with MASTER is down",
  "TRYAGAIN Multiple keys request during rehashing of slot",
  "CLUSTERDOWN Hash slot not served",
  "NOREPLICAS Not enough good replicas to write.",
  "MISCONF Redis is configured to save RDB snapshots",
  "ERR Error running script (call to f_ab): @user_script:1: @user_script: 1: -OOM command not allowed",
];

test("a server that cannot serve now has done nothing, and the connection stays", async (t) => {
  const { redis, fake } = await openFake(t, ([text = ""]) => `-${text}\r\n`);

  for (const text of TEMPORARY) {
    const { kind, code, message } = await failure(redis.command(text));

    assert.equal(kind, "unavailable", text);
    assert.match(text, new RegExp(`\\b${code}\\b`));
    assert.match(message, /^Redis [a-z ]+ \([A-Z]+\)\.$/);
  }
  assert.equal(fake.clients.length, 1);
});

test("a cluster is said not to be followed", async (t) => {
  const { redis } = await openFake(t, ([text = ""]) => `-${text}\r\n`);

  for (const text of ["MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381", "CROSSSLOT Keys"]) {
    const { kind, message } = await failure(redis.command(text));

    assert.equal(kind, "refused");
    assert.match(
      message,
      /^Redis is a cluster, which the gateway does not follow: .* \([A-Z]+\)\.$/,
    );
  }
});

test("after a failover the old server is left, when it has answered what is in flight", async (t) => {
  let replica = true;
  const { redis, clock, fake } = await openFake(t, ([name]) => {
    return name === "GET" ? "+read\r\n" : replica ? "-READONLY You can't write.\r\n" : "+OK\r\n";
  });

  const write = redis.command("SET", "a", "b");
  const read = redis.command("GET", "a");
  const { kind, code } = await failure(write);
  assert.deepEqual([kind, code, redis.state], ["unavailable", "READONLY", "down"]);
  assert.equal(await read, "read");
  replica = false;
  await eventually(() => fake.clients[0]?.closed === true);
  clock.advance(50);
  await eventually(() => redis.ready);

  assert.equal(await redis.command("SET", "a", "b"), "OK");
  assert.equal(fake.clients.length, 2);
});

test("a refused login is one clear sentence without the password, and is tried again slowly", async (t) => {
  const cases: readonly (readonly [string, string, string, RegExp])[] = [
    [
      "AUTH",
      "-WRONGPASS invalid username-password pair",
      "refused",
      /user or the password of REDIS/,
    ],
    [
      "AUTH",
      "-ERR unknown command 'AUTH', with args beginning with: 'hunter2' ",
      "refused",
      /REDIS_URL/,
    ],
    ["AUTH", "-SOMETHING about hunter2", "refused", /the user or the password of REDIS_URL/],
    ["SELECT", "-ERR DB index is out of range", "refused", /the database of REDIS_URL/],
    ["PING", "-NOAUTH Authentication required.", "refused", /wants a password/],
    ["PING", "-ERR max number of clients reached", "unavailable", /no connection left/],
    ["PING", "-LOADING Redis is loading the dataset", "unavailable", /loading its data/],
    ["PING", "-ERR hunter2", "refused", /refuses to serve/],
  ];
  for (const [name, answer, kind, message] of cases) {
    let mended = false;
    const fake = await fakeRedis(t, ([command]) => {
      return command === name && !mended ? `${answer}\r\n` : "+OK\r\n";
    });
    const { redis, clock, states } = open(t, `redis://:hunter2@127.0.0.1:${fake.port}/9`);
    await eventually(() => redis.state === "down");

    assert.match(states[0] ?? "", message);
    const error = await failure(redis.command("GET", "a"));
    assert.equal(error.kind, "unavailable");
    assert.match(error.message, message);
    assert.ok(!`${states} ${error.message} ${error.stack}`.includes("hunter2"), `${states}`);
    mended = true;
    if (kind === "refused") {
      clock.advance(2_499);
      await sleep(2);
      assert.equal(fake.clients.length, 1, answer);
      clock.advance(2_501);
    } else {
      clock.advance(50);
    }
    await eventually(() => redis.ready);
  }
});

test("a server in protected mode says so before it is asked", async (t) => {
  const greeting = "-DENIED Redis is running in protected mode because…\r\n";
  const fake = await fakeRedis(t, (_, client) => void client.end(), { greeting });
  const { redis, states } = open(t, `redis://:hunter2@127.0.0.1:${fake.port}`);

  await eventually(() => redis.state === "down");

  assert.match(states.join(), /^down: Redis is in protected mode: .* \(DENIED\)\.$/);
});

test("a user who may not even PING is let in, and told what is missing", async (t) => {
  const fake = await fakeRedis(t, ([name]) => (name === "EVAL" ? ":1\r\n" : "-NOPERM no\r\n"));
  const { redis } = open(t, `redis://127.0.0.1:${fake.port}`);

  assert.equal(await redis.command("EVAL", "return 1", 0), 1);
  const { kind, message } = await failure(redis.command("GET", "a"));
  assert.equal(kind, "refused");
  assert.match(message, /does not allow its user a command or a key .* \(NOPERM\)/);
});

test("a password that is no longer good is noticed in the middle", async (t) => {
  const { redis, states } = await openFake(t, () => "-NOAUTH Authentication required.\r\n");

  assert.equal(await kindOf(redis.command("GET", "a")), "refused");

  assert.match(states.join(), /^ready,down: Redis wants a password/);
});

test("other errors are quoted, but neither the password nor arguments", async (t) => {
  const { redis } = await openFake(t, ([text = ""]) => `-${text}\r\n`);
  const messageOf = async (text: string): Promise<string> => {
    return (await failure(redis.command(text))).message;
  };

  const unknown = "ERR unknown command 'X', with args beginning with: 'what a caller said' ";
  assert.equal(await messageOf(unknown), "Redis answered: ERR unknown command 'X'");
  assert.equal(await messageOf("WRONGTYPE \x1b[2J\x07ü."), "Redis answered: WRONGTYPE  [2J .");
  assert.equal((await messageOf(`ERR ${"a".repeat(5_000)}`)).length, 216);

  const fake = await fakeRedis(
    t,
    afterLogin(([text = ""]) => `-${text}\r\n`),
  );
  const other = open(t, `redis://:hunter2@127.0.0.1:${fake.port}`).redis;
  const { message } = await failure(other.command(`ERR ${"a".repeat(190)} hunter2`));
  assert.ok(!message.includes("hun"), message);
});

test("an error inside a list is a value, and push messages belong to nobody", async (t) => {
  const push = ">2\r\n+invalidate\r\n*0\r\n";
  const { redis } = await openFake(t, () => `${push}*2\r\n:1\r\n-ERR inner\r\n${push}`);

  const reply = await redis.command("EXEC");

  assert.deepEqual(reply, [1, new ReplyError("ERR inner")]);
  assert.equal(String(await redis.command("EXEC")), "1,[object Object]");
});

test("garbage ends the connection, and what was in flight has an unknown fate", async (t) => {
  const garbage = [
    "HTTP/1.1 400 Bad Request\r\n\r\n",
    "\x15\x03\x03\x00\x02\x02\x28",
    "$-5\r\n",
    "*3\r\n:1\r\n\0",
    "$1048577\r\n",
    `+${"a".repeat(1_100_000)}`,
    "+OK\r\n+OK\r\n+OK\r\n",
  ];
  for (const bytes of garbage) {
    const asked: string[] = [];
    const { redis, clock, fake } = await openFake(t, ([key = ""]) => {
      asked.push(key);
      return asked.length === 2
        ? Buffer.from(bytes, "latin1")
        : asked.length > 2
          ? "+ok\r\n"
          : undefined;
    });

    const outcomes = ["a", "b"].map((key) => redis.command(key).catch((error) => error.kind));
    await eventually(() => redis.state === "down");
    const expected = bytes.startsWith("+OK") ? ["OK", "OK"] : ["fate_unknown", "fate_unknown"];
    assert.deepEqual(await Promise.all(outcomes), expected, JSON.stringify(bytes.slice(0, 20)));
    const { message } = await failure(redis.command("c"));
    assert.match(message, /Redis sent .*: is REDIS_URL the address of a Redis/);
    clock.advance(50);
    await eventually(() => redis.ready);
    assert.equal(await redis.command("d"), "ok");
    assert.equal(fake.clients.length, 2);
  }
});

test("garbage right behind the login opens nothing", async (t) => {
  const fake = await fakeRedis(t, () => "+PONG\r\n?");
  const { redis, states } = open(t, `redis://127.0.0.1:${fake.port}`);

  await eventually(() => redis.state === "down");
  await sleep(2);

  assert.equal(states.length, 1);
  assert.equal(redis.state, "down");
});

test("beyond the limit of waiting commands the next is refused at once", async (t) => {
  const script: RedisScript = ([, number]) => (number === "6" ? "+six\r\n" : undefined);
  const { redis, clock, fake } = await openFake(t, script, { queueLimit: 3 });

  const taken = [1, 2, 3].map((number) => redis.command("GET", number));
  const { kind, message } = await failure(redis.command("GET", 4));
  assert.deepEqual([kind, message], ["unavailable", "Too many commands wait for Redis."]);
  // Nobody waits for these three any more, but their replies are still to come.
  clock.advance(250);
  assert.deepEqual(await Promise.all(taken.map(kindOf)), Array(3).fill("fate_unknown"));
  assert.equal(await kindOf(redis.command("GET", 5)), "unavailable");

  await fake.received(4);
  fake.clients[0]?.write("+one\r\n+two\r\n+three\r\n");
  await eventually(() => clock.pending === 0);
  assert.equal(await redis.command("GET", 6), "six");
});

test("commands that wait for the first connection are limited too", async (t) => {
  const fake = await fakeRedis(t, () => undefined);
  const { redis } = open(t, `redis://127.0.0.1:${fake.port}`, { queueLimit: 2 });

  const waiting = [redis.command("GET", 1), redis.command("GET", 2)].map(kindOf);

  assert.match((await failure(redis.command("GET", 3))).message, /Too many commands/);
  redis.close();
  assert.deepEqual(await Promise.all(waiting), ["unavailable", "unavailable"]);
});

test("closing is for good and leaves no timer and no socket", async (t) => {
  const { redis, clock, fake, states } = await openFake(t, () => undefined);

  const lost = redis.command("GET", "a");
  await fake.received(2);
  redis.close();
  redis.close();

  assert.equal(await kindOf(lost), "fate_unknown");
  assert.equal(await kindOf(redis.command("GET", "b")), "unavailable");
  assert.equal(await kindOf(redis.evaluate(SCRIPT, [], [])), "unavailable");
  await eventually(() => fake.clients[0]?.closed === true);
  assert.equal(clock.pending, 0);
  assert.deepEqual(
    states.map((state) => state.split(":")[0]),
    ["ready", "closed"],
  );
});

test("closing while it waits to try again is for good as well", async (t) => {
  const fake = await fakeRedis(t, (_, client) => void client.destroy());
  const { redis, clock } = open(t, `redis://127.0.0.1:${fake.port}`);
  await eventually(() => redis.state === "down");

  redis.close();
  clock.advance(10_000);

  assert.equal(clock.pending, 0);
  assert.equal(fake.clients.length, 1);
});

test("a closed connection keeps no process alive, and neither does one that is down", async (t) => {
  const fake = await fakeRedis(t);
  const urlOf = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const code = `
    const { createRedisConnection } = await import(${urlOf("../../src/store/redis-connection.ts")});
    const { systemClock: clock } = await import(${urlOf("../../src/clock.ts")});
    const address = { host: "127.0.0.1", tls: false, db: 0 };
    const redis = createRedisConnection({ ...address, port: ${fake.port} }, { clock });
    await redis.command("GET", "a");
    void redis.command("GET", "b").catch(() => {});
    redis.close();
    await new Promise((resolve) => {
      const onState = resolve;
      createRedisConnection({ ...address, port: 1 }, { clock, onState });
    });`;

  const args = ["--import", import.meta.resolve("tsx"), "--input-type=module", "-e", code];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
  t.after(() => void child.kill("SIGKILL"));

  assert.deepEqual(await once(child, "exit"), [0, null]);
});

test("TLS asks for the name it was given and trusts what it is told to", async (t) => {
  const fake = await fakeRedis(t, undefined, { tls: true });
  const { redis } = open(t, `rediss://:p@localhost:${fake.port}`, { ca: TEST_CERTIFICATE });

  assert.equal(await redis.command("GET", "a"), "OK");

  assert.deepEqual(fake.names, ["localhost"]);
  assert.deepEqual(fake.commands, [["AUTH", "p"], ["PING"], ["GET", "a"]]);
});

test("a certificate that proves nothing gets no byte of the password", async (t) => {
  const fake = await fakeRedis(t, undefined, { tls: true });
  const strangers: readonly (readonly [string, Partial<RedisOptions>, RegExp])[] = [
    [`rediss://:p@localhost:${fake.port}`, {}, /\(DEPTH_ZERO_SELF_SIGNED_CERT\)/],
    [
      `rediss://:p@127.0.0.1:${fake.port}`,
      { ca: TEST_CERTIFICATE },
      /\(ERR_TLS_CERT_ALTNAME_INVALID\)/,
    ],
  ];
  for (const [url, options, problem] of strangers) {
    const { redis, states } = open(t, url, options);

    await eventually(() => redis.state === "down");

    assert.match(states.join(), problem);
  }
  assert.deepEqual(fake.commands, []);
});

test("TLS and plain text taken for each other are an error with a hint, not a hang", async (t) => {
  // What a TLS server says to a command: an alert, then the end.
  const tls = await fakeRedis(t, (_, client) => void client.end("\x15\x03\x01\x00\x02\x02\x0a"));
  const plain = await fakeRedis(t);
  const plainly = open(t, `redis://127.0.0.1:${tls.port}`);
  const secretly = open(t, `rediss://127.0.0.1:${plain.port}`);

  await eventually(() => plainly.redis.state === "down" && secretly.redis.state === "down");

  assert.match(plainly.states.join(), /rediss:\/\/ if it speaks TLS/);
  assert.match(secretly.states.join(), /could not be reached \([A-Z_]+\)/);
});

test("IPv6 hosts are reached", async (t) => {
  const fake = await fakeRedis(t, undefined, { host: "::1" }).catch(() => undefined);
  if (fake === undefined) return t.skip("this machine has no ::1");
  const { redis } = open(t, `redis://[::1]:${fake.port}`);

  assert.equal(await redis.command("GET", "a"), "OK");
});
