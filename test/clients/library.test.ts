// The package inside somebody else's program: plain JavaScript, Express, a server of their own. The
// programs in embedding/ are those of the manual, run as they stand.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import express from "express";
import { portOf } from "../helpers/fake-openai.ts";
import { createGateway, type ConfigInput, type Gateway } from "../../src/gateway.ts";
import { startMock } from "../../src/mock/server.ts";
import { inFrontOf, runGateway } from "./gateway-process.ts";
import { compile, installPackage, run } from "./installed-package.ts";
import { createClient } from "./sdk-calls.ts";

const bounded = { timeout: 25_000 };
const installing = installPackage();
after(async () => (await installing).remove());

// Whatever server a program starts tells its port.
const TELLS_PORT = `
  import { Server } from "node:net";
  const { listen } = Server.prototype;
  Server.prototype.listen = function (...args) {
    this.once("listening", () => console.log(JSON.stringify("listening on http://127.0.0.1:" + this.address().port)));
    return listen.apply(this, args);
  };
`;

for (const [name, prefix] of [
  ["express.js", "/ai/v1"],
  ["http.js", "/v1"],
] as const) {
  test(`embedding/${name} serves the API at ${prefix} beside its own page`, bounded, async (t) => {
    const { write } = await installing;
    const program = await write(name.replace(".js", ".mjs"), await readExample(name));
    const preload = await write(`preload-${name}.mjs`, TELLS_PORT);
    const mock = await startMock();
    t.after(() => mock.close());
    const { origin, exitCode } = await runGateway(t, {
      command: [process.execPath, "--import", preload, program],
      env: inFrontOf(mock.baseUrl),
    });
    const client = createClient(origin + prefix);

    const { choices } = await client.chat.completions.create({
      model: "gpt-4o-mini",
      messages: [{ role: "user", content: "Good day" }],
    });
    const denied = client.files.list();
    const page = await fetch(origin);

    assert.match(choices[0]?.message.content ?? "", /Good day/);
    await assert.rejects(denied, { status: 403, code: "endpoint_not_allowed" });
    assert.equal(await page.text(), "my own page");
    assert.equal(await exitCode("SIGTERM"), 0);
  });
}

test("importing the package does nothing at all", bounded, async () => {
  const { directory, write } = await installing;
  await write(".env", "OPENAI_API_KEY=from-dotenv\n");
  await write("gateway.json", "not JSON");
  const program = await write(
    "import.mjs",
    `
    import assert from "node:assert/strict";
    const { env } = process;
    const listeners = process.eventNames().join();
    const resources = process.getActiveResourcesInfo().join();
    const touched = [];
    // Node's own loader looks into it too.
    const note = (trap) => (...args) => {
      if (new Error().stack.includes("/openai-gateway/")) touched.push(String(args[1]));
      return Reflect[trap](...args);
    };
    const traps = ["get", "has", "ownKeys", "getOwnPropertyDescriptor"];
    process.env = new Proxy(env, Object.fromEntries(traps.map((trap) => [trap, note(trap)])));
    const { createGateway } = await import("openai-gateway");
    assert.equal(process.getActiveResourcesInfo().join(), resources);
    // Making one starts nothing either: this program ends by itself.
    createGateway({ upstreams: [{ apiKey: "sk-none" }] });
    assert.deepEqual(touched, []);
    assert.equal(process.eventNames().join(), listeners);
    assert.equal(env.OPENAI_API_KEY, undefined);
  `,
  );

  const ended = await run(program, [], { cwd: directory });

  assert.deepEqual(ended, { code: 0, stdout: "", stderr: "" });
});

test("wrong settings are a ConfigError that lists everything wrong", bounded, async () => {
  const { directory, write } = await installing;
  const program = await write(
    "wrong.mjs",
    `
    import { ConfigError, createGateway } from "openai-gateway";
    try {
      createGateway({ server: { prot: 1 }, timeouts: { idleMs: "soon" } });
    } catch (error) {
      console.log(error instanceof ConfigError, error.problems.map(({ where }) => where).sort().join(" "));
    }
  `,
  );

  const { stdout, stderr } = await run(program, [], { cwd: directory });

  assert.equal(stderr, "");
  assert.equal(stdout, "true server.prot timeouts.idleMs upstreams[0].apiKey\n");
});

test("CommonJS can require the package where Node can", bounded, async (t) => {
  if (!("require_module" in process.features)) return t.skip("this Node cannot require a module");
  const { directory, write } = await installing;
  const program = await write(
    "require.cjs",
    `console.log(typeof require("openai-gateway").createGateway);`,
  );

  const { stdout } = await run(program, [], { cwd: directory });

  assert.equal(stdout, "function\n");
});

test("nothing but the library can be imported from the package", bounded, async () => {
  const { directory, write } = await installing;
  const program = await write(
    "inside.mjs",
    `
    const { default: manifest } = await import("openai-gateway/package.json", { with: { type: "json" } });
    console.log(manifest.name, Object.keys(await import("openai-gateway")).sort().join());
    await import("openai-gateway/dist/secret.js").catch(({ code }) => console.log(code));
  `,
  );

  const { stdout } = await run(program, [], { cwd: directory });

  const [names, refusal] = stdout.trimEnd().split("\n");
  assert.equal(names, "openai-gateway ConfigError,OpenAIGateway,createGateway,mintToken");
  assert.equal(refusal, "ERR_PACKAGE_PATH_NOT_EXPORTED");
});

test("the package is typed for a strict program", bounded, async () => {
  const { directory, write } = await installing;
  const right = await write(
    "right.ts",
    `
    import { createServer } from "node:http";
    import { createGateway, type ConfigInput, type Gateway } from "openai-gateway";
    const settings: ConfigInput = { upstreams: [{ apiKey: "sk-1" }], cors: { origins: ["https://a.example"] } };
    const gateway: Gateway = createGateway(settings);
    createServer(gateway.handle).on("upgrade", gateway.upgrade);
  `,
  );
  const wrong = await write(
    "wrong.ts",
    `
    import { createGateway } from "openai-gateway";
    createGateway({ server: { port: "3000" } });
    createGateway({ upstream: [] });
  `,
  );

  // Of a program for Node alone, and of one that has the browser's types too, as is the default.
  for (const options of [
    ["--module", "nodenext", "--lib", "es2022"],
    ["--module", "esnext", "--moduleResolution", "bundler"],
  ]) {
    const node = ["--types", "node", "--target", "es2022", ...options];
    const accepted = await compile(right, directory, ...node);
    const refused = await compile(wrong, directory, ...node);

    assert.equal(accepted.stdout, "");
    assert.equal(accepted.code, 0);
    assert.match(refused.stdout, /wrong\.ts\(3,\d+\): error TS2322/);
    assert.match(refused.stdout, /wrong\.ts\(4,\d+\): error TS(?:2353|2561)/);
  }
});

test("the installed command starts", bounded, async (t) => {
  const { directory } = await installing;
  const manifest = JSON.parse(
    await readFile(join(directory, "node_modules/openai-gateway/package.json"), "utf8"),
  );
  const command = join(directory, "node_modules/openai-gateway", manifest.bin["openai-gateway"]);
  const { origin } = await runGateway(t, {
    command: [process.execPath, command],
    args: ["--mock"],
  });

  const model = await createClient(`${origin}/v1`).models.retrieve("gpt-4o-mini");

  assert.equal(model.id, "gpt-4o-mini");
});

test("a body parser in front is named as the mistake", bounded, async (t) => {
  const mock = await startMock();
  t.after(() => mock.close());
  const gateway = embed(t, mock.baseUrl);
  const app = express().use(express.json()).use("/ai", gateway.handle);
  const client = createClient(`${await serveWith(t, createServer(app))}/ai/v1`);

  const call = client.chat.completions.create({
    model: "m",
    messages: [{ role: "user", content: "Hi" }],
  });

  await assert.rejects(call, {
    status: 500,
    code: "internal_error",
    message: /mount the gateway before body parsers/,
  });
});

test("a body parser behind it, or for other types, is no trouble", bounded, async (t) => {
  const mock = await startMock();
  t.after(() => mock.close());
  const gateway = embed(t, mock.baseUrl);
  const app = express();
  app.use(express.urlencoded());
  app.use("/ai", gateway.handle);
  app.use(express.json());
  app.post("/own", (req, res) => void res.json({ got: req.body }));
  const origin = await serveWith(t, createServer(app));

  const { output_text: text } = await createClient(`${origin}/ai/v1`).responses.create({
    model: "m",
    input: "Hi",
  });
  const own = await fetch(`${origin}/own`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"a":1}',
  });

  assert.match(text, /Hi/);
  assert.deepEqual(await own.json(), { got: { a: 1 } });
});

test(
  "a mounted gateway answers what it does not know; the rest is the program's",
  bounded,
  async (t) => {
    const gateway = embed(t, "http://127.0.0.1:9/v1");
    const app = express().use("/ai", gateway.handle);
    const origin = await serveWith(t, createServer(app));

    const [inside, outside, health] = await Promise.all([
      fetch(`${origin}/ai/elsewhere`),
      fetch(`${origin}/v1/models`),
      fetch(`${origin}/ai/healthz`),
    ]);

    assert.equal(inside.status, 404);
    assert.equal(Object(await inside.json()).error.code, "unknown_url");
    assert.equal(outside.status, 404);
    assert.match(outside.headers.get("content-type") ?? "", /^text\/html/); // Express's own page.
    assert.equal(health.status, 200);
  },
);

test(
  "closing an embedded gateway refuses new calls and leaves the server alone",
  bounded,
  async (t) => {
    const mock = await startMock();
    t.after(() => mock.close());
    const gateway = embed(t, mock.baseUrl);
    const app = express().use("/ai", gateway.handle);
    app.get("/", (_req, res) => void res.send("still here"));
    const origin = await serveWith(t, createServer(app));

    await gateway.close();

    await assert.rejects(Promise.resolve(createClient(`${origin}/ai/v1`).models.list()), {
      status: 503,
      code: "draining",
    });
    assert.equal(await (await fetch(origin)).text(), "still here");
  },
);

function embed(t: TestContext, baseUrl: string, settings: ConfigInput = {}): Gateway {
  const quiet = { log: { level: "silent" }, server: { drainSeconds: 0 } } as const;
  const gateway = createGateway({
    upstreams: [{ baseUrl, apiKey: "sk-none" }],
    ...quiet,
    ...settings,
  });
  t.after(() => gateway.close());
  return gateway;
}

async function serveWith(t: TestContext, server: ReturnType<typeof createServer>): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${portOf(server)}`;
}

function readExample(name: string): Promise<string> {
  return readFile(new URL(`embedding/${name}`, import.meta.url), "utf8");
}
