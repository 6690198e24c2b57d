// The rules for JSON bodies without a gateway around them: thousands of bodies are either refused,
// or whoever reads them sees only what the policy allows; and what is allowed stays as it is.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createCaller } from "../../src/access/caller.ts";
import { JsonRules } from "../../src/access/json-rules.ts";
import { compilePolicy } from "../../src/access/policy.ts";
import type { Limits } from "../../src/config/config.ts";
import { GatewayError, toEnvelope } from "../../src/errors.ts";
import { JsonScanner } from "../../src/http/json-scan.ts";
import { growthOf, splicePieces, type Edit } from "../../src/http/splice.ts";
import { findOperation } from "../../src/openai/endpoints.ts";
import { findParameters } from "../../src/openai/parameters.ts";
import {
  assertAllowed,
  chooseLimits,
  createRandom,
  JSON_PATHS,
  Literal,
  readJson,
  writeAttack,
  writeHarmless,
  type JsonObject,
} from "../helpers/json-readers.ts";

interface Verdict {
  readonly edits?: readonly Edit[];
  readonly refusal?: {
    readonly status: number;
    readonly code: string;
    readonly param: string | null;
  };
  readonly message?: string;
}

function callerOf(limits: Limits) {
  return createCaller(
    "key:test",
    compilePolicy("test", { endpoints: ["*"], assumedOutputTokens: 4_096, ...limits }),
    "secret",
  );
}

/** @param cuts where one piece of the body ends and the next begins. */
function judge(body: Buffer, path: string, limits: Limits, cuts: readonly number[] = []): Verdict {
  const parameters = findParameters(findOperation("POST", path));
  assert.ok(typeof parameters === "object", path);
  try {
    const rules = new JsonRules(callerOf(limits), parameters);
    const scanner = new JsonScanner(rules);
    const edges = [0, ...cuts, body.length];
    for (const [at, edge] of edges.slice(1).entries()) scanner.push(body.subarray(edges[at], edge));
    return { edits: rules.end(scanner.end()) };
  } catch (error) {
    assert.ok(error instanceof GatewayError, String(error));
    const { param, code } = toEnvelope(error).error;
    return { refusal: { status: error.status, code, param }, message: error.message };
  }
}

async function apply(body: Buffer, edits: readonly Edit[]): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  const whole = (async function* () {
    yield body;
  })();
  for await (const piece of splicePieces(whole, edits)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Nothing where no reader makes anything of it. */
function read(bytes: Buffer, duplicates: "first" | "last") {
  for (const lenient of [false, true]) {
    try {
      return readJson(bytes, { duplicates, lenient });
    } catch {
      // To the lenient one, then.
    }
  }
  return undefined;
}

test("thousands of random bodies are refused, or harmless to whoever reads them", async () => {
  const tally = { refused: 0, passed: 0, unreadable: 0, changed: 0 };

  for (let round = 0; round < 20_000; round++) {
    const random = createRandom(round);
    const path = JSON_PATHS[round % JSON_PATHS.length] ?? "";
    const limits = chooseLimits(random);
    const body = writeAttack(random, path);
    const played = `round ${round}, ${path}, ${JSON.stringify(limits)}: ${body.toString("latin1")}`;

    const { edits, refusal } = judge(body, path, limits);

    if (edits === undefined) {
      tally.refused++;
      assert.ok([400, 403].includes(refusal?.status ?? 0), played);
      continue;
    }
    const sent = await apply(body, edits);
    const [first, last] = [read(sent, "first"), read(sent, "last")];
    if (first === undefined || last === undefined) {
      tally.unreadable++;
      continue;
    }
    tally.passed++;
    if (edits.length > 0) tally.changed++;
    const safetyIdentifier = callerOf(limits).safetyIdentifier;
    for (const value of [first, last]) {
      try {
        assertAllowed(value, path, limits, safetyIdentifier);
      } catch (error) {
        assert.fail(`${String(error)}\n${played}\nsent: ${sent.toString("latin1")}`);
      }
    }
  }

  // Otherwise the test would show nothing.
  assert.ok(tally.refused > 5_000 && tally.passed > 5_000, JSON.stringify(tally));
  assert.ok(tally.changed > 2_000 && tally.unreadable < 500, JSON.stringify(tally));
});

test("how a body comes in pieces makes no difference to what is said of it", () => {
  for (let round = 0; round < 3_000; round++) {
    const random = createRandom(round);
    const path = JSON_PATHS[round % JSON_PATHS.length] ?? "";
    const limits = chooseLimits(random);
    const body = writeAttack(random, path);
    const bytes = Array.from({ length: Math.max(0, body.length - 1) }, (_, at) => at + 1);
    const some = bytes.filter(() => random() < 0.1);

    const whole = judge(body, path, limits);

    assert.deepEqual(judge(body, path, limits, bytes), whole, `round ${round}, byte by byte`);
    assert.deepEqual(
      judge(body, path, limits, some),
      whole,
      `round ${round}, cut at ${some.join()}`,
    );
  }
});

const SPLICING: Limits = {
  models: ["gpt-4o-mini"],
  maxOutputTokens: 100,
  serviceTiers: ["default"],
  storedState: false,
  safetyIdentifier: true,
};

test("all that is not governed stays as it was sent, byte for byte", async () => {
  const { safetyIdentifier = "" } = callerOf(SPLICING);
  const wanted: Readonly<Record<string, string>> = {
    max_output_tokens: "100",
    service_tier: '"default"',
    store: "false",
    safety_identifier: `"${safetyIdentifier}"`,
  };
  const ways: Readonly<Record<string, readonly (string | undefined)[]>> = {
    max_output_tokens: [undefined, "null", "101", "100", "7", "999999999999999"],
    service_tier: [undefined, "null", '"default"'],
    store: [undefined, "null", "false"],
    safety_identifier: [undefined, "null", '"me"', '"\\u00e9\\""', "true", `"${"é".repeat(900)}"`],
  };
  for (let round = 0; round < 3_000; round++) {
    const random = createRandom(round);
    const space = (): string => " \n\t".slice(0, Math.floor(random() * 4));
    const given = new Map<string, string | undefined>();
    for (const [name, values] of Object.entries(ways)) {
      given.set(name, values[Math.floor(random() * values.length)]);
    }
    const members: [name: string, sent: string, arrives: string][] = [
      ["model", '"gpt-4o-mini"', '"gpt-4o-mini"'],
    ];
    for (let count = Math.floor(random() * 5); count > 0; count--) {
      const value = writeHarmless(random);
      members.splice(Math.floor(random() * members.length), 0, [`x${count % 3}`, value, value]);
    }
    for (const [name, value] of given) {
      if (value === undefined) continue;
      const kept = name === "max_output_tokens" && Number(value) > 0 && Number(value) <= 100;
      const arrives = kept ? value : (wanted[name] ?? "");
      members.splice(Math.floor(random() * (members.length + 1)), 0, [name, value, arrives]);
    }
    const gaps = members.map(() => [space(), space(), space(), space()] as const);
    const write = (which: 1 | 2): string =>
      members
        .map((member, at) => {
          const [a = "", b = "", c = "", d = ""] = gaps[at] ?? [];
          return `${a}"${member[0]}"${b}:${c}${member[which]}${d}`;
        })
        .join(",");
    const head = space();
    const body = Buffer.from(`${head}{${write(1)}}\n`);

    const { edits = [], message } = judge(body, "/responses", SPLICING);
    const arrived = await apply(body, edits);

    assert.equal(message, undefined, `round ${round}: ${String(body)}`);
    const rest = Buffer.from(`${write(2)}}\n`);
    assert.ok(
      arrived.subarray(arrived.length - rest.length).equals(rest),
      `round ${round}: ${String(body)}\nbecame ${String(arrived)}`,
    );
    const added = arrived.subarray(0, arrived.length - rest.length).toString();
    const missing = [...given].filter(([, value]) => value === undefined).map(([name]) => name);
    assert.deepEqual(
      added
        .slice(head.length + 1)
        .split(",")
        .filter((text) => text !== "")
        .toSorted(),
      missing.map((name) => `"${name}":${wanted[name]}`).toSorted(),
    );
    assert.equal(arrived.length, body.length + growthOf(edits));
    for (const duplicates of ["first", "last"] as const) {
      const before = readJson(body, { duplicates }) as JsonObject;
      const after = readJson(arrived, { duplicates }) as JsonObject;
      const ungoverned = (whole: JsonObject) => [...whole].filter(([name]) => !(name in wanted));
      assert.deepEqual(ungoverned(after), ungoverned(before));
      assert.deepEqual(after.get("store"), new Literal("false"));
    }
  }
});

describe("a policy without rules for an operation wants no name of it", () => {
  const names = (path: string, limits: Limits): readonly string[] => {
    const parameters = findParameters(findOperation("POST", path));
    assert.ok(typeof parameters === "object", path);
    return [...new JsonRules(callerOf(limits), parameters).names];
  };
  const none: [path: string, limits: Limits][] = [
    ["/responses", {}],
    ["/responses", { storedState: true, safetyIdentifier: false, maxBodyBytes: 5, origins: [] }],
    ["/responses", { maxChoices: 1 }],
    ["/embeddings", { maxOutputTokens: 1, maxChoices: 1, tools: [], serviceTiers: [] }],
    ["/embeddings", { storedState: false, safetyIdentifier: true }],
    ["/audio/speech", { maxOutputTokens: 1, maxChoices: 1, tools: [], storedState: false }],
    ["/responses/input_tokens", { maxOutputTokens: 1, serviceTiers: [], safetyIdentifier: true }],
  ];
  for (const [path, limits] of none) {
    test(`${path} with ${JSON.stringify(limits)}`, () => {
      assert.deepEqual(names(path, limits), []);
    });
  }

  test("and one with a rule wants just the names of that", () => {
    const ofModels = names("/embeddings", { models: ["a"], tools: [] });
    assert.ok(ofModels.includes("model") && !ofModels.includes("tools"), ofModels.join());
    assert.deepEqual(names("/completions", { maxChoices: 1, maxOutputTokens: 1 }), [
      "max_tokens",
      "n",
      "best_of",
    ]);
  });
});
