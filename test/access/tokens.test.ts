// What goes into a minted token, what is refused before it is one, and what is read out of it.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CredentialError, parseJwt, signJwt } from "../../src/access/jwt.ts";
import {
  createTokenVerifier,
  mintToken,
  parseGrant,
  toSecretKey,
  type Grant,
} from "../../src/access/tokens.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { ConfigError } from "../../src/config/reader.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../helpers/manual-clock.ts";

const SECRET = "token-secret-token-secret-0123456789abcdef";
const OTHER_SECRET = "other-secret-other-secret-0123456789abcdef";

function verifier(settings: { maxLifetimeSeconds?: number; previousSecret?: Secret } = {}) {
  const whole = { secret: new Secret(SECRET), maxLifetimeSeconds: 3_600, ...settings };
  const verify = createTokenVerifier(whole);
  return (token: string, clock: ManualClock) => verify(parseJwt(token), clock.now());
}

test("what a grant says is what its token grants", () => {
  const clock = new ManualClock();
  const limits = {
    endpoints: ["chat", "GET /models/{model}"],
    models: ["gpt-5*"],
    maxOutputTokens: 100,
    maxChoices: 1,
    tools: [],
    storedState: false,
    serviceTiers: ["auto"],
    maxBodyBytes: 10_000,
    origins: ["https://app.example.com"],
    safetyIdentifier: true,
  };
  const grant: Grant = { subject: "ü 🙂", policy: "user", expiresInSeconds: 60, limits };

  const { token, expiresAt } = mintToken({ secret: SECRET, ...grant }, clock);

  assert.equal(expiresAt, "2026-01-01T00:01:00.000Z");
  assert.deepEqual(verifier()(token, clock), { subject: "ü 🙂", policy: "user", limits });
});

test("a token is for the policy `default` and ten minutes, and narrows nothing", () => {
  const clock = new ManualClock();

  const { token, expiresAt } = mintToken({ secret: SECRET, subject: "u" }, clock);

  assert.equal(expiresAt, "2026-01-01T00:10:00.000Z");
  assert.deepEqual(verifier()(token, clock), { subject: "u", policy: "default", limits: {} });
});

test("the times in a token are whole seconds, whatever the clock says", () => {
  const clock = new ManualClock();
  clock.advance(1_999);

  const { token, expiresAt } = mintToken({ secret: SECRET, subject: "u" }, clock);

  const { iat, exp } = parseJwt(token).claims;
  const start = Date.UTC(2026, 0, 1) / 1_000;
  assert.deepEqual([iat, exp], [start + 1, start + 601]);
  assert.equal(expiresAt, "2026-01-01T00:10:01.000Z");
});

test("nothing but the claims is in a token, whatever else its maker was given", () => {
  const grant = { secret: SECRET, subject: "u", iss: "evil", admin: true, note: "private" };

  const { claims } = parseJwt(mintToken(grant).token);

  const names = Object.keys(claims).toSorted();
  assert.deepEqual(names, ["exp", "iat", "iss", "jti", "policy", "sub"]);
  assert.equal(claims["iss"], "openai-gateway");
});

describe("what is no grant is a CredentialError", () => {
  const cases: Readonly<Record<string, Grant & { readonly secret: string }>> = {
    "a secret of 31 bytes": { secret: "s".repeat(31), subject: "u" },
    "no subject": { secret: SECRET, subject: "" },
    "a subject of two lines": { secret: SECRET, subject: "a\nb" },
    "half a character": { secret: SECRET, subject: "\udc00" },
    "a subject too long": { secret: SECRET, subject: "u".repeat(256) },
    "no lifetime": { secret: SECRET, subject: "u", expiresInSeconds: 0 },
    "a negative lifetime": { secret: SECRET, subject: "u", expiresInSeconds: -60 },
    "half a second": { secret: SECRET, subject: "u", expiresInSeconds: 0.5 },
    "no number": { secret: SECRET, subject: "u", expiresInSeconds: Number.NaN },
    "for ever": { secret: SECRET, subject: "u", expiresInSeconds: Infinity },
    "for longer than there are dates": { secret: SECRET, subject: "u", expiresInSeconds: 1e15 },
    "more limits than a token holds": {
      secret: SECRET,
      subject: "u",
      limits: { models: Array.from({ length: 100 }, (_, index) => `m${index}`.padEnd(100, "x")) },
    },
  };
  for (const [name, grant] of Object.entries(cases)) {
    test(name, () => {
      assert.throws(() => mintToken(grant), CredentialError);
    });
  }
});

test("a secret that is not there at all is a CredentialError, too", () => {
  const forgotten: string = Object({})["TOKEN_SECRET"];

  assert.throws(() => mintToken({ secret: forgotten, subject: "u" }), CredentialError);
});

test("a secret is counted in bytes", () => {
  assert.ok(mintToken({ secret: "ü".repeat(16), subject: "u" }).token, "no token");
});

test("limits that no policy has are a ConfigError that names them all", () => {
  const limits: object = { model: ["x"], maxChoices: 0 };

  assert.throws(() => mintToken({ secret: SECRET, subject: "u", limits }), {
    name: "ConfigError",
    message:
      "limits.maxChoices: expected a whole number from 1 to 1000000000, got 0\n" +
      'limits.model: unknown setting, did you mean "models"?',
  });
});

test("no error shows the secret", () => {
  const short = "short-secret-0123456789";
  assert.throws(
    () => mintToken({ secret: short, subject: "u" }),
    (error) => !String(error).includes(short),
  );
});

test("a token may live as long as the settings say, and half a minute for slow clocks", () => {
  const clock = new ManualClock();
  const verify = verifier({ maxLifetimeSeconds: 60 });
  const lasting = (expiresInSeconds: number): string =>
    mintToken({ secret: SECRET, subject: "u", expiresInSeconds }, clock).token;

  assert.equal(verify(lasting(90), clock).subject, "u");
  assert.throws(() => verify(lasting(91), clock), /too long/);
});

test("a token that lives too long is refused until it does no longer", () => {
  const clock = new ManualClock();
  const verify = verifier({ maxLifetimeSeconds: 60 });
  const { token } = mintToken({ secret: SECRET, subject: "u", expiresInSeconds: 100 }, clock);

  assert.throws(() => verify(token, clock), /too long/);
  clock.advance(10_000);
  assert.equal(verify(token, clock).subject, "u");
});

test("either secret checks, and a third one does not", () => {
  const clock = new ManualClock();
  const verify = verifier({ previousSecret: new Secret(OTHER_SECRET) });
  const by = (secret: string): string => mintToken({ secret, subject: "u" }, clock).token;

  assert.equal(verify(by(SECRET), clock).subject, "u");
  assert.equal(verify(by(OTHER_SECRET), clock).subject, "u");
  assert.throws(() => verify(by(`${SECRET}x`), clock), CredentialError);
});

test("a signature is looked at before anything that it covers", () => {
  const clock = new ManualClock();
  const claims = { iss: "evil", sub: 7, exp: "never", limits: { secret: "probe" } };

  const token = signJwt(claims, toSecretKey(OTHER_SECRET));

  assert.throws(() => verifier()(token, clock), { message: "The token's signature is wrong." });
});

describe("a grant in plain data", () => {
  const upstreams = [{ apiKey: "sk-0123456789abcdef" }];
  const access = { tokens: { secret: SECRET, maxLifetimeSeconds: 900 } };
  const config = parseConfig({ upstreams, access, policies: { user: {} } });

  test("has the defaults of a grant", () => {
    assert.deepEqual(parseGrant({ subject: "u" }, config), {
      subject: "u",
      policy: "default",
      expiresInSeconds: 600,
    });
  });

  test("may say its numbers and lists in text, as a command line does", () => {
    const raw = {
      subject: "u",
      policy: "user",
      expiresInSeconds: "900",
      limits: { models: "a, b", maxOutputTokens: "7", storedState: "false" },
    };

    const { expiresInSeconds, limits } = parseGrant(raw, config);

    assert.equal(expiresInSeconds, 900);
    assert.deepEqual(limits, { models: ["a", "b"], maxOutputTokens: 7, storedState: false });
  });

  const wrong: readonly (readonly [unknown, readonly string[]])[] = [
    [undefined, ["subject"]],
    [null, ["settings", "subject"]],
    [{ subject: "u", policy: "toString" }, ["policy"]],
    [{ subject: "u", expiresInSeconds: 901 }, ["expiresInSeconds"]],
    [{ subject: "u", limits: null }, ["limits"]],
    [{ limits: { models: [1] }, __proto__: { subject: "u" } }, ["limits.models", "subject"]],
  ];
  for (const [raw, places] of wrong) {
    test(`is refused for ${places.join(" and ")}`, () => {
      assert.throws(
        () => parseGrant(raw, config),
        (error) => {
          assert.ok(error instanceof ConfigError, String(error));
          assert.deepEqual(
            error.problems.map(({ where }) => where),
            places,
          );
          return true;
        },
      );
    });
  }
});
