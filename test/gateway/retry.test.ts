// Rule 7: nothing is sent again unless OpenAI provably never saw it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { completes, deadUrl, fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { post } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

test("a refused connection is tried once more, with the same bytes", async (t) => {
  const clock = new ManualClock();
  const baseUrl = await deadUrl();
  const { url, reported } = await startGateway(t, baseUrl, {}, { clock });
  const body = JSON.stringify({ text: "x".repeat(200_000) });
  const call = post(`${url}/v1/chat/completions`, undefined, { body });
  // The first-byte clock, and the pause before the second try.
  while (clock.pending < 2) await turn();

  const openai = await fakeOpenAI(t, completes, Number(new URL(baseUrl).port));
  clock.advance(200);

  assert.equal((await call).status, 200);
  assert.equal(String(await (await openai.next()).body), body);
  assert.equal((await reported())["attempts"], 2);
});

test("a connection that is refused twice is 500 upstream_unreachable, with details", async (t) => {
  const { url, reported } = await startGateway(t, await deadUrl());

  const response = await post(`${url}/v1/chat/completions`, {});

  assert.equal(response.status, 500);
  assert.equal(response.headers.get("x-should-retry"), null);
  assert.deepEqual(await response.json(), {
    error: {
      message: "The gateway could not connect to OpenAI (ECONNREFUSED).",
      type: "server_error",
      param: null,
      code: "upstream_unreachable",
    },
  });
  const line = await reported();
  assert.match(
    String(line["cause"]),
    /^(?:TypeError: fetch failed <- )?Error: connect ECONNREFUSED 127\.0\.0\.1:\d+/,
  );
  assert.equal(line["attempts"], 2);
});

const reached: Record<string, Script> = {
  "closes the connection after reading the request": async (res, { body }) => {
    await body;
    res.destroy();
  },
  "resets it before reading": (res) => void res.socket?.resetAndDestroy(),
  "answers with garbage": (res) => void res.socket?.end("garbage\r\n\r\n"),
};

for (const [what, script] of Object.entries(reached)) {
  test(`an OpenAI that ${what} may have billed the call: 500 upstream_reset, one attempt`, async (t) => {
    const openai = await fakeOpenAI(t, script);
    const { url } = await startGateway(t, openai.baseUrl);

    const response = await post(`${url}/v1/chat/completions`, {});

    assert.equal(response.status, 500);
    assert.equal(response.headers.get("x-should-retry"), "false");
    assert.match(await response.text(), /"code":"upstream_reset"/);
    assert.equal(openai.arrivals.length, 1);
  });
}

for (const status of [429, 500, 503]) {
  test(`an answer of ${status} is OpenAI's answer: it is handed on, the client decides`, async (t) => {
    const openai = await fakeOpenAI(
      t,
      (res) => void res.writeHead(status, { "retry-after-ms": "5" }).end("{}"),
    );
    const { url } = await startGateway(t, openai.baseUrl);

    const response = await post(`${url}/v1/chat/completions`, {});

    assert.deepEqual([response.status, response.headers.get("retry-after-ms")], [status, "5"]);
    assert.equal(openai.arrivals.length, 1);
  });
}

test("a redirect of a call with a body is an error that says where to look", async (t) => {
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(308, { location: "https://elsewhere.example/v1" }).end();
  });
  const { url } = await startGateway(t, openai.baseUrl);

  const response = await post(`${url}/v1/chat/completions`, {}, { redirect: "manual" });

  assert.equal(response.status, 500);
  assert.match(await response.text(), /redirect, which is not followed: see OPENAI_BASE_URL/);
  assert.equal(openai.arrivals.length, 1);
});

test("a port that fetch refuses is named as such", async (t) => {
  const baseUrl = "http://127.0.0.1:6000/v1";
  const { url } = await startGateway(t, baseUrl, {
    upstreams: [{ baseUrl, apiKey: "sk", transport: "fetch" }],
  });

  const response = await post(`${url}/v1/chat/completions`, {});

  assert.equal(response.status, 500);
  assert.match(await response.text(), /"message":"OPENAI_BASE_URL has a port that fetch refuses/);
});
