// Flags over environment over .env over the file over defaults; and what is wrong is said once.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { makeDirectory, type Surroundings } from "../helpers/run-cli.ts";
import { load, refusal } from "./support.ts";

const KEY = "sk-0123456789abcdef";

function withKey(surroundings: Surroundings): Surroundings {
  return { ...surroundings, env: { OPENAI_API_KEY: KEY, ...surroundings.env } };
}

test("needs nothing but the key", (t) => {
  const { config } = load(t, withKey({}));

  assert.equal(config.server.port, 3000);
  assert.equal(config.server.host, "127.0.0.1");
  assert.equal(config.upstreams[0].apiKey.reveal(), KEY);
  assert.equal(config.upstreams[0].baseUrl.href, "https://api.openai.com/v1");
  assert.equal(config.log.level, "info");
});

const PORTS = {
  flag: ["--port", "1"],
  env: { PORT: "2" },
  dotEnv: "PORT=3\n",
  file: '{"server":{"port":4}}',
};

test("a flag wins over all else", (t) => {
  const { config, sourceOf } = load(
    t,
    withKey({
      args: PORTS.flag,
      env: PORTS.env,
      files: { ".env": PORTS.dotEnv, "gateway.json": PORTS.file },
    }),
  );

  assert.equal(config.server.port, 1);
  assert.equal(sourceOf(["server", "port"]), "--port");
});

test("the environment wins over .env and the file", (t) => {
  const { config, sourceOf } = load(
    t,
    withKey({
      env: PORTS.env,
      files: { ".env": PORTS.dotEnv, "gateway.json": PORTS.file },
    }),
  );

  assert.equal(config.server.port, 2);
  assert.equal(sourceOf(["server", "port"]), "PORT");
});

test(".env wins over the file", (t) => {
  const { config } = load(
    t,
    withKey({ files: { ".env": PORTS.dotEnv, "gateway.json": PORTS.file } }),
  );

  assert.equal(config.server.port, 3);
});

test("the file wins over the default", (t) => {
  const { config, sourceOf } = load(t, withKey({ files: { "gateway.json": PORTS.file } }));

  assert.equal(config.server.port, 4);
  assert.equal(sourceOf(["server", "port"]), "gateway.json");
  assert.equal(sourceOf(["server", "host"]), "default");
});

test("an empty variable is not set, so .env and the file speak", (t) => {
  const { config, sourceOf } = load(
    t,
    withKey({
      env: { PORT: "", HOST: " ", LOG_LEVEL: "" },
      files: { ".env": "PORT=3\nLOG_LEVEL=\n", "gateway.json": '{"log":{"level":"warn"}}' },
    }),
  );

  assert.equal(config.server.port, 3);
  assert.equal(config.server.host, "127.0.0.1");
  assert.equal(config.log.level, "warn");
  assert.equal(sourceOf(["log", "level"]), "gateway.json");
});

test("ignores white space around a value, which a Kubernetes secret made by `echo` has", (t) => {
  const { config } = load(t, { env: { OPENAI_API_KEY: `${KEY}\n`, PORT: " 4000\r\n" } });

  assert.equal(config.upstreams[0].apiKey.reveal(), KEY);
  assert.equal(config.server.port, 4000);
});

test("reads a .env that Windows wrote", (t) => {
  const { config } = load(t, { files: { ".env": `OPENAI_API_KEY="${KEY}"\r\nPORT=3001\r\n` } });

  assert.equal(config.upstreams[0].apiKey.reveal(), KEY);
  assert.equal(config.server.port, 3001);
});

test("takes lists with commas and spaces between", (t) => {
  const { config } = load(
    t,
    withKey({
      env: {
        CORS_ORIGINS: "https://a.example, http://localhost:5173",
        TRUSTED_PROXIES: "10.0.0.0/8,::1",
      },
      args: ["--allowed-endpoints", "chat,GET /files/{id}"],
    }),
  );

  assert.deepEqual(config.cors.origins, ["https://a.example", "http://localhost:5173"]);
  assert.deepEqual(config.server.trustedProxies, ["10.0.0.0/8", "::1"]);
  assert.deepEqual(config.policies.default.endpoints, ["chat", "GET /files/{id}"]);
});

test("describes OpenAI with the OPENAI_ variables", (t) => {
  const { config } = load(
    t,
    withKey({
      env: {
        OPENAI_BASE_URL: "http://localhost:8080/v1",
        OPENAI_ORG_ID: "org-1",
        OPENAI_PROJECT_ID: "proj_1",
      },
    }),
  );

  const [upstream] = config.upstreams;
  assert.equal(upstream.baseUrl.href, "http://localhost:8080/v1");
  assert.equal(upstream.organization, "org-1");
  assert.equal(upstream.project, "proj_1");
});

test("sends OpenAI's key to no upstream of another name", (t) => {
  const { config } = load(
    t,
    withKey({
      files: {
        "gateway.json":
          '{"upstreams":[{"name":"other","baseUrl":"http://localhost/v1","apiKey":"theirs-1"}]}',
      },
    }),
  );

  assert.equal(config.upstreams[0].apiKey.reveal(), "theirs-1");
});

test("with a mock needs no key, whatever the file says of upstreams", (t) => {
  const files = {
    "gateway.json": '{"upstreams":[{"apiKey":"${OPENAI_API_KEY}"}],"server":{"port":4}}',
  };

  const { config } = load(
    t,
    { files, env: { OPENAI_BASE_URL: "https://api.openai.com/v1" } },
    "http://127.0.0.1:9/v1",
  );

  assert.equal(config.upstreams[0].baseUrl.href, "http://127.0.0.1:9/v1");
  assert.equal(config.upstreams[0].apiKey.reveal(), "mock");
  assert.equal(config.server.port, 4);
});

test("reads the file that --config names, else the one that GATEWAY_CONFIG names", (t) => {
  const files = {
    ".env": "GATEWAY_CONFIG=b.json\n",
    "a.json": '{"server":{"port":1}}',
    "b.json": '{"server":{"port":2}}',
    "gateway.json": PORTS.file,
  };

  const byFlag = load(t, withKey({ files, args: ["--config", "a.json"] }));
  const byName = load(t, withKey({ files }));

  assert.equal(byFlag.config.server.port, 1);
  assert.equal(byName.config.server.port, 2);
  assert.equal(byName.sourceOf(["server", "port"]), "b.json");
});

test("reads a file that an editor marked as UTF-8", (t) => {
  const { config } = load(t, withKey({ files: { "gateway.json": `\uFEFF${PORTS.file}` } }));

  assert.equal(config.server.port, 4);
});

test("replaces ${NAME} anywhere in the file's texts, also from a .env and from NAME_FILE", (t) => {
  const file = {
    upstreams: [
      {
        name: "azure",
        apiKey: "${AZURE_KEY}",
        auth: "api-key",
        baseUrl: "https://${REGION}.example/v1",
      },
    ],
    cors: { origins: ["https://${APP}", "https://b.example"] },
    server: { port: "${GATEWAY_PORT}" },
  };
  const directory = makeDirectory(t, { "key.txt": "azure-0123456789\n" });

  const { config } = load(t, {
    env: { AZURE_KEY_FILE: `${directory}/key.txt`, APP: "a.example", GATEWAY_PORT: "4321" },
    files: { "gateway.json": JSON.stringify(file), ".env": "REGION=west\n" },
  });

  assert.equal(config.upstreams[0].apiKey.reveal(), "azure-0123456789");
  assert.equal(config.upstreams[0].baseUrl.href, "https://west.example/v1");
  assert.deepEqual(config.cors.origins, ["https://a.example", "https://b.example"]);
  assert.equal(config.server.port, 4321);
});

test("reads the key from a file with a line break at its end", (t) => {
  const directory = makeDirectory(t, { key: `${KEY}\n` });

  const { config, sourceOf } = load(t, { env: { OPENAI_API_KEY_FILE: `${directory}/key` } });

  assert.equal(config.upstreams[0].apiKey.reveal(), KEY);
  assert.equal(sourceOf(["upstreams", "0", "apiKey"]), "OPENAI_API_KEY_FILE");
});

test("says what is missing by the name that an operator would set", (t) => {
  assert.deepEqual(refusal(t, {}), [
    "OPENAI_API_KEY: is missing: expected the key that OpenAI gave you, sk-…",
  ]);
});

test("names every problem at once, sorted, in the words of whoever set the value", (t) => {
  const lines = refusal(t, {
    args: ["--log-level", "inf"],
    env: { PORT: "70000" },
    files: {
      ".env": "CORS_ORIGINS=example.com\n",
      "gateway.json":
        '{"server":{"drainSeconds":-1,"prot":1},"policy":{},"upstreams":[{"baseUrl":"api.openai.com"}]}',
    },
  });

  assert.deepEqual(lines, [
    '--log-level: expected one of debug, info, warn, error, silent, got "inf", did you mean "info"?',
    'CORS_ORIGINS: expected "*" or origins such as "https://app.example.com", got "example.com"',
    "OPENAI_API_KEY: is missing: expected the key that OpenAI gave you, sk-…",
    'PORT: expected a whole number from 0 to 65535, got "70000"',
    "policy: unknown setting",
    "server.drainSeconds: expected a whole number from 0 to 3600, got -1",
    'server.prot: unknown setting, did you mean "port"?',
    'upstreams[0].baseUrl: expected an http(s) URL, got "api.openai.com"',
  ]);
});

const BROKEN_FILES = {
  "a comma too many": ['{\n"server": {\n"port": 1,\n}}', "is not valid JSON near line 4"],
  "a word of Python": [
    '{\n"log": {},\n"cors": { "credentials": True },\n"x": 1}',
    "is not valid JSON near line 3",
  ],
  "a comment": ["// mine\n{}", "is not valid JSON near line 1"],
  "no end": ['{\n"server": {\n', "is not valid JSON near line 3"],
  nothing: ["", "is not valid JSON near line 1"],
  "a list": ["[]", "expected a JSON object"],
} as const;

for (const [what, [text, message]] of Object.entries(BROKEN_FILES)) {
  test(`refuses a file with ${what}, and does not call the key missing that may be in it`, (t) => {
    assert.deepEqual(refusal(t, { files: { "gateway.json": text } }), [`gateway.json: ${message}`]);
  });
}

test("refuses a named file that is not there, and one that is a directory", (t) => {
  const files = { "conf/": "" };

  assert.deepEqual(refusal(t, { args: ["--config", "none.json"] }), ["none.json: does not exist"]);
  assert.deepEqual(refusal(t, { env: { GATEWAY_CONFIG: "conf" }, files }), [
    "conf: is a directory",
  ]);
});

test("refuses a .env that is a directory", (t) => {
  assert.deepEqual(refusal(t, withKey({ files: { ".env/": "" } })), [".env: is a directory"]);
});

test("refuses a .env with a byte-order mark, of which Node would make a part of the first name", (t) => {
  const lines = refusal(t, withKey({ files: { ".env": "\uFEFFOPENAI_API_KEY=x\n" } }));

  assert.deepEqual(lines, [".env: starts with a byte-order mark: expected UTF-8 without one"]);
});

test("refuses ${NAME} that is not set, or is no name, by the place that says it", (t) => {
  const file = {
    cors: { origins: ["https://a.example", "${NO_ORIGIN}"] },
    server: { host: "${HOST:-::}" },
  };

  assert.deepEqual(refusal(t, withKey({ files: { "gateway.json": JSON.stringify(file) } })), [
    "cors.origins[1]: ${NO_ORIGIN} is not set",
    "server.host: expected the name of a variable in ${HOST:-::}",
  ]);
});

test("refuses a key given in two ways", (t) => {
  const lines = refusal(t, withKey({ env: { OPENAI_API_KEY_FILE: "key" } }));

  assert.deepEqual(lines, [
    "OPENAI_API_KEY: and OPENAI_API_KEY_FILE are both set: expected one of them",
  ]);
});

test("says once that a key's file cannot be read, and not what its name is: it may be the key", (t) => {
  const files = { "gateway.json": '{"upstreams":[{"apiKey":"${OPENAI_API_KEY}"}]}', "keys/": "" };

  assert.deepEqual(refusal(t, { env: { OPENAI_API_KEY_FILE: KEY }, files }), [
    "OPENAI_API_KEY_FILE: names a file that does not exist",
  ]);
  assert.deepEqual(refusal(t, { env: { OPENAI_API_KEY_FILE: "keys" }, files }), [
    "OPENAI_API_KEY_FILE: names a file that is a directory",
  ]);
});

test("says that a key's file is empty", (t) => {
  const directory = makeDirectory(t, { key: "\n" });

  assert.deepEqual(refusal(t, { env: { OPENAI_API_KEY_FILE: `${directory}/key` } }), [
    "OPENAI_API_KEY_FILE: is empty: expected the bare secret, printable ASCII without spaces or quotes",
  ]);
});

test("lets the parser refuse sections of another shape, instead of laying the environment over them", (t) => {
  const lines = refusal(
    t,
    withKey({
      env: { PORT: "1" },
      files: {
        "gateway.json":
          '{"server":null,"cors":5,"upstreams":[],"policies":{"default":[]},"log":true}',
      },
    }),
  );

  assert.deepEqual(lines, [
    "cors: expected an object, got 5",
    "log: expected an object, got true",
    "policies.default: expected an object, got []",
    "server: expected an object, got null",
    "upstreams: expected a list with at least one entry, got []",
  ]);
});

const CLIENT_KEY = "0123456789abcdef-client";
const CLIENT_SHA256 = createHash("sha256").update(CLIENT_KEY).digest("hex");
const OTHER_SHA256 = "ab".repeat(32);
const TOKEN_SECRET = "0123456789abcdef0123456789abcdef";

function gatewayFile(settings: object): Readonly<Record<string, string>> {
  return { "gateway.json": JSON.stringify(settings) };
}

test("GATEWAY_KEYS alone lets its keys in, each with policy default, and opens the host", (t) => {
  const { config, sourceOf } = load(
    t,
    withKey({ env: { GATEWAY_KEYS: `backend:${CLIENT_KEY}, ios.app:${CLIENT_KEY}:2` } }),
  );

  const keys = config.access?.keys ?? [];
  assert.deepEqual(
    keys.map(({ name, policy }) => [name, policy]),
    [
      ["backend", "default"],
      ["ios.app", "default"],
    ],
  );
  assert.equal(keys[0]?.sha256, CLIENT_SHA256);
  assert.equal(keys[1]?.key?.reveal(), `${CLIENT_KEY}:2`);
  assert.deepEqual(config.access?.jwt, []);
  assert.equal(config.access?.tokens, undefined);
  assert.equal(config.server.host, "0.0.0.0");
  assert.equal(sourceOf(["server", "host"]), "default");
  for (const field of ["name", "sha256", "policy", "key"]) {
    assert.equal(sourceOf(["access", "keys", "1", field]), "GATEWAY_KEYS");
  }
  assert.equal(sourceOf(["access", "jwt"]), "default");
});

test("TOKEN_SECRET and the one before open the gateway to minted tokens", (t) => {
  const directory = makeDirectory(t, { before: `${TOKEN_SECRET}!\n` });
  const env = { TOKEN_SECRET, TOKEN_SECRET_PREVIOUS_FILE: `${directory}/before` };

  const { config, sourceOf } = load(t, withKey({ env }));

  assert.equal(config.access?.tokens?.secret.reveal(), TOKEN_SECRET);
  assert.equal(config.access?.tokens?.previousSecret?.reveal(), `${TOKEN_SECRET}!`);
  assert.deepEqual(config.access?.keys, []);
  assert.equal(config.server.host, "0.0.0.0");
  assert.equal(sourceOf(["access", "tokens", "previousSecret"]), "TOKEN_SECRET_PREVIOUS_FILE");
  assert.equal(sourceOf(["access", "tokens", "maxLifetimeSeconds"]), "default");
  assert.equal(sourceOf(["access", "keys"]), "default");
});

test("ADMIN_KEY and the policy's variables leave the gateway open, and its host on loopback", (t) => {
  const { config, sourceOf } = load(
    t,
    withKey({
      env: {
        ADMIN_KEY: "0123456789abcdef",
        ALLOWED_MODELS: "gpt-4o-mini, gpt-5*",
        MAX_OUTPUT_TOKENS: "2000",
      },
    }),
  );

  assert.equal(config.admin?.key.reveal(), "0123456789abcdef");
  assert.equal(config.access, undefined);
  assert.equal(config.server.host, "127.0.0.1");
  const { models, maxOutputTokens, ...others } = config.policies.default;
  assert.deepEqual(models, ["gpt-4o-mini", "gpt-5*"]);
  assert.equal(maxOutputTokens, 2_000);
  assert.deepEqual(Object.keys(others), ["endpoints", "assumedOutputTokens"]);
  assert.equal(sourceOf(["policies", "default", "models"]), "ALLOWED_MODELS");
  assert.equal(sourceOf(["policies", "default", "endpoints"]), "default");
});

test("a policy's variables have flags, which win", (t) => {
  const { config } = load(
    t,
    withKey({
      env: { ALLOWED_MODELS: "a", MAX_OUTPUT_TOKENS: "1" },
      args: ["--allowed-models", "b", "--max-output-tokens", "2"],
    }),
  );

  assert.deepEqual(config.policies.default.models, ["b"]);
  assert.equal(config.policies.default.maxOutputTokens, 2);
});

const LIMITS = {
  REQUESTS_PER_MINUTE: "30",
  TOKENS_PER_MINUTE: "40000",
  CONCURRENT_REQUESTS: "4",
  BUDGET: "1/day, $20/month",
  SHARED_BUDGET: "100/month",
};

test("limits of the policy default have variables, which leave the gateway open", (t) => {
  const { config, sourceOf } = load(t, withKey({ env: LIMITS }));

  assert.deepEqual(config.policies.default, {
    endpoints: config.policies.default.endpoints,
    assumedOutputTokens: 4_096,
    requestsPerMinute: 30,
    tokensPerMinute: 40_000,
    concurrentRequests: 4,
    budget: [
      { usd: 1, per: "day" },
      { usd: 20, per: "month" },
    ],
    shared: { budget: [{ usd: 100, per: "month" }] },
  });
  assert.equal(config.access, undefined);
  assert.equal(config.server.host, "127.0.0.1");
  assert.equal(sourceOf(["policies", "default", "budget"]), "BUDGET");
  assert.equal(sourceOf(["policies", "default", "shared", "budget"]), "SHARED_BUDGET");
});

test("limits have flags, which win over variables, and these over the file", (t) => {
  const args = ["--requests-per-minute", "5", "--budget", "2/hour", "--shared-budget=3/total"];
  const shared = { budget: "9/day", requestsPerMinute: 9 };
  const policies = { default: { budget: { usd: 9, per: "day" }, shared, tokensPerMinute: 9 } };

  const { config, sourceOf } = load(
    t,
    withKey({ args, env: LIMITS, files: gatewayFile({ policies }) }),
  );

  const { requestsPerMinute, tokensPerMinute, budget, ...rest } = config.policies.default;
  assert.equal(requestsPerMinute, 5);
  assert.equal(tokensPerMinute, 40_000);
  assert.deepEqual(budget, [{ usd: 2, per: "hour" }]);
  assert.deepEqual(rest.shared, { budget: [{ usd: 3, per: "total" }], requestsPerMinute: 9 });
  assert.equal(sourceOf(["policies", "default", "shared", "budget"]), "--shared-budget");
  assert.equal(sourceOf(["policies", "default", "shared", "requestsPerMinute"]), "gateway.json");
});

test("says by variable or flag what is wrong with a limit", (t) => {
  const env = { BUDGET: "5", TOKENS_PER_MINUTE: "40k", SHARED_BUDGET: "1/day,2/day" };

  assert.deepEqual(refusal(t, withKey({ env, args: ["--concurrent-requests", "0"] })), [
    '--concurrent-requests: expected a whole number from 1 to 1000000, got "0"',
    "BUDGET: expected dollars for a period, such as 5/hour, 5/day, 5/month or 5/total, " +
      'got "5"',
    'SHARED_BUDGET: expected one budget for each period, got several for "day"',
    'TOKENS_PER_MINUTE: expected a whole number from 1 to 1000000000, got "40k"',
  ]);
});

test("replaces ${NAME} in budgets, and shows them as they were written", (t) => {
  const policies = {
    user: { budget: ["${A}/day", { usd: "${B}", per: "month" }], shared: { budget: "${C}" } },
  };
  const files = gatewayFile({ policies });
  const env = { A: "1", B: "2.5", C: "3/day,4/total" };

  const { config } = load(t, withKey({ env, files }));
  const lines = refusal(t, withKey({ env: { A: "1234567/x", B: "x", C: "7654321" }, files }));

  assert.deepEqual(config.policies["user"]?.budget, [
    { usd: 1, per: "day" },
    { usd: 2.5, per: "month" },
  ]);
  assert.equal(config.policies["user"]?.shared?.budget?.length, 2);
  const budget = "expected dollars for a period, such as 5/hour, 5/day, 5/month or 5/total";
  assert.deepEqual(lines, [
    `policies.user.budget: ${budget}, got "\${A}/day"`,
    "policies.user.budget[1].usd: expected a number from 0.000001 to 1000000, " + 'got "${B}"',
    `policies.user.shared.budget: ${budget}, got "\${C}"`,
  ]);
});

test("of a budget that cannot be read it says only why", (t) => {
  const policies = { user: { budget: ["${NONE}"], shared: { budget: "${NONE}" } } };

  assert.deepEqual(refusal(t, withKey({ files: gatewayFile({ policies }) })), [
    "policies.user.budget[0]: ${NONE} is not set",
    "policies.user.shared.budget: ${NONE} is not set",
  ]);
});

const REDIS_URL = "rediss://app:p%40ss-0123456789@redis.example:6380/2";

test("takes a store from the environment, its URL from a file too, and from gateway.json", (t) => {
  const directory = makeDirectory(t, { url: `${REDIS_URL}\n` });
  const store = { redisUrl: "redis://:${PASSWORD}@127.0.0.1", keepDays: 7 };

  const fromEnv = load(t, withKey({ env: { REDIS_URL, DATA_DIR: "/data" } }));
  const fromFile = load(t, withKey({ env: { REDIS_URL_FILE: `${directory}/url` } }));
  const fromJson = load(
    t,
    withKey({ env: { PASSWORD: "s3cret" }, files: gatewayFile({ store }), args: ["--data-dir=d"] }),
  );

  for (const { config } of [fromEnv, fromFile]) {
    const { password, ...redis } = config.store.redis ?? assert.fail("no Redis");
    assert.equal(password?.reveal(), "p@ss-0123456789");
    assert.deepEqual(redis, { host: "redis.example", port: 6380, tls: true, user: "app", db: 2 });
  }
  assert.equal(fromEnv.config.store.dataDir, "/data");
  assert.equal(fromEnv.sourceOf(["store", "redisUrl"]), "REDIS_URL");
  assert.equal(fromFile.sourceOf(["store", "redisUrl"]), "REDIS_URL_FILE");
  assert.equal(fromFile.config.store.dataDir, undefined);
  assert.equal(fromJson.config.store.redis?.password?.reveal(), "s3cret");
  assert.deepEqual([fromJson.config.store.keepDays, fromJson.config.store.dataDir], [7, "d"]);
  assert.equal(fromJson.sourceOf(["store", "redisUrl"]), "gateway.json");
  assert.equal(fromJson.sourceOf(["store", "dataDir"]), "--data-dir");
});

test("an empty GATEWAY_KEYS, TOKEN_SECRET or ADMIN_KEY is not set", (t) => {
  const { config } = load(
    t,
    withKey({ env: { GATEWAY_KEYS: "", TOKEN_SECRET: " ", ADMIN_KEY: "" } }),
  );

  assert.equal(config.access, undefined);
  assert.equal(config.admin, undefined);
});

test("GATEWAY_KEYS replaces the file's keys and leaves the rest of its access", (t) => {
  const access = {
    keys: [{ name: "old", sha256: OTHER_SHA256, policy: "server" }],
    anonymous: "default",
  };

  const { config, sourceOf } = load(
    t,
    withKey({
      env: { GATEWAY_KEYS: `new:${CLIENT_KEY}` },
      files: gatewayFile({ access, policies: { server: {} } }),
    }),
  );

  assert.deepEqual(
    config.access?.keys.map(({ name, sha256, policy }) => [name, sha256, policy]),
    [["new", CLIENT_SHA256, "default"]],
  );
  assert.equal(config.access?.anonymous, "default");
  assert.equal(sourceOf(["access", "keys", "0", "name"]), "GATEWAY_KEYS");
  assert.equal(sourceOf(["access", "anonymous"]), "gateway.json");
});

test("TOKEN_SECRET goes beside the file's access, and over its secret", (t) => {
  const keys = [{ name: "old", sha256: OTHER_SHA256 }];
  const tokens = { secret: "x".repeat(32), maxLifetimeSeconds: 60 };

  const beside = load(
    t,
    withKey({ env: { TOKEN_SECRET }, files: gatewayFile({ access: { keys } }) }),
  );
  const over = load(
    t,
    withKey({ env: { TOKEN_SECRET }, files: gatewayFile({ access: { tokens } }) }),
  );

  assert.equal(beside.config.access?.keys[0]?.name, "old");
  assert.equal(beside.config.access?.tokens?.secret.reveal(), TOKEN_SECRET);
  assert.equal(beside.sourceOf(["access", "keys", "0", "name"]), "gateway.json");
  assert.equal(beside.sourceOf(["access", "keys", "0", "policy"]), "default");
  assert.equal(over.config.access?.tokens?.secret.reveal(), TOKEN_SECRET);
  assert.equal(over.config.access?.tokens?.maxLifetimeSeconds, 60);
  assert.equal(over.sourceOf(["access", "tokens", "secret"]), "TOKEN_SECRET");
  assert.equal(over.sourceOf(["access", "tokens", "maxLifetimeSeconds"]), "gateway.json");
});

test("reads GATEWAY_KEYS, TOKEN_SECRET and ADMIN_KEY from files, and from .env", (t) => {
  const directory = makeDirectory(t, {
    keys: `backend:${CLIENT_KEY}\n`,
    secret: `${TOKEN_SECRET}\r\n`,
    admin: "0123456789abcdef\n",
  });
  const fromFiles = load(
    t,
    withKey({
      env: {
        GATEWAY_KEYS_FILE: `${directory}/keys`,
        TOKEN_SECRET_FILE: `${directory}/secret`,
        ADMIN_KEY_FILE: `${directory}/admin`,
      },
    }),
  );
  const dotEnv = `GATEWAY_KEYS=backend:${CLIENT_KEY}\nTOKEN_SECRET=${TOKEN_SECRET}\n`;
  const fromDotEnv = load(t, withKey({ files: { ".env": dotEnv } }));

  for (const { config } of [fromFiles, fromDotEnv]) {
    assert.equal(config.access?.keys[0]?.sha256, CLIENT_SHA256);
    assert.equal(config.access?.tokens?.secret.reveal(), TOKEN_SECRET);
  }
  assert.equal(fromFiles.config.admin?.key.reveal(), "0123456789abcdef");
  assert.equal(fromFiles.sourceOf(["access", "keys", "0", "key"]), "GATEWAY_KEYS_FILE");
  assert.equal(fromFiles.sourceOf(["admin", "key"]), "ADMIN_KEY_FILE");
});

test("replaces ${NAME} in everything that says who may call, and what", (t) => {
  const access = {
    keys: [{ name: "${TEAM}", sha256: "${DIGEST}", policy: "${PLAN}", expires: "${YEAR}-01-01" }],
    jwt: [{ issuer: "https://${TENANT}/", audience: "${TEAM}", secret: "${JWT_SECRET}" }],
    tokens: { secret: "${MINT}", maxLifetimeSeconds: "${LIFETIME}" },
    anonymous: "${PLAN}",
  };
  const policies = { user: { models: ["${MODEL}"], maxOutputTokens: "${CAP}" } };

  const { config, sourceOf } = load(
    t,
    withKey({
      env: {
        TEAM: "chat",
        DIGEST: CLIENT_SHA256,
        PLAN: "user",
        YEAR: "2031",
        TENANT: "id.example",
        JWT_SECRET: TOKEN_SECRET,
        MINT: TOKEN_SECRET,
        LIFETIME: "60",
        MODEL: "gpt-4o-mini",
        CAP: "7",
        OPENER: "0123456789abcdef",
      },
      files: gatewayFile({ access, policies, admin: { key: "${OPENER}" } }),
    }),
  );

  assert.deepEqual(config.access?.keys, [
    { name: "chat", sha256: CLIENT_SHA256, policy: "user", expires: "2031-01-01" },
  ]);
  const [issuer] = config.access?.jwt ?? [];
  assert.equal(issuer?.issuer, "https://id.example/");
  assert.equal(issuer?.secret?.reveal(), TOKEN_SECRET);
  assert.equal(config.access?.tokens?.maxLifetimeSeconds, 60);
  assert.equal(config.access?.anonymous, "user");
  assert.deepEqual(config.policies["user"]?.models, ["gpt-4o-mini"]);
  assert.equal(config.policies["user"]?.maxOutputTokens, 7);
  assert.equal(config.admin?.key.reveal(), "0123456789abcdef");
  assert.equal(sourceOf(["admin", "key"]), "gateway.json");
});

test("takes the file's keys as one text, as GATEWAY_KEYS has them, and keeps them out of messages", (t) => {
  const files = gatewayFile({ access: { keys: "a:${KEY_A},b:${KEY_B}" } });
  const env = { KEY_A: CLIENT_KEY, KEY_B: `${CLIENT_KEY}-b` };

  const { config } = load(t, withKey({ env, files }));

  assert.deepEqual(
    config.access?.keys.map(({ name, key }) => [name, key?.reveal()]),
    [
      ["a", CLIENT_KEY],
      ["b", `${CLIENT_KEY}-b`],
    ],
  );
  assert.deepEqual(refusal(t, withKey({ env: { ...env, KEY_B: "short" }, files })), [
    "access.keys: entry 2: expected a key of 16 or more printable ASCII characters behind the name",
  ]);
});

test("calls what is missing by the variable that could set it", (t) => {
  const files = gatewayFile({ access: { tokens: {} }, admin: {} });
  const previous = { TOKEN_SECRET_PREVIOUS: TOKEN_SECRET };

  assert.deepEqual(refusal(t, withKey({ files })), [
    "ADMIN_KEY: is missing: expected 16 random characters or more",
    "TOKEN_SECRET: is missing: expected 32 random characters or more",
  ]);
  assert.deepEqual(refusal(t, withKey({ env: previous })), [
    "TOKEN_SECRET: is missing: expected 32 random characters or more",
  ]);
});

test("names every problem of who may call at once, in the words of whoever set it", (t) => {
  const lines = refusal(
    t,
    withKey({
      args: ["--allowed-models", "gpt 4"],
      env: {
        GATEWAY_KEYS: "backend",
        TOKEN_SECRET: "short",
        MAX_OUTPUT_TOKENS: "0",
        ALLOWED_ENDPOINTS: "caht",
      },
      files: gatewayFile({ access: { anonymous: "demo" }, admin: { key: "short" } }),
    }),
  );

  assert.match(lines[1] ?? "", /^ALLOWED_ENDPOINTS: .* got "caht", did you mean "chat"\?$/);
  assert.deepEqual(lines.toSpliced(1, 1), [
    '--allowed-models: expected names of models, "*" for any characters, got "gpt 4"',
    "GATEWAY_KEYS: expected name:key, with a name of letters, digits and . @ _ -",
    'MAX_OUTPUT_TOKENS: expected a whole number from 1 to 1000000000, got "0"',
    "TOKEN_SECRET: is too short: expected 32 random characters or more",
    'access.anonymous: expected the name of a policy (default), got "demo"',
    "admin.key: is too short: expected 16 random characters or more",
  ]);
});

test("an empty access section of the file is no matter of GATEWAY_KEYS, which nobody has set", (t) => {
  const [line = "", ...others] = refusal(t, withKey({ files: gatewayFile({ access: {} }) }));

  assert.match(line, /^access\b.*: nobody could call: expected keys, jwt, tokens or anonymous$/);
  assert.deepEqual(others, []);
});

test("lays no variable over an access section of another shape", (t) => {
  const env = { GATEWAY_KEYS: `a:${CLIENT_KEY}`, TOKEN_SECRET, ADMIN_KEY: "0123456789abcdef" };
  const files = gatewayFile({ access: 5, admin: null });

  const lines = refusal(t, withKey({ env, files }));

  assert.ok(lines.includes("access: expected an object, got 5"), lines.join("\n"));
  assert.ok(lines.includes("admin: expected an object, got null"), lines.join("\n"));
});

test("of keys that cannot be read it says only why", (t) => {
  const noFile = { GATEWAY_KEYS_FILE: "keys" };
  const files = gatewayFile({ access: { keys: "${KEYS}" } });

  assert.deepEqual(refusal(t, withKey({ env: noFile })), [
    "GATEWAY_KEYS_FILE: names a file that does not exist",
  ]);
  assert.deepEqual(refusal(t, withKey({ files })), ["access.keys: ${KEYS} is not set"]);
});

test("of secrets that cannot be read it says only why", (t) => {
  const env = { TOKEN_SECRET, TOKEN_SECRET_FILE: "secret", ADMIN_KEY_FILE: "admin" };
  const access = { jwt: [{ issuer: "a", audience: "b", secret: "${JWT_SECRET}" }] };

  assert.deepEqual(refusal(t, withKey({ env, files: gatewayFile({ access }) })), [
    "ADMIN_KEY_FILE: names a file that does not exist",
    "TOKEN_SECRET: and TOKEN_SECRET_FILE are both set: expected one of them",
    "access.jwt[0].secret: ${JWT_SECRET} is not set",
  ]);
});

test("hints at no variable that the file reads by its name", (t) => {
  const files = gatewayFile({ admin: { key: "${ADMIN_API_KEY}" } });

  const { hints } = load(t, withKey({ env: { ADMIN_API_KEY: "0123456789abcdef" }, files }));

  assert.deepEqual(hints, []);
});

const NEAR_MISSES = {
  GATEWAY_KEY: "GATEWAY_KEYS",
  TOKENS_SECRET: "TOKEN_SECRET",
  ADMINKEY: "ADMIN_KEY",
  ALLOWED_MODEL: "ALLOWED_MODELS",
  MAX_OUTPUT_TOKEN: "MAX_OUTPUT_TOKENS",
  OPENAI_KEY: "OPENAI_API_KEY",
  OPENAI_APIKEY: "OPENAI_API_KEY",
  OPENIA_API_KEY: "OPENAI_API_KEY",
  OPENAI_URL: "OPENAI_BASE_URL",
  CORS_ORIGIN: "CORS_ORIGINS",
  ALLOWED_ENDPOINT: "ALLOWED_ENDPOINTS",
  REQUEST_PER_MINUTE: "REQUESTS_PER_MINUTE",
  REDIS_URI: "REDIS_URL",
  SHARED_BUDGETS: "SHARED_BUDGET",
};

for (const [name, meant] of Object.entries(NEAR_MISSES)) {
  test(`hints at ${meant} where ${name} is set and it is not`, (t) => {
    const lines = refusal(t, { env: { [name]: "x", PORT: "x" } });

    assert.ok(lines.includes(`${name}: is no setting, did you mean "${meant}"?`), lines.join("\n"));
  });
}

test("hints without refusing", (t) => {
  const { hints } = load(t, withKey({ env: { CORS_ORIGIN: "*" } }));

  assert.deepEqual(hints, [
    { where: "CORS_ORIGIN", message: 'is no setting, did you mean "CORS_ORIGINS"?' },
  ]);
});

test("hints at nothing where the right name is set, or the name is of something else", (t) => {
  const { hints } = load(
    t,
    withKey({
      env: {
        OPENAI_KEY: "x",
        POST: "x",
        HOSTS: "x",
        PATH: "/bin",
        LOG_LEVEL: "info",
        LOGLEVEL: "x",
        CORS_ORIGIN: "",
        OPENAI_GATEWAY_PORT_3000_TCP_ADDR: "10.0.0.1",
        OPENAI_GATEWAY_SERVICE_HOST: "10.0.0.1",
        HOSTNAME: "x",
      },
    }),
  );

  assert.deepEqual(hints, []);
});
