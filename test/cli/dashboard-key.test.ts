// Whoever starts the gateway at a terminal can look at it at once; nobody else can.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test, type TestContext } from "node:test";
import { COMMAND, environmentFor, makeDirectory, startCli } from "../helpers/run-cli.ts";

const QUOTED = COMMAND.map((word) => `'${word}'`).join(" ");

/** Starts it at a pseudo-terminal; resolves with what it has printed by the time it listens. */
async function startAtTerminal(t: TestContext, env: Record<string, string> = {}): Promise<string> {
  const directory = makeDirectory(t);
  const command = `${QUOTED} --mock --port 0 --host 127.0.0.1`;
  const child = spawn("script", ["-qec", command, "/dev/null"], {
    cwd: directory,
    env: { ...environmentFor(env), TERM: "xterm" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let printed = "";
  for await (const chunk of child.stdout) {
    printed += String(chunk);
    if (/Dashboard: \S+\s/.test(printed)) return printed;
  }
  throw new Error(`It ended:\n${printed}`);
}

function linkOf(printed: string): URL {
  return new URL(/Dashboard: (\S+)/.exec(printed)?.[1] ?? "");
}

async function statusOf(url: URL, path: string, key: string): Promise<number> {
  const response = await fetch(new URL(path, url), { headers: { authorization: `Bearer ${key}` } });
  await response.arrayBuffer();
  return response.status;
}

test("at a terminal it makes a key, prints it once, and takes it", async (t) => {
  const printed = await startAtTerminal(t);

  const link = linkOf(printed);
  const [, key = ""] = /^#key=(gwa_[\w-]{43})$/.exec(link.hash) ?? [];
  assert.equal(link.pathname, "/dashboard");
  assert.equal(printed.split(key).length, 2, "it is there more than once");
  assert.equal(await statusOf(link, "/admin/callers", key), 200);
  assert.equal(await statusOf(link, "/metrics", key), 200);
  assert.equal(await statusOf(link, "/admin/callers", `${key}0`), 404);
});

test("another start makes another key", async (t) => {
  const [one, other] = await Promise.all([startAtTerminal(t), startAtTerminal(t)]);
  assert.notEqual(linkOf(one).hash, linkOf(other).hash);
});

test("a key of the settings is used and not shown", async (t) => {
  const key = "my-own-admin-key-0123456789";
  const printed = await startAtTerminal(t, { ADMIN_KEY: key });

  assert.ok(!printed.includes(key), "the key is shown");
  const link = linkOf(printed);
  assert.equal(link.hash, "");
  assert.equal(await statusOf(link, "/admin/callers", key), 200);
});

test("where nobody watches no key is made, and all of it stays shut", async (t) => {
  const { url, output } = await startCli(t, { args: ["--mock", "--port", "0"] });

  assert.doesNotMatch(output(), /gwa_|Dashboard|#key/);
  for (const key of ["undefined", "[secret]", "gwa_"]) {
    assert.equal(await statusOf(new URL(url), "/admin/callers", key), 404);
  }
});
