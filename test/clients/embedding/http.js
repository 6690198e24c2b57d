import { createServer } from "node:http";
import { createGateway } from "openai-gateway";

const gateway = createGateway({
  upstreams: [{ apiKey: process.env.OPENAI_API_KEY, baseUrl: process.env.OPENAI_BASE_URL }],
  policies: { default: { endpoints: ["chat", "responses", "realtime"] } },
});

const server = createServer((req, res) => {
  if (req.url.startsWith("/v1/")) gateway.handle(req, res);
  else res.end("my own page");
});
server.on("upgrade", gateway.upgrade); // WebSockets: realtime, and responses
server.listen(process.env.PORT ?? 3000);

process.once("SIGTERM", () => {
  server.close();
  gateway.close(); // lets open calls end, for `server.drainSeconds` at most
});
