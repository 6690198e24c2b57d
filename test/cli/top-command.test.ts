// `top` as an operator types it: finds the gateway that runs by its own settings.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ADMIN_KEY } from "../helpers/admin.ts";
import { runCli, startCli } from "../helpers/run-cli.ts";

const MOCKED = { args: ["--mock", "--port", "0"], env: { ADMIN_KEY } };

test("it shows the gateway that runs with the same settings, or says what is wrong", async (t) => {
  const { url, port } = await startCli(t, MOCKED);
  const body = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "a" }] });
  const headers = { "content-type": "application/json" };
  const call = await fetch(`${url}/v1/chat/completions`, { method: "POST", body, headers });
  await call.text();
  const show = (args: readonly string[], env: Record<string, string>) =>
    runCli(t, { args: ["top", "--port", String(port), ...args], env });

  const [table, json, wrong, none] = await Promise.all([
    show(["--once"], { ADMIN_KEY }),
    show(["--once", "--json"], { ADMIN_KEY }),
    show([], { ADMIN_KEY: "another-key-0123456789" }),
    show([], {}),
  ]);

  assert.deepEqual([table.code, json.code, wrong.code, none.code], [0, 0, 1, 2]);
  assert.match(table.stdout, /gpt-4o-mini/);
  assert.doesNotMatch(table.stdout, /\x1b/, "it draws where nobody watches");
  assert.equal(JSON.parse(json.stdout).gateway, url);
  assert.match(wrong.stderr, /ADMIN_KEY/);
  assert.match(none.stderr, /Set ADMIN_KEY/);
});

test("a gateway that does not run is named by its address", async (t) => {
  const { port, stop, ended } = await startCli(t, MOCKED);
  stop("SIGTERM");
  await ended;

  const { code, stderr } = await runCli(t, {
    args: ["top", "--port", String(port)],
    env: { ADMIN_KEY },
  });

  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}`));
});
