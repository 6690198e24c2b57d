// The recipes of the manual, as they stand: settings and programs of recipes/, their example
// addresses replaced, around the real command line. The mock is OpenAI.
import assert from "node:assert/strict";
import { mkdir, readFile, symlink } from "node:fs/promises";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { startMock } from "../../src/mock/server.ts";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { runCli, startCli, type LogLine, type RunningCli } from "../helpers/run-cli.ts";
import { reasonToSkip, runInPage, SDK_IMPORT_MAP, startBrowser, startPages } from "./browser.ts";
import { runGateway, UPSTREAM_KEY } from "./gateway-process.ts";
import { installPackage, run } from "./installed-package.ts";

const README = await readFile(new URL("../../README.md", import.meta.url), "utf8");
const TOKEN_SECRET = "recipes-recipes-recipes-recipes-0123456789";
const GATEWAY = "https://gateway.example.com";
const APP = "https://app.example.com";
const LOGIN = "https://login.example.com/";

const bounded = { timeout: 40_000 };
const inBrowser = { ...bounded, skip: reasonToSkip() };
const HTML = `<!doctype html><title>App</title>${SDK_IMPORT_MAP}`;

const installing = installPackage();
after(async () => (await installing).remove());

/** Imports a page's program, and says what it showed and what it threw. */
const ASK = `async (source, token, question) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { ask } = await import(url);
  const shown = [];
  const show = (piece) => shown.push(piece);
  const asking = token === null ? ask(question, show) : ask(question, async () => token, show);
  const failure = await asking.then(() => null, ({ status, code, constructor: { name } }) => (
    { name, status, code }
  ));
  return { pieces: shown.filter(Boolean), failure };
}`;

/** Asks three times, and says how many tokens were fetched. */
const RENEW = `async (source) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { ask } = await import(url);
  const { now } = Date;
  await ask("One", () => {});
  await ask("Two", () => {});
  Date.now = () => now() + 360_000;
  await ask("Three", () => {});
  const names = performance.getEntriesByType("resource").map(({ name }) => name);
  return names.filter((name) => name.endsWith("/chat-token")).length;
}`;

/** Whatever server a program starts tells its port, as the gateway's log does. */
const TELLS_PORT = `
  import { Server } from "node:net";
  const { listen } = Server.prototype;
  Server.prototype.listen = function (...args) {
    const tell = () => console.log('"listening on http://127.0.0.1:' + this.address().port + '"');
    return listen.apply(this.once("listening", tell), args);
  };
`;

interface Asked {
  readonly pieces: readonly string[];
  readonly failure: {
    readonly name: string;
    readonly status?: number;
    readonly code?: string;
  } | null;
}

/** An example as it is in the manual, with what its example addresses stand for here. */
async function readRecipe(
  name: string,
  addresses: Readonly<Record<string, string>>,
): Promise<string> {
  let recipe = await readFile(new URL(`recipes/${name}`, import.meta.url), "utf8");
  for (const [example, address] of Object.entries(addresses)) {
    assert.ok(recipe.includes(example), `${name} does not say ${example}`);
    recipe = recipe.replaceAll(example, address);
  }
  return recipe;
}

/** The command line with a recipe's settings. */
async function startRecipe(
  t: TestContext,
  settings: string,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningCli> {
  const mock = await startMock({ firstTokenMs: 1, tokenIntervalMs: 5 });
  t.after(() => mock.close());
  const openai = { OPENAI_API_KEY: UPSTREAM_KEY, OPENAI_BASE_URL: mock.baseUrl };
  return startCli(t, {
    env: { ...openai, HOST: "127.0.0.1", ...env },
    files: { "gateway.json": settings },
  });
}

/** The log's line of a call that ended so. */
function reported(gateway: RunningCli, status: number): Promise<LogLine> {
  return gateway.line((line) => line.message === "request" && line["status"] === status);
}

/** Somebody to log in at. */
async function startLogin(t: TestContext) {
  const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable: true });
  const keys = [{ ...(await exportJWK(publicKey)), kid: "k1", alg: "RS256", use: "sig" }];
  const { baseUrl } = await fakeOpenAI(t, (res) => void res.end(JSON.stringify({ keys })));
  const tokenFor = (subject: string, audience = "chat"): Promise<string> =>
    new SignJWT()
      .setProtectedHeader({ alg: "RS256", kid: "k1", typ: "JWT" })
      .setIssuer(LOGIN)
      .setAudience(audience)
      .setSubject(subject)
      .setExpirationTime("5m")
      .sign(privateKey);
  return { jwksUrl: `${baseUrl}/jwks.json`, tokenFor };
}

async function call(
  url: string,
  token: string,
  {
    model = "gpt-4o-mini",
    headers = {},
  }: { model?: string; headers?: Record<string, string> } = {},
): Promise<{ readonly status: number; readonly code: unknown }> {
  const body = { model, messages: [{ role: "user", content: "Hi" }] };
  const authorization = `Bearer ${token}`;
  const answer = await post(`${url}/v1/chat/completions`, body, {
    headers: { authorization, ...headers },
  });
  return { status: answer.status, code: Object(Object(await answer.json()).error).code };
}

test("a browser app with a login: users stream, nobody else gets in", inBrowser, async (t) => {
  const login = await startLogin(t);
  const browser = await startBrowser(t);
  const [app, elsewhere] = [await startPages(t, { "/": HTML }), await startPages(t, { "/": HTML })];
  const jwks = { [`${LOGIN}.well-known/jwks.json`]: login.jwksUrl };
  const settings = await readRecipe("login/gateway.json", { ...jwks, [APP]: app.origin });
  const gateway = await startRecipe(t, settings);
  const page = await readRecipe("login/page.js", { [GATEWAY]: gateway.url });
  const askFrom = (origin: string, token: string): Promise<Asked> =>
    runInPage(browser, `${origin}/`, ASK, page, token, "Hello, Wörld!");
  const token = await login.tokenFor("user-1");

  const { pieces, failure } = await askFrom(app.origin, token);
  assert.equal(failure, null);
  assert.ok(pieces.length > 3, "the answer did not stream");
  assert.match(pieces.join(""), /Hello, Wörld!/);
  assert.equal((await reported(gateway, 200))["caller"], `${LOGIN}#user-1`);

  const wrongToken = await askFrom(app.origin, await login.tokenFor("user-1", "another-app"));
  assert.deepEqual(wrongToken.failure, {
    name: "AuthenticationError",
    status: 401,
    code: "invalid_api_key",
  });
  const wrongPage = await askFrom(elsewhere.origin, token);
  assert.equal(wrongPage.failure?.name, "APIConnectionError");

  const headers = { origin: elsewhere.origin };
  assert.deepEqual(await call(gateway.url, token, { headers }), {
    status: 403,
    code: "origin_not_allowed",
  });
  assert.deepEqual(await call(gateway.url, token, { model: "gpt-5" }), {
    status: 403,
    code: "model_not_allowed",
  });
});

test("a browser app without login: its backend mints, its page renews", inBrowser, async (t) => {
  const { directory, write } = await installing;
  const browser = await startBrowser(t);
  await mkdir(join(directory, "public"));
  await write("public/index.html", HTML);
  const openai = fileURLToPath(new URL("node_modules/openai", import.meta.url));
  await symlink(openai, join(directory, "public/openai"));
  const backend = await write("backend.mjs", await readRecipe("visitors/backend.js", {}));
  const preload = await write("preload-backend.mjs", TELLS_PORT);
  const { origin } = await runGateway(t, {
    command: [process.execPath, "--import", preload, backend],
    env: { TOKEN_SECRET },
  });
  const settings = await readRecipe("visitors/gateway.json", { [APP]: origin });
  const gateway = await startRecipe(t, settings, { TOKEN_SECRET });
  const page = await readRecipe("visitors/page.js", { [GATEWAY]: gateway.url });

  const { pieces, failure } = await runInPage<Asked>(
    browser,
    `${origin}/`,
    ASK,
    page,
    null,
    "Hey!",
  );
  assert.equal(failure, null);
  assert.ok(pieces.length > 3, "the answer did not stream");
  assert.match(pieces.join(""), /Hey!/);
  const first = (await reported(gateway, 200))["caller"];
  assert.match(String(first), /^token:[\da-f-]{36}$/);

  const fetches = await runInPage<number>(browser, `${origin}/`, RENEW, page);
  assert.equal(fetches, 2, "three questions, of which the last one is six minutes later");
  const callersOf = () => gateway.lines().flatMap(({ caller = [] }) => caller);
  // The page may have its answer before the line is here.
  await gateway.line(() => callersOf().length >= 4);
  const callers = callersOf();
  assert.deepEqual(callers, [first, first, first, first], "the cookie keeps the visitor's name");

  const { token } = Object(await (await post(`${origin}/chat-token`, {})).json());
  const asPage = { origin };
  assert.equal((await call(gateway.url, token, { headers: asPage })).status, 200);
  assert.deepEqual(await call(gateway.url, token), { status: 403, code: "origin_not_allowed" });
  assert.deepEqual(await call(gateway.url, `${token}x`, { headers: asPage }), {
    status: 401,
    code: "invalid_api_key",
  });
  const wrongModel = await call(gateway.url, token, { model: "gpt-4o", headers: asPage });
  assert.deepEqual(wrongModel, { status: 403, code: "model_not_allowed" });
});

test("a mobile app streams with its user's token, and needs no origin", bounded, async (t) => {
  const { write } = await installing;
  const login = await startLogin(t);
  const jwks = { [`${LOGIN}.well-known/jwks.json`]: login.jwksUrl };
  const gateway = await startRecipe(t, await readRecipe("login/gateway.json", jwks));
  const program = await readRecipe("mobile/app.js", { [GATEWAY]: gateway.url });
  const { ask } = await import(pathToFileURL(await write("app.mjs", program)).href);
  const pieces: string[] = [];
  const show = (piece: string): void => void pieces.push(piece);

  await ask("Grüß Gott! 🙂", () => login.tokenFor("user-2"), show);

  assert.ok(pieces.length > 3, "the answer did not stream");
  assert.match(pieces.join(""), /Grüß Gott! 🙂/);
  assert.equal((await reported(gateway, 200))["caller"], `${LOGIN}#user-2`);
  await assert.rejects(
    ask("Hi", async () => "a.wrong.token", show),
    /The API key or token is not valid here/,
  );
  const token = await login.tokenFor("user-2");
  assert.equal((await call(gateway.url, token, { model: "gpt-5" })).code, "model_not_allowed");

  const leaving = new AbortController();
  const leave = ask(
    "Hi",
    async () => token,
    () => leaving.abort(),
    leaving.signal,
  );
  await assert.rejects(leave, { name: "AbortError" });
  const left = await gateway.line(({ error }) => error === "client_gone");
  assert.equal(left["caller"], `${LOGIN}#user-2`);
});

test("a mobile app is told when its answer breaks off", bounded, async (t) => {
  const { write } = await installing;
  let breakOff = (): void => {};
  const openai = await fakeOpenAI(t, (res) => {
    // Only once the app has seen this: a reset may overtake what was sent before it.
    breakOff = () => void res.destroy();
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write('event: response.output_text.delta\ndata: {"type":"response.output_text.delta",');
    res.write('"delta":"Well","sequence_number":4}\n\n');
  });
  const login = await startLogin(t);
  const jwks = { [`${LOGIN}.well-known/jwks.json`]: login.jwksUrl };
  const gateway = await startRecipe(t, await readRecipe("login/gateway.json", jwks), {
    OPENAI_BASE_URL: openai.baseUrl,
  });
  const program = await readRecipe("mobile/app.js", { [GATEWAY]: gateway.url });
  const { ask } = await import(pathToFileURL(await write("broken-app.mjs", program)).href);
  const pieces: string[] = [];

  const asking = ask(
    "Hi",
    () => login.tokenFor("user-3"),
    (piece: string) => {
      pieces.push(piece);
      breakOff();
    },
  );

  await assert.rejects(asking, /^Error: The connection to OpenAI broke/);
  assert.deepEqual(pieces, ["Well"]);
});

test("server to server: a key, the SDK, curl", bounded, async (t) => {
  const { directory, write } = await installing;
  const made = await runCli(t, { args: ["key", "backend", "--policy", "server", "--json"] });
  const { key, entry } = JSON.parse(made.stdout);
  const settings = await readRecipe("server/gateway.json", {
    "the 64 digits that were printed": entry.sha256,
  });
  assert.deepEqual(JSON.parse(settings).access.keys, [entry], "the entry is not what is printed");
  const gateway = await startRecipe(t, settings);
  const modules = join(directory, "node_modules/openai");
  await symlink(fileURLToPath(new URL("node_modules/openai", import.meta.url)), modules);
  const program = await write("call.mjs", await readRecipe("server/call.js", {}));
  const env = { OPENAI_BASE_URL: `${gateway.url}/v1`, OPENAI_API_KEY: key };

  const answered = await run(program, [], { cwd: directory, env });
  assert.equal(answered.stderr, "");
  assert.match(answered.stdout, /Hello!/);
  assert.equal((await reported(gateway, 200))["caller"], "key:backend");

  const blocks = [...README.matchAll(/^```sh\n([^]*?)^```/gm)].map(([, block = ""]) => block);
  const [curl = "", ...others] = blocks.filter((block) => block.startsWith(`curl ${GATEWAY}`));
  assert.deepEqual([curl === "", others], [false, []]);
  const listed = await shell(curl.replaceAll(GATEWAY, gateway.url), { OPENAI_API_KEY: key });
  assert.match(Object(JSON.parse(listed)).choices[0].message.content, /Hello!/);

  const refused = await run(program, [], { cwd: directory, env: { ...env, OPENAI_API_KEY: "no" } });
  assert.match(refused.stderr, /AuthenticationError: 401/);
  const authorization = `Bearer ${key}`;
  const images = `${gateway.url}/v1/images/generations`;
  const closed = await post(images, { prompt: "A cat" }, { headers: { authorization } });
  assert.equal(closed.status, 403);
  assert.equal(Object(await closed.json()).error.code, "endpoint_not_allowed");
});

test("the claims of the manual make a token, whoever signs them", bounded, async (t) => {
  const [, json = ""] = /```json\n(\{\s*"iss": "openai-gateway"[^]*?)```/.exec(README) ?? [];
  const { iat, exp, ...claims } = JSON.parse(json);
  assert.equal(exp - iat, 600);
  const settings = JSON.stringify({ policies: { [claims.policy]: {} } });
  const gateway = await startRecipe(t, settings, { TOKEN_SECRET });
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: "HS256" })
    .setIssuedAt()
    .setExpirationTime("10m")
    .sign(new TextEncoder().encode(TOKEN_SECRET));

  assert.equal((await call(gateway.url, token)).status, 200);
  assert.equal((await reported(gateway, 200))["caller"], `token:${claims.sub}`);
  assert.equal((await call(gateway.url, token, { model: "gpt-4o" })).code, "model_not_allowed");
});

test("the manual has every recipe to the letter", async () => {
  for (const name of [
    "login/gateway.json",
    "login/page.js",
    "visitors/gateway.json",
    "visitors/backend.js",
    "visitors/page.js",
    "mobile/app.js",
    "server/gateway.json",
    "server/call.js",
  ]) {
    const language = name.replace(/^.*\./, "");
    const recipe = (await readRecipe(name, {})).trim();
    assert.ok(README.includes(`\`\`\`${language}\n${recipe}\n\`\`\``), name);
  }
});

async function shell(command: string, env: Readonly<Record<string, string>>): Promise<string> {
  const { stdout } = await promisify(execFile)("sh", ["-c", command], {
    cwd: (await installing).directory,
    env: { PATH: process.env["PATH"], ...env },
  });
  return stdout;
}
