// A real Redis on loopback: nothing on disk, gone with its test. Without the program on this
// machine its tests are skipped; in CI, which installs it, they fail.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { TestContext } from "node:test";
import { portOf } from "./fake-openai.ts";
import { makeDirectory } from "./run-cli.ts";

const PROGRAM = "redis-server";

/** For a test's `skip`. */
export const WITHOUT_REDIS: string | false =
  process.env["CI"] === undefined && spawnSync(PROGRAM, ["--version"]).error !== undefined
    ? `${PROGRAM} is not installed`
    : false;

export interface RedisServer {
  readonly port: number;
  /** As for REDIS_URL. @param login `user:password@` or nothing. */
  url(login?: string, db?: number): string;
  /** Ends it at once, as a crash would. */
  stop(): Promise<void>;
  /** Starts it again, empty, on the same port. */
  start(): Promise<void>;
  /** Stops the process without closing its connections, as a host that hangs. */
  freeze(): void;
  thaw(): void;
}

/** @param args more of its settings, such as `["--requirepass", "secret"]`. */
export async function startRedis(
  t: TestContext,
  args: readonly string[] = [],
): Promise<RedisServer> {
  const directory = makeDirectory(t);
  const port = await freePort();
  const settings = ["--bind", "127.0.0.1", "--port", String(port), "--dir", directory];
  const all = [...settings, "--save", "", "--appendonly", "no", "--daemonize", "no", ...args];
  let child = await launch(all);
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  t.after(stop);

  return {
    port,
    url: (login = "", db = 0) => `redis://${login}127.0.0.1:${port}/${db}`,
    stop,
    start: async () => {
      child = await launch(all);
    },
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
  };
}

async function launch(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(PROGRAM, args, { stdio: ["ignore", "pipe", "ignore"] });
  let output = "";
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`${PROGRAM} ended:\n${output}`)));
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.includes("Ready to accept connections")) resolve();
    });
  });
  child.removeAllListeners("exit");
  child.stdout.removeAllListeners("data").resume();
  return child;
}

/** Somebody else could take it before the server does; the system gives ports at random. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server);
  server.close();
  await once(server, "close");
  return port;
}
