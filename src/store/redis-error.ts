// Why a command has no reply, and whether it may have been run all the same.
import type { ReplyError } from "./resp.ts";

/**
 * `unavailable`: nothing was done, and it may go well later. `fate_unknown`: it may have been run
 * or not, so it must not be sent again. `refused`: the server's answer is an error that will come
 * again, such as a wrong command or a missing right.
 */
export type RedisErrorKind = "unavailable" | "fate_unknown" | "refused";

/** The message is for the operator: it names neither the server nor any credential. */
export class RedisError extends Error {
  override readonly name = "RedisError";
  readonly kind: RedisErrorKind;
  /** The server's word for it, such as `LOADING`, or the system's, such as `ECONNREFUSED`. */
  readonly code: string | undefined;

  constructor(kind: RedisErrorKind, message: string, code?: string) {
    super(message);
    this.kind = kind;
    this.code = code;
  }
}

/** The server is well but cannot serve now; it has done nothing. */
const TEMPORARY: ReadonlyMap<string, string> = new Map([
  ["LOADING", "Redis is loading its data"],
  ["BUSY", "Redis is busy with a long script"],
  ["OOM", "Redis is out of memory"],
  ["MASTERDOWN", "Redis is a replica that has lost its primary"],
  ["READONLY", "Redis is a replica, which takes no writes"],
  ["TRYAGAIN", "Redis is moving the keys"],
  ["CLUSTERDOWN", "Redis is a cluster that is down"],
  ["NOREPLICAS", "Redis has too few replicas to take writes"],
  ["MISCONF", "Redis cannot save its data and takes no writes"],
  ["MAXCLIENTS", "Redis has no connection left"],
]);

const CLUSTER = "Redis is a cluster, which the gateway does not follow: name a single server";
const LASTING: ReadonlyMap<string, string> = new Map([
  ["MOVED", CLUSTER],
  ["ASK", CLUSTER],
  ["CROSSSLOT", CLUSTER],
  ["NOAUTH", "Redis wants a password, and REDIS_URL has none that it knows"],
  ["WRONGPASS", "Redis does not accept the user or the password of REDIS_URL"],
  ["NOPERM", "Redis does not allow its user a command or a key that the gateway needs"],
  ["DENIED", "Redis is in protected mode: without a password it serves only its own host"],
]);

const QUOTED_CHARACTERS = 200;

/** @param otherwise the sentence for an error that has none here. */
export function toRedisError(reply: ReplyError, otherwise: string): RedisError {
  const code = codeOf(reply);
  const temporary = TEMPORARY.get(code);
  if (temporary !== undefined)
    return new RedisError("unavailable", `${temporary} (${code}).`, code);
  const lasting = LASTING.get(code);
  if (lasting !== undefined) return new RedisError("refused", `${lasting} (${code}).`, code);
  return new RedisError("refused", otherwise, code);
}

/** Servers before Redis 7 wrap what stopped a script; one failure has no word of its own. */
function codeOf({ code, message }: ReplyError): string {
  if (code !== "ERR") return code;
  if (message.startsWith("ERR max number of clients")) return "MAXCLIENTS";
  return /^ERR Error running script .*? -([A-Z]+) /.exec(message)?.[1] ?? code;
}

/** For a log line. What repeats the arguments could repeat a caller's content: it is left out. */
export function quote(message: string): string {
  const text = message.replace(/[,:]? with args beginning with.*/s, "");
  return text.replace(/[^\x20-\x7e]+/g, " ").slice(0, QUOTED_CHARACTERS);
}
