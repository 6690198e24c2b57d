// Several gateways that share a Redis: together they admit what one would, and they live on without it.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test, type TestContext } from "node:test";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { WITHOUT_REDIS, startRedis, type RedisServer } from "../helpers/redis-server.ts";
import { startCli } from "../helpers/run-cli.ts";
import { startGateway } from "../helpers/start-gateway.ts";
import type { ConfigInput } from "../../src/gateway.ts";

const skip = WITHOUT_REDIS;
const PRICES = { penny: { input: 0, output: 10 } };

const answers: Script = async (res, { body }) => {
  const { max_tokens: tokens } = JSON.parse((await body).toString());
  res.writeHead(200, { "content-type": "application/json" });
  const usage = { prompt_tokens: 1, completion_tokens: tokens, total_tokens: tokens + 1 };
  res.end(JSON.stringify({ object: "chat.completion", model: "penny", choices: [], usage }));
};

async function ask(url: string, init?: RequestInit): Promise<number> {
  const body = { model: "penny", max_tokens: 1_000 };
  const response = await post(`${url}/v1/chat/completions`, body, init);
  await response.arrayBuffer();
  return response.status;
}

async function startTwo(t: TestContext, redis: RedisServer, settings: ConfigInput) {
  const openai = await fakeOpenAI(t, answers);
  const shared = { prices: PRICES, store: { redisUrl: redis.url() }, ...settings };
  const one = await startGateway(t, openai.baseUrl, shared);
  const other = await startGateway(t, openai.baseUrl, shared);
  return { openai, one, other };
}

test(
  "two processes with one Redis: of 200 racing calls of a cent, 50 reach OpenAI, 20 times",
  { skip },
  async (t) => {
    const redis = await startRedis(t);
    const openai = await fakeOpenAI(t, answers);
    const callers = Array.from({ length: 20 }, (_, index) => `caller${index}`);
    const surroundings = {
      files: { "gateway.json": JSON.stringify({ prices: PRICES }) },
      env: {
        HOST: "127.0.0.1",
        OPENAI_API_KEY: "sk-test-0123456789abcdef",
        OPENAI_BASE_URL: openai.baseUrl,
        REDIS_URL: redis.url(),
        BUDGET: "0.50/day",
        GATEWAY_KEYS: callers.map((name) => `${name}:${name}-0123456789`).join(","),
      },
    };
    const processes = await Promise.all([startCli(t, surroundings), startCli(t, surroundings)]);

    for (const [round, name] of callers.entries()) {
      const headers = { authorization: `Bearer ${name}-0123456789` };
      const calls = Array.from({ length: 200 }, (_, index) =>
        ask(processes[index % 2]?.url ?? "", { headers }),
      );
      const statuses = await Promise.all(calls);

      assert.equal(statuses.filter((status) => status === 200).length, 50, name);
      assert.equal(openai.arrivals.length, 50 * (round + 1));
    }
  },
);

test(
  "two replicas with 60 requests per minute admit together what one would",
  { skip },
  async (t) => {
    const redis = await startRedis(t);
    const policies = { default: { requestsPerMinute: 60 } };
    const { one, other, openai } = await startTwo(t, redis, { policies });
    const startedAt = performance.now();

    const calls = Array.from({ length: 100 }, (_, index) => ask((index % 2 ? one : other).url));
    const statuses = await Promise.all(calls);

    const refilled = Math.ceil((performance.now() - startedAt) / 1_000);
    const admitted = statuses.filter((status) => status === 200).length;
    assert.ok(admitted >= 60 && admitted <= 60 + refilled, `${admitted}`);
    assert.equal(openai.arrivals.length, admitted);
  },
);

test("the usage of all replicas is one record", { skip }, async (t) => {
  const redis = await startRedis(t);
  const admin = { key: "an-admin-key-for-tests" };
  const { one, other } = await startTwo(t, redis, { admin });
  for (const { url } of [one, other, one]) assert.equal(await ask(url), 200);

  const response = await fetch(`${other.url}/admin/usage?by=model`, {
    headers: { authorization: `Bearer ${admin.key}` },
  });

  const { total, rows } = Object(await response.json());
  assert.equal(total.requests, 3);
  assert.equal(total.costUsd, 0.03);
  assert.equal(rows[0].model, "penny");
});

for (const trouble of ["restarted", "paused", "gone"] as const) {
  test(
    `Redis ${trouble} mid-run: rates stay open, budgets close, nothing hangs, and it recovers by itself`,
    { skip },
    async (t) => {
      const redis = await startRedis(t);
      const access = {
        keys: ["rated", "budgeted"].map((name) => ({
          name,
          sha256: sha256(`${name}-0123456789`),
          policy: name,
        })),
      };
      const policies = { rated: { requestsPerMinute: 100_000 }, budgeted: { budget: "10/day" } };
      const { one } = await startTwo(t, redis, { access, policies });
      const as = async (name: string) => {
        const startedAt = performance.now();
        const headers = { authorization: `Bearer ${name}-0123456789` };
        const status = await ask(one.url, { headers });
        const tookMs = performance.now() - startedAt;
        assert.ok(tookMs < 1_000, `${name} took ${tookMs} ms`);
        return status;
      };
      assert.deepEqual([await as("rated"), await as("budgeted")], [200, 200]);

      if (trouble === "paused") redis.freeze();
      else await redis.stop();
      const during = [];
      for (let call = 0; call < 5; call++) during.push(await as("rated"), await as("budgeted"));

      assert.deepEqual(new Set(during.filter((_, index) => index % 2 === 0)), new Set([200]));
      assert.deepEqual(new Set(during.filter((_, index) => index % 2 === 1)), new Set([503]));
      const ready = await fetch(`${one.url}/readyz`);
      assert.equal(ready.status, 200);
      assert.deepEqual(await ready.json(), { status: "degraded" });
      if (trouble === "gone") return;

      if (trouble === "paused") redis.thaw();
      else await redis.start();
      let status = 503;
      for (let tries = 0; tries < 100 && status === 503; tries++) {
        status = await as("budgeted");
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.equal(status, 200);
      await becomesReady(one.url);
    },
  );
}

/** As soon as what waits to be settled is. */
async function becomesReady(url: string): Promise<void> {
  let status = "";
  for (let tries = 0; tries < 200 && status !== "ready"; tries++) {
    status = Object(await (await fetch(`${url}/readyz`)).json()).status;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(status, "ready");
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
