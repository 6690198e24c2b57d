import express from "express";
import { createGateway } from "openai-gateway";

const gateway = createGateway({
  upstreams: [{ apiKey: process.env.OPENAI_API_KEY, baseUrl: process.env.OPENAI_BASE_URL }],
});

const app = express();
app.use("/ai", gateway.handle); // before any body parser; an SDK's base URL is then …/ai/v1
app.get("/", (req, res) => res.send("my own page"));
const server = app.listen(process.env.PORT ?? 3000);

process.once("SIGTERM", () => {
  server.close();
  gateway.close(); // lets open calls end, for `server.drainSeconds` at most
});
