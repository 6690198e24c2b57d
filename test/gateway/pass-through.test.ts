// The promises of the first day: one path, one key, CORS, and a welcome.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";

test("POST /api/openai/v1/chat/completions reaches /v1/chat/completions with the server's key", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl);

  const response = await fetch(`${url}/api/openai/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer of-the-client" },
    body: '{"model":"gpt-4o-mini","messages":[]}',
  });

  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), {
    id: "chatcmpl-1",
    object: "chat.completion",
    choices: [],
  });
  const arrival = await openai.next();
  assert.equal(`${arrival.method} ${arrival.url}`, "POST /v1/chat/completions");
  assert.equal(arrival.headers.authorization, `Bearer ${API_KEY}`);
  assert.equal(response.headers.get("x-request-id"), "req_fake");
});

test("both prefixes are the OpenAI API, and the query goes along verbatim", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl);

  await fetch(`${url}/v1/models?limit=2&after=a%20b+c`);
  await fetch(`${url}/api/openai/v1/models/gpt-4o-mini`);

  const urls = [(await openai.next()).url, (await openai.next()).url];
  assert.deepEqual(urls, ["/v1/models?limit=2&after=a%20b+c", "/v1/models/gpt-4o-mini"]);
});

test("any page may call, as far as CORS_ORIGINS is *", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl);

  const preflight = await fetch(`${url}/v1/chat/completions`, {
    method: "OPTIONS",
    headers: {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization, content-type, x-stainless-lang",
    },
  });

  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), "*");
  assert.match(preflight.headers.get("access-control-allow-methods") ?? "", /POST/);
  assert.equal(
    preflight.headers.get("access-control-allow-headers"),
    "authorization, content-type, x-stainless-lang",
  );
  assert.equal(openai.arrivals.length, 0);
});

test("a page of another origin is refused before its call costs anything", async (t) => {
  const openai = await fakeOpenAI(t);
  const cors = { origins: ["https://app.example"] };
  const { url } = await startGateway(t, openai.baseUrl, { cors });
  const ask = (origin: string): Promise<Response> =>
    fetch(`${url}/v1/embeddings`, { method: "POST", body: "{}", headers: { origin } });

  const [refused, admitted] = [await ask("https://evil.example"), await ask("https://app.example")];

  assert.equal(refused.status, 403);
  assert.equal(refused.headers.get("access-control-allow-origin"), null);
  assert.match(await refused.text(), /"code":"origin_not_allowed"/);
  assert.equal(admitted.headers.get("access-control-allow-origin"), "https://app.example");
  assert.equal(admitted.headers.get("vary"), "origin");
  assert.equal(openai.arrivals.length, 1);
});
