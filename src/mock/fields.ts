// The fields of a request, whether JSON or a form, and the few ways in which endpoints read them.

import type { IncomingMessage } from "node:http";
import { invalid, type MockError, refused } from "./errors.ts";

export type Fields = Readonly<Record<string, unknown>>;

const BODY_LIMIT_BYTES = 32 * 1024 * 1024;

/** Reads on beyond the limit, keeping nothing: the reply to a half-read upload may be lost. */
export async function readBody(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of req) {
    bytes += chunk.length;
    if (bytes <= BODY_LIMIT_BYTES) chunks.push(chunk);
    else chunks.length = 0;
  }
  if (bytes > BODY_LIMIT_BYTES) {
    throw refused(413, "request_too_large", `The mock takes ${BODY_LIMIT_BYTES} bytes at most.`);
  }
  return Buffer.concat(chunks);
}

export async function parseFields(contentType: string, body: Buffer): Promise<Fields> {
  return contentType.startsWith("multipart/") ? parseForm(contentType, body) : parseJson(body);
}

async function parseForm(contentType: string, body: Buffer): Promise<Fields> {
  try {
    const reply = new Response(new Uint8Array(body), { headers: { "content-type": contentType } });
    return Object.fromEntries(await reply.formData());
  } catch {
    throw invalid("Could not parse the multipart form of your request.", null);
  }
}

function parseJson(body: Buffer): Fields {
  try {
    const value: unknown = JSON.parse(body.toString());
    if (isFields(value)) return value;
  } catch {
    // Refused below, like JSON that is not an object.
  }
  throw invalid("We could not parse the JSON body of your request.", null);
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The fields of a nested object; none where there is no object. */
export function section(value: unknown): Fields {
  return isFields(value) ? value : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export function requireText(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === "string" && value !== "") return value;
  throw missing(name);
}

/** True for the JSON value and for the form value. */
export function flag(fields: Fields, name: string): boolean {
  return fields[name] === true || fields[name] === "true";
}

export interface Range {
  readonly min: number;
  readonly max: number;
}

/** A whole number, also from a form, where all values are text. */
export function integer(fields: Fields, name: string, { min, max }: Range): number | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  const number = typeof value === "string" ? Number(value) : value;
  if (typeof number === "number" && Number.isInteger(number) && number >= min && number <= max) {
    return number;
  }
  const message = `Invalid value for '${name}': expected a whole number from ${min} to ${max}.`;
  throw invalid(message, name, "invalid_value");
}

export function missing(name: string): MockError {
  const message = `Missing required parameter: '${name}'.`;
  return invalid(message, name, "missing_required_parameter");
}
