// The store that the settings describe, opened when it is wanted.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { WITHOUT_REDIS, startRedis } from "../helpers/redis-server.ts";
import { makeDirectory, runCli, startCli } from "../helpers/run-cli.ts";
import { startGateway } from "../helpers/start-gateway.ts";
import { createGateway } from "../../src/gateway.ts";

const CHAT = { model: "gpt-4o-mini", max_tokens: 10, messages: [] };

function linesIn(directory: string): readonly string[] {
  const names = readdirSync(directory).filter((name) => name.endsWith(".jsonl"));
  return names.flatMap((name) => readFileSync(join(directory, name), "utf8").trim().split("\n"));
}

test("a call's line is in the directory when its client has the answer", async (t) => {
  const dataDir = join(makeDirectory(t), "data");
  const { url } = await startGateway(t, (await fakeOpenAI(t)).baseUrl, { store: { dataDir } });

  await (await post(`${url}/v1/chat/completions`, CHAT)).arrayBuffer();

  const [line = ""] = linesIn(dataDir);
  assert.equal(JSON.parse(line).route, "POST /chat/completions");
});

test("a directory that cannot be written fails the start, in one sentence", async (t) => {
  const files = { file: "" };
  const env = { OPENAI_API_KEY: "sk-test-0123456789abcdef", DATA_DIR: "file" };

  const { code, stderr } = await runCli(t, { files, env });

  assert.equal(code, 1);
  assert.equal(stderr, "The directory file cannot be written: not a directory (EEXIST).\n");
});

test("embedded, without listen(), budgets are closed where the directory cannot be written", async (t) => {
  const file = join(makeDirectory(t, { file: "" }), "file");
  const outer = await startGateway(t, (await fakeOpenAI(t)).baseUrl);
  const gateway = createGateway({
    upstreams: [{ apiKey: "sk-test-0123456789abcdef", baseUrl: `${outer.url}/v1` }],
    policies: { default: { budget: "1/day" } },
    store: { dataDir: file },
    log: { level: "silent" },
  });
  t.after(() => gateway.close());
  const { createServer } = await import("node:http");
  const server = createServer(gateway.handle).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = Object(server.address());

  const response = await post(`http://127.0.0.1:${port}/v1/chat/completions`, CHAT);

  assert.equal(response.status, 503);
  assert.equal(Object(await response.json()).error.code, "store_unavailable");
  const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
  assert.deepEqual(await ready.json(), { status: "degraded" });
});

test("the line that says where it listens says what outlives it", async (t) => {
  const env = { OPENAI_API_KEY: "sk-test-0123456789abcdef" };
  const kept = await startCli(t, { env: { ...env, DATA_DIR: "data" } });
  const forgotten = await startCli(t, { env });
  const storeOf = ({ lines }: typeof kept) =>
    lines().find(({ message }) => message.startsWith("listening"))?.["store"];

  assert.equal(storeOf(kept), "data");
  assert.match(String(storeOf(forgotten)), /^memory alone: .* forgotten with this process$/);
});

test("a wrong REDIS_URL is one clear sentence without the password", async (t) => {
  const env = { OPENAI_API_KEY: "sk-test-0123456789abcdef" };
  const wrong = { ...env, REDIS_URL: "redis://me:hunter2secret@host:port/0" };

  const { code, stderr } = await runCli(t, { env: wrong });

  assert.equal(code, 2);
  assert.match(stderr, /^The settings are wrong:\n {2}REDIS_URL: expected redis:[^\n]*\n$/);
  assert.doesNotMatch(stderr, /hunter2/);
});

test("beside Redis a directory has the record, too", { skip: WITHOUT_REDIS }, async (t) => {
  const redis = await startRedis(t);
  const dataDir = join(makeDirectory(t), "data");
  const settings = {
    policies: { default: { budget: "1/day" } },
    store: { dataDir, redisUrl: redis.url() },
    admin: { key: "an-admin-key-for-tests" },
  };
  const { url } = await startGateway(t, (await fakeOpenAI(t)).baseUrl, settings);

  await (await post(`${url}/v1/chat/completions`, CHAT)).arrayBuffer();

  assert.equal(linesIn(dataDir).length, 1);
  const headers = { authorization: "Bearer an-admin-key-for-tests" };
  const usage = await fetch(`${url}/admin/usage`, { headers });
  assert.equal(Object(await usage.json()).total.requests, 1);
});
