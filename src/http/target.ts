// The request target (RFC 9112 §3.2), checked once, so that what was routed is what is sent.

export interface Target {
  readonly path: string;
  /** Verbatim, with its `?`; empty when there is none. */
  readonly search: string;
}

// RFC 3986 path characters; "//" and a bare "\" never match.
const PATH = /^\/(?:[\w\-.~!$&'()*+,;=:@%]+\/)*[\w\-.~!$&'()*+,;=:@%]*$/;
const SEARCH = /^(?:\?[\x21\x22\x24-\x7e]*)?$/;
// What two parsers may read as two paths: encoded slashes, backslashes and controls; letters,
// digits or "-._~" that nobody needs to encode (RFC 3986 §2.3): `/%2e%2e/`, `/%61dmin`; an encoded
// "%", as whoever decodes twice finds any of these in it; and segments of dots, or of a parameter
// that some servers cut off: `/..;/`, `/;x/`.
const AMBIGUOUS = /%(?:2[5def]|5[cf]|[01][\da-f]|7[ef]|3\d|[46][1-9a-f]|[57][\da])|\/[.;]/i;
const AUTHORITY = /^https?:\/\/[^/?#]+(?=\/)/i;

/**
 * Splits origin-form; of absolute-form only the path counts, never its authority, which would
 * choose the host that gets the key.
 * @returns nothing for what no honest client sends.
 */
export function parseTarget(target: string): Target | undefined {
  const relative = target.startsWith("/") ? target : target.replace(AUTHORITY, "");
  const mark = relative.indexOf("?");
  const path = mark < 0 ? relative : relative.slice(0, mark);
  const search = mark < 0 ? "" : relative.slice(mark);
  if (!PATH.test(path) || AMBIGUOUS.test(path) || !SEARCH.test(search)) return undefined;
  return !path.includes("%") || isUtf8(path) ? { path, search } : undefined;
}

/** Lenient decoders read `%c0%af` as a slash (RFC 3629 §10). */
function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}
