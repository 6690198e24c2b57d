// What a policy may say: each field's range, and the words for what is out of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { parseLimits } from "../../src/config/parse-policies.ts";
import { linesOf } from "./support.ts";

const INFERENCE = [
  "chat",
  "completions",
  "responses",
  "embeddings",
  "moderations",
  "images",
  "audio",
  "models",
];

function parse(policies: object) {
  return parseConfig({ upstreams: [{ apiKey: "sk-0123456789abcdef" }], policies }).policies;
}

function refusal(policy: object): readonly string[] {
  return linesOf(() => parse({ user: policy }));
}

const EVERYTHING = {
  endpoints: ["chat", "GET /files/{file_id}"],
  models: ["gpt-4o-mini", "gpt-5*", "*"],
  maxOutputTokens: 2_000,
  maxChoices: 1,
  tools: ["function", "web_search_preview_2025-03-11"],
  storedState: false,
  serviceTiers: ["default", "flex"],
  maxBodyBytes: 1_048_576,
  origins: ["https://app.example.com", "http://localhost:5173"],
  safetyIdentifier: true,
};

test("takes every field, and has no default but the stateless inference classes", () => {
  const { default: open, user, empty } = parse({ user: EVERYTHING, empty: {} });

  assert.deepEqual(open, { endpoints: INFERENCE });
  assert.deepEqual(empty, { endpoints: INFERENCE });
  assert.deepEqual(user, EVERYTHING);
});

test("keeps the policy that the file calls default, and fills in what it leaves out", () => {
  const { default: open, ...others } = parse({ default: { maxChoices: 2 } });

  assert.deepEqual(open, { endpoints: INFERENCE, maxChoices: 2 });
  assert.deepEqual(others, {});
});

test("takes lists as texts with commas, and what an environment variable may hold for the rest", () => {
  const { user } = parse({
    user: {
      models: "gpt-4o-mini, gpt-5*",
      tools: "function",
      maxOutputTokens: "2000",
      storedState: "false",
    },
  });

  assert.deepEqual(user, {
    endpoints: INFERENCE,
    models: ["gpt-4o-mini", "gpt-5*"],
    tools: ["function"],
    maxOutputTokens: 2_000,
    storedState: false,
  });
});

test("an empty list allows nothing, which is not the same as no list", () => {
  const { user } = parse({ user: { endpoints: [], models: [], tools: [], origins: [] } });

  assert.deepEqual(user, { endpoints: [], models: [], tools: [], origins: [] });
});

const LONGEST = "m".repeat(256);
const EDGES = [
  { maxOutputTokens: 1 },
  { maxOutputTokens: 1_000_000_000 },
  { maxChoices: 1_000_000_000 },
  { maxBodyBytes: 1 },
  { maxBodyBytes: 17_179_869_184 },
  { models: [LONGEST] },
  { tools: ["t".repeat(64)] },
  { serviceTiers: ["s".repeat(64)] },
];

for (const policy of EDGES) {
  test(`takes ${JSON.stringify(policy).slice(0, 60)}, which is the edge`, () => {
    assert.deepEqual(parse({ user: policy })["user"], { endpoints: INFERENCE, ...policy });
  });
}

const COUNT = "expected a whole number from 1 to 1000000000";
const MODELS = `expected names of models, "*" for any characters`;
const TOOLS = `expected types of tools, such as "function" or "web_search"`;
const TIERS = `expected service tiers, such as "auto" or "default"`;
const ORIGINS = `expected origins such as "https://app.example.com"`;

const WRONG = [
  [{ maxOutputTokens: 0 }, `maxOutputTokens: ${COUNT}, got 0`],
  [{ maxOutputTokens: 1_000_000_001 }, `maxOutputTokens: ${COUNT}, got 1000000001`],
  [{ maxOutputTokens: "2k" }, `maxOutputTokens: ${COUNT}, got "2k"`],
  [{ maxOutputTokens: "-1" }, `maxOutputTokens: ${COUNT}, got "-1"`],
  [{ maxChoices: 1.5 }, `maxChoices: ${COUNT}, got 1.5`],
  [{ maxChoices: null }, `maxChoices: ${COUNT}, got null`],
  [
    { maxBodyBytes: 17_179_869_185 },
    "maxBodyBytes: expected a whole number from 1 to 17179869184, got 17179869185",
  ],
  [
    { maxBodyBytes: "1MB" },
    'maxBodyBytes: expected a whole number from 1 to 17179869184, got "1MB"',
  ],
  [{ models: ["gpt 4"] }, `models: ${MODELS}, got "gpt 4"`],
  [{ models: ["gpt-4o", ""] }, `models: ${MODELS}, got ""`],
  [{ models: [4] }, `models: ${MODELS}, got 4`],
  [{ models: {} }, `models: expected a list of names of models, "*" for any characters, got {}`],
  [{ tools: ["web search"] }, `tools: ${TOOLS}, got "web search"`],
  [{ tools: ["*"] }, `tools: ${TOOLS}, got "*"`],
  [{ serviceTiers: ["very-fast"] }, `serviceTiers: ${TIERS}, got "very-fast"`],
  [{ storedState: 0 }, "storedState: expected true or false, got 0"],
  [{ safetyIdentifier: "yes" }, 'safetyIdentifier: expected true or false, got "yes"'],
  [{ origins: ["*"] }, `origins: ${ORIGINS}, got "*"`],
  [{ origins: ["app.example.com"] }, `origins: ${ORIGINS}, got "app.example.com"`],
  [
    { origins: ["https://app.example.com/"] },
    `origins: ${ORIGINS}, got "https://app.example.com/", did you mean "https://app.example.com"?`,
  ],
  [{ origins: ["capacitor://localhost"] }, `origins: ${ORIGINS}, got "capacitor://localhost"`],
  [{ modles: [] }, 'modles: unknown setting, did you mean "models"?'],
  [{ maxOutputToken: 1 }, 'maxOutputToken: unknown setting, did you mean "maxOutputTokens"?'],
  [{ storeState: true }, 'storeState: unknown setting, did you mean "storedState"?'],
  [{ requestsPerMinute: 1 }, "requestsPerMinute: unknown setting"],
] as const;

for (const [policy, message] of WRONG) {
  test(`refuses ${JSON.stringify(policy).slice(0, 60)}`, () => {
    assert.deepEqual(refusal(policy), [`policies.user.${message}`]);
  });
}

test("refuses names that are beyond the edge, without repeating all of them", () => {
  const beyond = {
    models: [`${LONGEST}m`],
    tools: ["t".repeat(65)],
    serviceTiers: ["s".repeat(65)],
  };

  const lines = refusal(beyond);

  assert.deepEqual(
    lines.map((line) => line.slice(0, line.indexOf(":"))),
    ["policies.user.models", "policies.user.serviceTiers", "policies.user.tools"],
  );
  for (const line of lines) assert.ok(line.length < 180, line);
});

const NEAR = [
  ["embedings", "embeddings"],
  ["Chat", "chat"],
  ["vector_store", "vector_stores"],
  ["stored-chat", "stored_chat"],
  ["admn", "admin"],
] as const;

for (const [endpoint, meant] of NEAR) {
  test(`suggests ${meant} for the endpoint class ${endpoint}`, () => {
    const [line = "", ...others] = refusal({ endpoints: ["chat", endpoint] });

    assert.ok(line.endsWith(`, got "${endpoint}", did you mean "${meant}"?`), line);
    assert.deepEqual(others, []);
  });
}

test("refuses a policy's name that no token or log line could hold well", () => {
  const rule = "expected a name of letters, digits, dots, dashes and underscores";
  const names = ["", "my policy", "a/b", "ünlimited", "n".repeat(65)];

  for (const name of names) {
    assert.deepEqual(
      linesOf(() => parse({ [name]: {} })),
      [`policies.${name}: ${rule}`],
    );
  }
  assert.ok(parse({ ["n".repeat(64)]: {}, "v1.2_b-3": {} })["v1.2_b-3"] !== undefined, "v1.2_b-3");
});

test("tells what is wrong with all policies at once", () => {
  assert.deepEqual(
    linesOf(() => parse({ a: { maxChoices: 0 }, b: { tolls: [] }, default: 5 })),
    [
      `policies.a.maxChoices: ${COUNT}, got 0`,
      'policies.b.tolls: unknown setting, did you mean "tools"?',
      "policies.default: expected an object, got 5",
    ],
  );
});

test("a token's limits are a policy's fields, by the same rules and without any default", () => {
  assert.deepEqual(parseLimits({}), {});
  assert.deepEqual(parseLimits(EVERYTHING), EVERYTHING);
  assert.deepEqual(
    linesOf(() => parseLimits({ maxChoices: 0, modles: [] })),
    [
      `limits.maxChoices: ${COUNT}, got 0`,
      'limits.modles: unknown setting, did you mean "models"?',
    ],
  );
  assert.deepEqual(
    linesOf(() => parseLimits([])),
    ["limits: expected an object, got []"],
  );
});
