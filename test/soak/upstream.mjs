// An OpenAI that plays whatever scene the caller's `x-stainless-scene` asks for: the one field that
// the gateway passes on for everybody.
import { once } from "node:events";
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";

const JSON_TYPE = { "content-type": "application/json" };
const EVENT_TYPE = { "content-type": "text/event-stream" };
const USAGE = { prompt_tokens: 12, completion_tokens: 34, total_tokens: 46 };
const COMPLETION = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  model: "gpt-4o-mini",
  choices: [{ index: 0, message: { role: "assistant", content: "x".repeat(160) } }],
  usage: USAGE,
});
const EVENT_PAUSE_MS = 10;
export const EVENTS = 20;
export const LONG_BYTES = 4_000_000;
const PIECE = Buffer.alloc(50_000, "x");
/** Long enough for the gateway to have put a connection back into its pool. */
const CLOSE_PAUSE_MS = 5;

export async function startUpstream() {
  const sockets = new Set();
  const idle = new WeakSet();
  const counts = { closings: 0 };

  const server = createServer(async (req, res) => {
    const { socket } = req;
    idle.delete(socket);
    res.once("finish", () => idle.add(socket));
    const { "x-stainless-scene": scene = "small" } = req.headers;
    const [name, argument] = scene.split(" ");
    req.on("error", () => {});
    req.resume();
    if (!req.complete) await Promise.race([once(req, "end"), once(res, "close")]).catch(() => {});
    if (name !== "close") return PLAYS[name](res, argument);
    PLAYS.small(res);
    await sleep(CLOSE_PAUSE_MS);
    // Without a word, as balancers do: what the gateway sends at this moment is lost.
    if (!idle.has(socket) || socket.destroyed) return;
    counts.closings++;
    socket.destroy();
  });
  server.on("upgrade", (req, socket) => {
    socket.on("error", () => {}).on("end", () => socket.end());
    if (req.headers["x-stainless-scene"] === "refuse") {
      const error = toError(404);
      const head = `connection: close\r\ncontent-length: ${error.length}`;
      socket.resume().end(`HTTP/1.1 404 Not Found\r\n${head}\r\n\r\n${error}`);
      return;
    }
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n" +
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    if (req.headers["x-stainless-scene"] === "leave") socket.resume().end("bye");
    else socket.pipe(socket);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  // It closes by itself only where a scene says so; the gateway keeps idle connections for 30 s.
  server.keepAliveTimeout = 0;
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4_096 });
  await once(server, "listening");
  return {
    port: server.address().port,
    connections: () => sockets.size,
    /** Idle connections that were closed under the gateway. */
    closings: () => counts.closings,
    forget: () => (counts.closings = 0),
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const PLAYS = {
  small: (res) => res.writeHead(200, JSON_TYPE).end(COMPLETION),

  error: (res, status) => res.writeHead(Number(status), JSON_TYPE).end(toError(status)),

  async events(res) {
    res.writeHead(200, EVENT_TYPE);
    for (let count = 0; count < EVENTS && !res.closed; count++) {
      res.write(toEvent("word"));
      await sleep(EVENT_PAUSE_MS);
    }
    res.end(
      `data: ${JSON.stringify({ model: "gpt-4o-mini", choices: [], usage: USAGE })}\n\ndata: [DONE]\n\n`,
    );
  },

  async endless(res) {
    res.writeHead(200, EVENT_TYPE);
    for (; !res.closed; await sleep(EVENT_PAUSE_MS)) res.write(toEvent("word"));
  },

  async long(res) {
    res.writeHead(200, { "content-type": "audio/mpeg", "content-length": LONG_BYTES });
    const pieces = Array.from({ length: LONG_BYTES / PIECE.length }, () => PIECE);
    await pipeline(Readable.from(pieces), res).catch(() => {}); // Its reader may leave.
  },

  /** @param where before the head, within an answer, within events. */
  async reset(res, where) {
    if (where === "within") res.writeHead(200, { "content-length": 1_000 }).write("half of it");
    if (where === "events") res.writeHead(200, EVENT_TYPE).write(toEvent("half a word"));
    if (where !== "before") await sleep(EVENT_PAUSE_MS);
    res.socket?.resetAndDestroy();
  },
};

function toEvent(content) {
  return `data: ${JSON.stringify({ model: "gpt-4o-mini", choices: [{ index: 0, delta: { content } }] })}\n\n`;
}

function toError(status) {
  const error = { message: "As asked for.", type: "soak", param: null, code: `soak_${status}` };
  return JSON.stringify({ error });
}
