// Rules 2, 8, 9 and 10, each by its name; 1 and 3 to 7 have files of their own. Of rule 8 there is
// only the part that needs no limits: what a call takes it gives back, exactly once.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request, type ClientRequest } from "node:http";
import { test } from "node:test";
import { setTimeout as turn } from "node:timers/promises";
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { parseConfig } from "../../src/config/parse.ts";
import { fakeOpenAI, portOf, type Script } from "../helpers/fake-openai.ts";
import { sendRaw } from "../helpers/raw-client.ts";
import { post } from "../helpers/read-stream.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";

test("rule 2: what the rules see is what OpenAI sees, to the letter, or the call is refused", async (t) => {
  const openai = await fakeOpenAI(t);
  const { port } = await startGateway(t, openai.baseUrl);
  const ask = (path: string) => sendRaw(port, `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
  const plain = [
    "/v1/models/ft:gpt-4o-mini:acme::9a%20b",
    "/v1/models/%E2%82%AC",
    "/v1/models/a;b=1,2",
    "/v1/models?limit=1&x='%27|\"",
  ];
  const ambiguous = [
    "/v1/models/%2e%2e",
    "/v1/models/..",
    "/v1//models",
    "/v1/%6dodels",
    "/v1/models/a%2fb",
  ];

  for (const path of plain) assert.equal((await ask(path)).status, 200, path);
  for (const path of ambiguous) assert.equal((await ask(path)).status, 400, path);

  const urls = openai.arrivals.map(({ url }) => url);
  // WHATWG URLs, and so fetch, encode two characters of a query: the same to any server.
  const sent = plain.map((path) => path.replace("='", "=%27").replace('"', "%22"));
  assert.deepEqual(urls, sent);
});

test("rule 8: what a call takes it gives back exactly once, however it ends", async (t) => {
  const scripts: Record<string, Script> = {
    "/v1/moderations": (res) => void res.end("{}"),
    "/v1/embeddings": (res) => void res.destroy(),
    "/v1/completions": (res) => void res.writeHead(500).end("{}"),
    "/v1/chat/completions": (res) => {
      res.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
    },
  };
  const openai = await fakeOpenAI(t, (res, arrival) => scripts[arrival.url]?.(res, arrival));
  const settings = { server: { maxConcurrentRequests: 1, maxBodyBytes: 10 } };
  const { url, reported } = await startGateway(t, openai.baseUrl, settings);

  for (let round = 0; round < 3; round++) {
    for (const path of [...Object.keys(scripts), "/v1/files", "/v1/unknown"]) {
      const leaving = new AbortController();
      const response = await post(url + path, {}, { signal: leaving.signal });
      assert.notEqual(response.status, 503, path);
      leaving.abort();
      await reported();
    }
    assert.equal((await post(`${url}/v1/moderations`, { over: "the limit" })).status, 413);
    await reported();
  }
});

test("rule 9: nothing grows without bound: open streams keep nothing of what was asked", async (t) => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  // Neither this OpenAI nor this client keeps anything itself.
  const openai = createServer((req, res) => {
    req.resume().on("end", () => {
      res.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
    });
  });
  await once(openai.listen(0, "127.0.0.1"), "listening");
  t.after(() => openai.close());
  const { url } = await startGateway(t, `http://127.0.0.1:${portOf(openai)}/v1`);
  const body = Buffer.alloc(900_000);
  const open = async (): Promise<ClientRequest> => {
    const call = request(`${url}/v1/responses`, { method: "POST", agent: false }).end(body);
    const [response] = await once(call, "response");
    response.on("error", () => {});
    await once(response, "data");
    return call;
  };
  const calls = [await open()];
  collect();
  const before = process.memoryUsage().arrayBuffers;

  for (let count = 0; count < 40; count++) calls.push(await open());
  for (let count = 0; count < 10; count++, collect()) await turn(10);
  const kept = process.memoryUsage().arrayBuffers - before;

  assert.ok(kept < 40 * 200_000, `${kept} bytes for 40 streams`);
  for (const call of calls) call.destroy();
});

test("rule 10: secrets cannot be printed, whichever way one tries", () => {
  const config = parseConfig({ upstreams: [{ apiKey: API_KEY }] });
  const { apiKey } = config.upstreams[0];

  const printed = [
    inspect(config, { depth: 9, showHidden: true }),
    JSON.stringify(config),
    `${apiKey}`,
  ];

  for (const text of printed) {
    assert.ok(!text.includes(API_KEY), text);
    assert.match(text, /\[secret\]/);
  }
});
