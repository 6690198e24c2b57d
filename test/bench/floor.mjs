// The fifteen lines that people write instead: what the gateway's features cost is measured by it.
import { createServer } from "node:http";

const server = createServer(async (req, res) => {
  const left = new AbortController();
  res.on("close", () => left.abort());
  try {
    const reply = await fetch(process.env.OPENAI_BASE_URL + req.url.slice("/v1".length), {
      method: req.method,
      headers: { authorization: "Bearer key", "content-type": req.headers["content-type"] ?? "" },
      ...(req.method === "POST" && { body: req, duplex: "half" }),
      signal: left.signal,
    });
    res.writeHead(reply.status, { "content-type": reply.headers.get("content-type") });
    for await (const chunk of reply.body) res.write(chunk);
    res.end();
  } catch {
    res.destroy();
  }
});
server.listen(process.env.PORT, "127.0.0.1");
