// A client that makes up 10 000 names: of models, paths, methods, callers. No series, row or entry is
// there for each of them.
import assert from "node:assert/strict";
import { METHODS } from "node:http";
import { test } from "node:test";
import { SERIES_LIMIT } from "../../src/telemetry/gateway-families.ts";
import { ADMIN_KEY, readAdmin, watchEvents } from "../helpers/admin.ts";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { scrape } from "../helpers/scrape.ts";
import { startGateway } from "../helpers/start-gateway.ts";

/** Believes whatever it is told. */
const echoes: Script = async (res, { body, method }) => {
  const { model } = JSON.parse((await body).toString() || "{}");
  const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
  res.writeHead(method === "POST" ? 200 : 404, { "content-type": "application/json" });
  res.end(JSON.stringify({ model, usage }));
};

async function inTurns(count: number, each: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const run = async (): Promise<void> => {
    while (next < count) await each(next++);
  };
  await Promise.all(Array.from({ length: 32 }, run));
}

test("10 000 made-up names grow nothing that is told of calls", { timeout: 120_000 }, async (t) => {
  const openai = await fakeOpenAI(t, echoes);
  const trusted = { host: "127.0.0.1", trustedProxies: ["127.0.0.1"] };
  const policies = { default: { endpoints: ["*", "admin"] } };
  const settings = { server: trusted, policies, admin: { key: ADMIN_KEY } };
  const { url } = await startGateway(t, openai.baseUrl, settings);
  const methods = METHODS.filter((method) => !/^(?:CONNECT|TRACE|TRACK|QUERY)$/.test(method));

  await inTurns(10_000, async (index) => {
    const from = { "x-forwarded-for": `198.18.${index >> 8}.${index & 255}` };
    const model = index % 2 === 0 ? `model-${index}` : `gpt-4o-mini-${index}`;
    const answer = await [
      () => post(`${url}/v1/chat/completions`, { model }, { headers: from }),
      () => fetch(`${url}/v1/models/${model}`, { headers: from }),
      () => fetch(`${url}/v1/made/up/${index}`, { headers: from }),
      () => fetch(`${url}/made-up-${index}`, { method: methods[index % methods.length] ?? "GET" }),
      () => fetch(`${url}/admin/made-up-${index}`),
    ][index % 5]?.();
    await answer?.arrayBuffer();
  });

  const samples = await scrape(url);
  assert.ok(samples.length < 400, `there are ${samples.length} series`);
  assert.ok(samples.length <= SERIES_LIMIT);
  const values = new Set(samples.flatMap(({ labels }) => Object.values(labels)));
  const madeUp = [...values].filter((value) => /\d{3}|made/.test(value) && !/^v\d/.test(value));
  assert.deepEqual(
    madeUp.filter((value) => !/^\d+(?:\.\d+)?$/.test(value)),
    [],
  );
  const viewer = watchEvents<Record<string, { rows: unknown[] }[]>>(url);
  const { value: hello } = await viewer.next();
  await viewer.return();
  const { fine = [], coarse = [], calls = [] } = hello?.data ?? {};
  assert.ok(
    [...fine, ...coarse].every(({ rows }) => rows.length <= 50),
    "a bucket has grown",
  );
  assert.equal(calls.length, 100);
  const { callers, more } = await readAdmin<{ callers: unknown[]; more: number }>(
    url,
    "/admin/callers",
  );
  assert.equal(callers.length, 100);
  assert.ok(more > 800, `${more} more callers are known`);
});
