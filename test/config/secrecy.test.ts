// No message about the settings holds a secret, and a wrong key is explained without showing it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { runCli, type Surroundings } from "../helpers/run-cli.ts";
import { linesOf, refusal } from "./support.ts";

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
