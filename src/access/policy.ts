// What a caller may ask: a policy of the settings, and, for a minted token, the limits that narrow
// it. Every rule of every layer has to agree, so a token can only take away.
import type { Limits, PolicyConfig, Quota } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import type { Asked } from "../openai/endpoints.ts";
import { compileEndpoints, type Matcher } from "./endpoints.ts";

export interface Policy {
  readonly name: string;
  allows(asked: Asked): boolean;
  allowsModel(model: string): boolean;
  /** Lists of which every one has to allow a model. Nothing where all are allowed. */
  readonly models: readonly (readonly string[])[] | undefined;
  /** The narrowest of each, across the layers. */
  readonly limits: Narrowed;
  /** Of all its callers together, whatever narrows it for one of them. */
  readonly shared: Quota | undefined;
  /** Of each client address. */
  readonly perAddress: Quota | undefined;
  /** Set aside for the output of a call that has no cap. */
  readonly assumedOutputTokens: number;
  /** Whether tokens or money are counted, whoever's: then bodies are looked into. */
  readonly metered: boolean;
  /** Whether bodies are looked into for what they ask, too. */
  readonly ruled: boolean;
  /** The rules that look into bodies, as the settings call them. */
  readonly bodyRules: readonly string[];
  /** The same policy, narrowed further. */
  narrow(limits: Limits): Policy;
}

/** What no token narrows. */
type Fixed = Pick<Policy, "name" | "shared" | "perAddress" | "assumedOutputTokens">;

export function compilePolicy(name: string, config: PolicyConfig): Policy {
  const { shared, perAddress, assumedOutputTokens } = config;
  const models = config.models === undefined ? [] : [config.models];
  const fixed = { name, shared, perAddress, assumedOutputTokens };
  return stack(fixed, [compileEndpoints(config.endpoints)], models, narrowest(config, {}));
}

function stack(
  fixed: Fixed,
  endpoints: readonly Matcher[],
  models: readonly (readonly string[])[],
  limits: Narrowed,
): Policy {
  const allowsModel = (model: string): boolean =>
    models.every((names) => names.some((glob) => matches(glob, model)));
  const counted = countedOf([limits, fixed.shared, fixed.perAddress]);
  const rules = rulesOf(limits);
  return {
    ...fixed,
    limits,
    metered: counted.length > 0,
    ruled: rules.length > 0,
    bodyRules: [...rules, ...counted],
    models: models.length === 0 ? undefined : models,
    allows: (asked) => endpoints.every((opens) => opens(asked)),
    allowsModel,
    narrow(more) {
      if (Object.keys(more).length === 0) return this;
      const opened = more.endpoints === undefined ? [] : [compileEndpoints(more.endpoints)];
      const listed = more.models === undefined ? [] : [more.models];
      const least = narrowest(limits, more);
      return stack(fixed, [...endpoints, ...opened], [...models, ...listed], least);
    },
  };
}

/** Those that look at what a body asks for. */
function rulesOf(limits: Narrowed): readonly string[] {
  const { models, maxOutputTokens, maxChoices, tools, serviceTiers } = limits;
  const given = { models, maxOutputTokens, maxChoices, tools, serviceTiers };
  return [
    ...Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [name])),
    ...(limits.storedState === false ? ["storedState"] : []),
    ...(limits.safetyIdentifier === true ? ["safetyIdentifier"] : []),
  ];
}

/** Those that look at what a body may come to. */
function countedOf(quotas: readonly (Quota | Narrowed | undefined)[]): readonly string[] {
  const counts = (rule: "tokensPerMinute" | "budget"): boolean =>
    quotas.some((quota) => quota?.[rule] !== undefined);
  return (["tokensPerMinute", "budget"] as const).filter(counts);
}

/** Every field, so that the compiler asks how a new one is narrowed. */
export type Narrowed = { readonly [Field in keyof Limits]-?: Limits[Field] | undefined };

function narrowest(one: Limits | Narrowed, other: Limits): Narrowed {
  return {
    // These two are judged layer by layer.
    endpoints: other.endpoints ?? one.endpoints,
    models: other.models ?? one.models,
    maxOutputTokens: both(one.maxOutputTokens, other.maxOutputTokens, Math.min),
    maxChoices: both(one.maxChoices, other.maxChoices, Math.min),
    maxBodyBytes: both(one.maxBodyBytes, other.maxBodyBytes, Math.min),
    tools: both(one.tools, other.tools, common),
    serviceTiers: both(one.serviceTiers, other.serviceTiers, common),
    origins: both(one.origins, other.origins, common),
    storedState: both(one.storedState, other.storedState, (a, b) => a && b),
    safetyIdentifier: both(one.safetyIdentifier, other.safetyIdentifier, (a, b) => a || b),
    requestsPerMinute: both(one.requestsPerMinute, other.requestsPerMinute, Math.min),
    tokensPerMinute: both(one.tokensPerMinute, other.tokensPerMinute, Math.min),
    concurrentRequests: both(one.concurrentRequests, other.concurrentRequests, Math.min),
    // Of different periods none is the smaller one: all have to hold.
    budget: both(one.budget, other.budget, (a, b) => [...a, ...b]),
  };
}

/** The one that is given, or what is left of two. */
function both<Value>(
  one: Value | undefined,
  other: Value | undefined,
  narrower: (one: Value, other: Value) => Value,
): Value | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return narrower(one, other);
}

function common(one: readonly string[], other: readonly string[]): readonly string[] {
  return one.filter((item) => other.includes(item));
}

/** In linear time: the pieces between the stars, in their order. */
function matches(glob: string, model: string): boolean {
  const [head = "", ...rest] = glob.split("*");
  const tail = rest.pop();
  if (tail === undefined) return model === glob;
  if (!model.startsWith(head) || !model.endsWith(tail)) return false;
  let at = head.length;
  const end = model.length - tail.length;
  for (const piece of rest) {
    const found = model.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= end;
}

export function notAllowed(field: string, rule: keyof Limits, allowed: string): GatewayError {
  const message = `Your access does not allow this "${field}". Allowed: ${allowed} (${rule}).`;
  return new GatewayError("parameter_not_allowed", message, { param: field });
}

/** @param model nothing where the call names none. */
export function wrongModel(
  policy: Policy,
  model: string | undefined,
  param = "model",
): GatewayError {
  const what =
    model === undefined ? "Name a model." : `Your access does not allow the model "${model}".`;
  const message = `${what} Allowed: ${describeModels(policy)} (models).`;
  return new GatewayError("model_not_allowed", message, { param });
}

/** What can be named of the lists; where that is nothing, the lists themselves. */
function describeModels({ models = [], allowsModel }: Policy): string {
  const names = [...new Set(models.flat())].filter(allowsModel);
  if (names.length > 0) return names.slice(0, 50).join(", ");
  return models.map((list) => list.join(", ") || "none").join("; and of these: ");
}
