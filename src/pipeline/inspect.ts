// A body seen through the rules of its caller's policy: refused, or passed on as they change it.
import { FormRules } from "../access/form-rules.ts";
import { JsonRules } from "../access/json-rules.ts";
import type { Caller } from "../access/caller.ts";
import { GatewayError } from "../errors.ts";
import { Superseded, type RequestBody } from "../http/body.ts";
import { FormScanner, parseBoundary } from "../http/form-scan.ts";
import { JsonScanner } from "../http/json-scan.ts";
import { growthOf, splice, type Edit } from "../http/splice.ts";
import type { Parameters } from "../openai/parameters.ts";
import type { IncomingHttpHeaders } from "node:http";

/** What goes up of a body. */
export interface Outgoing {
  /** From its first byte, anew for every attempt. */
  pass(): AsyncIterable<Uint8Array>;
  /** How much longer it is than what came. */
  readonly growthBytes: number;
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
  const json = new JsonRules(caller, parameters);
  const needsForm = new FormRules(caller, parameters).names.size > 0;
  if (json.names.size === 0 && !needsForm) return body && pristine(body);
  if (body === undefined) {
    throw new GatewayError("invalid_request", "Send a body: your access is held to what is in it.");
  }

  const format = toFormat(headers, parameters.formats);
  if (format === "json") return json.names.size > 0 ? inspectJson(body, json) : pristine(body);
  return needsForm ? inspectForm(body, caller, parameters, headers, refuse) : pristine(body);
}

function pristine(body: RequestBody): Outgoing {
  return { pass: () => body.pass(), growthBytes: 0 };
}

function changed(pass: () => AsyncIterable<Uint8Array>, edits: readonly Edit[]): Outgoing {
  if (edits.length === 0) return { pass, growthBytes: 0 };
  return { pass: () => splice(pass(), edits), growthBytes: growthOf(edits) };
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

async function inspectJson(body: RequestBody, rules: JsonRules): Promise<Outgoing> {
  const scanner = new JsonScanner(rules);
  for await (const chunk of body.look()) scanner.push(chunk);
  const edits = rules.end(scanner.end());
  return changed(() => body.pass(), edits);
}

async function inspectForm(
  body: RequestBody,
  caller: Caller,
  parameters: Parameters,
  { "content-type": type = "" }: IncomingHttpHeaders,
  refuse: (error: unknown) => void,
): Promise<Outgoing> {
  const boundary = parseBoundary(type);
  const begin = () => {
    const rules = new FormRules(caller, parameters);
    return { rules, scanner: new FormScanner(boundary, rules.names, rules.found) };
  };

  const { rules, scanner } = begin();
  if (!rules.settled) {
    for await (const chunk of body.look()) {
      scanner.push(chunk);
      if (rules.settled) break;
    }
    rules.end();
  }

  async function* guard(): AsyncGenerator<Uint8Array, void, undefined> {
    const { rules, scanner } = begin();
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
  return changed(guard, rules.toEdits(boundary));
}
