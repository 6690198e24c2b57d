// The official SDK under limits and budgets: it works as before, backs off when told to, and throws
// what it throws for OpenAI's own.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { startGateway } from "../helpers/start-gateway.ts";
import { runGateway } from "./gateway-process.ts";
import { createClient, SDK_CALLS } from "./sdk-calls.ts";

const bounded = { timeout: 20_000 };
const PRICES = { penny: { input: 0, output: 10 } };
const chat = { model: "penny", messages: [{ role: "user" as const, content: "Hi" }] };

const answers: Script = async (res, { body }) => {
  const { max_tokens: tokens, stream } = JSON.parse((await body).toString());
  const usage = { prompt_tokens: 1, completion_tokens: tokens, total_tokens: tokens + 1 };
  if (stream !== true) {
    res.writeHead(200, { "content-type": "application/json" });
    const choices = [{ index: 0, message: { role: "assistant", content: "Hello" } }];
    return void res.end(
      JSON.stringify({ object: "chat.completion", model: "penny", choices, usage }),
    );
  }
  res.writeHead(200, { "content-type": "text/event-stream" });
  const choices = [{ index: 0, delta: { content: "word" } }];
  const chunk = { object: "chat.completion.chunk", model: "penny", choices, usage: null };
  for (let word = 0; word < 500; word++) {
    res.write(`data: ${JSON.stringify(chunk)}\n\n`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  res.end("data: [DONE]\n\n");
};

test(
  "every ordinary call works while requests, tokens and dollars are counted",
  bounded,
  async (t) => {
    const env = {
      REQUESTS_PER_MINUTE: "100000",
      TOKENS_PER_MINUTE: "100000000",
      CONCURRENT_REQUESTS: "100",
      BUDGET: "1000/day,10000/total",
      SHARED_BUDGET: "5000/month",
    };
    const { origin } = await runGateway(t, { args: ["--mock"], env });
    const client = createClient(`${origin}/v1`);

    for (const { name, check } of SDK_CALLS) {
      // They name no model, and the one that makes them has no price by tokens.
      if (name === "varying images") await t.test(name, () => assert.rejects(check(client), /403/));
      else await t.test(name, () => check(client));
    }
  },
);

test(
  "a stream of the SDK has the usage that it asks for, and none that it does not",
  bounded,
  async (t) => {
    const { origin } = await runGateway(t, { args: ["--mock"], env: { BUDGET: "1000/day" } });
    const client = createClient(`${origin}/v1`);
    const read = async (options?: { include_usage: boolean }) => {
      const asked = { ...chat, model: "gpt-4o-mini", stream: true } as const;
      const stream = await client.chat.completions.create({
        ...asked,
        stream_options: options ?? null,
      });
      const chunks = [];
      for await (const chunk of stream) chunks.push(chunk);
      return chunks;
    };

    const unasked = await read();
    const asked = await read({ include_usage: true });

    assert.ok(unasked.every((chunk) => !("usage" in chunk) && chunk.choices.length > 0));
    assert.ok((asked.at(-1)?.usage?.completion_tokens ?? 0) > 0);
    assert.ok(asked.slice(0, -1).every(({ usage }) => usage === null));
  },
);

test("spent money is a RateLimitError that the SDK does not try again", bounded, async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const policies = { default: { budget: "0.01/day" } };
  const gateway = await startGateway(t, openai.baseUrl, { prices: PRICES, policies });
  const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: "none", maxRetries: 2 });
  await client.chat.completions.create({ ...chat, max_tokens: 1_000 });

  await assert.rejects(client.chat.completions.create({ ...chat, max_tokens: 1_000 }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError, String(error));
    assert.equal(error.code, "insufficient_quota");
    assert.equal(error.type, "insufficient_quota");
    return true;
  });

  assert.equal(gateway.log.filter(({ message }) => message === "request").length, 2);
});

test("a rate that is used up is waited for, as long as the gateway says", bounded, async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const policies = { default: { requestsPerMinute: 30 } };
  const gateway = await startGateway(t, openai.baseUrl, { policies });
  const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: "none", maxRetries: 2 });
  const calls = Array.from({ length: 31 }, () =>
    client.chat.completions.create({ ...chat, max_tokens: 1 }),
  );

  await Promise.all(calls);

  assert.equal(openai.arrivals.length, 31);
  const refused = gateway.log.filter(({ error }) => error === "rate_limit_exceeded");
  assert.ok(refused.length >= 1 && refused.length <= 3, `${refused.length}`);
});

test(
  "the end of the money in a stream is thrown, after the words that were paid",
  bounded,
  async (t) => {
    const openai = await fakeOpenAI(t, answers);
    const policies = { default: { budget: "0.002/total", assumedOutputTokens: 100 } };
    const gateway = await startGateway(t, openai.baseUrl, { prices: PRICES, policies });
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: "none", maxRetries: 2 });
    const stream = await client.chat.completions.create({ ...chat, stream: true });
    let words = 0;

    await assert.rejects(
      async () => {
        for await (const _ of stream) words++;
      },
      (error) => {
        assert.ok(error instanceof OpenAI.APIError, String(error));
        assert.equal(error.code, "insufficient_quota");
        return true;
      },
    );

    assert.ok(words > 150 && words <= 200, `${words}`);
  },
);
