// `kill -9` at random moments under load: the record of a call that a client saw completed is there.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { environmentFor, makeDirectory } from "../helpers/run-cli.ts";

const PROGRAM = fileURLToPath(new URL("../../dist/index.js", import.meta.url));
const ROUNDS = 50;
const CLIENTS = 8;
/** Of each call: 100 tokens of output, at ten micro-dollars. */
const CALL_MICRO_USD = 1_000;
const ADMIN_KEY = "an-admin-key-for-tests";

const answers: Script = async (res, { body }) => {
  const { stream } = JSON.parse((await body).toString());
  const usage = { prompt_tokens: 1, completion_tokens: 100, total_tokens: 101 };
  if (stream !== true) {
    res.writeHead(200, { "content-type": "application/json" });
    return void res.end(JSON.stringify({ model: "penny", choices: [], usage }));
  }
  res.writeHead(200, { "content-type": "text/event-stream" });
  res.write('data: {"model":"penny","choices":[{"delta":{"content":"word"}}],"usage":null}\n\n');
  await new Promise((resolve) => setImmediate(resolve));
  res.end(`data: ${JSON.stringify({ model: "penny", choices: [], usage })}\n\ndata: [DONE]\n\n`);
};

/** The built program, as it is shipped: it starts in a tenth of a second. */
async function start(t: TestContext, cwd: string, env: Record<string, string>) {
  const child = spawn(process.execPath, [PROGRAM], {
    cwd,
    env: environmentFor(env),
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => void child.kill("SIGKILL"));
  for await (const line of createInterface(child.stdout)) {
    const [, port] = /"listening on http:\/\/127\.0\.0\.1:(\d+)"/.exec(line) ?? [];
    if (port === undefined) continue;
    child.stdout.resume();
    return { child, port: Number(port) };
  }
  throw new Error("it ended instead of listening");
}

/** Whether its client saw it completed: the whole JSON, or `[DONE]`. */
function call(port: number, agent: Agent, stream: boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = { "content-type": "application/json" };
    const options = { port, agent, headers, method: "POST", path: "/v1/chat/completions" };
    let text = "";
    const sent = request(options, (res) => {
      res.setEncoding("utf8");
      res.on("data", (piece: string) => (text += piece));
      res.on("error", () => resolve(text.endsWith("data: [DONE]\n\n")));
      res.on("close", () => resolve(stream ? text.endsWith("data: [DONE]\n\n") : res.complete));
    });
    sent.on("error", () => resolve(false));
    sent.end(JSON.stringify({ model: "penny", max_tokens: 100, stream }));
  });
}

test(`${ROUNDS} times killed under load, no completed call is missing from the record, and none is in it twice`, async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const directory = makeDirectory(t, {
    "gateway.json": JSON.stringify({
      prices: { penny: { input: 0, output: 10 } },
      policies: { default: { budget: "1000/total" } },
    }),
  });
  const env = {
    OPENAI_API_KEY: "sk-test-0123456789abcdef",
    OPENAI_BASE_URL: openai.baseUrl,
    DATA_DIR: "data",
    PORT: "0",
    ADMIN_KEY,
  };
  let random = 1;
  let completed = 0;
  let begun = 0;

  for (let round = 0; round <= ROUNDS; round++) {
    const { child, port } = await start(t, directory, env);
    const spent = await fetch(`http://127.0.0.1:${port}/admin/usage`, {
      headers: { authorization: `Bearer ${ADMIN_KEY}` },
    });
    const { total } = Object(await spent.json());
    const microUsd = Math.round(total.costUsd * 1_000_000);
    assert.ok(microUsd >= completed * CALL_MICRO_USD, `${microUsd} for ${completed} in ${round}`);
    assert.ok(microUsd <= begun * CALL_MICRO_USD, `${microUsd} for ${begun} begun in ${round}`);
    if (round === ROUNDS) break;

    const agent = new Agent({ keepAlive: true });
    let killed = false;
    const client = async (index: number): Promise<void> => {
      while (!killed) {
        begun++;
        if (await call(port, agent, index % 2 === 0)) completed++;
      }
    };
    const clients = Array.from({ length: CLIENTS }, (_, index) => client(index));
    random = (random * 48_271) % 2_147_483_647;
    await new Promise((resolve) => setTimeout(resolve, 80 + (random % 220)));
    killed = true;
    child.kill("SIGKILL");
    await Promise.all([once(child, "exit"), ...clients]);
    agent.destroy();
  }

  assert.ok(completed > ROUNDS, `${completed} calls were completed`);
  const files = readdirSync(join(directory, "data")).filter((name) => name.endsWith(".jsonl"));
  const lines = files.flatMap((name) =>
    readFileSync(join(directory, "data", name), "utf8").split("\n"),
  );
  const ids = lines.flatMap((line) => /"id":"(gw_\w+)"/.exec(line)?.[1] ?? []);
  assert.equal(new Set(ids).size, ids.length);
});
