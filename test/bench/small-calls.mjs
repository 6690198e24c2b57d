// Somebody with a process and a clock of their own, who makes one small call after the other.
import { once } from "node:events";
import { Agent, request } from "node:http";

const [, , port] = process.argv;
const CALLS = 500;
const body = '{"model":"m","messages":[]}';
const headers = { "content-type": "application/json", "content-length": body.length };
const agent = new Agent({ keepAlive: true });

function call() {
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const path = "/v1/chat/completions";
    const options = { port, host: "127.0.0.1", path, method: "POST", headers, agent };
    const req = request(options, (res) => {
      res.resume().on("end", () => resolve(performance.now() - startedAt));
    });
    req.on("error", reject).end(body);
  });
}

for (let run = 0; run < 300; run++) await call();
process.send("ready");
await once(process, "message");
const times = [];
for (let run = 0; run < CALLS; run++) times.push(await call());
process.send(times, () => process.exit());
