// A body seen through the rules of its caller's policy: refused, or passed on as they change it.
// And what the call demands, where that is counted.
import { FormRules } from "../access/form-rules.ts";
import { JsonRules } from "../access/json-rules.ts";
import type { Caller } from "../access/caller.ts";
import { GatewayError } from "../errors.ts";
import type { RequestBody } from "../http/body.ts";
import { FormScanner, parseBoundary } from "../http/form-scan.ts";
import { JsonScanner } from "../http/json-scan.ts";
import { nameOf, type JsonValue, type JsonVisitor } from "../http/json-value.ts";
import { growthOf, splice, type Edit, type Payload } from "../http/splice.ts";
import { Superseded } from "../http/superseded.ts";
import type { Parameters } from "../openai/parameters.ts";
import type { Demand } from "../quota/demand.ts";
import { FormDemand } from "../quota/form-demand.ts";
import { JsonDemand } from "../quota/json-demand.ts";
import type { IncomingHttpHeaders } from "node:http";

/** What goes up of a body. */
export interface Outgoing {
  /** From its first byte, anew for every attempt. */
  pass(): Payload;
  /** How much longer it is than what came. */
  readonly growthBytes: number;
  /** Where the caller's policy counts tokens or money. */
  readonly demand: Demand | undefined;
  /** The gateway has asked for the usage of the stream, and its client has not. */
  readonly hidesUsage: boolean;
}

const JSON_TYPE = /^application\/json\s*(?:;\s*charset="?utf-?8"?\s*)?$/i;
const FORM_TYPE = /^multipart\/form-data\s*;/i;

/**
 * Reads as much of the body as the rules need: JSON to its end, a form until its model is known.
 * The rest of a form is looked at on its way up, and never arrives whole if it breaks a rule.
 * @param parameters where to look; nothing where no rule does.
 * @param refuse ends the call when it is on its way already.
 * @throws GatewayError 400, 403, 413 or 415
 */
export async function inspect(
  body: RequestBody | undefined,
  caller: Caller,
  parameters: Parameters | undefined,
  headers: IncomingHttpHeaders,
  refuse: (error: unknown) => void,
): Promise<Outgoing | undefined> {
  if (parameters === undefined) return body && pristine(body);
  const counted = caller.policy.metered && !parameters.free;
  const json = caller.policy.ruled ? new JsonRules(caller, parameters) : undefined;
  const needsForm = counted || new FormRules(caller, parameters).names.size > 0;
  const needsJson = counted || (json !== undefined && json.names.size > 0);
  if (!needsJson && !needsForm) return body && pristine(body);
  if (body === undefined) {
    throw new GatewayError("invalid_request", "Send a body: your access is held to what is in it.");
  }

  if (toFormat(headers, parameters.formats) === "json") {
    if (!needsJson) return pristine(body);
    const demand = counted ? new JsonDemand(parameters) : undefined;
    return inspectJson(body, json, demand);
  }
  if (!needsForm) return pristine(body);
  return inspectForm(body, { caller, parameters, counted }, headers, refuse);
}

function pristine(body: RequestBody): Outgoing {
  return { pass: () => body.payload(), growthBytes: 0, demand: undefined, hidesUsage: false };
}

function changed(
  pass: () => Payload,
  edits: readonly Edit[],
  demand: Demand | undefined,
  hidesUsage = false,
): Outgoing {
  return { pass: () => splice(pass(), edits), growthBytes: growthOf(edits), demand, hidesUsage };
}

function toFormat(headers: IncomingHttpHeaders, formats: Parameters["formats"]): "json" | "form" {
  const { "content-type": type = "", "content-encoding": coding = "identity" } = headers;
  if (coding.toLowerCase() !== "identity") {
    throw new GatewayError("unsupported_media_type", "Send the body without a content coding.");
  }
  if (formats.includes("json") && JSON_TYPE.test(type)) return "json";
  if (formats.includes("form") && FORM_TYPE.test(type)) return "form";
  const names = { json: "application/json in UTF-8", form: "multipart/form-data" };
  const wanted = formats.map((format) => names[format]).join(" or ");
  throw new GatewayError("unsupported_media_type", `Send the body as ${wanted}.`);
}

async function inspectJson(
  body: RequestBody,
  rules: JsonRules | undefined,
  demand: JsonDemand | undefined,
): Promise<Outgoing> {
  const scanner = new JsonScanner(together([rules, demand].filter((each) => each !== undefined)));
  const whole = body.whole();
  if (whole !== undefined) scanner.push(whole);
  else for await (const chunk of body.look()) scanner.push(chunk);
  const root = scanner.end();
  const edits = rules?.end(root) ?? [];
  const usage = demand?.askForUsage(root);
  const all = usage === undefined ? edits : [...edits, usage];
  return changed(() => body.payload(), all, demand?.end(), usage !== undefined);
}

function together(all: readonly JsonVisitor[]): JsonVisitor {
  const visitors = all.filter(({ names }) => names.size > 0);
  const [one] = visitors;
  if (one !== undefined && visitors.length === 1) return one;
  const wanting = (path: readonly string[]): readonly JsonVisitor[] =>
    visitors.filter(({ names }) => names.has(nameOf(path)));
  return {
    names: new Set(visitors.flatMap(({ names }) => [...names])),
    member: (name) => visitors.forEach((visitor) => visitor.member(name)),
    value: (value: JsonValue) => wanting(value.path).forEach((visitor) => visitor.value(value)),
    empty: (path) => wanting(path).forEach((visitor) => visitor.empty?.(path)),
  };
}

interface FormCall {
  readonly caller: Caller;
  readonly parameters: Parameters;
  /** Whether what it demands is counted. */
  readonly counted: boolean;
}

/** A form's rules and its demand, which are told of the same fields. */
class FormReading {
  readonly rules: FormRules;
  readonly demand: FormDemand | undefined;
  readonly scanner: FormScanner;

  constructor({ caller, parameters, counted }: FormCall, boundary: string) {
    const rules = new FormRules(caller, parameters);
    const demand = counted ? new FormDemand(parameters) : undefined;
    const names = new Set([...rules.names, ...(demand?.names ?? [])]);
    this.rules = rules;
    this.demand = demand;
    this.scanner = new FormScanner(boundary, names, (name, value) => {
      if (rules.names.has(name)) rules.found(name, value);
      if (demand?.names.has(name)) demand.found(name, value);
    });
  }

  get settled(): boolean {
    return this.rules.settled && this.demand?.settled !== false;
  }
}

async function inspectForm(
  body: RequestBody,
  call: FormCall,
  { "content-type": type = "" }: IncomingHttpHeaders,
  refuse: (error: unknown) => void,
): Promise<Outgoing> {
  const boundary = parseBoundary(type);
  const reading = new FormReading(call, boundary);
  if (!reading.settled) {
    for await (const chunk of body.look()) {
      reading.scanner.push(chunk);
      if (reading.settled) break;
    }
    reading.rules.end();
  }

  async function* guard(): AsyncGenerator<Uint8Array, void, undefined> {
    const { rules, scanner } = new FormReading(call, boundary);
    let checked: Uint8Array | undefined;
    try {
      for await (const chunk of body.pass()) {
        scanner.push(chunk);
        if (checked !== undefined) yield checked;
        checked = chunk;
      }
      scanner.end();
      rules.end();
    } catch (error) {
      if (!(error instanceof Superseded)) refuse(error);
      throw error;
    }
    // Held back until here: without it no form is whole.
    if (checked !== undefined) yield checked;
  }
  return changed(guard, reading.rules.toEdits(boundary), reading.demand?.end());
}
