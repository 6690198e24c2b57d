// REDIS_URL: every part of a good one, and one clear sentence about a wrong one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRedisUrl } from "../../src/config/redis-url.ts";

test("a URL is read in all its parts", () => {
  const read = (url: string): unknown => {
    const address = parseRedisUrl(url);
    if (typeof address === "string") return address;
    const { password, ...rest } = address;
    return { ...rest, ...(password && { password: password.reveal() }) };
  };
  const plain = { host: "redis", port: 6379, tls: false, db: 0 };

  assert.deepEqual(read("redis://redis"), plain);
  assert.deepEqual(read(" redis://redis/\n"), plain);
  assert.deepEqual(read("valkey://redis:6380/15"), { ...plain, port: 6380, db: 15 });
  assert.deepEqual(read("rediss://redis"), { ...plain, tls: true });
  assert.deepEqual(read("redis://[::1]:7"), { ...plain, host: "::1", port: 7 });
  assert.deepEqual(read("redis://my_redis-1.example."), { ...plain, host: "my_redis-1.example." });
  assert.deepEqual(read("redis://:p@redis"), { ...plain, password: "p" });
  assert.deepEqual(read("redis://u%40:%2F%25:ü@redis"), { ...plain, user: "u@", password: "/%:ü" });
  assert.deepEqual(read("redis://:a@b@redis"), { ...plain, password: "a@b" });
});

test("what is wrong with a URL is said without any part of it", () => {
  const wrong = [
    "",
    "hunter2",
    "hunter2:6379",
    "http://:hunter2@redis",
    "unix:///run/hunter2.sock",
    "redis://:hunter2@",
    "redis:///hunter2",
    "redis://:hunter2@redis:0",
    "redis://:hunter2@redis:70000",
    "redis://:hunter2@redis:port",
    "redis://:hunter2@redis/db",
    "redis://:hunter2@redis/-1",
    "redis://:hunter2@redis/1/2",
    "redis://:hunter2@redis?db=1",
    "redis://:hunter2@redis#1",
    "redis://user:hun/ter2@redis",
    "redis://user:1/hunter2@redis",
    "redis://user:1#hunter2@redis",
    "redis://:hunter2 @redis",
    "redis://hunter2@redis",
    "redis://hunter2:@redis",
    "redis://:hunter2%zz@redis",
    "redis://:hunter2@re$dis",
    "redis://:hunter2@one,two",
  ];
  for (const url of wrong) {
    const problem = parseRedisUrl(url);

    if (typeof problem !== "string") throw new Error(`${url} was accepted`);
    assert.match(problem, /^expected /);
    assert.ok(!/hun|ter2/.test(problem), problem);
  }
});
