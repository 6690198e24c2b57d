// GET /admin/events: what happens now, for whoever looks, and at nobody's cost.
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { test, type TestContext } from "node:test";
import type { ConfigInput } from "../../src/gateway.ts";
import type { LiveBucket } from "../../src/telemetry/live-series.ts";
import type { LiveCall } from "../../src/telemetry/live-feed.ts";
import { ADMIN, ADMIN_KEY, readAdmin, watchEvents, type AdminEvent } from "../helpers/admin.ts";
import { fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { post } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

interface Live {
  readonly nowMs: number;
  readonly calls: readonly LiveCall[];
  readonly fine: readonly LiveBucket[];
  readonly coarse: readonly LiveBucket[];
  readonly bucket: LiveBucket;
  readonly missed: number;
  readonly now: Readonly<Record<string, unknown>>;
  readonly upstream: Readonly<Record<string, unknown>>;
  readonly open: boolean;
}

const chats: Script = async (res, { body }) => {
  await body;
  res.writeHead(200, { "content-type": "application/json" });
  const usage = { prompt_tokens: 1_000, completion_tokens: 500, total_tokens: 1_500 };
  res.end(JSON.stringify({ model: "gpt-4o-mini-2024-07-18", usage }));
};

async function start(t: TestContext, script: Script = chats, settings: ConfigInput = {}) {
  const openai = await fakeOpenAI(t, script);
  const clock = new ManualClock();
  const all = { admin: { key: ADMIN_KEY }, ...settings };
  const running = await startGateway(t, openai.baseUrl, all, { clock });
  const call = async (): Promise<void> => {
    await (await post(`${running.url}/v1/chat/completions`, { model: "gpt-4o-mini" })).text();
    await running.reported();
  };
  return { ...running, openai, clock, call };
}

/** The next event of a viewer. */
async function next(viewer: AsyncGenerator<AdminEvent<Live>, void>): Promise<AdminEvent<Live>> {
  const { value } = await viewer.next();
  assert.ok(value !== undefined, "there are no more events");
  return value;
}

test("whoever begins to look is told what was, and each second what is new", async (t) => {
  const { url, call, clock } = await start(t);
  await call();
  const viewer = watchEvents<Live>(url);

  const hello = await next(viewer);
  await call();
  clock.advance(1_000);
  const tick = await next(viewer);
  clock.advance(1_000);
  const empty = await next(viewer);
  await viewer.return();

  assert.deepEqual([hello.name, hello.data.open, hello.data.calls.length], ["hello", true, 1]);
  const { id, atMs, durationMs, firstByteMs, gatewayMs, ...shown } = hello.data.calls[0] ?? {};
  assert.match(id ?? "", /^gw_[\da-f]{32}$/);
  assert.ok(atMs !== undefined && durationMs !== undefined && firstByteMs !== undefined);
  assert.ok(gatewayMs !== undefined);
  assert.deepEqual(shown, {
    caller: "127.0.0.1",
    policy: "default",
    model: "gpt-4o-mini-2024-07-18",
    route: "POST /chat/completions",
    status: 200,
    error: null,
    reason: null,
    stream: false,
    inputTokens: 1_000,
    outputTokens: 500,
    costMicroUsd: 450,
    estimated: false,
    upstreamRequestId: null,
  });
  assert.deepEqual([tick.name, tick.data.calls.length, tick.data.missed], ["tick", 1, 0]);
  assert.equal(tick.data.bucket.rows[0]?.requests, 2);
  assert.deepEqual(empty.data.calls, []);
  const { attempts, healthy, host } = tick.data.upstream;
  assert.deepEqual(Object(attempts)["2xx"], 2);
  assert.deepEqual([healthy, String(host).startsWith("127.0.0.1:")], [true, true]);
  assert.deepEqual([tick.data.now["inFlight"], tick.data.now["dashboards"]], [0, 1]);
});

test("no call is lost between two buckets, whoever looked when", async (t) => {
  const { url, call, clock } = await start(t);
  const early = watchEvents<Live>(url);
  await next(early);
  let told = 0;
  for (let second = 0; second < 12; second++) {
    await call();
    clock.advance(700);
    await call();
    clock.advance(300);
  }
  await call();
  clock.advance(1_000);
  const buckets = new Map<number, number>();
  let ticks = 0;
  while (told < 25 && ticks++ < 40) {
    const { data } = await next(early);
    told += data.calls.length;
    buckets.set(
      data.bucket.atMs,
      data.bucket.rows.reduce((sum, { requests }) => sum + requests, 0),
    );
  }
  await early.return();

  assert.equal(told, 25);
  assert.equal(
    [...buckets.values()].reduce((sum, count) => sum + count, 0),
    25,
  );
});

test("of more calls than are shown it is told how many were missed", async (t) => {
  const { url, call, clock } = await start(t);
  const viewer = watchEvents<Live>(url);
  await next(viewer);
  for (let index = 0; index < 130; index++) await call();

  clock.advance(1_000);
  const { data } = await next(viewer);
  await viewer.return();

  assert.deepEqual([data.calls.length, data.missed], [100, 30]);
  assert.equal(data.bucket.rows[0]?.requests, 130);
});

test("probes, pages, scrapes and what operators ask are no calls", async (t) => {
  const { url, call, clock } = await start(t);
  const viewer = watchEvents<Live>(url);
  await next(viewer);
  for (const path of ["/healthz", "/", "/dashboard", "/nowhere"]) {
    await (await fetch(url + path)).arrayBuffer();
  }
  for (const path of ["/metrics", "/admin/usage", "/admin/nothing"]) {
    await (await fetch(url + path, { headers: ADMIN })).arrayBuffer();
  }
  await call();

  clock.advance(1_000);
  const { data } = await next(viewer);
  await viewer.return();

  assert.deepEqual(
    data.calls.map(({ route }) => route),
    ["POST /chat/completions"],
  );
});

test("a failed call tells why", async (t) => {
  const { url, clock } = await start(t, (res) => void res.destroy());
  const viewer = watchEvents<Live>(url);
  await next(viewer);
  await (await post(`${url}/v1/chat/completions`, { model: "m" })).text();

  clock.advance(1_000);
  const { data } = await next(viewer);
  await viewer.return();

  const [{ status, error, reason } = {}] = data.calls;
  assert.deepEqual([status, error], [500, "upstream_reset"]);
  assert.match(String(reason), /connection to OpenAI broke/);
  assert.deepEqual(Object(data.upstream["lastFailure"]).code, "upstream_reset");
});

test("while nobody looks nothing is put into words, and no timer runs", async (t) => {
  const { url, call, clock } = await start(t);
  await call();
  const before = clock.pending;
  const viewer = watchEvents<Live>(url);
  await next(viewer);
  assert.equal(clock.pending, before + 1);

  await viewer.return();
  // The gateway sees it in its own time, and then not even the next second.
  for (let turn = 0; turn < 2_000 && clock.pending > before; turn++) {
    await setImmediate();
    if (turn % 100 === 99) clock.advance(1_000);
  }

  assert.equal(clock.pending, before);
});

test("128 may look at one time; the next is told to come later", async (t) => {
  const { url } = await start(t);
  const viewers = Array.from({ length: 128 }, () => watchEvents<Live>(url));
  await Promise.all(viewers.map(next));

  const refused = await fetch(`${url}/admin/events`, { headers: ADMIN });
  await Promise.all(viewers.map((viewer) => viewer.return()));

  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "10"]);
  await refused.arrayBuffer();
});

test("closing the gateway lets everybody go at once", async (t) => {
  const { url, gateway } = await start(t);
  const viewer = watchEvents<Live>(url);
  await next(viewer);

  const closing = gateway.close();
  const left = await viewer.next();
  await closing;

  assert.equal(left.done, true);
});

test("strangers take no place with names that they make up, and none is long", async (t) => {
  const access = { keys: [{ name: "a", sha256: "ab".repeat(32) }] };
  const settings = { access, server: { host: "127.0.0.1" } };
  const { url, clock } = await start(t, chats, settings);
  const viewer = watchEvents<Live>(url);
  await next(viewer);
  for (let index = 0; index < 60; index++) {
    await (await fetch(`${url}/v1/models/${index}-${"m".repeat(10_000)}`)).arrayBuffer();
  }

  clock.advance(1_000);
  const { data } = await next(viewer);
  await viewer.return();

  assert.deepEqual(
    data.bucket.rows.map(({ caller, model, requests }) => [caller, model, requests]),
    [["", "", 60]],
  );
  assert.ok(JSON.stringify(data).length < 60_000, "it is long");
});

test("a name that OpenAI knows is shown with its beginning", async (t) => {
  const { url, clock } = await start(t, (res) => void res.end("{}"));
  const viewer = watchEvents<Live>(url);
  await next(viewer);
  await (await fetch(`${url}/v1/models/${"m".repeat(10_000)}`)).arrayBuffer();

  clock.advance(1_000);
  const { data } = await next(viewer);
  await viewer.return();

  assert.equal(data.calls[0]?.model, `${"m".repeat(100)}…`);
});

test("what is shown has no secret and no content", async (t) => {
  const secret = "sk-live-0123456789abcdefghij";
  const { url, clock } = await start(t);
  const viewer = watchEvents<Live>(url);
  await next(viewer);
  const body = { model: secret, messages: [{ role: "user", content: "my diary" }] };
  const headers = { authorization: `Bearer ${secret}` };
  await (await post(`${url}/v1/chat/completions`, body, { headers })).text();
  await (await fetch(`${url}/v1/models/${secret}`, { headers })).text();
  await (await fetch(`${url}/v1/${secret}`, { headers })).text();

  clock.advance(1_000);
  const { data } = await next(viewer);
  await viewer.return();

  assert.equal(data.calls.length, 3);
  const text = JSON.stringify([data, await readAdmin(url, "/admin/callers")]);
  for (const word of [secret, "my diary", ADMIN_KEY]) {
    assert.ok(!text.includes(word), `"${word}" is shown`);
  }
});
