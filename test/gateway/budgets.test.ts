// Money: nobody spends more than a budget holds, whatever races, aborts and failures do.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { deafPort } from "../helpers/deaf-port.ts";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import { changed, recordingStore } from "../helpers/recorder.ts";
import { startGateway } from "../helpers/start-gateway.ts";
import type { ConfigInput } from "../../src/gateway.ts";

/** A thousand tokens of output are a cent; input is free. */
const PRICES = { penny: { input: 0, output: 10 }, dear: { input: 1_000, output: 1_000 } };
const CENT = 10_000;

function settings(
  policy: NonNullable<NonNullable<ConfigInput["policies"]>["default"]>,
): ConfigInput {
  return { prices: PRICES, policies: { default: policy } };
}

function chatUsage(inputTokens: number, outputTokens: number) {
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
  };
}

/** Answers with the usage that the call's `user` names. */
const answers: Script = async (res, { body }) => {
  const { model, max_tokens } = JSON.parse((await body).toString());
  res.writeHead(200, { "content-type": "application/json" });
  res.end(
    JSON.stringify({
      object: "chat.completion",
      model,
      choices: [{ message: { content: "x" } }],
      usage: chatUsage(5, max_tokens),
    }),
  );
};

const ask = (url: string, body: object = {}, init?: RequestInit): Promise<Response> =>
  post(`${url}/v1/chat/completions`, { model: "penny", max_tokens: 1_000, ...body }, init);

async function errorOf(response: Response) {
  const { error } = Object(await response.json());
  return { status: response.status, code: error.code, message: error.message };
}

for (let round = 1; round <= 20; round++) {
  test(`of 200 racing calls of a cent, 50 reach OpenAI under a budget of half a dollar (${round})`, async (t) => {
    const openai = await fakeOpenAI(t, answers);
    const { record, store } = recordingStore();
    const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "0.5/day" }), {
      store,
    });

    const all = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const response = await ask(url);
        await response.arrayBuffer();
        return response.status;
      }),
    );

    assert.equal(openai.arrivals.length, 50);
    assert.equal(all.filter((status) => status === 200).length, 50);
    assert.equal(all.filter((status) => status === 429).length, 150);
    assert.equal(record.spentMicroUsd, 50 * CENT);
    assert.equal(store.open, 0);
  });
}

test("spent money is insufficient_quota, which SDKs do not try again, with the time of the next period", async (t) => {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, answers);
  const { store } = recordingStore(clock);
  const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "0.01/hour" }), {
    store,
    clock,
  });
  assert.equal((await ask(url)).status, 200);
  clock.advance(60_000);

  const refused = await ask(url);

  assert.equal(refused.headers.get("x-should-retry"), "false");
  assert.equal(refused.headers.get("retry-after"), String(59 * 60));
  assert.deepEqual(await errorOf(refused), {
    status: 429,
    code: "insufficient_quota",
    message: "Of your budget of 0.01 USD per hour, 0.00 USD is left. It begins anew in 59m0s.",
  });
  clock.advance(59 * 60_000);
  assert.equal((await ask(url)).status, 200);
  await (await ask(url)).arrayBuffer();
});

test("money that is only set aside is worth another try soon", async (t) => {
  let answer = (): void => {};
  const openai = await fakeOpenAI(t, async (res, arrival) => {
    await new Promise<void>((resolve) => (answer = resolve));
    await answers(res, arrival);
  });
  const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "0.01/total" }));
  const first = ask(url);
  await openai.next();

  const second = await ask(url);

  assert.equal(second.headers.get("retry-after-ms"), "1000");
  assert.equal(second.headers.get("x-should-retry"), null);
  assert.equal((await errorOf(second)).code, "rate_limit_exceeded");
  answer();
  assert.equal((await first).status, 200);
});

test("a call that may cost more than the whole budget is told what to ask for", async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "0.01/total" }));

  const refused = await ask(url, { max_tokens: 2_000 });

  assert.equal(refused.headers.get("retry-after"), null);
  assert.deepEqual(await errorOf(refused), {
    status: 429,
    code: "insufficient_quota",
    message:
      "This call may cost 0.02 USD, more than your budget of 0.01 USD in total: ask for less output.",
  });
  assert.equal((await ask(url)).status, 200, "what is less is still to be had");
});

test("a model without a price is refused under a budget, with the way out", async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }));

  const refused = await ask(url, { model: "nobody-knows" });

  const { code, message, status } = await errorOf(refused);
  assert.equal(status, 403);
  assert.equal(code, "model_price_unknown");
  assert.match(message, /"nobody-knows".*prices/);
  assert.equal(openai.arrivals.length, 0);
});

test("a credential that was sent as the model is not in the record", async (t) => {
  const secret = "gwk_aaaabbbbccccddddeeeeffff";
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    res.writeHead(200, { "content-type": "application/json" });
    res.end(JSON.stringify({ object: "chat.completion", usage: chatUsage(1, 1) }));
  });
  const { record, store } = recordingStore();
  const policy = { tokensPerMinute: 100_000 };
  const { url, reported } = await startGateway(t, openai.baseUrl, settings(policy), { store });

  const headers = { authorization: `Bearer ${secret}` };
  await (await ask(url, { model: secret }, { headers })).arrayBuffer();

  assert.equal(record.entries[0]?.model, "[secret]");
  assert.equal((await reported())["model"], "[secret]");
});

test("without a budget a model needs no price, and costs nothing in the record", async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const { record, store } = recordingStore();
  const { url } = await startGateway(t, openai.baseUrl, settings({}), { store });

  await (await ask(url, { model: "nobody-knows", max_tokens: 7 })).arrayBuffer();

  const [entry] = record.entries;
  assert.equal(entry?.costMicroUsd, 0);
  assert.equal(entry?.estimated, false);
  assert.equal(entry?.outputTokens, 7);
  assert.equal(entry?.model, "nobody-knows");
});

test("one that sees 500s pays nothing", async (t) => {
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    res.writeHead(500, { "content-type": "application/json" });
    res.end('{"error":{"message":"no","type":"server_error","param":null,"code":null}}');
  });
  const { record, store } = recordingStore();
  const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "0.01/total" }), {
    store,
  });

  for (let call = 0; call < 5; call++) assert.equal((await ask(url)).status, 500);

  assert.equal(record.entries.length, 5);
  assert.equal(record.spentMicroUsd, 0);
  assert.equal(store.open, 0);
});

/** Streams words until nobody listens. */
const streams =
  (words: number): Script =>
  async (res, { body, closed }) => {
    await body;
    let gone = false;
    void closed.then(() => (gone = true));
    res.writeHead(200, { "content-type": "text/event-stream" });
    for (let word = 0; word < words && !gone; word++) {
      const chunk = {
        object: "chat.completion.chunk",
        model: "penny",
        choices: [{ index: 0, delta: { content: "word" } }],
        usage: null,
      };
      if (!res.write(`data: ${JSON.stringify(chunk)}\n\n`)) await once(res, "drain");
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (gone) return;
    const last = { choices: [], model: "penny", usage: chatUsage(10, words) };
    res.end(`data: ${JSON.stringify(last)}\n\ndata: [DONE]\n\n`);
  };

test("a caller that aborts every stream half-way pays for what it received", async (t) => {
  const openai = await fakeOpenAI(t, streams(10_000));
  const { record, store } = recordingStore();
  const gateway = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), { store });

  for (let call = 1; call <= 5; call++) {
    const controller = new AbortController();
    const response = await ask(gateway.url, { stream: true }, { signal: controller.signal });
    const reader = readStream(response);
    let text = "";
    while (text.split('"word"').length <= 100) text += (await reader.next()) ?? assert.fail("over");
    const received = text.split('"word"').length - 1;
    controller.abort();
    await gateway.reported();

    const entry = record.entries.at(-1);
    assert.equal(record.entries.length, call);
    assert.ok(entry !== undefined && entry.outputTokens >= received, `${entry?.outputTokens}`);
    assert.ok(entry.outputTokens < 10_000, "not for what was never written");
    assert.equal(entry.costMicroUsd, entry.outputTokens * 10);
    assert.equal(entry.estimated, true);
    assert.equal(entry.error, "client_gone");
  }
  assert.equal(store.open, 0);
});

test("a client that leaves while an embedder's fetch still connects pays nothing", async (t) => {
  const { record, store } = recordingStore();
  let called = (): void => {};
  const calling = new Promise<void>((resolve) => (called = resolve));
  const connecting = (_: URL, { signal }: RequestInit): Promise<Response> => {
    called();
    return new Promise((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  };
  const parts = { store, fetch: connecting };
  const gateway = await startGateway(t, "http://x", settings({ budget: "1/day" }), parts);
  const controller = new AbortController();
  const call = ask(gateway.url, {}, { signal: controller.signal }).catch(() => {});
  await calling;

  controller.abort();
  await call;
  await gateway.reported();

  assert.deepEqual([record.entries.length, record.spentMicroUsd, store.open], [1, 0, 0]);
});

test("a client that leaves before there is anything pays for what was written meanwhile", async (t) => {
  const clock = new ManualClock();
  const openai = await fakeOpenAI(t, () => {});
  const { record, store } = recordingStore(clock);
  const parts = { store, clock };
  const gateway = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), parts);
  const controller = new AbortController();
  const call = ask(gateway.url, {}, { signal: controller.signal }).catch(() => {});
  await (
    await openai.next()
  ).body;
  clock.advance(2_000);

  controller.abort();
  await call;
  await gateway.reported();

  assert.equal(record.entries[0]?.outputTokens, 400);
  assert.equal(record.entries[0]?.costMicroUsd, 4_000);
  assert.equal(store.open, 0);
});

test("a client that leaves before OpenAI is called pays nothing, and gets its place back", async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const { record, store: inner } = recordingStore();
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  let asked = (): void => {};
  const admitting = new Promise<void>((resolve) => (asked = resolve));
  const store = changed(inner, {
    admit: async (claim) => {
      asked();
      await gate;
      return inner.admit(claim);
    },
  });
  const gateway = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), { store });
  const controller = new AbortController();
  const call = ask(gateway.url, {}, { signal: controller.signal }).catch(() => {});
  await admitting;

  controller.abort();
  await call;
  await gateLater(open);
  await gateway.reported();

  assert.equal(openai.arrivals.length, 0);
  assert.equal(record.spentMicroUsd, 0);
  assert.equal(inner.open, 0);
});

/** As soon as the gateway has had the time to notice. */
async function gateLater(open: () => void): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 50));
  open();
}

test("what was thought before the first word is paid for by whoever leaves with it", async (t) => {
  const clock = new ManualClock();
  let think = (): void => {};
  const thought = new Promise<void>((resolve) => (think = resolve));
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
    await thought;
    const chunk = { model: "penny", choices: [{ index: 0, delta: { content: "word" } }] };
    res.write(`data: ${JSON.stringify(chunk)}\n\n`);
  });
  const { record, store } = recordingStore(clock);
  const gateway = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), {
    store,
    clock,
  });
  const controller = new AbortController();
  const { signal } = controller;
  const response = await ask(gateway.url, { stream: true, max_tokens: 20_000 }, { signal });
  clock.advance(30_000);
  think();
  await readStream(response).next();

  controller.abort();
  await gateway.reported();

  assert.equal(record.entries[0]?.outputTokens, 1 + 28 * 200);
});

test("what was thought behind the first word is paid for, too", async (t) => {
  const clock = new ManualClock();
  let think = (): void => {};
  const thought = new Promise<void>((resolve) => (think = resolve));
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    res.writeHead(200, { "content-type": "text/event-stream" });
    const chunk = { model: "penny", choices: [{ index: 0, delta: { content: "word" } }] };
    res.write(`data: ${JSON.stringify(chunk)}\n\n`);
    await thought;
    res.write(`data: ${JSON.stringify(chunk)}\n\n`);
  });
  const { record, store } = recordingStore(clock);
  const parts = { store, clock };
  const gateway = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), parts);
  const controller = new AbortController();
  const { signal } = controller;
  const response = await ask(gateway.url, { stream: true, max_tokens: 20_000 }, { signal });
  const reader = readStream(response);
  await reader.next();
  clock.advance(30_000);
  think();
  await reader.next();
  clock.advance(12_000);

  controller.abort();
  await gateway.reported();

  assert.equal(record.entries[0]?.outputTokens, 2 + 28 * 200 + 10 * 200);
});

test("a client that gives up while OpenAI cannot be connected to pays nothing", async (t) => {
  const baseUrl = `http://127.0.0.1:${await deafPort(t)}/v1`;
  const { record, store } = recordingStore();
  const gateway = await startGateway(t, baseUrl, settings({ budget: "100/day" }), { store });
  const controller = new AbortController();
  const call = ask(gateway.url, { model: "dear" }, { signal: controller.signal });
  const gone = assert.rejects(call, { name: "AbortError" });
  await new Promise((resolve) => setTimeout(resolve, 300));

  controller.abort();
  await gone;
  await gateway.reported();

  assert.deepEqual(
    record.entries.map(({ costMicroUsd, error }) => [costMicroUsd, error]),
    [[0, "client_gone"]],
  );
  assert.equal(store.open, 0);
});

test("an answer that breaks off before its client has any of it costs nothing, as the error says", async (t) => {
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    res.writeHead(200, { "content-type": "application/json", "content-length": "100" });
    res.flushHeaders();
    await new Promise((resolve) => setTimeout(resolve, 30));
    res.destroy();
  });
  const { record, store } = recordingStore();
  const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), { store });

  assert.equal((await ask(url)).status, 500);

  const [entry] = record.entries;
  assert.deepEqual([entry?.status, entry?.costMicroUsd, entry?.error], [500, 0, "upstream_reset"]);
  assert.equal(store.open, 0);
});

for (const [coding, encode, costMicroUsd] of [
  ["gzip", gzipSync, 3_000],
  ["compress", (text: string) => Buffer.from(text), CENT], // Nobody knows what it says.
] as const) {
  for (const type of ["application/json", "text/event-stream"]) {
    test(`an answer of ${type} in ${coding} costs what it says, or all that was set aside`, async (t) => {
      const said = JSON.stringify({ model: "penny", choices: [], usage: chatUsage(5, 300) });
      const text = type === "application/json" ? said : `data: ${said}\n\ndata: [DONE]\n\n`;
      const openai = await fakeOpenAI(t, async (res, { body }) => {
        await body;
        res.writeHead(200, { "content-type": type, "content-encoding": coding });
        res.end(encode(text));
      });
      const { record, store } = recordingStore();
      const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), {
        store,
      });

      const response = await ask(url, { stream: type !== "application/json" });
      await response.arrayBuffer();

      assert.equal(response.status, 200);
      assert.deepEqual([record.spentMicroUsd, store.open], [costMicroUsd, 0]);
    });
  }
}

for (const [name, settle] of [
  ["hangs", () => new Promise<void>(() => {})],
  ["breaks its word and rejects", () => Promise.reject(new Error("broken"))],
  [
    "breaks its word and throws",
    () => {
      throw new Error("broken");
    },
  ],
] as const) {
  test(`a store that ${name} keeps neither a client nor its place`, async (t) => {
    const openai = await fakeOpenAI(t, answers);
    const { store: inner } = recordingStore();
    const store = changed(inner, { settle });
    const gateway = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), { store });

    const startedAt = performance.now();
    const response = await ask(gateway.url);
    await response.arrayBuffer();

    assert.equal(response.status, 200);
    assert.ok(performance.now() - startedAt < 1_800, `${performance.now() - startedAt} ms`);
    await gateway.reported();
    await gateway.gateway.close();
  });
}

test("a model that OpenAI does not have gets no name in the record", async (t) => {
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    res.writeHead(404, { "content-type": "application/json" }).end("{}");
  });
  const { record, store } = recordingStore();
  const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), { store });

  await (await ask(url, { model: "ft:gpt-4o-2024-made-up" })).arrayBuffer();

  assert.equal(record.entries[0]?.status, 404);
  assert.equal(record.entries[0]?.model, undefined);
});

test("a stream that reaches the end of the money ends there, with an error in band", async (t) => {
  const openai = await fakeOpenAI(t, streams(5_000));
  const { record, store } = recordingStore();
  const gateway = await startGateway(
    t,
    openai.baseUrl,
    settings({ budget: "0.01/total", assumedOutputTokens: 500 }),
    { store },
  );

  const response = await ask(gateway.url, { stream: true, max_tokens: undefined });
  const text = await response.text();

  const words = text.split('"word"').length - 1;
  assert.ok(words > 900 && words <= 1_000, `${words} words for a cent, which pays 1 000`);
  assert.match(
    text,
    /data: \{"error":\{"message":"Your budget is spent[^\n]*"code":"insufficient_quota"\}\}\n\n$/,
  );
  assert.doesNotMatch(text, /\[DONE\]/);
  const arrival = await openai.next();
  await arrival.closed;
  await gateway.reported();
  assert.ok(
    record.spentMicroUsd >= words * 10 && record.spentMicroUsd <= CENT + 100,
    `${record.spentMicroUsd}`,
  );
  assert.equal(store.open, 0);
  assert.equal((await ask(gateway.url)).status, 429);
});

test("an event that is worth more than the money left is not handed out", async (t) => {
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    res.writeHead(200, { "content-type": "text/event-stream" });
    for (const content of ["few", "many ".repeat(2_000)]) {
      const chunk = { model: "penny", choices: [{ index: 0, delta: { content } }], usage: null };
      res.write(`data: ${JSON.stringify(chunk)}\n\n`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  const { store } = recordingStore();
  const policy = { budget: "0.01/total", assumedOutputTokens: 500 };
  const { url } = await startGateway(t, openai.baseUrl, settings(policy), { store });

  const text = await (await ask(url, { stream: true, max_tokens: undefined })).text();

  assert.match(text, /"few"/);
  assert.doesNotMatch(text, /many/);
  assert.match(text, /insufficient_quota/);
  assert.equal(store.open, 0);
});

test("a stream that stays within its budget is extended as it goes, and ends as OpenAI ends it", async (t) => {
  const openai = await fakeOpenAI(t, streams(2_000));
  const { record, store } = recordingStore();
  const policy = { budget: "1/day", assumedOutputTokens: 500 };
  const { url } = await startGateway(t, openai.baseUrl, settings(policy), { store });

  const text = await (await ask(url, { stream: true, max_tokens: undefined })).text();

  assert.match(text, /data: \[DONE\]\n\n$/);
  assert.equal(record.spentMicroUsd, 20_000);
  assert.equal(record.entries[0]?.estimated, false);
  assert.equal(store.open, 0);
});

test("a stream whose service tier has no price costs all that was set aside for it, extensions too", async (t) => {
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    res.writeHead(200, { "content-type": "text/event-stream" });
    const chunk = {
      model: "penny",
      choices: [{ index: 0, delta: { content: "word ".repeat(800) } }],
    };
    res.write(`data: ${JSON.stringify(chunk)}\n\n`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const last = {
      model: "penny",
      service_tier: "unheard-of",
      choices: [],
      usage: chatUsage(1, 1_000),
    };
    res.end(`data: ${JSON.stringify(last)}\n\ndata: [DONE]\n\n`);
  });
  const { record, store } = recordingStore();
  const policy = { budget: "1/day", assumedOutputTokens: 250 };
  const { url } = await startGateway(t, openai.baseUrl, settings(policy), { store });

  await (await ask(url, { stream: true, max_tokens: undefined })).text();

  const [entry] = record.entries;
  assert.equal(entry?.costMicroUsd, 10_000);
  assert.equal(entry.estimated, true);
  assert.equal(store.open, 0);
});

test("usage that cannot be is clamped, marked and charged at no less than was seen", async (t) => {
  const openai = await fakeOpenAI(t, async (res, { body }) => {
    await body;
    res.writeHead(200, { "content-type": "application/json" });
    const usage = { prompt_tokens: -5, completion_tokens: -1_000, total_tokens: "many" };
    const choices = [{ message: { content: "word ".repeat(400) } }];
    res.end(JSON.stringify({ object: "chat.completion", model: "penny", choices, usage }));
  });
  const { record, store } = recordingStore();
  const gateway = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), { store });

  await (await ask(gateway.url)).arrayBuffer();

  const line = await gateway.reported();
  assert.equal(line["clamped"], true);
  assert.equal(line["estimated"], true);
  assert.ok(record.spentMicroUsd >= 4_000, `${record.spentMicroUsd}`);
});

test("a common budget is one for all callers, an address's for all who call from it", async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const access = {
    keys: ["ann", "bob"].map((name) => ({ name, sha256: sha256(`${name}-secret-key`) })),
  };
  for (const scope of ["shared", "perAddress"] as const) {
    const policies = { default: { [scope]: { budget: "0.02/day" } } };
    const { url } = await startGateway(t, openai.baseUrl, { prices: PRICES, access, policies });
    const as = (name: string) =>
      ask(url, {}, { headers: { authorization: `Bearer ${name}-secret-key` } });

    const statuses = [];
    for (const name of ["ann", "bob", "ann", "bob"]) statuses.push((await as(name)).status);

    assert.deepEqual(statuses, [200, 200, 429, 429], scope);
  }
});

test("what cannot be held to a budget is refused, what costs nothing is not", async (t) => {
  const openai = await fakeOpenAI(t);
  const policy = { endpoints: ["*"], budget: "0.01/total" };
  const { url } = await startGateway(t, openai.baseUrl, settings(policy));

  const batch = await post(`${url}/v1/batches`, { input_file_id: "file-1" });
  assert.equal(batch.status, 403);
  assert.match((await errorOf(batch)).message, /\(budget\)/);
  const moderation = { model: "omni-moderation-latest", input: "x" };
  assert.equal((await post(`${url}/v1/moderations`, moderation)).status, 200);
  assert.equal((await fetch(`${url}/v1/models`)).status, 200);
});

test("work that goes on when the call is over cannot be counted, and is refused", async (t) => {
  const openai = await fakeOpenAI(t, answers);
  const { url } = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }));
  const call = { model: "penny", input: "x", max_output_tokens: 10 };

  const refused = await post(`${url}/v1/responses`, { ...call, background: true });

  assert.equal(refused.status, 403);
  const { code, message } = await errorOf(refused);
  assert.equal(code, "parameter_not_allowed");
  assert.match(message, /"background"/);
  assert.equal(openai.arrivals.length, 0);
  for (const background of [false, null]) {
    const { status } = await post(`${url}/v1/responses`, { ...call, max_tokens: 1, background });
    assert.equal(status, 200);
  }
});

/** A small linear congruential generator: the same numbers in every run. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
}

/** Whatever an upstream does, as the call's `user` says. */
const moody: Script = async (res, arrival) => {
  const { user, stream, max_tokens: cap, model } = JSON.parse((await arrival.body).toString());
  const used = Math.ceil(cap * Number(user.split(" ")[1]));
  if (user.startsWith("reset")) return void res.destroy();
  if (user.startsWith("error")) {
    res.writeHead(503, { "content-type": "application/json" });
    return void res.end("{}");
  }
  if (stream !== true)
    return answers(res, {
      ...arrival,
      body: Promise.resolve(Buffer.from(JSON.stringify({ model, max_tokens: used }))),
    });
  res.writeHead(200, { "content-type": "text/event-stream" });
  for (let word = 0; word < Math.min(used, 20); word++) {
    const chunk = { model, choices: [{ index: 0, delta: { content: "word" } }], usage: null };
    res.write(`data: ${JSON.stringify(chunk)}\n\n`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (user.startsWith("broken")) return void res.destroy();
  const last = { choices: [], model, usage: chatUsage(3, used) };
  res.end(`data: ${JSON.stringify(last)}\n\ndata: [DONE]\n\n`);
};

for (const seed of [1, 2, 3, 4, 5]) {
  test(`random costs, aborts and failures never overrun a budget and leave nothing set aside (seed ${seed})`, async (t) => {
    const random = createRandom(seed);
    const openai = await fakeOpenAI(t, moody);
    const { record, store } = recordingStore();
    const gateway = await startGateway(t, openai.baseUrl, settings({ budget: "0.2/total" }), {
      store,
    });

    const one = async (): Promise<void> => {
      const moods = ["fine", "fine", "fine", "reset", "error", "broken"];
      const mood = moods[Math.floor(random() * moods.length)];
      const body = {
        user: `${mood} ${random()}`,
        stream: random() < 0.6,
        max_tokens: 1 + Math.floor(random() * 2_000),
      };
      const controller = new AbortController();
      const leaves = random() < 0.3;
      try {
        const response = await ask(gateway.url, body, { signal: controller.signal });
        if (leaves) controller.abort();
        await response.arrayBuffer();
      } catch {
        // Broken off, by us or by them.
      }
      await gateway.reported();
    };
    for (let wave = 0; wave < 10; wave++) {
      await Promise.all(Array.from({ length: 20 }, one));
      assert.ok(record.spentMicroUsd <= 200_000, `${record.spentMicroUsd} of 200 000`);
    }

    assert.ok(record.spentMicroUsd > 100_000, "and it is used");
    assert.equal(store.open, 0);
  });
}

test("shutdown settles what it ends", async (t) => {
  const openai = await fakeOpenAI(t, streams(1_000_000));
  const { record, store } = recordingStore();
  const gateway = await startGateway(t, openai.baseUrl, settings({ budget: "1/day" }), { store });
  const response = await ask(gateway.url, { stream: true });
  await readStream(response).next();

  await gateway.gateway.close();

  assert.equal(record.entries.length, 1);
  assert.equal(record.entries[0]?.error, "draining");
  assert.ok(record.spentMicroUsd > 0, "for what was streamed");
  assert.equal(store.open, 0);
});

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
