// One connection to Redis from dialling to its end. Replies come in the order of the commands, so
// the slot of a command that nobody waits for any more stays, and takes the late reply with it.
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Clock, Timer } from "../clock.ts";
import { quote, RedisError, toRedisError } from "./redis-error.ts";
import type { RedisAddress } from "../config/redis-url.ts";
import { encodeCommand, ReplyDecoder, ReplyError, type Argument, type Reply } from "./resp.ts";

export interface LinkOptions {
  readonly clock: Clock;
  /** For one command, from the asking to the reply. */
  readonly timeoutMs: number;
  /** From dialling until the server has accepted the user and the database. */
  readonly connectTimeoutMs: number;
  /** PEM certificates that are trusted instead of the public authorities. */
  readonly ca?: string;
}

/** Told at most once each. */
export interface LinkWatcher {
  opened(): void;
  /** It takes no more commands; those that it has got may still be answered. */
  ended(error: RedisError): void;
}

interface Slot {
  readonly bytes: Buffer;
  /** Of the login: said instead of the server's own words, which may repeat the password. */
  readonly refusal: string | undefined;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: RedisError) => void;
  timer: Timer;
}

const KEEP_ALIVE_MS = 10_000;
/** After how many time-outs without the reply the server, or the way to it, is given up. */
const PATIENCE = 4;
/** After a failover this is the wrong server, or the wrong user: others may do better. */
const FINAL = new Set(["READONLY", "NOAUTH"]);

export class RedisLink {
  readonly #address: RedisAddress;
  readonly #options: LinkOptions;
  readonly #watcher: LinkWatcher;
  readonly #socket: Socket;
  readonly #connecting: Timer;
  readonly #decoder = new ReplyDecoder();
  /** Written, in order. */
  #written: Slot[] = [];
  /** Asked for before the link was open. */
  #unwritten: Slot[] = [];
  #open = false;
  #error: RedisError | undefined;

  constructor(address: RedisAddress, options: LinkOptions, watcher: LinkWatcher) {
    this.#address = address;
    this.#options = options;
    this.#watcher = watcher;
    const { clock, connectTimeoutMs } = options;
    this.#connecting = clock.after(connectTimeoutMs, () => {
      this.#cut(`Redis could not be reached within ${connectTimeoutMs} ms.`, "ETIMEDOUT");
    });
    this.#socket = dial(address, options.ca);
    this.#socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
    // Not before the certificate is checked: the first thing to be written is the password.
    this.#socket.once(address.tls ? "secureConnect" : "connect", () => void this.#greet());
    this.#socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    this.#socket.on("error", (error: Error & { readonly code?: string }) => {
      this.#lose(error.code ?? "unknown");
    });
    for (const event of ["end", "close"]) this.#socket.on(event, () => this.#lose("ECONNRESET"));
  }

  /** Commands without their reply, those included that nobody waits for. */
  get pending(): number {
    return this.#written.length + this.#unwritten.length;
  }

  /** Before the link is open the command waits for that. @throws RedisError */
  send(args: readonly Argument[], timeoutMs: number): Promise<Reply> {
    return this.#add(args, timeoutMs);
  }

  /** At once: what is in flight has an unknown fate. */
  close(): void {
    this.#end(new RedisError("unavailable", "The connection to Redis is closed."));
  }

  #add(args: readonly Argument[], timeoutMs: number, refusal?: string): Promise<Reply> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const bytes = encodeCommand(args);
    return new Promise((resolve, reject) => {
      // A turn of the event loop later: a process that was busy has yet to read what has come.
      const expire = (): void => void setImmediate(() => this.#expire(slot));
      const timer = this.#options.clock.after(timeoutMs, expire);
      const slot: Slot = { bytes, refusal, resolve, reject, timer };
      if (this.#open || refusal !== undefined) this.#write(slot);
      else this.#unwritten.push(slot);
    });
  }

  #write(slot: Slot): void {
    this.#written.push(slot);
    this.#socket.write(slot.bytes);
  }

  #expire(slot: Slot): void {
    const at = this.#unwritten.indexOf(slot);
    if (at >= 0) {
      this.#unwritten.splice(at, 1);
      slot.reject(new RedisError("unavailable", "Redis was not reached in time."));
      return;
    }
    if (!this.#written.includes(slot)) return;
    slot.reject(new RedisError("fate_unknown", "Redis did not answer in time.", "ETIMEDOUT"));
    const patienceMs = (PATIENCE - 1) * this.#options.timeoutMs;
    slot.timer = this.#options.clock.after(patienceMs, () => {
      this.#cut("Redis has stopped answering.", "ETIMEDOUT");
    });
  }

  /** Proves that the server takes our commands: PING fails while it loads, or wants a password. */
  async #greet(): Promise<void> {
    const { user, password, db } = this.#address;
    const ask = (refusal: string, ...args: string[]): Promise<Reply> => {
      return this.#add(args, this.#options.connectTimeoutMs, refusal);
    };
    const login = password && [...(user === undefined ? [] : [user]), password.reveal()];
    try {
      await Promise.all([
        login &&
          ask("Redis does not accept the user or the password of REDIS_URL.", "AUTH", ...login),
        db !== 0 && ask("Redis does not accept the database of REDIS_URL.", "SELECT", String(db)),
        ask("Redis refuses to serve the gateway.", "PING").catch(forgiveMissingRight),
      ]);
    } catch (error) {
      this.#end(error instanceof RedisError ? error : toProtocolFailure(error));
    }
    // It may have ended while its last answer was on the way to here.
    if (this.#error !== undefined) return;
    this.#connecting.cancel();
    this.#open = true;
    const waiting = this.#unwritten;
    this.#unwritten = [];
    for (const slot of waiting) this.#write(slot);
    this.#watcher.opened();
  }

  #receive(chunk: Buffer): void {
    try {
      this.#decoder.write(chunk);
      for (;;) {
        const reply = this.#decoder.read();
        if (reply === undefined || this.#socket.destroyed) return;
        this.#answer(reply);
      }
    } catch (error) {
      this.#end(toProtocolFailure(error));
    }
  }

  #answer(reply: Reply): void {
    const slot = this.#written.shift();
    if (slot === undefined) throw new Error("a reply to no command");
    slot.timer.cancel();
    if (reply instanceof ReplyError) {
      const said = `Redis answered: ${quote(this.#conceal(reply.message))}`;
      const error = toRedisError(reply, slot.refusal ?? said);
      slot.reject(error);
      if (this.#open && FINAL.has(error.code ?? "")) this.#retire(error);
    } else {
      slot.resolve(reply);
    }
    if (this.#error !== undefined && this.#written.length === 0) this.#socket.destroy();
  }

  /** Others may be in flight, and their answers are on the way. */
  #retire(error: RedisError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#socket.unref();
    this.#watcher.ended(error);
  }

  #lose(code: string): void {
    const hint = this.#address.tls ? "" : "; if it speaks TLS, REDIS_URL begins with rediss://";
    if (this.#open) this.#cut(`The connection to Redis broke (${code}).`, code);
    else if (this.#written.length === 0) this.#cut(`Redis could not be reached (${code}).`, code);
    else this.#cut(`Redis hung up during the login (${code})${hint}.`, code);
  }

  #cut(message: string, code: string): void {
    this.#end(new RedisError("unavailable", message, code));
  }

  #end(error: RedisError): void {
    this.#connecting.cancel();
    this.#socket.destroy();
    const lost = new RedisError("fate_unknown", error.message, error.code);
    for (const { timer } of [...this.#written, ...this.#unwritten]) timer.cancel();
    for (const { reject } of this.#written) reject(lost);
    for (const { reject } of this.#unwritten) reject(error);
    this.#written = this.#unwritten = [];
    this.#retire(error);
  }

  #conceal(text: string): string {
    const { password } = this.#address;
    return password === undefined ? text : text.replaceAll(password.reveal(), "[secret]");
  }
}

function dial({ host, port, tls }: RedisAddress, ca: string | undefined): Socket {
  if (!tls) return connectTcp({ host, port });
  // An address is no name that TLS could ask for (RFC 6066 §3).
  const name = isIP(host) === 0 && { servername: host };
  return connectTls({ host, port, ...name, ...(ca !== undefined && { ca }) });
}

/** A user who may run scripts and nothing else is a good one. */
function forgiveMissingRight(error: RedisError): void {
  if (error.code !== "NOPERM") throw error;
}

function toProtocolFailure(error: unknown): RedisError {
  const what = error instanceof Error ? error.message : "nonsense";
  const hint = "is REDIS_URL the address of a Redis, and rediss:// if it speaks TLS?";
  return new RedisError("unavailable", `Redis sent ${what}: ${hint}`, "EPROTO");
}
