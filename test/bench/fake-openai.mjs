// The OpenAI of the comparison: small answers at the speed of nginx, and paced streams.
import { once } from "node:events";
import { createServer } from "node:net";
import { isWhole } from "./wire.mjs";

const TICK_MS = 10;
const SMALL = JSON.stringify({
  id: "chatcmpl-B0123456789abcdefghijklmnop",
  object: "chat.completion",
  created: 1_760_000_000,
  model: "gpt-4o-mini-2024-07-18",
  choices: [
    { index: 0, message: { role: "assistant", content: "Hello there!" }, finish_reason: "stop" },
  ],
  usage: { prompt_tokens: 15, completion_tokens: 3, total_tokens: 18 },
  system_fingerprint: "fp_0123456789",
});
const SMALL_REPLY = Buffer.from(
  "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" +
    `content-length: ${SMALL.length}\r\n\r\n${SMALL}`,
);
const STREAM_HEAD = Buffer.from(
  "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n" +
    "transfer-encoding: chunked\r\n\r\n",
);
const CHUNK = {
  id: "chatcmpl-B0123456789abcdefghijklmnop",
  object: "chat.completion.chunk",
  created: 1_760_000_000,
  model: "gpt-4o-mini-2024-07-18",
  system_fingerprint: "fp_0123456789",
};
// The tilde is in no other place, so that a reader counts events by one byte, however they are cut.
const EVENT = toChunk(
  event({ ...CHUNK, choices: [{ index: 0, delta: { content: " word~" }, finish_reason: null }] }),
);
const USAGE = { prompt_tokens: 15, completion_tokens: 300, total_tokens: 315 };
const STREAM_END = Buffer.concat([
  toChunk(event({ ...CHUNK, choices: [], usage: USAGE })),
  toChunk("data: [DONE]\n\n"),
  Buffer.from("0\r\n\r\n"),
]);

/** By their distance in ms: the streams of each tick, so that one timer paces all. */
const wheels = new Map();
let ticks = 0;
let sent = 0;

class Stream {
  #socket;
  #left;
  #slot;

  constructor(socket, events, paceMs) {
    const count = Math.max(1, Math.round(paceMs / TICK_MS));
    if (!wheels.has(count)) {
      wheels.set(count, { next: 0, slots: Array.from({ length: count }, () => new Set()) });
    }
    const wheel = wheels.get(count);
    this.#socket = socket;
    this.#left = events;
    this.#slot = wheel.slots[wheel.next++ % count];
    this.#slot.add(this);
    socket.on("close", this.leave);
    socket.write(STREAM_HEAD);
    this.advance();
  }

  advance() {
    if (this.#left-- === 0) return this.finish();
    this.#socket.write(EVENT);
    sent++;
  }

  finish() {
    this.leave();
    this.#socket.write(STREAM_END);
  }

  leave = () => {
    this.#slot.delete(this);
    this.#socket.off("close", this.leave);
  };
}

setInterval(() => {
  ticks++;
  for (const [count, { slots }] of wheels) slots[ticks % count].forEach((it) => it.advance());
}, TICK_MS);

const server = createServer({ noDelay: true }, (socket) => {
  let request = "";
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    request += chunk.latin1Slice();
    if (!isWhole(request)) return;
    if (request.includes('"stream":true')) {
      new Stream(socket, number(request, "max_tokens"), number(request, "seed"));
    } else {
      socket.write(SMALL_REPLY);
    }
    request = "";
  });
});

process.on("message", async (question) => {
  if (question === "port") {
    if (!server.listening) await once(server, "listening");
    process.send({ port: server.address().port });
  }
  if (question === "sent") process.send({ sent });
  if (question === "finish") {
    for (const { slots } of wheels.values()) {
      for (const slot of slots) slot.forEach((stream) => stream.finish());
    }
    process.send({});
  }
});
process.on("disconnect", () => process.exit());
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 });

function event(data) {
  return `data: ${JSON.stringify(data)}\n\n`;
}

function toChunk(text) {
  return Buffer.from(`${text.length.toString(16)}\r\n${text}\r\n`);
}

function number(request, name) {
  return Number(new RegExp(`"${name}":(\\d+)`).exec(request)[1]);
}
