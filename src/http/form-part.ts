// The headers of one part of a multipart form (RFC 7578 §4), read only where all readers agree.
import { GatewayError } from "../errors.ts";

const HEADER_LIMIT = 32;
const CRLF = "\r\n";
const HEADER = /^([A-Za-z0-9-]+): *((?:[\x21-\x7e\x80-\xff][\x20-\x7e\x80-\xff]*)?)$/;
/**
 * The name comes first: in `filename="model"` a careless reader finds `name="model"`. .NET leaves
 * out quotes where it can, curl writes `\"` in a file's name, old urllib3 only `filename*`.
 */
const DISPOSITION = new RegExp(
  /^form-data; *name=(?:"((?:(?!["\\%;=])[ -~]){1,256})"|([\w.-]{1,256}))/.source +
    /(?:; *filename=(?:"((?:[^"\\]|\\.)*)"|([\w.-]+)))?/.source +
    /(; *filename\*=[Uu][Tt][Ff]-8''(?:[\w!#$&+.^`|~-]|%[0-9A-Fa-f]{2})*)?$/.source,
);
export function invalid(message: string, param?: string): GatewayError {
  return new GatewayError("invalid_form", message, param === undefined ? {} : { param });
}

export function parseHeaders(block: string): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  const lines = block.split(CRLF);
  if (lines.length > HEADER_LIMIT) throw invalid(`Send at most ${HEADER_LIMIT} headers in a part.`);
  for (const line of lines) {
    const [, sent = "", value = ""] = HEADER.exec(line) ?? [];
    const name = sent.toLowerCase();
    // Only a file's name needs more than ASCII; some readers break lines at U+0085 or U+2028.
    if (name === "" || (name !== "content-disposition" && /[^ -~]/.test(value))) {
      throw invalid("Write each header of a part on one line, as `name: value` in plain ASCII.");
    }
    if (headers.has(name)) throw invalid(`Send ${name} once in each part.`);
    headers.set(name, value);
  }
  return headers;
}

/** @returns also what a reader that knows only `name="…"` could take for the name. */
export function parseDisposition(header = ""): { name: string; file: boolean; mistakable: string } {
  const [, quoted, plain, quotedFile = "", , coded] = DISPOSITION.exec(header) ?? [];
  const name = quoted ?? plain;
  if (name === undefined) {
    const form = 'Content-Disposition: form-data; name="…"';
    throw invalid(`Begin each part with ${form}, the name in ASCII without " \\ % ; and =.`);
  }
  // `filename="a\"; name=model"` has two names for those to whom a backslash is just a character.
  if (/[;\\]/.test(quotedFile) && quotedFile.includes("=")) {
    throw invalid("Send the file under a name without =, or without ; and \\.", name);
  }
  const file = coded !== undefined || header.includes("filename=");
  return { name, file, mistakable: quoted === undefined ? quotedFile : "" };
}
