// An upstream that compresses although nobody asked: what is undone on the way ends with its call.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createGzip, constants } from "node:zlib";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

for (const when of ["in the middle", "while OpenAI is silent"]) {
  test(
    `a client that leaves a compressed stream ${when} ends the call to OpenAI`,
    { timeout: 10_000 },
    async (t) => {
      const openai = await fakeOpenAI(t, (res) => {
        res.writeHead(200, { "content-type": "text/event-stream", "content-encoding": "gzip" });
        const gzip = createGzip({ flush: constants.Z_SYNC_FLUSH });
        gzip.pipe(res);
        gzip.write('data: {"a":1}\n\n');
        if (when === "in the middle") {
          const timer = setInterval(() => gzip.write('data: {"a":1}\n\n'), 1);
          res.on("close", () => clearInterval(timer));
        }
      });
      const { url, reported } = await startGateway(t, openai.baseUrl);
      const controller = new AbortController();
      const response = await post(
        `${url}/v1/chat/completions`,
        { stream: true },
        { signal: controller.signal },
      );
      const reader = response.body?.getReader();
      const first = await reader?.read();
      assert.match(Buffer.from(first?.value ?? []).toString(), /^data: /);
      const arrival = await openai.next();

      controller.abort();

      await arrival.closed;
      assert.equal((await reported())["error"], "client_gone");
    },
  );
}

test("an empty answer that says it is compressed is empty", async (t) => {
  const openai = await fakeOpenAI(t, (res) => {
    res.writeHead(200, { "content-encoding": "gzip", "content-length": "0" }).end();
  });
  const { url } = await startGateway(t, openai.baseUrl);

  const response = await fetch(`${url}/v1/models/any`);

  assert.deepEqual([response.status, await response.text()], [200, ""]);
});
