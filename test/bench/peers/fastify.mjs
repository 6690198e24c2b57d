// @fastify/http-proxy as in its manual, with as many connections as there are streams.
import httpProxy from "@fastify/http-proxy";
import Fastify from "fastify";

const app = Fastify();
await app.register(httpProxy, {
  upstream: new URL(process.env.OPENAI_BASE_URL).origin,
  undici: { connections: null },
  replyOptions: {
    rewriteRequestHeaders: (req, headers) => ({
      ...headers,
      authorization: `Bearer ${process.env.OPENAI_API_KEY}`,
    }),
  },
});
await app.listen({ port: process.env.PORT, host: "127.0.0.1" });
