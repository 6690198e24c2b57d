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
  requestsPerMinute: 30,
  tokensPerMinute: 40_000,
  concurrentRequests: 4,
  budget: [
    { usd: 0.5, per: "day" },
    { usd: 5, per: "month" },
  ],
};

const DEFAULTS = { endpoints: INFERENCE, assumedOutputTokens: 4_096 };

test("takes every field, and has no default but the inference classes and an assumed output", () => {
  const quota = { requestsPerMinute: 1, tokensPerMinute: 2, concurrentRequests: 3 };
  const all = { ...EVERYTHING, assumedOutputTokens: 1 };
  const shared = { ...quota, budget: [{ usd: 1, per: "total" }] };

  const policies = parse({ user: { ...all, shared, perAddress: quota }, empty: {} });

  assert.deepEqual(policies.default, DEFAULTS);
  assert.deepEqual(policies["empty"], DEFAULTS);
  assert.deepEqual(policies["user"], { ...all, shared, perAddress: quota });
});

test("keeps the policy that the file calls default, and fills in what it leaves out", () => {
  const { default: open, ...others } = parse({ default: { maxChoices: 2 } });

  assert.deepEqual(open, { ...DEFAULTS, maxChoices: 2 });
  assert.deepEqual(others, {});
});

test("takes lists as texts with commas, and what an environment variable may hold for the rest", () => {
  const { user } = parse({
    user: {
      models: "gpt-4o-mini, gpt-5*",
      tools: "function",
      maxOutputTokens: "2000",
      storedState: "false",
      requestsPerMinute: "3",
      budget: "1/day, 20/month",
      shared: { concurrentRequests: "5", budget: "$100/total" },
    },
  });

  assert.deepEqual(user, {
    ...DEFAULTS,
    models: ["gpt-4o-mini", "gpt-5*"],
    tools: ["function"],
    maxOutputTokens: 2_000,
    storedState: false,
    requestsPerMinute: 3,
    budget: [
      { usd: 1, per: "day" },
      { usd: 20, per: "month" },
    ],
    shared: { concurrentRequests: 5, budget: [{ usd: 100, per: "total" }] },
  });
});

test("an empty list allows nothing, which is not the same as no list", () => {
  const { user } = parse({ user: { endpoints: [], models: [], tools: [], origins: [] } });

  assert.deepEqual(user, { ...DEFAULTS, endpoints: [], models: [], tools: [], origins: [] });
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
  { requestsPerMinute: 1 },
  { requestsPerMinute: 1_000_000_000 },
  { tokensPerMinute: 1_000_000_000 },
  { concurrentRequests: 1_000_000 },
  { assumedOutputTokens: 1_000_000_000 },
  { shared: {} },
  { perAddress: { tokensPerMinute: 1 } },
];

for (const policy of EDGES) {
  test(`takes ${JSON.stringify(policy).slice(0, 60)}, which is the edge`, () => {
    assert.deepEqual(parse({ user: policy })["user"], { ...DEFAULTS, ...policy });
  });
}

const COUNT = "expected a whole number from 1 to 1000000000";
const MODELS = `expected names of models, "*" for any characters`;
const TOOLS = `expected types of tools, such as "function" or "web_search"`;
const TIERS = `expected service tiers, such as "auto" or "default"`;
const ORIGINS = `expected origins such as "https://app.example.com"`;

/** What a budget that is none is told. */
function examples(amount: number | string): string {
  const all = `${amount}/hour, ${amount}/day, ${amount}/month or ${amount}/total`;
  return `expected dollars for a period, such as ${all}`;
}

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
  [{ requestsPerMinute: 0 }, `requestsPerMinute: ${COUNT}, got 0`],
  [{ requestsPerMinute: 0.5 }, `requestsPerMinute: ${COUNT}, got 0.5`],
  [{ tokensPerMinute: 1_000_000_001 }, `tokensPerMinute: ${COUNT}, got 1000000001`],
  [{ tokensPerMinute: "40k" }, `tokensPerMinute: ${COUNT}, got "40k"`],
  [
    { concurrentRequests: 1_000_001 },
    "concurrentRequests: expected a whole number from 1 to 1000000, got 1000001",
  ],
  [{ assumedOutputTokens: 0 }, `assumedOutputTokens: ${COUNT}, got 0`],
  [{ requestPerMinute: 1 }, 'requestPerMinute: unknown setting, did you mean "requestsPerMinute"?'],
  [{ budgets: "5/day" }, 'budgets: unknown setting, did you mean "budget"?'],
  [{ shared: 5 }, "shared: expected an object, got 5"],
  [{ shared: { tokensPerMinute: 0 } }, `shared.tokensPerMinute: ${COUNT}, got 0`],
  [{ shared: { maxChoices: 1 } }, "shared.maxChoices: unknown setting"],
  [{ shared: { assumedOutputTokens: 1 } }, "shared.assumedOutputTokens: unknown setting"],
  [
    { perAddress: { requestsPerMinut: 1 } },
    'perAddress.requestsPerMinut: unknown setting, did you mean "requestsPerMinute"?',
  ],
  [{ perAddress: { budget: 5 } }, `perAddress.budget: ${examples(5)}, got 5`],
] as const;

for (const [policy, message] of WRONG) {
  test(`refuses ${JSON.stringify(policy).slice(0, 60)}`, () => {
    assert.deepEqual(refusal(policy), [`policies.user.${message}`]);
  });
}

const DAILY = [{ usd: 5, per: "day" }];
const BUDGETS = [
  ["5/day", DAILY],
  ["$5/day", DAILY],
  ["5.00/day", DAILY],
  [{ usd: 5, per: "day" }, DAILY],
  [{ usd: "5", per: "day" }, DAILY],
  [["5/day"], DAILY],
  [[{ usd: 5, per: "day" }], DAILY],
  ["0.000001/total", [{ usd: 0.000001, per: "total" }]],
  ["1000000/hour", [{ usd: 1_000_000, per: "hour" }]],
  [{ usd: 999_999.999999, per: "month" }, [{ usd: 999_999.999999, per: "month" }]],
  [
    ["1/hour", { usd: 0.1, per: "total" }],
    [
      { usd: 1, per: "hour" },
      { usd: 0.1, per: "total" },
    ],
  ],
  [
    "1/month ,$2.5/day",
    [
      { usd: 1, per: "month" },
      { usd: 2.5, per: "day" },
    ],
  ],
] as const;

for (const [budget, read] of BUDGETS) {
  test(`takes the budget ${JSON.stringify(budget)}`, () => {
    const { user } = parse({ user: { budget, shared: { budget }, perAddress: { budget } } });

    assert.deepEqual(user?.budget, read);
    assert.deepEqual(user?.shared, { budget: read });
    assert.deepEqual(user?.perAddress, { budget: read });
    assert.deepEqual(parseLimits({ budget }), { budget: read });
  });
}

const AMOUNT = "expected 0.000001 to 1000000 dollars, 6 decimals at most";
const USD = "expected a number from 0.000001 to 1000000";
const PERIODS = "expected one of hour, day, month, total";
const NO_BUDGETS = [
  ["5", [`: ${examples(5)}, got "5"`]],
  ["$0.5", [`: ${examples(0.5)}, got "$0.5"`]],
  [5, [`: ${examples(5)}, got 5`]],
  [0.25, [`: ${examples(0.25)}, got 0.25`]],
  ["5/week", [`: ${examples(5)}, got "5/week"`]],
  ["5/Day", [`: ${examples(5)}, got "5/Day"`]],
  ["20/", [`: ${examples(20)}, got "20/"`]],
  ["5 / day", [`: ${examples(5)}, got "5 / day"`]],
  ["5/day/user", [`: ${examples(5)}, got "5/day/user"`]],
  ["five/day", [`: ${examples(5)}, got "five/day"`]],
  ["-1/day", [`: ${examples(5)}, got "-1/day"`]],
  ["1e3/day", [`: ${examples(5)}, got "1e3/day"`]],
  ["€7/day", [`: ${examples(5)}, got "€7/day"`]],
  ["day", [`: ${examples(5)}, got "day"`]],
  ["", [`: ${examples(5)}, got ""`]],
  ["1/day,", [`: ${examples(5)}, got ""`]],
  ["1,000/day", [`: ${AMOUNT}, got "000/day"`, `: ${examples(1)}, got "1"`]],
  ["123456789", [`: ${examples(5)}, got "123456789"`]],
  ["0/day", [`: ${AMOUNT}, got "0/day"`]],
  ["0.0000001/day", [`: ${AMOUNT}, got "0.0000001/day"`]],
  ["1.0000001/day", [`: ${AMOUNT}, got "1.0000001/day"`]],
  ["0.30000000000000001/day", [`: ${AMOUNT}, got "0.30000000000000001/day"`]],
  ["1000000.01/day", [`: ${AMOUNT}, got "1000000.01/day"`]],
  [[], [`: ${examples(5)}, got []`]],
  [null, [`: ${examples(5)}, got null`]],
  [true, [`: ${examples(5)}, got true`]],
  [[["5/day"]], [`: ${examples(5)}, got ["5/day"]`]],
  [["1/day", 5], [`: ${examples(5)}, got 5`]],
  [["1/day,2/month"], [`: ${examples(5)}, got "1/day,2/month"`]],
  [{}, [`.per: is missing: ${PERIODS}`, ".usd: is missing: expected dollars, such as 5"]],
  [{ usd: 5 }, [`.per: is missing: ${PERIODS}`]],
  [{ per: "day" }, [".usd: is missing: expected dollars, such as 5"]],
  [{ usd: 0, per: "day" }, [`.usd: ${USD}, got 0`]],
  [{ usd: -5, per: "day" }, [`.usd: ${USD}, got -5`]],
  [{ usd: 1e-7, per: "day" }, [`.usd: ${USD}, got 1e-7`]],
  [{ usd: 1_000_001, per: "day" }, [`.usd: ${USD}, got 1000001`]],
  [{ usd: "$5", per: "day" }, [`.usd: ${USD}, got "$5"`]],
  [{ usd: NaN, per: "day" }, [`.usd: ${USD}, got null`]],
  [{ usd: 0.0000015, per: "day" }, [".usd: expected 6 decimals at most, got 0.0000015"]],
  [{ usd: 0.1 + 0.2, per: "day" }, [`.usd: expected 6 decimals at most, got ${0.1 + 0.2}`]],
  [{ usd: 5, per: "week" }, [`.per: ${PERIODS}, got "week"`]],
  [{ usd: 5, per: "dya" }, [`.per: ${PERIODS}, got "dya", did you mean "day"?`]],
  [{ usd: 5, per: "constructor" }, [`.per: ${PERIODS}, got "constructor"`]],
  [{ usd: 5, per: "day", pre: 1 }, ['.pre: unknown setting, did you mean "per"?']],
  [["1/day", { usd: 0, per: "hour" }], [`[1].usd: ${USD}, got 0`]],
  ["1/day,2/day", [': expected one budget for each period, got several for "day"']],
  [
    ["1/total", { usd: 2, per: "total" }, "3/total"],
    [': expected one budget for each period, got several for "total"'],
  ],
] as const;

for (const [budget, lines] of NO_BUDGETS) {
  test(`refuses the budget ${JSON.stringify(budget)}`, () => {
    assert.deepEqual(
      refusal({ budget }),
      lines.map((line) => `policies.user.budget${line}`),
    );
    assert.deepEqual(
      linesOf(() => parseLimits({ budget })),
      lines.map((line) => `limits.budget${line}`),
    );
  });
}

test("a token has no limits of others than its caller, and nothing to assume", () => {
  const others = { shared: {}, perAddress: {}, assumedOutputTokens: 1 };

  assert.deepEqual(
    linesOf(() => parseLimits(others)),
    Object.keys(others)
      .map((field) => `limits.${field}: unknown setting`)
      .toSorted(),
  );
});

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
