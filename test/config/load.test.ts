// Flags over environment over .env over the file over defaults; and what is wrong is said once.
import assert from "node:assert/strict";
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
          '{"server":null,"cors":5,"upstreams":[],"policies":{"default":[]},"log":"info"}',
      },
    }),
  );

  assert.deepEqual(lines, [
    "cors: expected an object, got 5",
    'log: expected an object, got "info"',
    "policies.default: expected an object, got []",
    "server: expected an object, got null",
    "upstreams: expected a list with at least one entry, got []",
  ]);
});

const NEAR_MISSES = {
  OPENAI_KEY: "OPENAI_API_KEY",
  OPENAI_APIKEY: "OPENAI_API_KEY",
  OPENIA_API_KEY: "OPENAI_API_KEY",
  OPENAI_URL: "OPENAI_BASE_URL",
  CORS_ORIGIN: "CORS_ORIGINS",
  ALLOWED_ENDPOINT: "ALLOWED_ENDPOINTS",
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
