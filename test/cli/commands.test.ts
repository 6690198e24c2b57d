// What an operator types, what it prints, and the exit code that a script can rely on.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { networkInterfaces } from "node:os";
import { test, type TestContext } from "node:test";
import { deadUrl, portOf } from "../helpers/fake-openai.ts";
import { runCli, startCli } from "../helpers/run-cli.ts";

const KEY = "sk-0123456789abcdef";

test("--help and help print every command, setting and exit code, in columns", async (t) => {
  const runs = await Promise.all(["--help", "help"].map((arg) => runCli(t, { args: [arg] })));

  for (const { code, stdout, stderr } of runs) {
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.equal(stdout, runs[0]?.stdout);
    for (const word of [
      "check",
      "health",
      "key NAME",
      "token USER",
      "--expires-in",
      "--safety-identifier",
      "--mock",
      "OPENAI_API_KEY",
      "--cors-origins",
      "GATEWAY_KEYS",
      "TOKEN_SECRET_PREVIOUS",
      "ADMIN_KEY",
      "--allowed-models",
      "Exit codes: 0",
    ]) {
      assert.ok(stdout.includes(word), word);
    }
    assert.doesNotMatch(stdout, /--(?:openai-api-key|gateway-keys|token-secret|admin-key)/);
  }

  const [, settings = ""] = /^Settings .*\n((?: .*\n)+)/m.exec(runs[0]?.stdout ?? "") ?? [];
  const columns = settings
    .trimEnd()
    .split("\n")
    .map((line) => /^ {2}\S+ +(?:--\S+ +)?/.exec(line)?.[0].length);

  assert.ok(columns.length > 10, settings);
  assert.deepEqual([...new Set(columns)], [columns[0]], settings);
});

test("--version prints the package's version alone", async (t) => {
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));

  const { code, stdout } = await runCli(t, { args: ["--version"] });

  assert.equal(code, 0);
  assert.equal(stdout, `${manifest.version}\n`);
});

const WRONG = [
  [["strat"], 'Unknown command "strat", did you mean "start"?\n'],
  [["constructor"], 'Unknown command "constructor"; see --help.\n'],
  [["token", "a", "b"], 'Unexpected argument "b"; see --help.\n'],
  [["check", "everything"], 'Unexpected argument "everything"; see --help.\n'],
  [
    [],
    "The settings are wrong:\n  OPENAI_API_KEY: is missing: expected the key that OpenAI gave you, sk-…\n",
  ],
] as const;

for (const [args, message] of WRONG) {
  test(`[${args.join(" ")}] ends with 2 and one clear answer`, async (t) => {
    const { code, stdout, stderr } = await runCli(t, { args });

    assert.equal(code, 2);
    assert.equal(stderr, message);
    assert.equal(stdout, "");
  });
}

test("health ends with 0 beside a gateway that is alive, and needs no key", async (t) => {
  const { port } = await startCli(t, { env: { OPENAI_API_KEY: KEY, HOST: "0.0.0.0" } });

  const { code, stdout, stderr } = await runCli(t, {
    args: ["health"],
    env: { PORT: `${port}`, HOST: "0.0.0.0" },
  });

  assert.equal(code, 0, stderr);
  assert.equal(stdout + stderr, "");
});

async function listen(
  t: TestContext,
  answer: RequestListener,
  host = "127.0.0.1",
): Promise<number> {
  const server = createServer(answer).listen(0, host);
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return portOf(server);
}

test("health ends with 1 beside something that is not well, silent, or not there", async (t) => {
  const sick = await listen(t, (_, res) => res.writeHead(503).end());
  const silent = await listen(t, () => {});
  const gone = Number(new URL(await deadUrl()).port);

  const runs = await Promise.all(
    [sick, silent, gone].map((port) => runCli(t, { args: ["health"], env: { PORT: `${port}` } })),
  );

  assert.deepEqual(
    runs.map(({ code, stderr }) => [code, stderr]),
    [
      [1, `Unhealthy: 127.0.0.1:${sick} answers 503.\n`],
      [1, `Unhealthy: no answer from 127.0.0.1:${silent} (silent for 2 s).\n`],
      [1, `Unhealthy: no answer from 127.0.0.1:${gone} (ECONNREFUSED).\n`],
    ],
  );
});

const hasIPv6 = Object.values(networkInterfaces())
  .flat()
  .some((each) => each?.address === "::1");

test(
  "health asks the loopback address of the family that the gateway listens on",
  { skip: !hasIPv6 },
  async (t) => {
    const port = await listen(
      t,
      (req, res) => res.writeHead(req.url === "/healthz" ? 200 : 404).end(),
      "::1",
    );

    const { code, stderr } = await runCli(t, {
      args: ["health"],
      env: { PORT: `${port}`, HOST: "::" },
    });

    assert.equal(code, 0, stderr);
  },
);
