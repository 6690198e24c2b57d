// Rates: how many calls, how many tokens, how many at a time, and what callers are told of it.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { post } from "../helpers/read-stream.ts";
import { recordingStore } from "../helpers/recorder.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";
import { mintToken, type ConfigInput } from "../../src/gateway.ts";

type PolicyInput = NonNullable<NonNullable<ConfigInput["policies"]>["default"]>;

/** An ordinary reply that used 10 and 20 tokens, with OpenAI's own limits. */
const answers: Script = async (res, { body }) => {
  await body;
  res.writeHead(200, {
    "content-type": "application/json",
    "x-ratelimit-limit-requests": "9999",
    "x-ratelimit-remaining-requests": "9998",
    "x-ratelimit-limit-tokens": "9999999",
  });
  const usage = { prompt_tokens: 10, completion_tokens: 20, total_tokens: 30 };
  res.end(JSON.stringify({ object: "chat.completion", model: "gpt-4o-mini", choices: [], usage }));
};

async function start(
  t: TestContext,
  policy: PolicyInput,
  script = answers,
  more: ConfigInput = {},
) {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, script);
  const { record, store } = recordingStore(clock);
  const settings = { policies: { default: policy }, ...more };
  const gateway = await startGateway(t, openai.baseUrl, settings, { clock, store });
  return { ...gateway, openai, clock, record, store };
}

const ask = (url: string, body: object = {}, init?: RequestInit): Promise<Response> =>
  post(`${url}/v1/chat/completions`, { model: "gpt-4o-mini", messages: [], ...body }, init);

async function errorOf(response: Response) {
  return Object(await response.json()).error;
}

test("a minute's requests may come at once, then one by one as they refill", async (t) => {
  const { url, clock, openai } = await start(t, { requestsPerMinute: 3 });

  const first = await Promise.all([ask(url), ask(url), ask(url), ask(url)]);

  assert.deepEqual(first.map(({ status }) => status).toSorted(), [200, 200, 200, 429]);
  const refused = first.find(({ status }) => status === 429) ?? assert.fail();
  assert.equal(refused.headers.get("retry-after"), "20");
  assert.equal(refused.headers.get("retry-after-ms"), "20000");
  assert.equal(refused.headers.get("x-should-retry"), null);
  assert.equal(refused.headers.get("access-control-allow-origin"), "*");
  assert.deepEqual(await errorOf(refused), {
    message:
      "Rate limit reached: your limit is 3 requests per minute (requestsPerMinute). Try again in 20s.",
    type: "requests",
    param: null,
    code: "rate_limit_exceeded",
  });
  assert.equal(openai.arrivals.length, 3);
  clock.advance(20_000);
  assert.equal((await ask(url)).status, 200);
  assert.equal((await ask(url)).status, 429);
});

test("every governed answer tells what is left, in OpenAI's format and in the place of OpenAI's", async (t) => {
  const policy = { requestsPerMinute: 60, tokensPerMinute: 60_000 };
  const { url, clock } = await start(t, policy);

  const { headers } = await ask(url, { max_tokens: 1_000 });

  assert.equal(headers.get("x-ratelimit-limit-requests"), "60");
  assert.equal(headers.get("x-ratelimit-remaining-requests"), "59");
  assert.equal(headers.get("x-ratelimit-reset-requests"), "1s");
  assert.equal(headers.get("x-ratelimit-limit-tokens"), "60000");
  assert.match(headers.get("x-ratelimit-reset-tokens") ?? "", /^1\.0\d*s$/);
  const left = Number(headers.get("x-ratelimit-remaining-tokens"));
  assert.ok(left > 58_930 && left < 59_000, `${left}`);
  clock.advance(60_000);
  const again = await ask(url, { max_tokens: 1_000 });
  assert.equal(again.headers.get("x-ratelimit-remaining-requests"), "59");
});

test("OpenAI's own limits reach callers without a rate", async (t) => {
  const { url } = await start(t, { concurrentRequests: 5 });

  const { headers } = await ask(url);

  assert.equal(headers.get("x-ratelimit-limit-requests"), "9999");
  assert.equal(headers.get("x-ratelimit-remaining-requests"), "9998");
});

test("tokens are set aside as a call may use them, and given back as it did not", async (t) => {
  const { url, record } = await start(t, { tokensPerMinute: 2_000 });

  const first = await ask(url, { max_tokens: 1_900 });
  await first.arrayBuffer();
  const second = await ask(url, { max_tokens: 1_900 });

  assert.equal(first.status, 200);
  assert.equal(second.status, 200, "but for 30 tokens all came back");
  assert.equal(record.entries[0]?.inputTokens, 10);
  assert.equal(record.entries[0]?.outputTokens, 20);
});

test("a call larger than a minute's tokens is refused for good, and says what to ask for", async (t) => {
  const { url, openai } = await start(t, { tokensPerMinute: 2_000 });

  const refused = await ask(url, { max_tokens: 2_000 });

  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get("x-should-retry"), "false");
  assert.equal(refused.headers.get("retry-after"), null);
  assert.match((await errorOf(refused)).message, /2000 tokens per minute.*ask for less output/);
  assert.equal(openai.arrivals.length, 0);
});

test("only so many calls are open at a time, and one that ends makes room for one", async (t) => {
  const waiting: (() => void)[] = [];
  const { url, openai } = await start(t, { concurrentRequests: 2 }, async (res, arrival) => {
    await new Promise<void>((resolve) => waiting.push(resolve));
    await answers(res, arrival);
  });
  const open = [ask(url), ask(url)];
  await openai.next();
  await openai.next();

  const third = await ask(url);

  assert.equal(third.status, 429);
  assert.equal(third.headers.get("retry-after-ms"), "1000");
  assert.match((await errorOf(third)).message, /2 requests at a time/);
  for (const answer of waiting.splice(0)) answer();
  for (const call of open) assert.equal((await call).status, 200);
  const fourth = ask(url);
  await openai.next();
  for (const answer of waiting.splice(0)) answer();
  assert.equal((await fourth).status, 200);
});

test("whoever hangs up behind the end mark of a stream that nobody meters makes room, too", async (t) => {
  const policy = { endpoints: ["*"], concurrentRequests: 1 };
  const { url, reported, store } = await start(t, policy, (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write("data: {}\n\ndata: [DONE]\n\n");
  });
  const controller = new AbortController();
  const { signal } = controller;
  const response = await fetch(`${url}/v1/responses/resp_1?stream=true`, { signal });
  await response.body?.getReader().read();

  controller.abort();
  await reported();

  assert.equal(store.open, 0);
});

test("every caller has a rate of its own, and a token a narrower one", async (t) => {
  const secret = "0123456789abcdef0123456789abcdef";
  const more = { access: { tokens: { secret } } };
  const { url } = await start(t, { requestsPerMinute: 2 }, answers, more);
  const as = (subject: string, limits = {}) => {
    const { token } = mintToken({ secret, subject, limits }, new ManualClock());
    return ask(url, {}, { headers: { authorization: `Bearer ${token}` } });
  };

  const statuses = [];
  for (const subject of ["ann", "ann", "ann", "bob", "bob", "bob"]) {
    statuses.push((await as(subject)).status);
  }

  assert.deepEqual(statuses, [200, 200, 429, 200, 200, 429]);
  assert.equal((await as("cid", { requestsPerMinute: 1 })).status, 200);
  assert.equal((await as("cid", { requestsPerMinute: 1 })).status, 429);
  const wide = await as("dan", { requestsPerMinute: 1_000 });
  assert.equal(wide.headers.get("x-ratelimit-limit-requests"), "2", "a token only takes away");
});

test("a call that one quota refuses takes nothing from the others", async (t) => {
  const policy = { requestsPerMinute: 5, shared: { requestsPerMinute: 1 } };
  const { url, clock } = await start(t, policy);

  assert.equal((await ask(url)).status, 200);
  for (let call = 0; call < 10; call++) assert.equal((await ask(url)).status, 429);

  clock.advance(60_000);
  const { headers, status } = await ask(url);
  assert.equal(status, 200);
  assert.equal(headers.get("x-ratelimit-remaining-requests"), "0", "of the common one");
});

test("a WebSocket's handshake is a request like others, and is refused where tokens are counted", async (t) => {
  const policy = { endpoints: ["*"], tokensPerMinute: 1_000 };
  const { url } = await start(t, policy);

  const response = await fetch(`${url}/v1/realtime/sessions`, { method: "POST", body: "{}" });

  assert.equal(response.status, 403);
  assert.match((await errorOf(response)).message, /\(tokensPerMinute\)/);
});

for (const [name, body, found] of [
  ["two caps", '{"model":"gpt-4o-mini","max_tokens":1,"max_tokens":9}', /max_tokens/],
  ["two models", '{"model":"gpt-4o-mini","model":"gpt-4o"}', /model/],
  ["a cap in quotes", '{"model":"gpt-4o-mini","max_tokens":"9"}', /max_tokens/],
  ["a negative cap", '{"model":"gpt-4o-mini","max_tokens":-9}', /max_tokens/],
  ["two streams", '{"model":"gpt-4o-mini","stream":true,"stream":false}', /stream/],
  [
    "two include_usage",
    '{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true,"include_usage":false}}',
    /include_usage/,
  ],
  ["no JSON", "max_tokens=1", /JSON/],
] as const) {
  test(`what counts cannot be said twice or in riddles: ${name}`, async (t) => {
    const { url, openai } = await start(t, { tokensPerMinute: 1_000_000 });

    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });

    assert.equal(response.status, 400);
    assert.match((await errorOf(response)).message, found);
    assert.equal(openai.arrivals.length, 0);
  });
}

test("the log tells what was used, and no limit tells the key", async (t) => {
  const { url, reported } = await start(t, { requestsPerMinute: 1 });

  await (await ask(url)).arrayBuffer();
  await (await ask(url)).arrayBuffer();

  const [served, refused] = [await reported(), await reported()];
  assert.equal(served["inputTokens"], 10);
  assert.equal(served["outputTokens"], 20);
  assert.equal(served["model"], "gpt-4o-mini");
  assert.equal(refused["error"], "rate_limit_exceeded");
  assert.equal(refused["inputTokens"], undefined);
  assert.doesNotMatch(JSON.stringify([served, refused]), new RegExp(API_KEY));
});

test("a refused call is told of with its model, unless its client made that up", async (t) => {
  const { url, reported } = await start(t, { tokensPerMinute: 10 });

  await ask(url, { max_tokens: 100 });
  await ask(url, { max_tokens: 100, model: "my-invention" });

  const [real, invented] = [await reported(), await reported()];
  assert.deepEqual([real["error"], real["model"]], ["rate_limit_exceeded", "gpt-4o-mini"]);
  assert.deepEqual([invented["error"], invented["model"]], ["rate_limit_exceeded", undefined]);
});
