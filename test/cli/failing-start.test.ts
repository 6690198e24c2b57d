// A start that cannot succeed ends at once, with one sentence and no stack trace.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { portOf } from "../helpers/fake-openai.ts";
import { runCli, type Ended } from "../helpers/run-cli.ts";

const KEY = { OPENAI_API_KEY: "sk-0123456789abcdef" };

function assertRefused({ code, stdout, stderr }: Ended, expected: number, message: RegExp): void {
  assert.equal(code, expected, stdout + stderr);
  assert.match(stderr, message);
  assert.doesNotMatch(stderr, /^\s+at |node:|Error:/m);
  assert.doesNotMatch(stdout, /listening on/);
}

test("a busy port", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const port = portOf(server);

  const ended = await runCli(t, { env: { ...KEY, PORT: `${port}` } });

  assertRefused(
    ended,
    1,
    /^Port \d+ on 127\.0\.0\.1 is in use: stop the other program or set PORT\.$/m,
  );
  assert.ok(ended.stderr.includes(`Port ${port} `));
});

/** Root may take every port, but for a root without that one capability. */
const LESS_RIGHTS = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-net_bind_service"] : [];

function mayTakePort80(): boolean {
  const listening = `require("node:net").createServer().listen(80, "127.0.0.1", () => process.exit(0))`;
  const [program = "", ...args] = [...LESS_RIGHTS, process.execPath, "-e", listening];
  const { status, stderr } = spawnSync(program, args, { encoding: "utf8" });
  return status === 0 || !stderr.includes("EACCES");
}

test("a port that this user may not take", { skip: mayTakePort80() }, async (t) => {
  const ended = await runCli(t, { env: { ...KEY, PORT: "80" }, through: LESS_RIGHTS });

  assertRefused(ended, 1, /^No permission to listen on port 80: set PORT to 1024 or above\.$/m);
});

const HOSTS = [
  ["192.0.2.1", /^This machine has no address 192\.0\.2\.1: set HOST to one it has\.$/m],
  [
    "no-such-host.invalid",
    /^This machine has no address no-such-host\.invalid: set HOST to one it has\.$/m,
  ],
] as const;

for (const [host, message] of HOSTS) {
  test(`the host ${host}, which this machine does not have`, async (t) => {
    assertRefused(await runCli(t, { env: { ...KEY, PORT: "0", HOST: host } }), 1, message);
  });
}

const WRONG_SETTINGS = {
  "a host that is a URL": [
    { env: { ...KEY, HOST: "http://localhost" } },
    /^ {2}HOST: expected an address such as 127\.0\.0\.1/m,
  ],
  "a .env that is a directory": [
    { env: KEY, files: { ".env/": "" } },
    /^ {2}\.env: is a directory$/m,
  ],
  "a file that is no JSON": [
    { env: KEY, files: { "gateway.json": "{\n  port: 3000\n}" } },
    /^ {2}gateway\.json: is not valid JSON near line 2$/m,
  ],
} as const;

for (const [what, [surroundings, message]] of Object.entries(WRONG_SETTINGS)) {
  test(what, async (t) => {
    assertRefused(await runCli(t, surroundings), 2, message);
  });
}
