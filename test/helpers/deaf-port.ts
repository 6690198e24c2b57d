// A server that connections are begun to and never made.
import { once } from "node:events";
import { connect } from "node:net";
import type { TestContext } from "node:test";
import { Worker } from "node:worker_threads";

/** Listens, never accepts, and has its backlog full: the kernel drops further handshakes. */
export async function deafPort(t: TestContext): Promise<number> {
  const worker = new Worker(
    `const { parentPort } = require("node:worker_threads");
     const server = require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true },
  );
  const [port]: number[] = await once(worker, "message");
  const fillers = Array.from({ length: 4 }, () =>
    connect(port ?? 0, "127.0.0.1").on("error", () => {}),
  );
  t.after(async () => {
    for (const filler of fillers) filler.destroy();
    await worker.terminate();
  });
  await Promise.all(fillers.slice(0, 2).map((filler) => once(filler, "connect")));
  return port ?? 0;
}
