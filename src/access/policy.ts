// What a caller may ask: a policy of the settings, and, for a minted token, the limits that narrow
// it. Every rule of every layer has to agree, so a token can only take away.
import type { Limits, PolicyConfig } from "../config/config.ts";
import { GatewayError } from "../errors.ts";
import type { Asked } from "../openai/endpoints.ts";
import { compileEndpoints, type Matcher } from "./endpoints.ts";

export interface Policy {
  readonly name: string;
  allows(asked: Asked): boolean;
  allowsModel(model: string): boolean;
  /** What may be named of the lists of models, for messages. Nothing where all are allowed. */
  readonly models: readonly string[] | undefined;
  /** The narrowest of each, across the layers. */
  readonly limits: Limits;
  /** The same policy, narrowed further. */
  narrow(limits: Limits): Policy;
}

export function compilePolicy(name: string, config: PolicyConfig): Policy {
  const models = config.models === undefined ? [] : [config.models];
  return stack(name, [compileEndpoints(config.endpoints)], models, config);
}

function stack(
  name: string,
  endpoints: readonly Matcher[],
  models: readonly (readonly string[])[],
  limits: Limits,
): Policy {
  const allowsModel = (model: string): boolean =>
    models.every((names) => names.some((glob) => matches(glob, model)));
  return {
    name,
    limits,
    models: models.length === 0 ? undefined : [...new Set(models.flat())].filter(allowsModel),
    allows: (asked) => endpoints.every((opens) => opens(asked)),
    allowsModel,
    narrow(more) {
      if (Object.keys(more).length === 0) return this;
      const opened = more.endpoints === undefined ? [] : [compileEndpoints(more.endpoints)];
      const listed = more.models === undefined ? [] : [more.models];
      const least = narrowest(limits, more);
      return stack(name, [...endpoints, ...opened], [...models, ...listed], least);
    },
  };
}

/** Lists keep what both have, numbers the smaller one, switches the stricter one. */
function narrowest(one: Limits, other: Limits): Limits {
  const both = { ...one, ...other };
  const common = (field: "tools" | "serviceTiers" | "origins"): Limits => {
    const [first, second] = [one[field], other[field]];
    if (first === undefined || second === undefined) return {};
    return { [field]: first.filter((item) => second.includes(item)) };
  };
  const least = (field: "maxOutputTokens" | "maxChoices" | "maxBodyBytes"): Limits => {
    const [first, second] = [one[field], other[field]];
    if (first === undefined || second === undefined) return {};
    return { [field]: Math.min(first, second) };
  };
  return {
    ...both,
    ...common("tools"),
    ...common("serviceTiers"),
    ...common("origins"),
    ...least("maxOutputTokens"),
    ...least("maxChoices"),
    ...least("maxBodyBytes"),
    ...(one.storedState === false && { storedState: false }),
    ...(one.safetyIdentifier === true && { safetyIdentifier: true }),
  };
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
  { models = [] }: Policy,
  model: string | undefined,
  param = "model",
): GatewayError {
  const what =
    model === undefined ? "Name a model." : `Your access does not allow the model "${model}".`;
  const message = `${what} Allowed: ${models.join(", ") || "none"} (models).`;
  return new GatewayError("model_not_allowed", message, { param });
}

/** What two readers could read in two ways, or none can. */
export function wrongValue(field: string, what: string): GatewayError {
  return new GatewayError("invalid_request", `"${field}" ${what}.`, { param: field });
}
