// What a setting may be: the same rules for the file, the environment and createGateway.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { ConfigError, Reader } from "../../src/config/reader.ts";
import { createGateway } from "../../src/gateway.ts";
import { linesOf } from "./support.ts";

const UPSTREAMS = [{ apiKey: "sk-0123456789abcdef" }];

function parse(settings: object) {
  return parseConfig({ upstreams: UPSTREAMS, ...settings });
}

function refusal(settings: object): readonly string[] {
  return linesOf(() => parse(settings));
}

test("fills in every default", () => {
  const { upstreams, ...rest } = parse({});

  const [{ baseUrl, apiKey, ...upstream }] = upstreams;
  assert.equal(baseUrl.href, "https://api.openai.com/v1");
  assert.equal(String(apiKey), "[secret]");
  assert.deepEqual(upstream, { name: "openai", auth: "bearer", transport: "fetch" });
  assert.deepEqual(rest, {
    server: {
      host: "127.0.0.1",
      port: 3000,
      trustedProxies: [],
      maxBodyBytes: 67_108_864,
      maxHeldBytes: 268_435_456,
      maxConnections: 10_000,
      maxConcurrentRequests: 5_000,
      keepAliveSeconds: 75,
      drainSeconds: 25,
    },
    cors: { origins: ["*"], credentials: false },
    timeouts: { connectMs: 10_000, firstByteMs: 600_000, idleMs: 300_000, stallMs: 60_000 },
    policies: {
      default: {
        endpoints: [
          "chat",
          "completions",
          "responses",
          "embeddings",
          "moderations",
          "images",
          "audio",
          "models",
        ],
        assumedOutputTokens: 4_096,
      },
    },
    prices: {},
    store: {
      keepDays: 90,
      sync: "interval",
      whenDown: { limits: "open", budgets: "closed" },
    },
    log: { level: "info" },
  });
});

test("takes everything that a file may say", () => {
  const settings = {
    server: {
      host: "::1",
      port: 0,
      trustedProxies: ["10.0.0.0/8", "::1", "fd00::/8"],
      maxBodyBytes: 1,
      maxHeldBytes: 1,
      maxConnections: 1,
      maxConcurrentRequests: 1,
      keepAliveSeconds: 1,
      drainSeconds: 0,
    },
    cors: { origins: ["https://app.example.com"], credentials: true },
    timeouts: { connectMs: 1, firstByteMs: 2, idleMs: 3, stallMs: 4 },
    policies: {
      default: { endpoints: ["*", "admin"], assumedOutputTokens: 1 },
      demo: { endpoints: ["DELETE /files/{file_id}"], assumedOutputTokens: 2 },
    },
    prices: {
      "my-model": { input: 0.3, cachedInput: 0, output: 1_000_000 },
      "gpt-4.1*": { audioHour: 0.006, webSearch: 10 },
      "*": { input: 0 },
    },
    log: { level: "silent" },
  };
  const store = {
    dataDir: "./data",
    keepDays: 1,
    sync: "always",
    whenDown: { limits: "closed", budgets: "open" },
  };

  const { upstreams, ...rest } = parse({
    ...settings,
    store: { ...store, redisUrl: "redis://127.0.0.1" },
  });

  const redis = { host: "127.0.0.1", port: 6_379, tls: false, db: 0 };
  assert.deepEqual(rest, { ...settings, store: { ...store, redis } });
  assert.equal(upstreams.length, 1);
});

const PRICE = "expected a number from 0 to 1000000";
const PRICED = "expected a price for input, output or audioHour";
const NAME = 'expected the name of a model, or "name*"';

const WRONG = [
  [{ server: { port: 65_536 } }, "server.port: expected a whole number from 0 to 65535, got 65536"],
  [{ server: { port: 1.5 } }, "server.port: expected a whole number from 0 to 65535, got 1.5"],
  [
    { server: { port: "3000.0" } },
    'server.port: expected a whole number from 0 to 65535, got "3000.0"',
  ],
  [{ server: { port: true } }, "server.port: expected a whole number from 0 to 65535, got true"],
  [
    { server: { maxConnections: 0 } },
    "server.maxConnections: expected a whole number from 1 to 1000000, got 0",
  ],
  [{ server: { host: "" } }, 'server.host: expected a text, got ""'],
  [
    { server: { host: "http://0.0.0.0" } },
    'server.host: expected an address such as 127.0.0.1, 0.0.0.0 or ::, or a host name, got "http://0.0.0.0"',
  ],
  [
    { server: { host: "*" } },
    'server.host: expected an address such as 127.0.0.1, 0.0.0.0 or ::, or a host name, got "*"',
  ],
  [
    { server: { trustedProxies: ["10.0.0.0/33"] } },
    'server.trustedProxies: expected addresses or CIDR ranges, got "10.0.0.0/33"',
  ],
  [
    { server: { trustedProxies: "nginx" } },
    'server.trustedProxies: expected addresses or CIDR ranges, got "nginx"',
  ],
  [
    { server: { trustedProxies: ["::/1/"] } },
    'server.trustedProxies: expected addresses or CIDR ranges, got "::/1/"',
  ],
  [
    { server: { trustedProxies: [5] } },
    "server.trustedProxies: expected addresses or CIDR ranges, got 5",
  ],
  [
    { server: { trustedProxies: {} } },
    "server.trustedProxies: expected a list of addresses or CIDR ranges, got {}",
  ],
  [{ server: [] }, "server: expected an object, got []"],
  [{ server: { hots: "::" } }, 'server.hots: unknown setting, did you mean "host"?'],
  [{ servers: {} }, 'servers: unknown setting, did you mean "server"?'],
  [{ "": {} }, ": unknown setting"],
  [
    { cors: { origins: ["https://app.example.com/"] } },
    'cors.origins: expected "*" or origins such as "https://app.example.com", got "https://app.example.com/", ' +
      'did you mean "https://app.example.com"?',
  ],
  [
    { cors: { origins: "https://a.example,,https://b.example" } },
    'cors.origins: expected "*" or origins such as "https://app.example.com", got ""',
  ],
  [
    { cors: { origins: ["*", "https://a.example"] } },
    'cors.origins: expected "*" alone, or a list',
  ],
  [{ cors: { credentials: "yes" } }, 'cors.credentials: expected true or false, got "yes"'],
  [
    { cors: { credentials: true } },
    'cors.credentials: needs exact origins: browsers refuse it together with "*"',
  ],
  [
    { upstreams: [{ ...UPSTREAMS[0], baseUrl: "https://api.openai.com" }] },
    "upstreams[0].baseUrl: expected a URL that ends with the version, such as https://api.openai.com/v1, " +
      'got "https://api.openai.com"',
  ],
  [
    { upstreams: [{ ...UPSTREAMS[0], baseUrl: "https://user:hunter2@example.com/v1" }] },
    "upstreams[0].baseUrl: expected a URL without user, password, query or fragment",
  ],
  [
    { upstreams: [{ ...UPSTREAMS[0], baseUrl: "ftp://example.com" }] },
    'upstreams[0].baseUrl: expected an http(s) URL, got "ftp://example.com"',
  ],
  [
    { upstreams: [{ ...UPSTREAMS[0], auth: "Bearer" }] },
    'upstreams[0].auth: expected one of bearer, api-key, got "Bearer", did you mean "bearer"?',
  ],
  [
    { upstreams: [{ ...UPSTREAMS[0], project: "proj\n1" }] },
    'upstreams[0].project: expected printable ASCII without spaces, got "proj\\n1"',
  ],
  [{ upstreams: [...UPSTREAMS, ...UPSTREAMS] }, "upstreams: expected exactly one entry"],
  [{ upstreams: {} }, "upstreams: expected a list with at least one entry, got {}"],
  [{ upstreams: [5] }, "upstreams[0]: expected an object, got 5"],
  [
    { upstreams: [{}] },
    "upstreams[0].apiKey: is missing: expected the key that OpenAI gave you, sk-…",
  ],
  [
    { timeouts: { idleMs: 0 } },
    "timeouts.idleMs: expected a whole number from 1 to 86400000, got 0",
  ],
  [{ log: { level: 1 } }, "log.level: expected one of debug, info, warn, error, silent, got 1"],
  [{ policies: [] }, "policies: expected an object, got []"],
  [{ admin: {} }, "admin.key: is missing: expected 16 random characters or more"],
  [{ admin: 5 }, "admin: expected an object, got 5"],
  [{ admin: { kye: "x" } }, 'admin.kye: unknown setting, did you mean "key"?'],
  [
    { server: { maxHeldBytes: 0 } },
    "server.maxHeldBytes: expected a whole number from 1 to 17179869184, got 0",
  ],
  [{ prices: [] }, "prices: expected an object, got []"],
  [{ prices: { m: 5 } }, "prices.m: expected an object, got 5"],
  [{ prices: { m: {} } }, `prices.m: ${PRICED}`],
  [{ prices: { m: { cachedInput: 1, webSearch: 1 } } }, `prices.m: ${PRICED}`],
  [{ prices: { m: { input: -1 } } }, `prices.m.input: ${PRICE}, got -1`],
  [{ prices: { m: { output: 1_000_000.5 } } }, `prices.m.output: ${PRICE}, got 1000000.5`],
  [{ prices: { m: { audioHour: "cheap" } } }, `prices.m.audioHour: ${PRICE}, got "cheap"`],
  [{ prices: { m: { input: ".5" } } }, `prices.m.input: ${PRICE}, got ".5"`],
  [{ prices: { m: { input: Infinity } } }, `prices.m.input: ${PRICE}, got null`],
  [
    { prices: { m: { input: 1, cacheInput: 1 } } },
    'prices.m.cacheInput: unknown setting, did you mean "cachedInput"?',
  ],
  [{ prices: { "my model": { input: 1 } } }, `prices.my model: ${NAME}`],
  [{ prices: { "": { input: 1 } } }, `prices.: ${NAME}`],
  [{ prices: { "*-mini": { input: 1 } } }, `prices.*-mini: ${NAME}`],
  [{ prices: { "m**": { input: 1 } } }, `prices.m**: ${NAME}`],
  [{ store: "./data" }, "store: expected an object, got a text"],
  [{ store: { dataDir: "" } }, 'store.dataDir: expected a text, got ""'],
  [{ store: { dataDirectory: "x" } }, "store.dataDirectory: unknown setting"],
  [{ store: { redisUrls: "x" } }, 'store.redisUrls: unknown setting, did you mean "redisUrl"?'],
  [{ store: { redis: {} } }, "store.redis: unknown setting"],
  [{ store: { keepDays: 0 } }, "store.keepDays: expected a whole number from 1 to 3650, got 0"],
  [
    { store: { keepDays: 3_651 } },
    "store.keepDays: expected a whole number from 1 to 3650, got 3651",
  ],
  [
    { store: { sync: "allways" } },
    "store.sync: expected one of never, interval, always, " +
      'got "allways", did you mean "always"?',
  ],
  [{ store: { whenDown: "open" } }, "store.whenDown: expected an object, got a text"],
  [
    { store: { whenDown: { limits: "close" } } },
    'store.whenDown.limits: expected one of open, closed, got "close", did you mean "closed"?',
  ],
  [
    { store: { whenDown: { budgets: true } } },
    "store.whenDown.budgets: expected one of open, closed, got true",
  ],
  [
    { store: { whenDown: { budget: "open" } } },
    'store.whenDown.budget: unknown setting, did you mean "budgets"?',
  ],
] as const;

for (const [settings, message] of WRONG) {
  test(`refuses ${JSON.stringify(settings)}`, () => {
    assert.ok(refusal(settings).includes(message), refusal(settings).join("\n"));
  });
}

for (const endpoint of [
  "chta",
  "GET chat",
  "get /files",
  "GET /files/",
  "WEBSOCKET /realtime",
  "GET /a b",
]) {
  test(`refuses the endpoint "${endpoint}"`, () => {
    const [line = "", ...others] = refusal({ policies: { default: { endpoints: [endpoint] } } });

    assert.match(
      line,
      /^policies\.default\.endpoints: expected "\*", chat, .* or "METHOD \/path\/\{template\}", /,
    );
    assert.ok(line.includes(`got "${endpoint}"`));
    assert.equal(line.endsWith('did you mean "chat"?'), endpoint === "chta");
    assert.deepEqual(others, []);
  });
}

test("numbers the upstream that is wrong", () => {
  const lines = refusal({
    upstreams: [...UPSTREAMS, { ...UPSTREAMS[0], baseUrl: "api.openai.com" }],
  });

  assert.ok(lines.includes('upstreams[1].baseUrl: expected an http(s) URL, got "api.openai.com"'));
});

test("shows a long value not at all, as half a secret would not be known for one", () => {
  const [line = ""] = refusal({ log: { level: "x".repeat(10_000) } });

  assert.match(line, /, got a text$/);
  assert.ok(line.length < 150, line);
});

test("a key named like a member of every object is a setting like any other", () => {
  const settings: object = JSON.parse(
    '{"__proto__":{},"constructor":{},"policies":{"__proto__":{}}}',
  );

  assert.deepEqual(refusal(settings), [
    "__proto__: unknown setting",
    "constructor: unknown setting",
  ]);
});

test("lists equal problems once and keeps each with its place", () => {
  const problem = { where: "b", message: "is wrong" };

  const error = new ConfigError([problem, { where: "a", message: "too" }, { ...problem }]);

  assert.equal(error.message, "a: too\nb: is wrong");
  assert.deepEqual(error.problems, [{ where: "a", message: "too" }, problem]);
});

test("a wrong price is told once, and a model that has one is not called unpriced", () => {
  assert.deepEqual(refusal({ prices: { m: { input: "x" } } }), [
    `prices.m.input: ${PRICE}, got "x"`,
  ]);
});

test("takes the digits of an environment variable for a price", () => {
  const { prices } = parse({ prices: { m: { input: "0.15", output: "1" } } });

  assert.deepEqual(prices, { m: { input: 0.15, output: 1 } });
});

test("a member that a section inherits is none of its settings", () => {
  const notes = { problems: [], origins: new Map() };
  const reader = new Reader(Object.create({ given: "x", section: { given: "x" } }), "", notes);

  assert.equal(reader.has("given"), false);
  assert.equal(reader.text("given"), undefined);
  assert.equal(reader.section("section").has("given"), false);
  assert.equal(reader.has("constructor"), false);
  reader.section("constructor").finish();
  reader.expected("constructor", "nothing");
  assert.deepEqual(notes.problems, [
    { where: "constructor", message: "expected nothing, got a undefined" },
  ]);
});

test("a text without a default may be absent", () => {
  const reader = new Reader({ given: "x" }, "", { problems: [], origins: new Map() });

  assert.equal(reader.text("given"), "x");
  assert.equal(reader.text("absent"), undefined);
});

test("createGateway takes the same settings and refuses with the same words", () => {
  assert.throws(() => createGateway({ server: { port: -1 } }), {
    name: "ConfigError",
    message:
      "server.port: expected a whole number from 0 to 65535, got -1\n" +
      "upstreams[0].apiKey: is missing: expected the key that OpenAI gave you, sk-…",
  });
});
