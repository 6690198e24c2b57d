// Distinctive secrets go in everywhere; none comes out of the process, whatever happens to the call.
import assert from "node:assert/strict";
import { createHash, createSecretKey } from "node:crypto";
import { test, type TestContext } from "node:test";
import { signJwt } from "../../src/access/jwt.ts";
import { createKey } from "../../src/access/keys.ts";
import { completes, deadUrl, fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { sendRaw, type RawAnswer } from "../helpers/raw-client.ts";
import { runCli, startCli, type RunningCli, type Surroundings } from "../helpers/run-cli.ts";

// Of no known shape: only what the program knows of them, or does not print, can keep them in.
const SERVER_KEY = "Seeded.Server.0a1b2c3d4e5f";
const CLIENT = {
  authorization: "Seeded.Bearer.1a2b3c4d5e6f",
  apiKey: "Seeded.ApiKey.2a3b4c5d6e7f",
  cookie: "Seeded.Cookie.3a4b5c6d7e8f",
  query: "Seeded.Query.4a5b6c7d8e9f",
  subprotocol: "Seeded.Protocol.5a6b7c8d9e0f",
  body: "Seeded.Content.6a7b8c9d0e1f",
};

const CREDENTIALS =
  `authorization: Bearer ${CLIENT.authorization}\r\napi-key: ${CLIENT.apiKey}\r\n` +
  `x-api-key: ${CLIENT.apiKey}\r\ncookie: session=${CLIENT.cookie}\r\n`;
const BODY = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"${CLIENT.body}"}]}`;

function request(line: string, fields = "", body = ""): string {
  const [method, path] = line.split(" ");
  const length =
    body === "" ? "" : `content-type: application/json\r\ncontent-length: ${body.length}\r\n`;
  return (
    `${method} ${path}?api_key=${CLIENT.query} HTTP/1.1\r\nhost: localhost\r\n` +
    `${CREDENTIALS}${fields}${length}` +
    `connection: ${fields.startsWith("upgrade:") ? "upgrade" : "close"}\r\n\r\n${body}`
  );
}

const HANDSHAKE =
  "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
  `sec-websocket-protocol: realtime, openai-insecure-api-key.${CLIENT.subprotocol}\r\n`;

/** What is sent, and the status that shows that the case is the one that is meant. */
const CALLS: readonly (readonly [what: string, bytes: string, status: number])[] = [
  ["a good call", request("POST /v1/chat/completions", "", BODY), 200],
  ["one that OpenAI refuses", request("POST /v1/embeddings", "", BODY), 401],
  ["one that OpenAI breaks off", request("POST /v1/completions", "", BODY), 500],
  ["an endpoint that is not open", request("GET /v1/files"), 403],
  ["an unknown path", request("GET /v1/nothing"), 404],
  ["no API at all", request("GET /nothing"), 404],
  ["a wrong method", request("DELETE /v1/chat/completions"), 405],
  [
    "two credentials",
    request("POST /v1/chat/completions", `authorization: ${CLIENT.authorization}\r\n`, BODY),
    400,
  ],
  ["a malformed header", request("GET /v1/models", `x y: ${CLIENT.apiKey}\r\n`), 400],
  ["headers without end", request("GET /v1/models", `x: ${CLIENT.apiKey.repeat(2_000)}\r\n`), 431],
  [
    "a coding that we do not know",
    request("POST /v1/chat/completions", "transfer-encoding: gzip, chunked\r\n"),
    501,
  ],
  ["a WebSocket that OpenAI answers plainly", request("GET /v1/responses", HANDSHAKE), 200],
  ["a WebSocket to nothing", request("GET /v1/nothing", HANDSHAKE), 404],
  ["a probe", request("GET /readyz"), 200],
  [
    "a preflight",
    request("OPTIONS /v1/chat/completions", "origin: https://app.example.com\r\n"),
    204,
  ],
];

const play: Script = async (res, arrival) => {
  await arrival.body;
  if (arrival.url.startsWith("/v1/completions")) res.destroy();
  else if (arrival.url.startsWith("/v1/embeddings")) {
    const headers = { "content-type": "application/json", "set-cookie": `a=${SERVER_KEY}` };
    res
      .writeHead(401, { ...headers, "openai-organization": SERVER_KEY })
      .end('{"error":{"message":"No."}}');
  } else await completes(res, arrival);
};

function assertFree(text: string, secrets: readonly string[], where: string): void {
  for (const secret of secrets) assert.ok(!text.includes(secret), `${where} holds ${secret}`);
}

test("no output of the process and no byte to a client holds a secret", async (t) => {
  const openai = await fakeOpenAI(t, play);
  const allowed = "chat,completions,embeddings,realtime";
  const env = { OPENAI_API_KEY: SERVER_KEY, LOG_LEVEL: "debug", ALLOWED_ENDPOINTS: allowed };
  const good = await startCli(t, { env: { ...env, OPENAI_BASE_URL: openai.baseUrl } });
  const cut = await startCli(t, { env: { ...env, OPENAI_BASE_URL: await deadUrl() } });

  const answers = await Promise.all(
    CALLS.map(async ([what, bytes, status]) => ({
      what,
      status,
      answer: await sendRaw(good.port, bytes),
    })),
  );
  const unreachable = await sendRaw(cut.port, request("POST /v1/chat/completions", "", BODY));
  for (const cli of [good, cut]) cli.stop("SIGTERM");
  const outputs = await Promise.all([good.ended, cut.ended]);

  for (const { what, status, answer } of answers) {
    assert.equal(answer.status, status, `${what}: ${answer.text}`);
    assertFree(answer.text, [SERVER_KEY], `the answer to ${what}`);
  }
  assert.equal(unreachable.status, 500);
  assertFree(unreachable.text, [SERVER_KEY], "the answer of a gateway without OpenAI");
  assert.ok(good.lines().filter(({ message }) => message === "request").length >= CALLS.length - 2);
  for (const { stdout, stderr } of outputs) {
    assertFree(stdout + stderr, [SERVER_KEY, ...Object.values(CLIENT)], "the output");
  }
  const arrived = openai.arrivals
    .map(({ url, rawHeaders }) => `${url} ${rawHeaders.join(" ")}`)
    .join("\n");
  assert.ok(arrived.includes(`Bearer ${SERVER_KEY}`));
  const { authorization, apiKey, cookie, subprotocol } = CLIENT;
  assertFree(arrived, [authorization, apiKey, cookie, subprotocol], "what OpenAI got");
});

/** Distinctive in every part, and of no shape that the log could know. */
function seed(name: string, length = 40): string {
  const digits = createHash("sha512").update(name).digest("hex");
  return `${name}.${digits}`.slice(0, length);
}

const SEEDED = {
  upstream: seed("Upstream"),
  key: seed("Gateway"),
  hex: seed("Hex", 68).slice(4), // As `openssl rand -hex 32` makes them.
  token: seed("Token", 80),
  previous: seed("Previous"),
  admin: seed("Admin"),
  jwt: seed("Jwt"),
} as const;
const MADE = createKey().key; // Of another gateway: only its shape tells what it is.
const USER = signJwt(
  { iss: "legacy", aud: "chat", sub: "user-1", exp: Math.floor(Date.now() / 1_000) + 600 },
  createSecretKey(Buffer.from(SEEDED.jwt)),
);
const ISSUER = { issuer: "legacy", audience: "chat", secret: "${JWT_SECRET}" };

const ENV = {
  OPENAI_API_KEY: SEEDED.upstream,
  GATEWAY_KEYS: `app:${SEEDED.key},hex:${SEEDED.hex}`,
  TOKEN_SECRET: SEEDED.token,
  TOKEN_SECRET_PREVIOUS: SEEDED.previous,
  ADMIN_KEY: SEEDED.admin,
  JWT_SECRET: SEEDED.jwt,
  CORS_ORIGINS: "https://app.example.com",
  ALLOWED_ENDPOINTS: "chat,models,images,responses,realtime",
  ALLOWED_MODELS: "gpt-4o-mini",
  MAX_OUTPUT_TOKENS: "100",
  HOST: "127.0.0.1",
  LOG_LEVEL: "debug",
};
const FILES = { "gateway.json": JSON.stringify({ access: { jwt: [ISSUER] } }) };

function start(t: TestContext, baseUrl: string, more: Surroundings = {}): Promise<RunningCli> {
  const env = { ...ENV, OPENAI_BASE_URL: baseUrl, ...more.env };
  return startCli(t, { env, files: { ...FILES, ...more.files } });
}

/** Bytes of a call by somebody who may. */
function call(line: string, fields: readonly string[] = [], body = ""): string {
  const has = (name: string): boolean => fields.some((field) => field.startsWith(name));
  const usual = [
    "host: localhost",
    ...(has("authorization") ? [] : [`authorization: Bearer ${SEEDED.key}`]),
    ...(body === "" ? [] : [`content-length: ${Buffer.byteLength(body)}`]),
    ...(body === "" || has("content-type") ? [] : ["content-type: application/json"]),
    ...(has("upgrade") ? [] : ["connection: close"]),
  ];
  return `${line} HTTP/1.1\r\n${[...usual, ...fields].join("\r\n")}\r\n\r\n${body}`;
}

const UPGRADE = [
  "connection: upgrade",
  "upgrade: websocket",
  "sec-websocket-version: 13",
  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
];
const FORM = ["content-type: multipart/form-data; boundary=b"];
const ADMIN = [`authorization: Bearer ${SEEDED.admin}`];

function form(name: string, value: string): string {
  return `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n--b--\r\n`;
}

/** Everywhere that a credential can be in a request, to be refused. */
function misplace(value: string): readonly string[] {
  const chat = "POST /v1/chat/completions";
  const bearer = [`authorization: Bearer ${value}`];
  return [
    call(`GET /v1/${value}`),
    call(`GET /v1/models/${value}`),
    call(`GET /v1/files/${value}/content`),
    call(`GET /${value}`),
    call(`DELETE /v1/chat/completions/${value}`),
    call(`GET /v1/nothing?key=${value}`),
    call(`GET /v1/../${value}`),
    call(`GET http://${value}@localhost/${value}`),
    call(`GET ${value}`),
    call(`GET /v1/models#${value}`),
    call(`GET /v1/%zz${value}`),
    call(`${value} /v1/models`),
    `GET /v1/models ${value}\r\n\r\n`,
    `GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n${value} ${value}\r\n\r\n`,
    call("GET /v1/nothing", [`${value}: 1`]),
    call("GET /v1/nothing", [`x ${value}: 1`]),
    call("GET /v1/nothing", [`x-y: ${value}\u0001`]),
    call("GET /v1/nothing", [`cookie: ${value}`]),
    call("GET /v1/models", [`api-key: ${value}`, `authorization: Bearer ${value}.`]),
    call("GET /v1/models", [`authorization: Bearer ${value} ${value}`]),
    call("GET /v1/models", [`authorization: Basic ${value}`]),
    call("GET /v1/models", [`authorization: Bearer ${value}x`]),
    call("GET /v1/models", [`origin: https://${value}`]),
    call("GET /v1/nothing", bearer),
    call("GET /admin/usage", bearer),
    call(`POST /admin/${value}`, ADMIN, "{}"),
    call("POST /admin/tokens", ADMIN, `{"${value}":1,"subject":""}`),
    call("POST /admin/tokens", ADMIN, `{"subject":"${value}"`),
    call("POST /admin/tokens", [...ADMIN, `origin: https://${value}`], "{}"),
    call(chat, [], `{"model":"${value}"}`),
    call(chat, [], `{"${value}":1,"model":"gpt-4"}`),
    call(chat, [], `{"model":"gpt-4o-mini","n":"${value}","max_tokens":"${value}"}`),
    call(chat, [], `{"${value}`),
    call(chat, [], value),
    call(chat, [`content-type: ${value}`], "{}"),
    call(chat, [`content-encoding: ${value}`], "{}"),
    call("POST /v1/images/edits", FORM, form("model", value)),
    call("POST /v1/images/edits", FORM, form(value, value)),
    call("POST /v1/images/edits", [`content-type: multipart/form-data; boundary="${value}`], value),
    call(`GET /v1/${value}`, UPGRADE),
    call("GET /v1/nothing", [
      "authorization:",
      ...UPGRADE,
      `sec-websocket-protocol: openai-insecure-api-key.${value}`,
    ]),
    call("GET /v1/realtime", [...UPGRADE, `origin: https://${value}`]),
  ];
}

/** Not even a part that would be worth having; of a JWT all but its header, which says nothing. */
function assertNoPart(text: string, secrets: readonly string[], where: string): void {
  for (const secret of secrets) {
    const hidden = secret.startsWith("eyJ") ? secret.slice(secret.indexOf(".") + 1) : secret;
    for (let at = 0; at + 16 <= hidden.length; at++) {
      const part = hidden.slice(at, at + 16);
      const found = text.indexOf(part);
      const around = text.slice(Math.max(0, found - 200), found + 100);
      assert.ok(found < 0, `${where} holds ${part} of ${secret}: …${around}…`);
    }
  }
}

/** What POST /admin/tokens is there to hand out. */
async function mint(cli: RunningCli): Promise<string> {
  const answer = await sendRaw(cli.port, call("POST /admin/tokens", ADMIN, '{"subject":"a"}'));
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.body).token;
}

/** Sends them and returns all that the process and its clients have seen. */
async function sendAll(cli: RunningCli, calls: readonly string[]) {
  const answers: RawAnswer[] = [];
  // Not all at once: they would wait for each other beyond the client's patience.
  const waiting = [...calls];
  const work = async (): Promise<void> => {
    for (let bytes = waiting.pop(); bytes !== undefined; bytes = waiting.pop()) {
      answers.push(await sendRaw(cli.port, bytes));
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
  cli.stop("SIGTERM");
  const { stdout, stderr } = await cli.ended;
  return { answers, output: stdout + stderr };
}

test("no credential, wherever in a request it is put, comes out in an answer or the log", async (t) => {
  const openai = await fakeOpenAI(t);
  const cli = await start(t, openai.baseUrl);
  const secrets = [...Object.values(SEEDED), MADE, USER, await mint(cli)];
  const calls = secrets.flatMap(misplace);

  const { answers, output } = await sendAll(cli, calls);

  const statuses = new Set(answers.map(({ status }) => status));
  for (const status of [400, 401, 403, 404, 415]) assert.ok(statuses.has(status), `no ${status}`);
  const requests = output.split("\n").filter((line) => line.includes('"message":"request"'));
  assert.ok(requests.length > calls.length / 2, `${requests.length} of ${calls.length}`);
  assertNoPart(answers.map(({ text }) => text).join("\n"), secrets, "an answer");
  assertNoPart(output, secrets, "the output");
});

test("every right credential gets an answer, and none is in one or in the log", async (t) => {
  const openai = await fakeOpenAI(t);
  const cli = await start(t, openai.baseUrl);
  const right = [SEEDED.key, SEEDED.hex, USER, await mint(cli)];
  const body = '{"model":"gpt-4o-mini"}';
  const calls = right.map((credential) => {
    return call("POST /v1/chat/completions", [`authorization: Bearer ${credential}`], body);
  });

  const { answers, output } = await sendAll(cli, calls);

  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200],
  );
  const text = answers.map((answer) => answer.text).join("\n") + output;
  assertNoPart(text, [...Object.values(SEEDED), ...right], "an answer or the log");
  const arrived = openai.arrivals.map(({ rawHeaders }) => rawHeaders.join(" ")).join("\n");
  assertNoPart(arrived, right, "what OpenAI got");
});

test("a long path is not cut in the middle of a credential, which nobody would recognise then", async (t) => {
  const cli = await start(t, await deadUrl());
  const long = (value: string, before: number): string => `${"a".repeat(before)}/${value}`;
  const calls = [SEEDED.hex, SEEDED.token, SEEDED.key].flatMap((value) => [
    call(`GET /${long(value, 160)}`),
    call(`GET /v1/${long(value, 160)}`),
    call(`POST /admin/${long(value, 160)}`, [], "{}"),
  ]);

  const { answers, output } = await sendAll(cli, calls);

  const text = answers.map((answer) => answer.text).join("\n") + output;
  assertNoPart(text, Object.values(SEEDED), "an answer or the log");
});

test("a value that an admin's answer shows is not cut in the middle of a credential", async (t) => {
  const cli = await start(t, await deadUrl());
  const calls = [SEEDED.hex, SEEDED.token].flatMap((value) => [
    call("POST /admin/tokens", ADMIN, `{"subject":"a","policy":"${value}"}`),
    call("POST /admin/tokens", ADMIN, `{"subject":"a","limits":{"tools":[" ${value}"]}}`),
    call("POST /admin/tokens", ADMIN, `{"subject":"a","limits":"say ${value}"}`),
  ]);

  const { answers, output } = await sendAll(cli, calls);

  const text = answers.map((answer) => answer.text).join("\n") + output;
  assertNoPart(text, Object.values(SEEDED), "an answer or the log");
});

test("a credential is recognised right behind a letter, a digit or an encoded space", async (t) => {
  const cli = await start(t, await deadUrl());
  const spaced = `${Buffer.from('{ "alg":"HS256"}').toString("base64url")}.${USER.split(".")[1]}.`;
  const calls = [MADE, USER, spaced].flatMap((value) => [
    call(`GET /v1/nothing/${value}`),
    call(`GET /v1/files/Bearer%20${value}`),
    call(`GET /Bearer%20${value}`),
    call(`GET /v1/token_${value}`),
    call("POST /v1/chat/completions", [], `{"model":"key_${value}"}`),
  ]);

  const { answers, output } = await sendAll(cli, calls);

  const text = answers.map((answer) => answer.text).join("\n") + output;
  assertNoPart(text, [MADE, USER], "an answer or the log");
});

const CRASHES = {
  "with a message": 'throw new Error(values.join(" "))',
  "in a promise": 'Promise.reject(new Error("a " + values.join(",")))',
} as const;

for (const [how, statement] of Object.entries(CRASHES)) {
  test(`the report of a crash ${how} holds no secret`, async (t) => {
    const values = JSON.stringify([...Object.values(SEEDED), MADE, USER]);
    const crash = `const values = ${values}; process.on("SIGUSR2", () => { ${statement}; });`;
    const cli = await start(t, await deadUrl(), {
      env: { NODE_OPTIONS: "--import ./crash.mjs" },
      files: { "crash.mjs": crash },
    });

    cli.stop("SIGUSR2");
    const { code, stdout, stderr } = await cli.ended;

    assert.equal(code, 1, stdout + stderr);
    const last = cli.lines().at(-1);
    assert.equal(last?.message, "crashed");
    assert.match(String(last?.["cause"]), /^Error: (?:a )?\[secret\]/);
    assertNoPart(stdout + stderr, [...Object.values(SEEDED), MADE, USER], "the report");
  });
}

test("check, and a start that cannot succeed, hold no secret, also where one is in the wrong place", async (t) => {
  const secrets = [...Object.values(SEEDED), MADE, USER];
  const wrong = { ...ENV, ALLOWED_MODELS: `${SEEDED.key},${USER}`, PORT: MADE, HOST: USER };
  const odd = { ...ENV, OPENAI_ORG_ID: SEEDED.admin, ALLOWED_MODELS: secrets.join(",") };

  const runs = await Promise.all([
    runCli(t, { args: ["check"], env: odd, files: FILES }),
    runCli(t, { args: ["check", "--json"], env: odd, files: FILES }),
    runCli(t, { env: wrong, files: FILES }),
    runCli(t, { args: ["token", "a"], env: odd, files: FILES }),
  ]);

  assert.deepEqual(
    runs.map(({ code }) => code),
    [0, 0, 2, 0],
  );
  for (const { stdout, stderr } of runs) assertNoPart(stdout + stderr, secrets, "the output");
});

test("a crash with something that is no Error is reported too", async (t) => {
  const clis = await Promise.all(
    ["null", `"${SEEDED.admin} is wrong"`].map((thrown) => {
      return start(t, "http://127.0.0.1:9/v1", {
        env: { NODE_OPTIONS: "--import ./crash.mjs" },
        files: { "crash.mjs": `process.on("SIGUSR2", () => { throw ${thrown}; });` },
      });
    }),
  );

  for (const cli of clis) cli.stop("SIGUSR2");
  const ends = await Promise.all(clis.map(({ ended }) => ended));

  assert.deepEqual(
    ends.map(({ code, stderr }) => [code, stderr]),
    [
      [1, ""],
      [1, ""],
    ],
  );
  const causes = clis.map((cli) => cli.lines().at(-1)?.["cause"]);
  assert.deepEqual(causes, ["null", "[secret] is wrong"]);
});

test("check --json knows a secret also where JSON writes it in another way", async (t) => {
  const secret = 'Quoted"Seeded\\0123456789';
  const env = { OPENAI_API_KEY: SEEDED.upstream, ADMIN_KEY: secret, OPENAI_ORG_ID: secret };

  const { code, stdout } = await runCli(t, { args: ["check", "--json"], env });

  assert.equal(code, 0, stdout);
  assert.equal(JSON.parse(stdout).upstreams[0].organization, "[secret]");
});
