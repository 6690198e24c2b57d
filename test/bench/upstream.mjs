// The OpenAI of the benchmarks, a process of its own: small answers, endless streams, sinks.
import { createServer } from "node:http";

const SMALL = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  model: "gpt-4o-mini",
  text: "x".repeat(160),
  usage: { prompt_tokens: 12, completion_tokens: 34, total_tokens: 46 },
});

const server = createServer((req, res) => {
  if (req.url === "/v1/responses") {
    // A stream that stays open and says when its reader is gone.
    res.writeHead(200, { "content-type": "text/event-stream" }).write("data: {}\n\n");
    res.on("close", () => process.send?.({ closedAt: performance.timeOrigin + performance.now() }));
    req.resume();
    return;
  }
  if (req.url === "/v1/embeddings") {
    req.resume().on("end", () => {
      res.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
    return;
  }
  req.resume().on("end", () => {
    res.writeHead(200, { "content-type": "application/json", "content-length": SMALL.length });
    res.end(SMALL);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.send?.({ port: server.address().port }));
process.on("disconnect", () => process.exit());
