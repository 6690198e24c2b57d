// No message about the settings holds a secret, and a wrong key is explained without showing it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { runCli, type Surroundings } from "../helpers/run-cli.ts";
import { secretsOf } from "../../src/config/secrets.ts";
import { linesOf, load, refusal } from "./support.ts";

const WRONG_KEYS = [
  ["", "is empty"],
  [" \n", "is empty"],
  ["Bearer sk-0123456789abcdef", 'begins with "Bearer"'],
  ['"sk-0123456789abcdef"', "is in quotes"],
  ["'sk-0123456789abcdef'", "is in quotes"],
  ['sk-0123456789abcdef"', "is in quotes"],
  ["OPENAI_API_KEY=sk-0123456789abcdef", "begins with the name of a variable"],
  ["sk-0123456789 abcdef", "has white space or a line break inside"],
  ["sk-0123456789\nsk-abcdef", "has white space or a line break inside"],
  ["sk-0123456789\u2013abcdef", "has characters that are not printable ASCII"],
  ["sk-0123456789\u200babcdef", "has characters that are not printable ASCII"],
  ["sk-your-key", "is still a placeholder"],
  ["sk-...", "is still a placeholder"],
  ["sk-…", "is still a placeholder"],
  ["<your key here>", "is still a placeholder"],
  ["sk-xxxxxxxxxxxxxxxx", "is still a placeholder"],
  ["changeme", "is still a placeholder"],
  [12_345_678, "is not a text"],
  [null, "is not a text"],
] as const;

for (const [key, mistake] of WRONG_KEYS) {
  test(`says that the key ${JSON.stringify(key)} ${mistake}, and does not repeat it`, () => {
    assert.deepEqual(
      linesOf(() => parseConfig({ upstreams: [{ apiKey: key }] })),
      [
        `upstreams[0].apiKey: ${mistake}: expected the bare secret, printable ASCII without spaces or quotes`,
      ],
    );
  });
}

const GOOD_KEYS = [
  "sk-0123456789abcdef",
  "sk-proj-YourKeyMayHoldSuchLettersByChance_0123456789xxxabc",
  "0123456789abcdef0123456789abcdef",
  "not-needed",
  "c2VjcmV0=",
];

for (const key of GOOD_KEYS) {
  test(`takes the key ${key}, with white space around it too`, () => {
    assert.equal(
      parseConfig({ upstreams: [{ apiKey: ` ${key}\r\n` }] }).upstreams[0].apiKey.reveal(),
      key,
    );
  });
}

const SECRET = "Seeded,Value/0f1e2d3c";
const PARTS = /seeded|0f1e2d3c/i;

/** Every way of putting a key where it does not belong that we could think of. */
const MISPLACED: Readonly<Record<string, Surroundings>> = {
  "expanded into a choice": { files: file({ log: { level: "${OPENAI_API_KEY}" } }) },
  "expanded into a number": { files: file({ server: { port: "${OPENAI_API_KEY}" } }) },
  "expanded into a truth value": { files: file({ cors: { credentials: "x${OPENAI_API_KEY}" } }) },
  "expanded into a list": { files: file({ cors: { origins: ["*", "${OPENAI_API_KEY}"] } }) },
  "expanded into a text with commas": { files: file({ cors: { origins: "${OPENAI_API_KEY},*" } }) },
  "expanded into a URL": { files: file({ upstreams: [{ baseUrl: "ftp://${OPENAI_API_KEY}" }] }) },
  "expanded into a URL's password": {
    files: file({ upstreams: [{ baseUrl: "http://a:${OPENAI_API_KEY}@b" }] }),
  },
  "expanded into a host": { files: file({ server: { host: "${OPENAI_API_KEY}" } }) },
  "expanded into a header": {
    files: file({ upstreams: [{ organization: "a ${OPENAI_API_KEY}" }] }),
  },
  "expanded into an endpoint": {
    files: file({ policies: { default: { endpoints: "${OPENAI_API_KEY}" } } }),
  },
  "expanded where an object belongs": { files: file({ server: "${OPENAI_API_KEY}" }) },
  "expanded where a list belongs": { files: file({ upstreams: "${OPENAI_API_KEY}" }) },
  "expanded inside an object where a text belongs": {
    files: file({ log: { level: { a: ["${OPENAI_API_KEY}"] } } }),
  },
  "expanded into an unknown setting": { files: file({ unknown: "${OPENAI_API_KEY}" }) },
  "written where JSON breaks": { files: { "gateway.json": `{"apiKey": ${SECRET}}` } },
  "written after JSON breaks": { files: { "gateway.json": `{"log": x, "apiKey": "${SECRET}"}` } },
  "with a line break inside": { env: { OPENAI_API_KEY: `${SECRET}\n${SECRET}` } },
  "as the name of its own file": { env: { OPENAI_API_KEY: "", OPENAI_API_KEY_FILE: SECRET } },
  "as an option": { args: ["--openai-api-key", SECRET] },
  "as an option's unasked value": { args: [`--mock=${SECRET}`, `--openai-api-key=${SECRET}`] },
};

function file(settings: object): Readonly<Record<string, string>> {
  return { "gateway.json": JSON.stringify(settings) };
}

for (const [where, surroundings] of Object.entries(MISPLACED)) {
  test(`a key ${where} is in no message`, (t) => {
    const env = { OPENAI_API_KEY: SECRET, ...surroundings.env };

    const lines = refusal(t, { ...surroundings, env });

    assert.doesNotMatch(lines.join("\n"), PARTS);
  });
}

test("a message shows an expanded value as its author wrote it", (t) => {
  const lines = refusal(t, {
    env: { OPENAI_API_KEY: SECRET },
    files: file({ log: { level: "${OPENAI_API_KEY}" } }),
  });

  assert.deepEqual(lines, [
    'log.level: expected one of debug, info, warn, error, silent, got "${OPENAI_API_KEY}"',
  ]);
});

const NAME_KEY = "expected name:key, with a name of letters, digits and . @ _ -";
const LONG_KEY = "expected a key of 16 or more printable ASCII characters behind the name";
const HEX = "5eedad0f1e2d3c4b5a69788796a5b4c3";

/** What stands in GATEWAY_KEYS, and where it is wrong. */
const KEY_LISTS = [
  [HEX, [NAME_KEY]],
  [`:${HEX}`, [NAME_KEY]],
  [`my backend:${HEX}`, [NAME_KEY]],
  [`backend=${HEX}`, [NAME_KEY]],
  [`"backend:${HEX}"`, [NAME_KEY]],
  [`{"backend":"${HEX}"}`, [NAME_KEY]],
  [`backend :${HEX}`, [NAME_KEY]],
  [`${"n".repeat(65)}:${HEX}`, [NAME_KEY]],
  [`bäckend:${HEX}`, [NAME_KEY]],
  ["backend:", [`the key is empty: ${LONG_KEY}`]],
  ["backend", [NAME_KEY]],
  [`backend:${HEX.slice(0, 15)}`, [LONG_KEY]],
  [`backend: ${HEX}`, [`the key has white space or a line break inside: ${LONG_KEY}`]],
  [`backend:Bearer ${HEX}`, [`the key begins with "Bearer": ${LONG_KEY}`]],
  [`backend:${HEX}\u2013`, [`the key has characters that are not printable ASCII: ${LONG_KEY}`]],
  [`a:${HEX}\nb:${HEX.slice(1, 9)}`, [`entry 2: ${LONG_KEY}`]],
  [`a:${HEX} b:${HEX}1`, [`the key has white space or a line break inside: ${LONG_KEY}`]],
  [`a:${HEX};b:${HEX}1,`, [`entry 2: ${NAME_KEY}`]],
  [`a:${HEX},`, [`entry 2: ${NAME_KEY}`]],
  [`,a:${HEX}`, [`entry 1: ${NAME_KEY}`]],
  [`a:${HEX},${HEX}`, [`entry 2: ${NAME_KEY}`]],
  [`a:${HEX.slice(0, 16)},${HEX.slice(16)}`, [`entry 2: ${NAME_KEY}`]],
  [`${HEX}:a,b:${HEX},c`, [`entry 1: ${LONG_KEY}`, `entry 3: ${NAME_KEY}`]],
] as const;

for (const [list, messages] of KEY_LISTS) {
  test(`explains GATEWAY_KEYS=${JSON.stringify(list)} without repeating any of it`, (t) => {
    const env = { OPENAI_API_KEY: "sk-0123456789abcdef", GATEWAY_KEYS: list };

    const lines = refusal(t, { env });

    assert.deepEqual(
      lines,
      messages.map((message) => `GATEWAY_KEYS: ${message}`),
    );
    assert.doesNotMatch(lines.join("\n"), /5eed|b4c3/);
  });
}

test("says that a key is there twice", (t) => {
  const env = { OPENAI_API_KEY: "sk-0123456789abcdef", GATEWAY_KEYS: `a:${HEX},b:${HEX}` };

  const lines = refusal(t, { env });

  assert.match(lines.join("\n"), /^GATEWAY_KEYS: [^\n]*\btwice$/);
  assert.doesNotMatch(lines.join("\n"), /5eed|b4c3/);
});

test("with key and name in the wrong order, a key that is there twice is in no message", (t) => {
  const list = `${HEX}:the-name-of-a-backend,${HEX}1:the-name-of-a-backend`;

  const lines = refusal(t, { env: { OPENAI_API_KEY: SECRET, GATEWAY_KEYS: list } });

  assert.doesNotMatch(lines.join("\n"), /5eed|b4c3/);
});

for (const key of [`"${HEX}"`, `'${HEX}'`, "your-key-goes-here", "<put a key here>"]) {
  test(`takes ${key} for no key of GATEWAY_KEYS, as for none of OpenAI's`, (t) => {
    const env = { OPENAI_API_KEY: "sk-0123456789abcdef", GATEWAY_KEYS: `backend:${key}` };

    const lines = refusal(t, { env });

    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /^GATEWAY_KEYS: /);
    assert.doesNotMatch(lines.join("\n"), /5eed|b4c3/);
  });
}

const BARE = "expected the bare secret, printable ASCII without spaces or quotes";

const SECRETS = [
  ["TOKEN_SECRET", HEX.slice(1), "is too short: expected 32 random characters or more"],
  ["TOKEN_SECRET", `${HEX} ${HEX}`, `has white space or a line break inside: ${BARE}`],
  ["TOKEN_SECRET", `"${HEX}"`, `is in quotes: ${BARE}`],
  ["TOKEN_SECRET", "your-secret-of-32-characters-here", `is still a placeholder: ${BARE}`],
  ["TOKEN_SECRET_PREVIOUS", HEX.slice(1), "is too short: expected 32 random characters or more"],
  ["ADMIN_KEY", HEX.slice(0, 15), "is too short: expected 16 random characters or more"],
  ["ADMIN_KEY", `ADMIN_KEY=${HEX}`, `begins with the name of a variable: ${BARE}`],
  ["ADMIN_KEY", `Bearer ${HEX}`, `begins with "Bearer": ${BARE}`],
] as const;

for (const [name, value, message] of SECRETS) {
  test(`explains ${name}=${JSON.stringify(value)} without repeating any of it`, (t) => {
    const env = { OPENAI_API_KEY: "sk-0123456789abcdef", TOKEN_SECRET: "t".repeat(32) };

    const lines = refusal(t, { env: { ...env, [name]: value } });

    assert.deepEqual(lines, [`${name}: ${message}`]);
  });
}

const REDIS = "expected redis://[[user]:password@]host[:port][/database], or rediss:// for TLS";
const WRONG_URLS = [
  HEX,
  `https://:${HEX}@h`,
  `redis://${HEX}@h`,
  `redis://:${HEX}/@h`,
  `redis://:${HEX}%@h`,
  `redis://:${HEX} @h`,
  `redis://:${HEX}@`,
  `redis://:${HEX}@h:0`,
  `redis://:${HEX}@h/x`,
  `redis://:${HEX}@h/${HEX}`,
  `redis://h/?password=${HEX}`,
  `redis://h/#${HEX}`,
  `"redis://:${HEX}@h"`,
  `REDIS_URL=redis://:${HEX}@h`,
  `redis://:${HEX}@h,redis://:${HEX}@i`,
];

for (const url of WRONG_URLS) {
  test(`explains REDIS_URL=${url} without repeating any of it`, (t) => {
    const env = { OPENAI_API_KEY: "sk-0123456789abcdef" };
    const store = { redisUrl: "${CACHE}" };

    const lines = [
      ...refusal(t, { env: { ...env, REDIS_URL: url } }),
      ...refusal(t, { env: { ...env, CACHE: url }, files: file({ store }) }),
      ...refusal(t, { env, files: file({ store: { redisUrl: url } }) }),
    ];

    assert.deepEqual(
      lines.map((line) => line.slice(0, line.indexOf(": expected "))),
      ["REDIS_URL", "store.redisUrl", "store.redisUrl"],
    );
    assert.doesNotMatch(lines.join("\n"), /5eed|b4c3|@h\b/);
  });
}

test("explains a redisUrl that is no text without repeating any of it", () => {
  for (const redisUrl of [12_345_678, [`redis://:${HEX}@h`], { url: HEX }, null]) {
    const upstreams = [{ apiKey: "sk-0123456789abcdef" }];

    const [line = "", ...others] = linesOf(() => parseConfig({ upstreams, store: { redisUrl } }));

    assert.ok(line.startsWith(`store.redisUrl: ${REDIS}`), line);
    assert.doesNotMatch(line, /5eed|b4c3|12345678/);
    assert.deepEqual(others, []);
  }
});

test("of a REDIS_URL that cannot be read it says only why", (t) => {
  const env = { OPENAI_API_KEY: "sk-0123456789abcdef", REDIS_URL_FILE: "none" };

  assert.deepEqual(refusal(t, { env }), ["REDIS_URL_FILE: names a file that does not exist"]);
});

test("the password of a REDIS_URL is in no output of check, and is known to the log", async (t) => {
  const password = `${HEX}%2Fx`;
  const env = { OPENAI_API_KEY: "sk-0123456789abcdef", REDIS_URL: `redis://me:${password}@::1` };
  const good = { ...env, REDIS_URL: `redis://me:${password}@[::1]/3` };

  const [plain, json, wrong] = await Promise.all([
    runCli(t, { args: ["check"], env: good }),
    runCli(t, { args: ["check", "--json"], env: good }),
    runCli(t, { args: ["check"], env }),
  ]);

  assert.match(
    plain.stdout,
    /^ +store\.redisUrl +REDIS_URL +redis:\/\/me:\[secret\]@\[::1\]:6379\/3$/m,
  );
  const redis = { host: "::1", port: 6379, tls: false, user: "me", password: "[secret]", db: 3 };
  assert.deepEqual(JSON.parse(json.stdout).store.redis, redis);
  assert.equal(wrong.code, 2);
  for (const { stdout, stderr } of [plain, json, wrong]) {
    assert.doesNotMatch(stdout + stderr, /5eed|b4c3/);
  }
  const { config } = load(t, { env: good });
  const secrets = secretsOf(config).map((secret) => secret.reveal());
  assert.ok(secrets.includes(`${HEX}/x`), "the log would print it");
});

const WORD = "SeededValue0f1e2d3c";
const SHA256 = "ab".repeat(32);

/** A secret in full, in a file, beside the place where it belongs. */
const WRITTEN: Readonly<Record<string, object>> = {
  "as a key's digest": { access: { keys: [{ name: "backend", sha256: SECRET }] } },
  "as a key beside its digest": {
    access: { keys: [{ name: "backend", sha256: SHA256, key: SECRET }] },
  },
  "as a key without an entry": { access: { keys: [SECRET] } },
  "instead of the section tokens": { access: { tokens: SECRET } },
  "instead of the section admin": { admin: SECRET },
  "instead of the section store": { store: SECRET },
  "as a store's Redis": { store: { redis: SECRET } },
  "as a JWT's algorithm": {
    access: { jwt: [{ issuer: "a", audience: "b", secret: "${JWT}", algorithms: ["${JWT}"] }] },
  },
  "as the password of a jwksUrl": {
    access: {
      jwt: [{ issuer: "a", audience: "b", jwksUrl: `https://user:${WORD}@id.example/jwks` }],
    },
  },
  "as the user of a jwksUrl": {
    access: { jwt: [{ issuer: "a", audience: "b", jwksUrl: `https://${WORD}@id.example/` }] },
  },
};

for (const [where, settings] of Object.entries(WRITTEN)) {
  test(`a secret written ${where} is in no message`, (t) => {
    const upstreams = [{ apiKey: "sk-0123456789abcdef" }];
    const env = { JWT: `${SECRET}${SECRET}` };

    const lines = refusal(t, { env, files: file({ upstreams, ...settings }) });

    assert.doesNotMatch(lines.join("\n"), PARTS);
  });
}

const SHAPED = "sk-proj-0123456789abcdef";

const TYPED: readonly Surroundings[] = [
  { env: { LOG_LEVEL: SHAPED, PORT: `Bearer ${SHAPED}` } },
  { args: ["check", SHAPED] },
];

for (const surroundings of TYPED) {
  test(`recognises a key by its shape before printing ${JSON.stringify(surroundings)}`, async (t) => {
    const { code, stdout, stderr } = await runCli(t, surroundings);

    assert.equal(code, 2);
    assert.match(stderr, /\[secret\]/);
    assert.doesNotMatch(stdout + stderr, /0123456789abcdef/);
  });
}
