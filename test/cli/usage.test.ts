// The command `usage`, and the same over HTTP: what was spent, told from what the gateway wrote.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { makeDirectory, runCli, startCli } from "../helpers/run-cli.ts";
import { join } from "node:path";

const ADMIN_KEY = "an-admin-key-for-tests";

const answers: Script = async (res, { body }) => {
  const { model } = JSON.parse((await body).toString());
  res.writeHead(200, { "content-type": "application/json" });
  const usage = { prompt_tokens: 1_000_000, completion_tokens: 10, total_tokens: 1_000_010 };
  res.end(JSON.stringify({ object: "chat.completion", model, choices: [], usage }));
};

test("a gateway's record is read while it runs and afterwards, as a table and as JSON", async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const env = { DATA_DIR: join(makeDirectory(t), "data"), ADMIN_KEY };
  const cli = await startCli(t, {
    env: {
      ...env,
      OPENAI_API_KEY: "sk-test-0123456789abcdef",
      OPENAI_BASE_URL: openai.baseUrl,
    },
  });
  for (const model of ["gpt-4o", "gpt-4o-mini", "gpt-4o"]) {
    await (await post(`${cli.url}/v1/chat/completions`, { model })).arrayBuffer();
  }

  const answer = await fetch(`${cli.url}/admin/usage?by=model`, {
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  const asked = Object(await answer.json());
  const running = await runCli(t, { env, args: ["usage", "--by", "model", "--json"] });
  cli.stop("SIGTERM");
  await cli.ended;
  const table = await runCli(t, { env, args: ["usage", "--by", "model,caller"] });

  assert.equal(answer.headers.get("cache-control"), "no-store");
  assert.deepEqual(
    asked.rows.map(({ model, requests, costUsd }: Record<string, unknown>) => ({
      model,
      requests,
      costUsd,
    })),
    [
      { model: "gpt-4o", requests: 2, costUsd: 5.0002 },
      { model: "gpt-4o-mini", requests: 1, costUsd: 0.150006 },
    ],
  );
  assert.deepEqual(JSON.parse(running.stdout), asked);
  assert.equal(table.code, 0);
  assert.match(table.stdout, /^caller +model +requests +failed +input +cached +output +USD$/m);
  assert.match(table.stdout, /^127\.0\.0\.1 +gpt-4o +2 +0 +2,000,000 +0 +20 +5\.000200$/m);
  assert.match(table.stdout, /^all +3 +0 +3,000,000 +0 +30 +5\.150206$/m);
});

test("nobody without the admin key learns what was spent", async (t) => {
  const openai = await fakeOpenAI(t);
  const env = { ADMIN_KEY, OPENAI_API_KEY: "sk-test-0123456789abcdef" };
  const cli = await startCli(t, { env: { ...env, OPENAI_BASE_URL: openai.baseUrl } });

  const answer = await fetch(`${cli.url}/admin/usage`);

  assert.equal(answer.status, 404);
});

test("without a record that outlives the gateway it says how to have one", async (t) => {
  const { code, stderr } = await runCli(t, { args: ["usage"] });

  assert.equal(code, 1);
  assert.match(stderr, /set DATA_DIR or REDIS_URL/);
});

test("a directory without a record, and a wrong day, are clear mistakes", async (t) => {
  const none = await runCli(t, { args: ["usage", "--data-dir", "nowhere"] });
  assert.equal(none.code, 1);
  assert.match(none.stderr, /There is no record in nowhere\./);

  const files = { "data/": "" };
  const wrong = await runCli(t, { files, args: ["usage", "--data-dir", "data", "--from", "now"] });
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /"from" has to be a day, such as/);

  const empty = await runCli(t, { files, args: ["usage", "--data-dir", "data"] });
  assert.equal(empty.code, 0);
  assert.match(empty.stdout, /^Nothing was used from 20\d\d-\d\d-\d\d to 20\d\d-\d\d-\d\d\.\n$/);
});
