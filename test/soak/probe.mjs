// Loaded into the gateway's process before the gateway: tells on demand what is alive in there.
import { writeSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const TOLD_ON = 3; // A pipe to whoever asks.

process.on("SIGUSR2", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  setFlagsFromString("--no-expose-gc");
  collect();
  setImmediate(() => {
    collect(); // What finalizers have let go of.
    const { heapUsed, external } = process.memoryUsage();
    const resources = {};
    for (const name of process.getActiveResourcesInfo()) {
      resources[name] = (resources[name] ?? 0) + 1;
    }
    writeSync(TOLD_ON, `${JSON.stringify({ keptBytes: heapUsed + external, resources })}\n`);
  });
});
