// `check`: the settings in force, where each is from, and no secret.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { runCli } from "../helpers/run-cli.ts";

const KEY = "sk-0123456789abcdef";

test("check prints every setting with its source and value, secrets hidden", async (t) => {
  const { code, stdout, stderr } = await runCli(t, {
    args: ["check", "--log-level", "warn"],
    env: { PORT: "4000", CORS_ORIGIN: "*" },
    files: {
      ".env": `OPENAI_API_KEY=${KEY}\n`,
      "gateway.json": JSON.stringify({
        upstreams: [{ organization: `x${KEY}` }],
        server: { trustedProxies: ["10.0.0.0/8", "::1"] },
        cors: { origins: [] },
      }),
    },
  });

  assert.equal(code, 0);
  assert.match(stdout, /^The settings are fine:\n/);
  assert.match(stdout, /^ {2}server\.host +default +127\.0\.0\.1$/m);
  assert.match(stdout, /^ {2}server\.port +PORT +4000$/m);
  assert.match(stdout, /^ {2}server\.trustedProxies +gateway\.json +10\.0\.0\.0\/8, ::1$/m);
  assert.match(stdout, /^ {2}cors\.origins +gateway\.json +none$/m);
  assert.match(stdout, /^ {2}upstreams\[0\]\.apiKey +OPENAI_API_KEY +\[secret\]$/m);
  assert.match(stdout, /^ {2}upstreams\[0\]\.baseUrl +default +https:\/\/api\.openai\.com\/v1$/m);
  assert.match(stdout, /^ {2}policies\.default\.endpoints +default +chat, completions, /m);
  assert.match(stdout, /^ {2}log\.level +--log-level +warn$/m);
  assert.ok(!stdout.includes(KEY));
  assert.equal(stderr, 'CORS_ORIGIN: is no setting, did you mean "CORS_ORIGINS"?\n');
});

test("check says who may call and where that is set, and hides every secret", async (t) => {
  const secret = (of: string): string => `Seeded.${of}.0123456789abcdef0123456789abcdef`;
  const access = {
    keys: [{ name: "old", sha256: "ab".repeat(32) }],
    jwt: [{ issuer: "legacy", audience: ["chat", "app"], secret: "${JWT_SECRET}" }],
    anonymous: "demo",
  };
  const policies = { demo: { models: ["gpt-4o-mini"], maxOutputTokens: 200, storedState: false } };
  const surroundings = {
    env: {
      OPENAI_API_KEY: KEY,
      GATEWAY_KEYS: `backend:${secret("Backend")},ios:${secret("iOS")}`,
      TOKEN_SECRET: secret("Token"),
      TOKEN_SECRET_PREVIOUS: secret("Previous"),
      JWT_SECRET: secret("Jwt"),
      ADMIN_KEY: secret("Admin"),
      ALLOWED_MODELS: "gpt-5*",
    },
    files: { "gateway.json": JSON.stringify({ access, policies }) },
  };

  const [plain, json] = await Promise.all([
    runCli(t, { ...surroundings, args: ["check"] }),
    runCli(t, { ...surroundings, args: ["check", "--json"] }),
  ]);

  assert.equal(plain.code, 0, plain.stderr);
  const rows = plain.stdout.split("\n").map((line) => line.trim().split(/ {2,}/));
  const shown = rows.filter(([name = ""]) => /^(?:access|admin|policies|server\.host)/.test(name));
  const digest = (of: string): string => createHash("sha256").update(secret(of)).digest("hex");
  const inference = "chat, completions, responses, embeddings, moderations, images, audio, models";
  assert.deepEqual(shown, [
    ["server.host", "default", "0.0.0.0"],
    ["access.keys[0].name", "GATEWAY_KEYS", "backend"],
    ["access.keys[0].sha256", "GATEWAY_KEYS", digest("Backend")],
    ["access.keys[0].policy", "GATEWAY_KEYS", "default"],
    ["access.keys[0].key", "GATEWAY_KEYS", "[secret]"],
    ["access.keys[1].name", "GATEWAY_KEYS", "ios"],
    ["access.keys[1].sha256", "GATEWAY_KEYS", digest("iOS")],
    ["access.keys[1].policy", "GATEWAY_KEYS", "default"],
    ["access.keys[1].key", "GATEWAY_KEYS", "[secret]"],
    ["access.jwt[0].issuer", "gateway.json", "legacy"],
    ["access.jwt[0].audience", "gateway.json", "chat, app"],
    ["access.jwt[0].secret", "gateway.json", "[secret]"],
    ["access.jwt[0].algorithms", "default", "HS256"],
    ["access.jwt[0].policy", "default", "default"],
    ["access.jwt[0].policies", "default", "none"],
    ["access.jwt[0].leewaySeconds", "default", "30"],
    ["access.tokens.secret", "TOKEN_SECRET", "[secret]"],
    ["access.tokens.previousSecret", "TOKEN_SECRET_PREVIOUS", "[secret]"],
    ["access.tokens.maxLifetimeSeconds", "default", "86400"],
    ["access.anonymous", "gateway.json", "demo"],
    ["policies.default.endpoints", "default", inference],
    ["policies.default.models", "ALLOWED_MODELS", "gpt-5*"],
    ["policies.default.assumedOutputTokens", "default", "4096"],
    ["policies.demo.endpoints", "default", inference],
    ["policies.demo.models", "gateway.json", "gpt-4o-mini"],
    ["policies.demo.maxOutputTokens", "gateway.json", "200"],
    ["policies.demo.storedState", "gateway.json", "false"],
    ["policies.demo.assumedOutputTokens", "default", "4096"],
    ["admin.key", "ADMIN_KEY", "[secret]"],
  ]);
  assert.equal(json.code, 0, json.stderr);
  const parsed = JSON.parse(json.stdout);
  assert.deepEqual(parsed.access.tokens, {
    secret: "[secret]",
    previousSecret: "[secret]",
    maxLifetimeSeconds: 86_400,
  });
  assert.equal(parsed.access.keys[1].key, "[secret]");
  assert.deepEqual(parsed.admin, { key: "[secret]" });
  for (const { stdout, stderr } of [plain, json]) {
    assert.doesNotMatch(stdout + stderr, /Seeded\.|0123456789abcdef/);
  }
});

test("check shows limits, budgets, prices and the store as they would be written", async (t) => {
  const shared = { budget: [{ usd: 100, per: "month" }, "$0.5/hour"] };
  const settings = {
    policies: {
      "1.5": { budget: { usd: 0.000001, per: "total" }, perAddress: { budget: "2/day" } },
    },
    prices: { "gpt-4.1": { input: 0.3, output: 1.2 }, "own/*": { audioHour: 0 } },
    store: { keepDays: 7, whenDown: { limits: "closed" } },
  };

  const { code, stdout, stderr } = await runCli(t, {
    args: ["check", "--tokens-per-minute", "40000"],
    env: { OPENAI_API_KEY: KEY, BUDGET: "$5/day,20/month", DATA_DIR: "./data" },
    files: {
      "gateway.json": JSON.stringify({
        ...settings,
        policies: { ...settings.policies, default: { shared } },
      }),
    },
  });

  assert.equal(code, 0, stderr);
  const rows = stdout.split("\n").map((line) => line.trim().split(/ {2,}/));
  const shown = rows.filter(([name = ""]) => /^(?:policies|prices|store)/.test(name));
  assert.deepEqual(
    shown.filter(([name = ""]) => !/endpoints|assumed/.test(name)),
    [
      ["policies.default.tokensPerMinute", "--tokens-per-minute", "40000"],
      ["policies.default.budget", "BUDGET", "5/day, 20/month"],
      ["policies.default.shared.budget", "gateway.json", "100/month, 0.5/hour"],
      ["policies.1.5.budget", "gateway.json", "0.000001/total"],
      ["policies.1.5.perAddress.budget", "gateway.json", "2/day"],
      ["prices.gpt-4.1.input", "gateway.json", "0.3"],
      ["prices.gpt-4.1.output", "gateway.json", "1.2"],
      ["prices.own/*.audioHour", "gateway.json", "0"],
      ["store.dataDir", "DATA_DIR", "./data"],
      ["store.keepDays", "gateway.json", "7"],
      ["store.sync", "default", "interval"],
      ["store.whenDown.limits", "gateway.json", "closed"],
      ["store.whenDown.budgets", "default", "closed"],
    ],
  );
});

test("check --json prints them as one JSON document, and asks for no key beside --mock", async (t) => {
  const { code, stdout } = await runCli(t, {
    args: ["check", "--json", "--mock"],
    env: { PORT: "4000" },
  });

  const { server, upstreams } = JSON.parse(stdout);
  assert.equal(code, 0);
  assert.equal(server.port, 4000);
  assert.deepEqual(server.trustedProxies, []);
  assert.deepEqual(upstreams, [
    {
      name: "mock",
      baseUrl: "http://localhost/v1",
      apiKey: "[secret]",
      auth: "bearer",
      transport: "fetch",
    },
  ]);
});
