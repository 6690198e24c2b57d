// What callers may ask: the policies of the settings, and the limits that a token brings.
import { closest } from "./closest.ts";
import {
  ENDPOINT_CLASSES,
  INFERENCE_CLASSES,
  type Config,
  type Limits,
  type PolicyConfig,
  type Quota,
} from "./config.ts";
import { readBudget } from "./parse-budget.ts";
import { ConfigError, Reader, type Notes } from "./reader.ts";

const ENDPOINT_WORDS: readonly string[] = ["*", ...ENDPOINT_CLASSES];
const ENDPOINT_PATTERN = /^(GET|HEAD|POST|PUT|PATCH|DELETE) (\/([\w.-]+|\{\w+\}))+$/;
const POLICY_NAME = /^[\w.-]{1,64}$/;
const COUNT = { min: 1, max: 1_000_000_000 };

export function parsePolicies(policies: Reader): Config["policies"] {
  const named = policies.named().map(([name, policy]) => {
    if (!POLICY_NAME.test(name)) {
      policies.problem(name, "expected a name of letters, digits, dots, dashes and underscores");
    }
    return [name, parsePolicy(policy)] as const;
  });
  const nothing = new Reader({}, "", { problems: [], origins: new Map() });
  return { default: parsePolicy(nothing), ...Object.fromEntries(named) };
}

function parsePolicy(policy: Reader): PolicyConfig {
  const config = {
    endpoints: INFERENCE_CLASSES,
    ...readFields(policy),
    ...(policy.has("shared") && { shared: parseQuota(policy.section("shared")) }),
    ...(policy.has("perAddress") && { perAddress: parseQuota(policy.section("perAddress")) }),
    assumedOutputTokens: policy.integer("assumedOutputTokens", 4_096, COUNT),
  };
  policy.finish();
  return config;
}

function parseQuota(section: Reader): Quota {
  const quota = readQuota(section);
  section.finish();
  return quota;
}

/**
 * The limits that a minted token narrows its policy by: a policy's fields, none with a default.
 * @throws ConfigError naming all problems at once.
 */
export function parseLimits(raw: unknown): Limits {
  const notes: Notes = { problems: [], origins: new Map() };
  const limits = readLimits(new Reader(raw, "limits", notes));
  if (notes.problems.length > 0) throw new ConfigError(notes.problems);
  return limits;
}

export function readLimits(limits: Reader): Limits {
  const read = readFields(limits);
  limits.finish();
  return read;
}

function readFields(limits: Reader): Limits {
  const given = givenIn(limits);
  return {
    ...given("endpoints", (key) =>
      limits.texts(key, [], {
        what: `"*", ${ENDPOINT_CLASSES.join(", ")} or "METHOD /path/{template}"`,
        fits: (text) => ENDPOINT_WORDS.includes(text) || ENDPOINT_PATTERN.test(text),
        hint: (text) => closest(text, ENDPOINT_WORDS),
      }),
    ),
    ...given("models", (key) =>
      limits.texts(key, [], {
        what: `names of models, "*" for any characters`,
        fits: (text) => /^[\x21-\x7e]{1,256}$/.test(text),
      }),
    ),
    ...given("maxOutputTokens", (key) => limits.integer(key, 1, COUNT)),
    ...given("maxChoices", (key) => limits.integer(key, 1, COUNT)),
    ...given("tools", (key) =>
      limits.texts(key, [], {
        what: `types of tools, such as "function" or "web_search"`,
        fits: (text) => /^[\w.-]{1,64}$/.test(text),
      }),
    ),
    ...given("storedState", (key) => limits.flag(key, false)),
    ...given("serviceTiers", (key) =>
      limits.texts(key, [], {
        what: `service tiers, such as "auto" or "default"`,
        fits: (text) => /^\w{1,64}$/.test(text),
      }),
    ),
    ...given("maxBodyBytes", (key) => limits.integer(key, 1, { min: 1, max: 2 ** 34 })),
    ...given("origins", (key) =>
      limits.texts(key, [], {
        what: `origins such as "https://app.example.com"`,
        fits: isOrigin,
        hint: toOriginHint,
      }),
    ),
    ...given("safetyIdentifier", (key) => limits.flag(key, true)),
    ...readQuota(limits),
  };
}

function readQuota(quota: Reader): Quota {
  const given = givenIn(quota);
  return {
    ...given("requestsPerMinute", (key) => quota.integer(key, 1, COUNT)),
    ...given("tokensPerMinute", (key) => quota.integer(key, 1, COUNT)),
    ...given("concurrentRequests", (key) => quota.integer(key, 1, { min: 1, max: 1_000_000 })),
    ...given("budget", (key) => readBudget(quota, key)),
  };
}

/** A field on its own, or nothing where it is not given. */
function givenIn(limits: Reader) {
  return <Field extends keyof Limits>(
    field: Field,
    read: (field: Field) => Limits[Field],
  ): Pick<Limits, Field> | object => (limits.has(field) ? { [field]: read(field) } : {});
}

export function isOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text;
}

export function toOriginHint(text: string): string {
  return URL.canParse(text) ? closest(text, [new URL(text).origin]) : "";
}
