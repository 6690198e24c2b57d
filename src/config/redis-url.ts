// REDIS_URL in its parts: redis://[[user]:password@]host[:port][/database], rediss:// for TLS.
import { isIP } from "node:net";
import { Secret } from "../secret.ts";

export interface RedisAddress {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** Of the server's access list; without one, the password is the default user's. */
  readonly user?: string;
  readonly password?: Secret;
  readonly db: number;
}

const DEFAULT_PORT = 6379;
const TLS_OF: ReadonlyMap<string, boolean> = new Map([
  ["redis:", false],
  ["valkey:", false],
  ["rediss:", true],
  ["valkeys:", true],
]);
const EXPECTED = "expected redis://[[user]:password@]host[:port][/database], or rediss:// for TLS";

/**
 * @returns the address, or what is wrong with the text, which it does not repeat: any part of it
 * may be the password.
 */
export function parseRedisUrl(text: string): RedisAddress | string {
  const trimmed = text.trim();
  // URL would drop some of it without a word.
  if (/\s/.test(trimmed)) return `${EXPECTED}, got a text with white space`;
  if (!URL.canParse(trimmed)) {
    return `${EXPECTED}; a password with one of / ? # has it percent-encoded`;
  }
  const url = new URL(trimmed);
  const tls = TLS_OF.get(url.protocol);
  if (tls === undefined) return `${EXPECTED}, got a URL of another kind`;
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  if (host === "") return `${EXPECTED}, got no host`;
  if (isIP(host) === 0 && !/^\w[\w.-]*$/.test(host)) return `${EXPECTED}, got a malformed host`;
  if (url.port === "0") return `${EXPECTED}, got port 0`;
  if (url.search !== "" || url.hash !== "") {
    return `${EXPECTED}, without anything after ? or #; in a password they are %3F and %23`;
  }
  const db = /^\/?(\d{0,6})$/.exec(url.pathname)?.[1];
  if (db === undefined) return `${EXPECTED}, got a database that is not a whole number`;
  const user = decode(url.username);
  const password = decode(url.password);
  if (user === undefined || password === undefined) {
    return "expected user and password percent-encoded: a % by itself is %25";
  }
  // redis-cli takes a lone name for the password, other clients for the user.
  if (user !== "" && password === "") {
    return "expected a password too: redis://user:password@host, or redis://:password@host alone";
  }
  return {
    host,
    port: Number(url.port || DEFAULT_PORT),
    tls,
    ...(user !== "" && { user }),
    ...(password !== "" && { password: new Secret(password) }),
    db: Number(db),
  };
}

/** Without its password. */
export function toRedisText({ host, port, tls, user = "", password, db }: RedisAddress): string {
  const login = password === undefined ? "" : `${user}:${password}@`;
  const name = isIP(host) === 6 ? `[${host}]` : host;
  return `${tls ? "rediss" : "redis"}://${login}${name}:${port}/${db}`;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
