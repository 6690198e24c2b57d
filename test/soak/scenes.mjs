// What happens to the gateway all day: how often, and how each may end.
import { setTimeout as sleep } from "node:timers/promises";
import { readAll } from "./clients.mjs";
import { EVENTS, LONG_BYTES } from "./upstream.mjs";

const SMALL = toChat("Say hello in a few words.");
const STREAM = toChat("Say hello in a few words.", { stream: true });
const SPEECH = Buffer.from(
  JSON.stringify({ model: "gpt-4o-mini-tts", voice: "alloy", input: "Hello." }),
);
const LONG_CHAT = toChat("x".repeat(1_000_000));
const FORM = toForm({ model: "whisper-1" }, Buffer.alloc(1_000_000, 7));
const FORM_TYPE = { "content-type": "multipart/form-data; boundary=soak" };
const HANDSHAKE =
  "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\n" +
  "upgrade: websocket\r\nsec-websocket-version: 13\r\n" +
  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const READ_PAUSE_MS = 20;
const ERRORS = [400, 404, 429, 500, 503];

/**
 * `weight` of all their sum; `play` resolves with a word for how it ended, which has to be one of
 * `ends`.
 */
export const SCENES = [
  {
    name: "small call",
    weight: 800,
    ends: ["200"],
    play: async (clients) => toEnd(await clients.call({ body: SMALL })),
  },
  {
    name: "stream, read to its end",
    weight: 80,
    ends: ["whole"],
    async play(clients) {
      const { status, text } = await clients.call({ scene: "events", body: STREAM });
      const whole = text.endsWith("data: [DONE]\n\n") && text.split('"word"').length === EVENTS + 1;
      return status === 200 && whole ? "whole" : toEnd({ status, text });
    },
  },
  {
    name: "stream, left half-way",
    weight: 30,
    ends: ["left"],
    async play(clients) {
      const res = await clients.begin({ scene: "endless", body: STREAM });
      if (res.statusCode !== 200) return toEnd(await readAll(res));
      let events = 0;
      for await (const piece of res) {
        events += String(piece).split("\n\n").length - 1;
        if (events >= EVENTS / 2) break; // Which destroys the connection.
      }
      return events >= EVENTS / 2 ? "left" : "broken";
    },
  },
  {
    name: "slow reader of a long answer",
    weight: 5,
    ends: ["whole"],
    async play(clients) {
      const call = { path: "/v1/audio/speech", scene: "long", body: SPEECH };
      const res = await clients.begin(call);
      if (res.statusCode !== 200) return toEnd(await readAll(res));
      let bytes = 0;
      try {
        for await (const piece of res) {
          bytes += piece.length;
          await sleep(READ_PAUSE_MS);
        }
      } catch {
        return "broken";
      }
      return bytes === LONG_BYTES ? "whole" : "part of it";
    },
  },
  {
    name: "upload of 1 MB, a form",
    weight: 5,
    ends: ["200"],
    async play(clients) {
      const call = { path: "/v1/audio/transcriptions", headers: FORM_TYPE, body: FORM };
      return toEnd(await clients.call(call));
    },
  },
  {
    name: "upload of 1 MB, JSON",
    weight: 5,
    ends: ["200"],
    play: async (clients) => toEnd(await clients.call({ body: LONG_CHAT })),
  },
  {
    name: "error of OpenAI's",
    weight: 30,
    ends: ERRORS.map((status) => `${status} soak_${status}`),
    async play(clients) {
      const status = ERRORS[Math.floor(Math.random() * ERRORS.length)];
      return toEnd(await clients.call({ scene: `error ${status}`, body: SMALL }));
    },
  },
  {
    name: "reset by OpenAI before its answer",
    weight: 5,
    ends: ["500 upstream_reset"],
    play: async (clients) => toEnd(await clients.call({ scene: "reset before", body: SMALL })),
  },
  {
    name: "reset by OpenAI within its answer",
    weight: 5,
    ends: ["broken"],
    play: async (clients) => toEnd(await clients.call({ scene: "reset within", body: SMALL })),
  },
  {
    name: "reset by OpenAI within a stream",
    weight: 5,
    ends: ["an error event"],
    async play(clients) {
      const { status, text } = await clients.call({ scene: "reset events", body: STREAM });
      return text.includes('"code":"upstream_reset"') ? "an error event" : toEnd({ status, text });
    },
  },
  {
    name: "connection closed by OpenAI once idle",
    weight: 10,
    ends: ["200"],
    play: async (clients) => toEnd(await clients.call({ scene: "close", body: SMALL })),
  },
  {
    name: "call refused by the gateway",
    weight: 10,
    ends: ["401 invalid_api_key", "403 model_not_allowed", "400 invalid_json", "404 unknown_url"],
    async play(clients) {
      const calls = [
        { body: SMALL, headers: { authorization: "Bearer nobody's" } },
        { body: Buffer.from('{"model": "another"}') },
        { body: Buffer.from('{"model": ') },
        { body: SMALL, path: "/v1/nothing/here" },
      ];
      return toEnd(await clients.call(calls[Math.floor(Math.random() * calls.length)]));
    },
  },
  {
    name: "malformed request",
    weight: 5,
    ends: ["400", "431"],
    async play(clients) {
      const bytes = ["nonsense\r\n\r\n", `GET / HTTP/1.1\r\nx: ${"y".repeat(20_000)}\r\n\r\n`];
      const text = await clients.send(bytes[Math.floor(Math.random() * bytes.length)]);
      return statusIn(text);
    },
  },
  {
    name: "WebSocket, closed by the client",
    weight: 2,
    ends: ["echoed"],
    async play(clients) {
      const text = await clients.send(`${HANDSHAKE}\r\nhello`, (got, socket) => {
        if (got.endsWith("hello")) socket.end();
      });
      return text.endsWith("hello") ? "echoed" : statusIn(text);
    },
  },
  {
    name: "WebSocket, closed by OpenAI",
    weight: 2,
    ends: ["bye"],
    async play(clients) {
      const text = await clients.send(`${HANDSHAKE}x-stainless-scene: leave\r\n\r\n`);
      return text.endsWith("bye") ? "bye" : statusIn(text);
    },
  },
  {
    name: "WebSocket, refused",
    weight: 2,
    ends: ["404", "400"],
    async play(clients) {
      const byOpenAI = `${HANDSHAKE}x-stainless-scene: refuse\r\n\r\n`;
      const byGateway = `${HANDSHAKE.replace("13", "8")}\r\n`;
      const bytes = Math.random() < 0.5 ? byOpenAI : byGateway;
      return statusIn(await clients.send(bytes, (_, socket) => socket.end()));
    },
  },
];

/** Status and error code, for the ledger. */
function toEnd({ status, text }) {
  const [, code] = /"code": ?"(\w+)"/.exec(status === 200 ? "" : text) ?? [];
  return code === undefined || status === "broken" ? String(status) : `${status} ${code}`;
}

function statusIn(text) {
  return /^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? "no answer";
}

function toChat(content, more) {
  const messages = [{ role: "user", content }];
  return Buffer.from(JSON.stringify({ model: "gpt-4o-mini", messages, max_tokens: 100, ...more }));
}

function toForm(fields, file) {
  const parts = Object.entries(fields).map(
    ([name, value]) =>
      `--soak\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  const head = '--soak\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n';
  return Buffer.concat([Buffer.from(parts.join("") + head), file, Buffer.from("\r\n--soak--\r\n")]);
}
