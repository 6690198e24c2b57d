// http-proxy with an agent that keeps connections; with the argument `plain` as most programs use
// it, which is without: a connection for every call.
import { Agent, createServer } from "node:http";
import httpProxy from "http-proxy";

const proxy = httpProxy.createProxyServer({
  target: new URL(process.env.OPENAI_BASE_URL).origin,
  agent: process.argv[2] === "plain" ? undefined : new Agent({ keepAlive: true }),
  headers: { authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
});
proxy.on("error", (error, req, res) => res.destroy());
createServer((req, res) => proxy.web(req, res)).listen(process.env.PORT, "127.0.0.1");
