// The image that the Dockerfile makes: its configuration, and its file system as a directory.

import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { node24, standInForBuild, standInForFinal } from "./bases.ts";
import { BUILD, buildah, run } from "./buildah.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const BUILDAH_CACHE = "/var/lib/containers";

export interface ImageConfig {
  User: string;
  WorkingDir: string;
  Env: string[];
  ExposedPorts: Record<string, object>;
  Entrypoint: string[];
  Cmd: string[];
  Healthcheck: { Test: string[] };
}

export interface Image {
  config: ImageConfig;
  root: string;
  /** What the Dockerfile put on top of its base. */
  added: string[];
  remove(): Promise<void>;
}

export async function buildImage(): Promise<Image> {
  const dir = await mkdtemp(join(tmpdir(), "gateway-image-"));
  const hadCache = existsSync(BUILDAH_CACHE);
  const remove = async (): Promise<void> => {
    await rm(dir, { recursive: true, force: true });
    if (!hadCache) await rm(BUILDAH_CACHE, { recursive: true, force: true });
  };
  try {
    return { ...(await buildIn(dir)), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function buildIn(dir: string): Promise<Omit<Image, "remove">> {
  const dockerfile = await readFile(join(REPOSITORY, "Dockerfile"), "utf8");
  const names = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, name]) => name);
  const [build = "", final = ""] = names;
  const node = await node24(dir);
  await Promise.all([standInForBuild(dir, build, node), standInForFinal(dir, final, node)]);

  const npm = await npmSettings(dir);
  await buildah(dir, ...BUILD, "--network=host", ...npm, "--tag=gateway", REPOSITORY);
  const inspected = await buildah(dir, "inspect", "--type=image", "gateway");
  const { config } = (JSON.parse(inspected) as { Docker: { config: ImageConfig } }).Docker;
  const root = await mounted(dir, "gateway");
  const base = new Set(await readdir(await mounted(dir, final), { recursive: true }));
  const added = (await readdir(root, { recursive: true })).filter((path) => !base.has(path));
  return { config, root, added };
}

async function mounted(dir: string, image: string): Promise<string> {
  return buildah(dir, "mount", await buildah(dir, "from", "--pull-never", image));
}

/** Lends the build this machine's npm configuration and cache, and leaves neither behind. */
async function npmSettings(dir: string): Promise<string[]> {
  const settings = JSON.parse(await run("npm", ["config", "list", "--json"])) as NpmSettings;
  const files = [settings.globalconfig, settings.userconfig].filter((path) => existsSync(path));
  const lines = await Promise.all(files.map((path) => readFile(path, "utf8")));
  lines.push(`registry=${settings.registry}`);
  await writeFile(join(dir, "npmrc"), lines.join("\n"), { mode: 0o600 });
  const lent = [`${dir}/npmrc:/root/.npmrc:ro`];
  if (existsSync(settings.cache)) lent.push(`${settings.cache}:/root/.npm`);
  if (settings.cafile) lent.push(`${settings.cafile}:${settings.cafile}:ro`);
  return lent.map((volume) => `--volume=${volume}`);
}

interface NpmSettings {
  globalconfig: string;
  userconfig: string;
  registry: string;
  cache: string;
  cafile?: string | null;
}
