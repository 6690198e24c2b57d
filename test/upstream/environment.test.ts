// Node's own settings for a proxy on the way out hold for both transports.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { fakeOpenAI, portOf } from "../helpers/fake-openai.ts";
import { startCli } from "../helpers/run-cli.ts";

/** A proxy that forwards and tunnels (RFC 9110 §9.3.6), and counts. */
async function startProxy(t: TestContext) {
  const seen: string[] = [];
  const server = createServer((req, res) => {
    seen.push(`${req.method} ${req.url}`);
    const { method, headers } = req;
    const onward = request(String(req.url), { method, headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(res);
    });
    req.pipe(onward);
  });
  server.on("connect", (req, socket) => {
    seen.push(`CONNECT ${req.url}`);
    const [host, port] = String(req.url).split(":");
    const onward = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.pipe(socket).pipe(onward);
    });
    for (const each of [onward, socket]) each.on("error", () => each.destroy());
    onward.once("close", () => socket.destroy());
    socket.once("close", () => onward.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${portOf(server)}`, seen };
}

const [node = 0] = process.versions.node.split(".").map(Number);

for (const transport of ["fetch", "direct"]) {
  test(`under NODE_USE_ENV_PROXY calls by ${transport} go through the proxy`, async (t) => {
    const { baseUrl } = await fakeOpenAI(t, (res) => void res.end(`{"object":"list"}`));
    const proxy = await startProxy(t);
    const { url } = await startCli(t, {
      env: {
        OPENAI_API_KEY: "sk-test-0123456789",
        OPENAI_BASE_URL: baseUrl,
        UPSTREAM_TRANSPORT: transport,
        NODE_USE_ENV_PROXY: "1",
        HTTP_PROXY: proxy.url,
        http_proxy: proxy.url,
      },
    });

    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body: "{}" });

    assert.deepEqual([response.status, await response.text()], [200, `{"object":"list"}`]);
    // Node 20 does not know the variable.
    assert.equal(proxy.seen.length, node < 22 ? 0 : 1, proxy.seen.join());
  });
}
