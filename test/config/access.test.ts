// Who may call: what keys, issuers and tokens have to look like, and what is said of others.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { linesOf } from "./support.ts";

const SHA256 = "0123456789abcdef".repeat(4);
const SECRET = "0123456789abcdef0123456789abcdef";
const POLICIES = { user: {}, server: {} };
const NAMES = "default, user, server";

function parse(access: unknown, policies: object = POLICIES) {
  return parseConfig({ upstreams: [{ apiKey: "sk-0123456789abcdef" }], access, policies });
}

function refusal(access: unknown): readonly string[] {
  return linesOf(() => parse(access));
}

function key(fields: object): object {
  return { keys: [{ name: "backend", sha256: SHA256, ...fields }] };
}

function jwt(fields: object): object {
  const usual = { issuer: "https://id.example/", audience: "chat" };
  const source = "secret" in fields || "jwksUrl" in fields ? {} : { secret: SECRET };
  return { jwt: [{ ...usual, ...source, ...fields }] };
}

test("fills in every default", () => {
  const jwksUrl = "https://id.example/jwks.json";

  const { access } = parse({ ...key({}), ...jwt({ jwksUrl }), tokens: { secret: SECRET } });

  const { keys, jwt: issuers, tokens, ...rest } = access ?? assert.fail("no access");
  assert.deepEqual(keys, [{ name: "backend", sha256: SHA256, policy: "default" }]);
  assert.deepEqual(issuers, [
    {
      issuer: "https://id.example/",
      audience: ["chat"],
      jwksUrl: new URL(jwksUrl),
      algorithms: [
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "ES512",
        "EdDSA",
      ],
      policy: "default",
      policies: [],
      leewaySeconds: 30,
    },
  ]);
  assert.deepEqual(Object.keys(tokens ?? {}), ["secret", "maxLifetimeSeconds"]);
  assert.equal(tokens?.secret.reveal(), SECRET);
  assert.equal(tokens?.maxLifetimeSeconds, 86_400);
  assert.deepEqual(rest, {});
});

test("takes everything that a file may say", () => {
  const { access, admin } = parseConfig({
    upstreams: [{ apiKey: "sk-0123456789abcdef" }],
    admin: { key: "0123456789abcdef" },
    policies: POLICIES,
    access: {
      keys: [
        { name: "a.b_c-d@e", sha256: SHA256.toUpperCase(), policy: "server" },
        { name: "a.b_c-d@e", sha256: "f".repeat(64), expires: "2027-01-01" },
      ],
      jwt: [
        {
          issuer: "legacy",
          audience: ["chat", "app"],
          secret: SECRET,
          algorithms: ["HS256"],
          policy: "user",
          policyClaim: "app_metadata.plan",
          policies: ["server", "user"],
          leewaySeconds: 0,
        },
      ],
      tokens: { secret: SECRET, previousSecret: `${SECRET}!`, maxLifetimeSeconds: 31_622_400 },
      anonymous: "user",
    },
  });

  assert.equal(admin?.key.reveal(), "0123456789abcdef");
  assert.deepEqual(access?.keys, [
    { name: "a.b_c-d@e", sha256: SHA256, policy: "server" },
    { name: "a.b_c-d@e", sha256: "f".repeat(64), policy: "default", expires: "2027-01-01" },
  ]);
  const [{ secret, ...issuer } = assert.fail("no issuer")] = access?.jwt ?? [];
  assert.equal(secret?.reveal(), SECRET);
  assert.deepEqual(issuer, {
    issuer: "legacy",
    audience: ["chat", "app"],
    algorithms: ["HS256"],
    policy: "user",
    policyClaim: "app_metadata.plan",
    policies: ["server", "user"],
    leewaySeconds: 0,
  });
  assert.equal(access?.tokens?.previousSecret?.reveal(), `${SECRET}!`);
  assert.equal(access?.tokens?.maxLifetimeSeconds, 31_622_400);
  assert.equal(access?.anonymous, "user");
});

test("listens on all addresses once it asks who is calling, and where it is told to", () => {
  const upstreams = [{ apiKey: "sk-0123456789abcdef" }];
  const access = { anonymous: "default" };

  assert.equal(parseConfig({ upstreams }).server.host, "127.0.0.1");
  assert.equal(parseConfig({ upstreams, admin: { key: SECRET } }).server.host, "127.0.0.1");
  assert.equal(parseConfig({ upstreams, access }).server.host, "0.0.0.0");
  const server = { host: "::1" };
  assert.equal(parseConfig({ upstreams, access, server }).server.host, "::1");
});

test("without policyClaim the policy is default; with it there is none but the claim's", () => {
  const plain = parse(jwt({})).access?.jwt[0];
  const claimed = parse(jwt({ policyClaim: "plan", policies: ["user"] })).access?.jwt[0];

  assert.equal(plain?.policy, "default");
  assert.equal(claimed?.policy, undefined);
  assert.deepEqual(claimed?.policies, ["user"]);
});

const JWKS_URLS = [
  "https://id.example/jwks.json?tenant=1",
  "http://localhost:8080/jwks",
  "http://127.0.0.1/jwks",
  "http://127.9.9.9/jwks",
  "http://[::1]:8080/jwks",
];

for (const jwksUrl of JWKS_URLS) {
  test(`takes keys from ${jwksUrl}`, () => {
    assert.equal(parse(jwt({ jwksUrl })).access?.jwt[0]?.jwksUrl?.href, jwksUrl);
  });
}

test("keeps the algorithms that are named, whatever their order", () => {
  const algorithms = ["ES256", "RS256"];

  const { access } = parse(jwt({ jwksUrl: "https://id.example/jwks", algorithms }));

  assert.deepEqual(access?.jwt[0]?.algorithms, ["RS256", "ES256"]);
});

const NAME = "expected a name of letters, digits and . @ _ -";
const ASYMMETRIC = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA";
const URL_RULE = "expected an https URL (http only on loopback) without user and fragment";
const EITHER = 'access.jwt[0].jwksUrl: expected either "jwksUrl" or "secret"';
const TOGETHER = 'access.jwt[0].policies: expected "policyClaim" and "policies" together';
const TOO_SHORT = "is too short: expected 32 random characters or more";
const BARE = "expected the bare secret, printable ASCII without spaces or quotes";

const WRONG = [
  [{ keys: [] }, ["access.keys: expected a list with at least one entry, got []"]],
  [{ jwt: [] }, ["access.jwt: expected a list with at least one entry, got []"]],
  [{ keys: {} }, ["access.keys: expected a list with at least one entry, got {}"]],
  [{ keys: 5 }, ["access.keys: expected a list with at least one entry, got 5"]],
  [
    { keys: [{}] },
    [
      `access.keys[0].name: is missing: ${NAME}`,
      "access.keys[0].sha256: is missing: expected 64 hex digits",
    ],
  ],
  [key({ name: "my backend" }), [`access.keys[0].name: ${NAME}, got "my backend"`]],
  [key({ name: "a:b" }), [`access.keys[0].name: ${NAME}, got "a:b"`]],
  [key({ name: 5 }), ["access.keys[0].name: expected a text, got 5"]],
  [
    key({ policy: "usr" }),
    [
      `access.keys[0].policy: expected the name of a policy (${NAMES}), got "usr", did you mean "user"?`,
    ],
  ],
  [
    key({ policy: "constructor" }),
    [`access.keys[0].policy: expected the name of a policy (${NAMES}), got "constructor"`],
  ],
  [key({ expire: "x" }), ['access.keys[0].expire: unknown setting, did you mean "expires"?']],
  [
    { keys: [...Object(key({})).keys, { name: "b", sha256: "e".repeat(64), policy: "x" }] },
    [`access.keys[1].policy: expected the name of a policy (${NAMES}), got "x"`],
  ],
  [
    { jwt: [{ secret: SECRET }] },
    [
      "access.jwt[0].audience: is missing: expected what the tokens have as `aud`",
      "access.jwt[0].issuer: is missing: expected what the tokens have as `iss`",
    ],
  ],
  [{ jwt: [{ issuer: "a", audience: "b" }] }, [EITHER]],
  [jwt({ secret: SECRET, jwksUrl: "https://id.example/jwks" }), [EITHER]],
  [jwt({ secret: SECRET.slice(1) }), [`access.jwt[0].secret: ${TOO_SHORT}`]],
  [jwt({ secret: "" }), [`access.jwt[0].secret: is empty: ${BARE}`]],
  [
    jwt({ issuer: "my issuer" }),
    ['access.jwt[0].issuer: expected what the tokens have as `iss`, got "my issuer"'],
  ],
  [
    jwt({ issuer: "openai-gateway" }),
    ['access.jwt[0].issuer: "openai-gateway" is the issuer of minted tokens: see access.tokens'],
  ],
  [
    jwt({ audience: ["chat", 5] }),
    ["access.jwt[0].audience: expected what the tokens have as `aud`, got 5"],
  ],
  [
    jwt({ jwksUrl: "http://id.example/jwks" }),
    [`access.jwt[0].jwksUrl: ${URL_RULE}, got "http://id.example/jwks"`],
  ],
  [
    jwt({ jwksUrl: "http://127.0.0.1.example/jwks" }),
    [`access.jwt[0].jwksUrl: ${URL_RULE}, got "http://127.0.0.1.example/jwks"`],
  ],
  [
    jwt({ jwksUrl: "https://id.example/jwks#keys" }),
    [`access.jwt[0].jwksUrl: ${URL_RULE}, got "https://id.example/jwks#keys"`],
  ],
  [jwt({ jwksUrl: "/jwks" }), [`access.jwt[0].jwksUrl: ${URL_RULE}, got "/jwks"`]],
  [
    jwt({ jwksUrl: "file:///etc/jwks.json" }),
    [`access.jwt[0].jwksUrl: ${URL_RULE}, got "file:///etc/jwks.json"`],
  ],
  [
    jwt({ algorithms: ["RS256"] }),
    ['access.jwt[0].algorithms: expected some of HS256, got "RS256", did you mean "HS256"?'],
  ],
  [
    jwt({ jwksUrl: "https://id.example/jwks", algorithms: "RS265" }),
    [
      `access.jwt[0].algorithms: expected some of ${ASYMMETRIC}, got "RS265", did you mean "RS256"?`,
    ],
  ],
  [
    jwt({ jwksUrl: "https://id.example/jwks", algorithms: ["none"] }),
    [`access.jwt[0].algorithms: expected some of ${ASYMMETRIC}, got "none"`],
  ],
  [
    jwt({ policy: "Server" }),
    [
      `access.jwt[0].policy: expected the name of a policy (${NAMES}), got "Server", did you mean "server"?`,
    ],
  ],
  [jwt({ policyClaim: "plan" }), [TOGETHER]],
  [jwt({ policies: ["user"] }), [TOGETHER]],
  [
    jwt({ policyClaim: "plan", policies: ["user", "severs"] }),
    ['access.jwt[0].policies: expected names of policies, got "severs", did you mean "server"?'],
  ],
  [
    jwt({ leewaySeconds: 301 }),
    ["access.jwt[0].leewaySeconds: expected a whole number from 0 to 300, got 301"],
  ],
  [jwt({ isuer: "x" }), ['access.jwt[0].isuer: unknown setting, did you mean "issuer"?']],
  [{ tokens: {} }, ["access.tokens.secret: is missing: expected 32 random characters or more"]],
  [{ tokens: { secret: SECRET.slice(1) } }, [`access.tokens.secret: ${TOO_SHORT}`]],
  [{ tokens: { secret: 5 } }, [`access.tokens.secret: is not a text: ${BARE}`]],
  [
    { tokens: { secret: SECRET, previousSecret: "short" } },
    [`access.tokens.previousSecret: ${TOO_SHORT}`],
  ],
  [
    { tokens: { secret: SECRET, maxLifetimeSeconds: 31_622_401 } },
    ["access.tokens.maxLifetimeSeconds: expected a whole number from 1 to 31622400, got 31622401"],
  ],
  [{ tokens: { secret: SECRET, maxLifetime: 60 } }, ["access.tokens.maxLifetime: unknown setting"]],
  [
    { anonymous: "demo" },
    [`access.anonymous: expected the name of a policy (${NAMES}), got "demo"`],
  ],
  [{ anonymous: true }, ["access.anonymous: expected a text, got true"]],
  [{ anonymous: "user", key: [] }, ['access.key: unknown setting, did you mean "keys"?']],
] as const;

for (const [access, lines] of WRONG) {
  test(`refuses ${JSON.stringify(access).slice(0, 120)}`, () => {
    assert.deepEqual(refusal(access), lines);
  });
}

test("refuses what is no digest, and a digest that is there twice, however it is written", () => {
  const [entry] = Object(key({})).keys;
  const twice = { keys: [entry, { name: "other", sha256: SHA256.toUpperCase() }] };

  for (const sha256 of [5, "", SHA256.slice(1), `${SHA256}0`, SHA256.replace("0", "g")]) {
    const [line = "", ...others] = refusal(key({ sha256 }));

    assert.match(line, /^access\.keys\[0\]\.sha256: /);
    assert.deepEqual(others, []);
  }
  assert.match(refusal(twice).join("\n"), /^access\.keys: [^\n]*\btwice$/);
});

test("takes a name of 64 characters, and none of 65", () => {
  const { access } = parse(key({ name: "n".repeat(64) }));

  assert.equal(access?.keys[0]?.name.length, 64);
  assert.match(
    refusal(key({ name: "n".repeat(65) })).join("\n"),
    /^access\.keys\[0\]\.name: [^\n]*$/,
  );
});

const MISSHAPEN = [
  [5, "access: expected an object, got 5"],
  [[], "access: expected an object, got []"],
  [null, "access: expected an object, got null"],
  [{ keys: [5] }, "access.keys[0]: expected an object, got 5"],
  [{ jwt: [[]] }, "access.jwt[0]: expected an object, got []"],
  [{ tokens: null }, "access.tokens: expected an object, got null"],
] as const;

for (const [access, message] of MISSHAPEN) {
  test(`says of ${JSON.stringify(access)} what belongs there`, () => {
    assert.ok(refusal(access).includes(message), refusal(access).join("\n"));
  });
}

test("refuses an empty section, which would shut everybody out", () => {
  const [line = "", ...others] = refusal({});

  assert.match(line, /^access.*: nobody could call: expected keys, jwt, tokens or anonymous$/);
  assert.deepEqual(others, []);
});

const DATES = ["2027-01-01", "2028-02-29", "2027-01-01T12:00Z", "2027-01-01T12:00:00.250Z"];

for (const expires of DATES) {
  test(`takes a key that expires ${expires}`, () => {
    assert.equal(parse(key({ expires })).access?.keys[0]?.expires, expires);
  });
}

const NO_DATES = [
  "2027-02-31",
  "2027-02-29",
  "2027-13-01",
  "2027-00-10",
  "2027-1-1",
  "2027-01-01T12:00:00",
  "2027-01-01T12:00:00+01:00",
  "2027-01-01T12:00:00-00:00",
  "2027-01-01T25:00:00Z",
  "2027-01-01T24:00:00Z",
  "2027-01-01 12:00:00Z",
  "2027-01-01t12:00:00z",
  "01/02/2027",
  "1 January 2027",
  "1798761600",
  "90d",
  "never",
];

for (const expires of NO_DATES) {
  test(`refuses a key that expires ${expires}`, () => {
    const rule = 'expected a date such as "2027-01-01" or "2027-01-01T12:00:00Z"';

    assert.deepEqual(refusal(key({ expires })), [
      `access.keys[0].expires: ${rule}, got "${expires}"`,
    ]);
  });
}

test("counts a secret's bytes in what is signed with, and ignores white space around it", () => {
  const { access } = parse({ tokens: { secret: ` ${SECRET}\n` } });

  assert.equal(access?.tokens?.secret.reveal(), SECRET);
  assert.deepEqual(refusal({ tokens: { secret: `${SECRET.slice(1)} ` } }), [
    `access.tokens.secret: ${TOO_SHORT}`,
  ]);
});

test("tells everything that is wrong at once, each with its place", () => {
  const lines = refusal({
    keys: [{ name: "backend", sha256: SHA256, policy: "sever" }],
    jwt: [{ issuer: "a", audience: "b", secret: "short", policyClaim: "plan" }],
    tokens: { secret: "short" },
    anonymous: "demo",
    oauth: {},
  });

  assert.deepEqual(lines, [
    `access.anonymous: expected the name of a policy (${NAMES}), got "demo"`,
    TOGETHER,
    `access.jwt[0].secret: ${TOO_SHORT}`,
    `access.keys[0].policy: expected the name of a policy (${NAMES}), got "sever", did you mean "server"?`,
    "access.oauth: unknown setting",
    `access.tokens.secret: ${TOO_SHORT}`,
  ]);
});

const SHUTTING = [
  [jwt({ audience: [] }), "access.jwt[0].audience"],
  [jwt({ algorithms: [] }), "access.jwt[0].algorithms"],
  [jwt({ policyClaim: "plan", policies: [] }), "access.jwt[0].policies"],
] as const;

for (const [access, where] of SHUTTING) {
  test(`refuses an empty ${where}, with which no token could ever be right`, () => {
    const [line = "", ...others] = refusal(access);

    assert.ok(line.startsWith(`${where}: expected `), line);
    assert.deepEqual(others, []);
  });
}

test("says one thing of a list that is null", () => {
  assert.deepEqual(refusal({ keys: null }), [
    "access.keys: expected a list with at least one entry, got null",
  ]);
});
