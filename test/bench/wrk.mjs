// Small calls, made by wrk: as fast as the program answers, over some connections.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { runToEnd } from "./processes.mjs";
import { CALLER_KEY, chatBody } from "./wire.mjs";

const SCRIPT = fileURLToPath(new URL("small-call.lua", import.meta.url));

/** Whether there is one on this machine. */
export const HAS_WRK = spawnSync("wrk", ["-v"]).error === undefined;

/** @returns requests, seconds, p50Ms and p99Ms; throws if any call failed */
export async function smallCalls({ port, headers }, connections, seconds) {
  const given = { authorization: `Bearer ${CALLER_KEY}`, "content-type": "application/json" };
  const flags = Object.entries({ ...given, ...headers }).flatMap(([name, value]) => [
    "-H",
    `${name}: ${value}`,
  ]);
  const output = await runToEnd(
    "load",
    [
      ...["wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "-s", SCRIPT, ...flags],
      `http://127.0.0.1:${port}/v1/chat/completions`,
    ],
    { ...process.env, BENCH_BODY: chatBody() },
  );
  const told = JSON.parse(/^RESULT (.*)$/m.exec(output)[1]);
  if (told.failed > 0) throw new Error(`${told.failed} small calls failed:\n${output}`);
  return {
    requests: told.requests,
    seconds: told.durationUs / 1e6,
    p50Ms: told.p50Us / 1e3,
    p99Ms: told.p99Us / 1e3,
  };
}
