// A headless Chromium that is told by WebDriver (W3C) what to do, and the pages that it shows.
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { TestContext } from "node:test";
import { portOf } from "../helpers/fake-openai.ts";

export interface Browser {
  /** Of its WebDriver session: `http://127.0.0.1:PORT/session/ID`. */
  readonly url: string;
}

export interface Pages {
  /** Without a path: `http://127.0.0.1:PORT`. */
  readonly origin: string;
}

/** For the head of a page: `import("openai")` is the official SDK, as its package has it. */
export const SDK_IMPORT_MAP =
  '<script type="importmap">{ "imports": { "openai": "/openai/index.mjs" } }</script>';

const MODULE_HEADERS = { "content-type": "text/javascript", "cache-control": "max-age=600" };
const START_LIMIT_MS = 30_000;
const SCRIPT_LIMIT_MS = 20_000;
const END_LIMIT_MS = 3_000;

/** Ends its group, so the browser too, when its input ends: also when the tester is killed. */
const GUARD = 'end() { kill -s KILL -- -$$; }; { "$@"; end; } & cat; end';

/** Nothing is asked of any host but this one, and nothing that the test did not ask for. */
const BROWSER_ARGS = [
  "--headless",
  "--no-sandbox", // Which root, as in most containers, may not use.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-quic",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--remote-debugging-pipe", // No port, and no browser that outlives its driver.
];

/** For the option `skip`. In CI nothing is skipped: there, `startBrowser` fails. */
export function reasonToSkip(): string | false {
  const absent = ["chromium", "chromedriver"].filter((name) => findProgram(name) === undefined);
  return process.env["CI"] || absent.length === 0 ? false : `needs ${absent.join(" and ")}`;
}

/** Starts a browser that knows nothing and leaves nothing: it ends with its test. */
export async function startBrowser(t: TestContext): Promise<Browser> {
  const [binary, driver] = [findProgram("chromium"), findProgram("chromedriver")];
  assert.ok(binary !== undefined && driver !== undefined, "chromium or chromedriver is missing");
  const directory = await mkdtemp(join(tmpdir(), "gateway-browser-"));
  const child = spawn("/bin/sh", ["-c", GUARD, "sh", driver, "--port=0"], {
    detached: true, // A group of its own.
    env: { PATH: process.env["PATH"], HOME: directory, TMPDIR: directory },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let session: string | undefined;
  t.after(async () => {
    // Gently, so that it takes its children with it. Then whatever is left, by force.
    if (session !== undefined) await command("DELETE", session, END_LIMIT_MS).catch(() => {});
    await stop(child);
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  const sessions = `${await originOf(child.stdout)}/session`;
  const profile = `--user-data-dir=${join(directory, "profile")}`;
  const options = { binary, args: [...BROWSER_ARGS, profile] };
  const timeouts = { script: SCRIPT_LIMIT_MS, pageLoad: SCRIPT_LIMIT_MS };
  const { sessionId } = await command<{ sessionId: string }>("POST", sessions, START_LIMIT_MS, {
    capabilities: { alwaysMatch: { timeouts, "goog:chromeOptions": options } },
  });
  session = `${sessions}/${sessionId}`;
  return { url: session };
}

/**
 * Opens a page and calls a function in it, given as the source of a function expression, async or
 * not. Arguments and result cross over as JSON.
 * @throws Error what the function threw, in words, or a timeout after 20 s.
 */
export async function runInPage<T>(
  browser: Browser,
  pageUrl: string,
  scriptSource: string,
  ...args: readonly unknown[]
): Promise<T> {
  const limitMs = SCRIPT_LIMIT_MS + END_LIMIT_MS; // The browser's own word comes first.
  await command("POST", `${browser.url}/url`, limitMs, { url: pageUrl });
  // Despite its name it waits for a promise (WebDriver, 13.2.2 "Execute Script").
  const script = `return (${scriptSource})(...arguments);`;
  return command<T>("POST", `${browser.url}/execute/sync`, limitMs, { script, args });
}

/** Serves HTML by its path, and below `/openai/` the modules of the official SDK. */
export async function startPages(
  t: TestContext,
  pages: Readonly<Record<string, string>>,
): Promise<Pages> {
  const server = createServer(async ({ url = "/" }, res) => {
    const html = Object.hasOwn(pages, url) ? pages[url] : undefined;
    const module = html === undefined ? await readSdkModule(url) : undefined;
    // The modules are hundreds: every page after the first has them from the cache.
    if (html !== undefined) res.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    else if (module !== undefined) res.writeHead(200, MODULE_HEADERS);
    else res.writeHead(404);
    res.end(html ?? module);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { origin: `http://127.0.0.1:${portOf(server)}` };
}

/** Of a path that could leave the package, by `..` or an escape, the pattern knows nothing. */
async function readSdkModule(path: string): Promise<Buffer | undefined> {
  const file = /^\/(openai\/(?:[\w-]+\/)*[\w-]+\.m?js)$/.exec(path)?.[1];
  if (file === undefined) return undefined;
  return readFile(new URL(`node_modules/${file}`, import.meta.url)).catch(() => undefined);
}

function findProgram(name: string): string | undefined {
  const directories = (process.env["PATH"] ?? "").split(":");
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

async function originOf(stdout: Readable): Promise<string> {
  const late = setTimeout(() => stdout.destroy(), START_LIMIT_MS);
  const printed: string[] = [];
  for await (const line of createInterface({ input: stdout })) {
    printed.push(line);
    const port = /started successfully on port (\d+)/.exec(line)?.[1];
    if (port === undefined) continue;
    clearTimeout(late);
    stdout.resume(); // What it says from now on goes nowhere, but goes.
    return `http://127.0.0.1:${port}`;
  }
  clearTimeout(late);
  assert.fail(`chromedriver does not listen:\n${printed.join("\n")}`);
}

/** One command of WebDriver: gives the value of the answer. */
async function command<T>(
  method: string,
  url: string,
  limitMs: number,
  parameters?: object,
): Promise<T> {
  const body = parameters === undefined ? null : JSON.stringify(parameters);
  const signal = AbortSignal.timeout(limitMs);
  const response = await fetch(url, { method, body, signal }).catch((cause: unknown) => {
    throw new Error(`chromedriver did not answer ${method} ${url}`, { cause });
  });
  const { value } = JSON.parse(await response.text());
  if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.stdin?.end();
  await exited;
}
