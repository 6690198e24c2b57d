// Two images made of this machine's own files stand in for the bases of the Dockerfile, under
// the names that FROM asks for, so that a build needs no registry of images.

import { chmod, chown, copyFile, cp, mkdir, realpath, symlink, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BUILD, buildah, run } from "./buildah.ts";

const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

/** A Node 24: named by `NODE24`, or the one that runs this, or from the npm registry. */
export async function node24(dir: string): Promise<string> {
  if (process.env["NODE24"]) return process.env["NODE24"];
  if (process.version.startsWith("v24.")) return process.execPath;
  const name = `node-${process.platform}-${process.arch}`;
  return join(await install(dir, `${name}@24`), name, "bin/node");
}

/** What node:24 offers a build: a shell, `env` for the scripts of npm, Node, npm, trust. */
export async function standInForBuild(dir: string, name: string, node: string): Promise<void> {
  const root = join(dir, "build");
  await put(root, node, "/usr/local/bin/node");
  await put(root, "/bin/sh");
  await put(root, "/usr/bin/env");
  await putCertificates(root);
  const modules = join(root, "usr/local/lib/node_modules");
  await cp(await install(dir, "npm@11"), modules, { recursive: true, verbatimSymlinks: true });
  await symlink("../lib/node_modules/npm/bin/npm-cli.js", join(root, "usr/local/bin/npm"));
  await mkdir(join(root, "root"));
  await mkdir(join(root, "tmp"));
  await commit(root, name, [
    "ENV PATH=/usr/local/bin:/usr/bin:/bin HOME=/root",
    `ENV NODE_EXTRA_CA_CERTS=${CERTIFICATES}`,
  ]);
}

/** What distroless offers: Node, its libraries, trust, a user with a home. No shell. */
export async function standInForFinal(dir: string, name: string, node: string): Promise<void> {
  const root = join(dir, "final");
  const home = join(root, "home/nonroot");
  await put(root, node, "/nodejs/bin/node");
  await putCertificates(root);
  await mkdir(join(root, "proc"));
  await mkdir(join(root, "tmp"));
  await chmod(join(root, "tmp"), 0o1777);
  await mkdir(home, { recursive: true });
  await chown(home, 65532, 65532);
  await mkdir(join(root, "etc"), { recursive: true });
  await writeFile(join(root, "etc/hosts"), "127.0.0.1 localhost\n");
  const user = "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n";
  await writeFile(join(root, "etc/passwd"), `root:x:0:0:root:/root:/sbin/nologin\n${user}`);
  await commit(root, name, [
    `ENV PATH=/usr/bin:/bin SSL_CERT_FILE=${CERTIFICATES}`,
    "USER 65532",
    "WORKDIR /home/nonroot",
    'ENTRYPOINT ["/nodejs/bin/node"]',
  ]);
}

/** Installs a package of the npm registry; gives the directory it is in. */
async function install(dir: string, name: string): Promise<string> {
  const prefix = join(dir, name);
  await run("npm", ["install", "--no-package-lock", "--no-save", `--prefix=${prefix}`, name]);
  return join(prefix, "node_modules");
}

/** Makes an image of a root file system. A tar file, since only that keeps the owners. */
async function commit(root: string, name: string, lines: string[]): Promise<void> {
  const dir = dirname(root);
  await run("tar", ["-C", root, "-cf", `${root}.tar`, "."]);
  const file = ["FROM scratch", `ADD ${basename(root)}.tar /`, ...lines];
  await writeFile(`${root}.file`, file.join("\n"));
  await buildah(dir, ...BUILD, `--file=${root}.file`, `--tag=${name}`, dir);
}

async function putCertificates(root: string): Promise<void> {
  const source = process.env["NODE_EXTRA_CA_CERTS"] ?? CERTIFICATES;
  if (existsSync(source)) await put(root, source, CERTIFICATES);
}

/** Copies a file, and the libraries it is linked to, into a root file system. */
async function put(root: string, source: string, target = source): Promise<void> {
  const linked = await run("ldd", [source]).catch(() => "");
  const libraries = [...linked.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => [path, path]);
  for (const [from = "", to = ""] of [[source, target], ...libraries]) {
    await mkdir(dirname(join(root, to)), { recursive: true });
    await copyFile(await realpath(from), join(root, to));
  }
}
