// The programs that are compared, and how each one starts.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { nginxCommand } from "./peers/nginx.mjs";
import { run, stop } from "./processes.mjs";
import { CALLER_KEY, chatRequest, Connection } from "./wire.mjs";

const START_TIMEOUT_MS = 15_000;
const POLL_MS = 2;
const API_KEY = "bench-upstream-key-0123456789";
/** What a program may know of the machine: nobody's own settings change what is measured. */
const { PATH, HOME, TMPDIR } = process.env;
const BARE_ENV = { PATH, HOME, ...(TMPDIR && { TMPDIR }), NODE_ENV: "production" };

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const gateway = (transport) => ({
  name: transport,
  label: `this gateway, ${transport}`,
  ours: true,
  script: "../../dist/index.js",
  env: {
    UPSTREAM_TRANSPORT: transport,
    GATEWAY_CONFIG: here("all-features.json"),
    GATEWAY_KEYS: `bench:${CALLER_KEY}`,
    HOST: "127.0.0.1",
  },
});
const nodeModule = (name, label, script, ...args) => ({ name, label, script, args: () => args });

/** All of them; some may not be on this machine. */
const PROGRAMS = [
  gateway("direct"),
  gateway("fetch"),
  nodeModule("floor", "15 lines of `node:http` and `fetch`", "floor.mjs"),
  nodeModule("bare", "what `direct` stands on, without a feature", "peers/bare.mjs"),
  nodeModule("http-proxy", versioned("http-proxy"), "peers/http-proxy.mjs"),
  nodeModule(
    "http-proxy-plain",
    `${versioned("http-proxy")}, no agent`,
    "peers/http-proxy.mjs",
    "plain",
  ),
  nodeModule("fastify", versioned("@fastify/http-proxy"), "peers/fastify.mjs"),
  nodeModule(
    "express",
    `${versioned("express")} + ${versioned("axios")}`,
    "peers/express-axios.mjs",
  ),
  {
    name: "portkey",
    label: versioned("@portkey-ai/gateway"),
    script: "node_modules/@portkey-ai/gateway/build/start-server.js",
    args: (port) => [`--port=${port}`, "--headless"],
    headers: (upstreamPort) => ({
      "x-portkey-provider": "openai",
      "x-portkey-custom-host": `http://127.0.0.1:${upstreamPort}/v1`,
    }),
  },
  { name: "nginx", label: nginxVersion() ?? "nginx", absent: nginxVersion() === undefined },
];

/** The names that one may ask for. */
export const NAMES = PROGRAMS.map(({ name }) => name);

/** Those of some names that this machine has, and what is missing for the others. */
export function findPrograms(names) {
  const asked = PROGRAMS.filter(({ name }) => names.includes(name));
  const isMissing = ({ script, absent }) => absent ?? !existsSync(here(script));
  return { programs: asked.filter((it) => !isMissing(it)), missing: asked.filter(isMissing) };
}

/** Runs a program on a free port until it has answered a call from the upstream. */
export async function start(program, upstreamPort) {
  const port = await freePort();
  const headers = program.headers?.(upstreamPort) ?? {};
  const startedAt = performance.now();
  const child = run("program", command(program, port, upstreamPort), {
    ...BARE_ENV,
    PORT: String(port),
    OPENAI_API_KEY: API_KEY,
    OPENAI_BASE_URL: `http://127.0.0.1:${upstreamPort}/v1`,
    ...program.env,
  });
  await firstAnswer(port, chatRequest(headers), program.label);
  const startMs = performance.now() - startedAt;
  return { ...program, port, headers, startMs, pid: child.pid, stop: () => stop(child) };
}

function command({ script, args }, port, upstreamPort) {
  if (script === undefined) return nginxCommand({ port, upstreamPort, apiKey: API_KEY });
  return [process.execPath, here(script), ...(args?.(port) ?? [])];
}

async function firstAnswer(port, request, label) {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      const connection = await Connection.open(port);
      await connection.call(request).finally(() => connection.close());
      return;
    } catch (error) {
      if (error.code !== "ECONNREFUSED" || performance.now() > deadline) {
        throw new Error(`${label} does not start: ${error.message}`);
      }
    }
    await sleep(POLL_MS);
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

function versioned(name) {
  const file = here(`node_modules/${name}/package.json`);
  return existsSync(file) ? `${name} ${JSON.parse(readFileSync(file, "utf8")).version}` : name;
}

/** Undefined where there is none. */
function nginxVersion() {
  const { stderr } = spawnSync("nginx", ["-v"], { encoding: "utf8" });
  const [, version] = /nginx\/([\d.]+)/.exec(stderr ?? "") ?? [];
  return version && `nginx ${version}`;
}
