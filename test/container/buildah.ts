// Processes and buildah, which builds images without an engine, here as root in a chroot.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

/** Makes and runs nothing but what is here already. The docker format has health checks. */
export const BUILD = ["build", "--isolation=chroot", "--pull-never", "--format=docker", "--quiet"];

/** Runs buildah with all of its storage in `dir`; gives what it printed. */
export async function buildah(dir: string, ...args: string[]): Promise<string> {
  const storage = [`--root=${dir}/storage`, `--runroot=${dir}/run`, "--storage-driver=vfs"];
  return run("buildah", [...storage, ...args], { TMPDIR: dir });
}

export async function run(
  command: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<string> {
  const options = { env: { ...process.env, ...env }, timeout: 60_000, maxBuffer: 2 ** 24 };
  const { stdout } = await promisify(execFile)(command, args, options);
  return stdout.trim();
}

/** What this machine lacks for building and running images, in words. */
export function lacking(): string[] {
  if (process.platform !== "linux") return ["Linux"];
  const path = (process.env["PATH"] ?? "").split(":");
  const tools = ["buildah", "unshare", "setpriv", "mount", "ldd", "tar"];
  const absent = tools.filter((tool) => !path.some((dir) => existsSync(join(dir, tool))));
  return process.getuid?.() === 0 ? absent : ["root", ...absent];
}
