// What `direct` stands on, without a single feature: Node's own undici, called by dispatch().
import { createServer } from "node:http";

void globalThis.Headers; // Loads undici.
const slots = ["undici.globalDispatcher.2", "undici.globalDispatcher.1"];
const found = slots.map((slot) => globalThis[Symbol.for(slot)]).find((agent) => agent);
const agent = new found.constructor({ allowH2: false, headersTimeout: 0, bodyTimeout: 0 });
const { origin } = new URL(process.env.OPENAI_BASE_URL);
const authorization = `Bearer ${process.env.OPENAI_API_KEY}`;
const toText = (field) => field.toString("latin1");

createServer((req, res) => {
  const pieces = [];
  req.on("data", (piece) => pieces.push(piece));
  req.on("end", () => forward(req, Buffer.concat(pieces), res));
}).listen(process.env.PORT, "127.0.0.1");

function forward({ url, method, headers }, body, res) {
  const sent = {
    "content-type": headers["content-type"],
    "content-length": String(body.length),
    authorization,
  };
  // Under the names of undici 6 and 7, or those of 8.
  const handler = {
    onConnect() {},
    onHeaders: (status, raw) => Boolean(res.writeHead(status, raw.map(toText))),
    onData: (piece) => res.write(piece),
    onComplete: () => void res.end(),
    onError: () => void res.destroy(),
  };
  const handler8 = {
    onRequestStart() {},
    onResponseStart: ({ rawHeaders }, status) => res.writeHead(status, rawHeaders.map(toText)),
    onResponseData: (_, piece) => res.write(piece),
    onResponseEnd: () => res.end(),
    onResponseError: () => res.destroy(),
  };
  const isNew = parseInt(process.versions.undici) >= 8;
  agent.dispatch({ origin, path: url, method, headers: sent, body }, isNew ? handler8 : handler);
}
