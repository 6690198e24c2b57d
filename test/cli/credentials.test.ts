// `key` and `token`: what they print lets its holder in, and is in no other output.
import assert from "node:assert/strict";
import { createHash, createSecretKey } from "node:crypto";
import { test, type TestContext } from "node:test";
import { parseJwt, signJwt, verifySignature } from "../../src/access/jwt.ts";
import { describeNewKey, describeNewToken } from "../../src/cli/credentials.ts";
import { parseCommandLine } from "../../src/config/settings.ts";
import { linesOf, within } from "../config/support.ts";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { runCli, startCli, type Surroundings } from "../helpers/run-cli.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const NAME_RULE = "expected a name of letters, digits and . @ _ -";
const DATE_RULE = 'expected a date such as "2027-01-01" or "2027-01-01T12:00:00Z"';

function key(...args: readonly string[]): { readonly key: string; readonly entry: object } {
  return JSON.parse(describeNewKey(parseCommandLine(["key", ...args, "--json"])));
}

function token(
  t: TestContext,
  args: readonly string[],
  { env = { TOKEN_SECRET: SECRET }, files }: Surroundings = {},
) {
  const commandLine = parseCommandLine(["token", ...args]);
  const printed = within(t, { env, files: files ?? {} }, () => {
    return describeNewToken(commandLine, "http://localhost/v1");
  });
  assert.match(printed, /^\{.*\}\n$/);
  const { token, expiresAt } = JSON.parse(printed);
  const jwt = parseJwt(token);
  verifySignature(jwt, createSecretKey(Buffer.from(SECRET)));
  return { claims: { ...jwt.claims }, expiresAt };
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

test("key prints a key, its entry for the file and its line for the environment, without settings", async (t) => {
  const { code, stdout, stderr } = await runCli(t, { args: ["key", "ios.app@2"] });

  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
  const [made = ""] = /\bgwk_[\w-]{43}\b/.exec(stdout) ?? [];
  const entry = JSON.stringify({ name: "ios.app@2", sha256: digest(made) });
  assert.equal(
    stdout,
    `The key, shown this once:\n  ${made}\n\n` +
      `For "access": { "keys": [ … ] } in gateway.json:\n  ${entry}\n\n` +
      `Or, without a file and for the policy "default":\n  GATEWAY_KEYS=ios.app@2:${made}\n`,
  );
});

test("key shows no line for the environment where that could not say the same", () => {
  for (const option of [
    ["--policy", "server"],
    ["--expires", "2031-01-01"],
  ]) {
    const text = describeNewKey(parseCommandLine(["key", "backend", ...option]));

    assert.match(text, /"(?:policy":"server|expires":"2031-01-01)"\}\n$/);
    assert.doesNotMatch(text, /GATEWAY_KEYS/);
  }
});

test("key --json prints one JSON document", () => {
  const { key: made, entry, ...others } = key("backend");

  assert.deepEqual(entry, { name: "backend", sha256: digest(made) });
  assert.deepEqual(others, {});
});

test("no two keys are the same", () => {
  assert.notEqual(key("backend").key, key("backend").key);
});

test("key counts days from now, and takes a moment as it is", () => {
  const before = Date.now();
  const { expires } = Object(key("backend", "--expires", "90d").entry);
  const passed = Date.parse(expires) - before - 90 * 86_400_000;

  assert.ok(passed >= 0 && passed < 10_000, expires);
  for (const moment of ["2031-01-01", "2031-01-01T12:00:00Z"]) {
    assert.equal(Object(key("backend", "--expires", moment).entry).expires, moment);
  }
});

const WRONG_KEYS = [
  [[], [`name: is missing: ${NAME_RULE}`]],
  [["backend", "--expires", "2020-01-01"], ["--expires: expected a date that is to come"]],
  [["backend", "--expires", "0d"], ["--expires: expected a date that is to come"]],
  [["my backend"], [`name: ${NAME_RULE}, got "my backend"`]],
  [["a:b"], [`name: ${NAME_RULE}, got "a:b"`]],
  [["backend", "--expires", "2031-02-29"], [`expires: ${DATE_RULE}, got "2031-02-29"`]],
  [["backend", "--expires", "2031-01-01T12:00"], [`expires: ${DATE_RULE}, got "2031-01-01T12:00"`]],
  [["backend", "--expires", "3months"], [`expires: ${DATE_RULE}, got "3months"`]],
  [["backend", "--expires", "999999d"], [`expires: ${DATE_RULE}, got "999999d"`]],
  [
    ["a b", "--expires", "soon"],
    [`expires: ${DATE_RULE}, got "soon"`, `name: ${NAME_RULE}, got "a b"`],
  ],
] as const;

for (const [args, lines] of WRONG_KEYS) {
  test(`key ${args.join(" ")} makes none`, () => {
    assert.deepEqual(
      linesOf(() => key(...args)),
      lines,
    );
  });
}

test("token prints what POST /admin/tokens would answer, and needs no OpenAI key", async (t) => {
  const { code, stdout, stderr } = await runCli(t, {
    args: ["token", "alice"],
    env: { TOKEN_SECRET: SECRET },
  });

  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
  const { token: minted, expiresAt, ...others } = JSON.parse(stdout);
  assert.deepEqual(others, {});
  const { iat, exp, jti, ...claims } = parseJwt(minted).claims;
  assert.deepEqual(claims, { iss: "openai-gateway", sub: "alice", policy: "default" });
  assert.equal(Number(exp) - Number(iat), 600);
  assert.equal(Date.parse(expiresAt), Number(exp) * 1_000);
  assert.ok(Math.abs(Number(iat) - Date.now() / 1_000) < 60, String(iat));
  assert.match(String(jti), /^[\da-f-]{36}$/);
});

test("token takes a policy, a lifetime and every limit", (t) => {
  const args = [
    ...["user 1/ä", "--policy", "user", "--expires-in", "60"],
    ...["--endpoints", "chat,GET /models", "--models", "gpt-4o-mini, gpt-5*"],
    ...["--max-output-tokens", "500", "--max-choices", "1", "--tools", "function"],
    ...["--stored-state", "false", "--service-tiers", "auto", "--max-body-bytes", "1000"],
    ...["--origins", "https://app.example.com", "--safety-identifier", "true"],
    ...["--requests-per-minute", "3", "--tokens-per-minute", "1000"],
    ...["--concurrent-requests", "1", "--budget", "0.5/day,$2/total"],
  ];
  const files = { "gateway.json": '{"policies":{"user":{}}}' };

  const { claims } = token(t, args, { files });

  const { iat, exp, sub, policy, limits } = Object(claims);
  assert.equal(exp - iat, 60);
  assert.equal(sub, "user 1/ä");
  assert.equal(policy, "user");
  assert.deepEqual(limits, {
    endpoints: ["chat", "GET /models"],
    models: ["gpt-4o-mini", "gpt-5*"],
    maxOutputTokens: 500,
    maxChoices: 1,
    tools: ["function"],
    storedState: false,
    serviceTiers: ["auto"],
    maxBodyBytes: 1_000,
    origins: ["https://app.example.com"],
    safetyIdentifier: true,
    requestsPerMinute: 3,
    tokensPerMinute: 1_000,
    concurrentRequests: 1,
    budget: [
      { usd: 0.5, per: "day" },
      { usd: 2, per: "total" },
    ],
  });
});

test("token reads its secret from a file, .env or gateway.json too", (t) => {
  const access = '{"access":{"tokens":{"secret":"${MINT}","maxLifetimeSeconds":60}}}';

  const dotEnv = token(t, ["a"], { env: {}, files: { ".env": `TOKEN_SECRET=${SECRET}\n` } });
  const file = token(t, ["a"], { env: { MINT: SECRET }, files: { "gateway.json": access } });

  assert.equal(dotEnv.claims["sub"], "a");
  assert.equal(Number(file.claims["exp"]) - Number(file.claims["iat"]), 60);
});

const LIFETIME = "expiresInSeconds: expected a whole number from 1 to 86400, got";
const WRONG_TOKENS = [
  [[], ["subject: is missing: expected a user's id"]],
  [["a\nb"], [`subject: expected 1 to 255 characters, none a control, got "a\\nb"`]],
  [
    ["a", "--policy", "usr"],
    ['policy: expected one of default, user, got "usr", did you mean "user"?'],
  ],
  [["a", "--policy", "constructor"], ['policy: expected one of default, user, got "constructor"']],
  [["a", "--expires-in", "0"], [`${LIFETIME} "0"`]],
  [["a", "--expires-in", "86401"], [`${LIFETIME} "86401"`]],
  [["a", "--expires-in", "10m"], [`${LIFETIME} "10m"`]],
  [
    ["a", "--max-choices", "0"],
    ['limits.maxChoices: expected a whole number from 1 to 1000000000, got "0"'],
  ],
  [
    ["a", "--budget", "5"],
    [
      "limits.budget: expected dollars for a period, " +
        'such as 5/hour, 5/day, 5/month or 5/total, got "5"',
    ],
  ],
  [["a", "--stored-state", "no"], ['limits.storedState: expected true or false, got "no"']],
  [
    ["a", "--models", "gpt 4", "--tools", "*", "--policy", "x"],
    [
      'limits.models: expected names of models, "*" for any characters, got "gpt 4"',
      'limits.tools: expected types of tools, such as "function" or "web_search", got "*"',
      'policy: expected one of default, user, got "x"',
    ],
  ],
] as const;

for (const [args, lines] of WRONG_TOKENS) {
  test(`token ${JSON.stringify(args).slice(0, 80)} mints none`, (t) => {
    const files = { "gateway.json": '{"policies":{"user":{}}}' };

    assert.deepEqual(
      linesOf(() => token(t, args, { files })),
      lines,
    );
  });
}

test("token takes a subject of 255 characters, and none of 256", (t) => {
  assert.equal(token(t, ["u".repeat(255)]).claims["sub"], "u".repeat(255));
  const lines = linesOf(() => token(t, ["u".repeat(256)]));
  assert.match(
    lines.join("\n"),
    /^subject: expected 1 to 255 characters, none a control, got a text$/,
  );
});

test("a limit's flag is the token's and no policy's, and a policy's variable is no token's", (t) => {
  const env = { TOKEN_SECRET: SECRET, BUDGET: "9/day", REQUESTS_PER_MINUTE: "9" };

  const plain = token(t, ["a"], { env });
  const limited = token(t, ["a", "--budget", "0.5/day"], { env });

  assert.equal(plain.claims["limits"], undefined);
  assert.deepEqual(limited.claims["limits"], { budget: [{ usd: 0.5, per: "day" }] });
});

test("token takes no setting for a limit: --allowed-models would have narrowed nothing", (t) => {
  const lines = linesOf(() => token(t, ["alice", "--allowed-models", "gpt-4o-mini"]));

  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /^--allowed-models: .*--models|did you mean "--models"/);
});

test("token tells what is wrong with the secret and all other settings, and shows none of it", (t) => {
  const missing = "TOKEN_SECRET: is missing: expected 32 random characters or more";
  const short = "TOKEN_SECRET: is too short: expected 32 random characters or more";

  assert.deepEqual(
    linesOf(() => token(t, ["a"], { env: {} })),
    [missing],
  );
  assert.deepEqual(
    linesOf(() => token(t, ["a"], { env: { TOKEN_SECRET: SECRET.slice(1), PORT: "x" } })),
    ['PORT: expected a whole number from 0 to 65535, got "x"', short],
  );
});

test("a mistake in either command ends with 2, the reason, and nothing on stdout", async (t) => {
  const env = { TOKEN_SECRET: SECRET };

  const runs = await Promise.all([
    runCli(t, { args: ["token", "alice", "--policy", "x", "--expires-in", "0"], env }),
    runCli(t, { args: ["key", "backend", "--token-secret", SECRET, "--models", "a"] }),
  ]);

  assert.deepEqual(
    runs.map(({ code, stdout }) => [code, stdout]),
    runs.map(() => [2, ""]),
  );
  assert.deepEqual(
    runs.map(({ stderr }) => stderr.split("\n  ").slice(1).join("|").trim()),
    [
      `${LIFETIME} "0"|policy: expected one of default, got "x"`,
      "--models: is for the command token|--token-secret: is no option, for others see arguments: " +
        "expected TOKEN_SECRET in the environment",
    ],
  );
});

test("what they print lets in, until it expires, and for what its policy says", async (t) => {
  const openai = await fakeOpenAI(t);
  const env = { OPENAI_API_KEY: "sk-0123456789abcdef", TOKEN_SECRET: SECRET, HOST: "127.0.0.1" };
  const policies = { embedder: { endpoints: ["embeddings"] } };
  const plain = JSON.parse((await runCli(t, { args: ["key", "plain", "--json"] })).stdout);
  const limited = key("limited", "--policy", "embedder");
  const lasting = key("lasting", "--expires", "1d");
  const late = key("late", "--expires", "1d");
  const simple = key("simple");
  const passed = { ...Object(late.entry), expires: "2020-01-01" };
  const keys = [plain.entry, limited.entry, lasting.entry, passed];
  const files = { "gateway.json": JSON.stringify({ access: { keys }, policies }) };

  const [wide, narrow] = await Promise.all(
    [["alice"], ["bob", "--models", "gpt-5*"]].map(async (args) => {
      const { stdout } = await runCli(t, { args: ["token", ...args], env, files });
      return JSON.parse(stdout).token;
    }),
  );
  const [byFile, byVariable] = await Promise.all([
    startCli(t, { env: { ...env, OPENAI_BASE_URL: openai.baseUrl }, files }),
    startCli(t, {
      env: { ...env, OPENAI_BASE_URL: openai.baseUrl, GATEWAY_KEYS: `simple:${simple.key}` },
    }),
  ]);
  const now = Math.floor(Date.now() / 1_000);
  const claims = { iss: "openai-gateway", sub: "carol", policy: "default" };
  const sign = (more: object): string =>
    signJwt({ ...claims, ...more }, createSecretKey(Buffer.from(SECRET)));

  const calls = [
    [byFile, plain.key, 200],
    [byFile, limited.key, 403],
    [byFile, lasting.key, 200],
    [byFile, late.key, 401],
    [byFile, simple.key, 401],
    [byFile, `${plain.key}x`, 401],
    [byFile, wide, 200],
    [byFile, narrow, 403],
    [byFile, `${wide}x`, 401],
    [byFile, sign({ exp: now + 60 }), 200],
    [byFile, sign({ exp: now - 60 }), 401],
    [byFile, sign({ exp: now + 90_000 }), 401],
    [byVariable, simple.key, 200],
    [byVariable, plain.key, 401],
  ] as const;
  const statuses = await Promise.all(
    calls.map(async ([{ url }, credential]) => {
      const headers = { authorization: `Bearer ${credential}`, "content-type": "application/json" };
      const response = await post(`${url}/v1/chat/completions`, { model: "gpt-4o" }, { headers });
      await response.text();
      return response.status;
    }),
  );

  assert.deepEqual(
    statuses,
    calls.map(([, , status]) => status),
  );
  for (const caller of ["key:plain", "key:lasting", "token:alice", "token:carol"]) {
    await byFile.line((line) => line["caller"] === caller && line["status"] === 200);
  }
});
