// Runs an image as a strict engine would: in a process tree of its own, with a read-only root
// file system, without capabilities or a way to gain any.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { TestContext } from "node:test";
import type { Image } from "./image.ts";

// Every step replaces the one before, so the process of the image ends up as PID 1.
const PREPARE = [
  'mount --bind "$0" "$0"',
  'mount -t proc proc "$0/proc"',
  'mount -o remount,ro,bind "$0"',
  'exec "$@"',
].join(" && ");

export interface Container {
  /** Its exit code, or null where a signal ended it. */
  exited: Promise<number | null>;
  output(): string;
  /** The lines of its /proc/PID/status. */
  status(): Promise<Map<string, string>>;
  kill(signal: NodeJS.Signals): Promise<void>;
}

export function start(
  t: TestContext,
  { root, config }: Image,
  command: string[],
  env: Record<string, string>,
): Container {
  const [uid, gid] = config.User.split(":");
  const child = spawn(
    "unshare",
    [
      ...["--mount", "--pid", "--fork", "sh", "-c", PREPARE, root],
      // These three are what the last step needs; it loses them with the user.
      ...["setpriv", "--no-new-privs", "--clear-groups"],
      "--bounding-set=-all,+sys_chroot,+setuid,+setgid",
      ...["unshare", `--root=${root}`, `--wd=${config.WorkingDir}`],
      ...[`--setuid=${uid}`, `--setgid=${gid}`, ...config.Entrypoint, ...command],
    ],
    { env: { ...fromList(config.Env), ...env }, stdio: ["ignore", "pipe", "pipe"] },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const exited = once(child, "close").then(([code]) => code as number | null);
  const pid = async (): Promise<number> => {
    const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8");
    // Zero would mean everyone: the process group of the test.
    if (!(Number(children) > 1)) throw new Error(`not running: ${output}`);
    return Number(children);
  };
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    process.kill(await pid(), signal);
  };
  t.after(async () => {
    await kill("SIGKILL").catch(() => "it has ended");
    await exited;
  });
  const status = async (): Promise<Map<string, string>> => {
    const lines = (await readFile(`/proc/${await pid()}/status`, "utf8")).split("\n");
    return new Map(lines.map((line) => line.split(":\t", 2) as [string, string]));
  };
  return { exited, output: () => output, status, kill };
}

function fromList(env: string[]): Record<string, string> {
  return Object.fromEntries(env.map((line) => line.split(/=(.*)/s, 2) as [string, string]));
}
