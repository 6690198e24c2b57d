// The connection to one Redis or Valkey: comes back by itself, and says no at once until it has.
import { createHash } from "node:crypto";
import type { Clock, Timer } from "../clock.ts";
import { RedisError } from "./redis-error.ts";
import { RedisLink } from "./redis-link.ts";
import type { RedisAddress } from "../config/redis-url.ts";
import type { Argument, Reply } from "./resp.ts";

/** A constant of its module: the server keeps every different source for ever. */
export interface Script {
  readonly source: string;
  readonly sha1: string;
}

/** `connecting` is the first attempt, for which commands wait; while `down` they fail at once. */
export type RedisState = "connecting" | "ready" | "down" | "closed";

export interface RedisOptions {
  readonly clock: Clock;
  /** For one command or script, all waiting included. */
  readonly timeoutMs?: number;
  /** For dialling, TLS and login. */
  readonly connectTimeoutMs?: number;
  /** Commands without a reply; those beyond fail at once. */
  readonly queueLimit?: number;
  /** PEM certificates that are trusted instead of the public authorities. */
  readonly ca?: string;
  /** Is told of every change, with the reason when it is down: a sentence without credentials. */
  readonly onState?: (state: RedisState, problem?: string) => void;
}

/** Commands reject with RedisError, whose `kind` says whether they may have been run. */
export interface RedisConnection {
  readonly state: RedisState;
  readonly ready: boolean;
  command(...args: readonly Argument[]): Promise<Reply>;
  /** Runs a script once at most, by its hash as soon as the server knows it. */
  evaluate(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<Reply>;
  /** For good. What is in flight rejects, its fate unknown. */
  close(): void;
}

const DEFAULTS = { timeoutMs: 250, connectTimeoutMs: 5_000, queueLimit: 1_000 };
const BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 5_000;

export function toScript(source: string): Script {
  return { source, sha1: createHash("sha1").update(source).digest("hex") };
}

export function createRedisConnection(
  address: RedisAddress,
  options: RedisOptions,
): RedisConnection {
  return new Connection(address, options);
}

class Connection implements RedisConnection {
  state: RedisState = "connecting";
  readonly #address: RedisAddress;
  readonly #options: RedisOptions & typeof DEFAULTS;
  #link: RedisLink;
  #problem = "";
  /** Since the last connection that held. */
  #failures = 0;
  #readyAt = Infinity;
  #redial: Timer | undefined;

  constructor(address: RedisAddress, options: RedisOptions) {
    this.#address = address;
    this.#options = { ...DEFAULTS, ...options };
    this.#link = this.#dial();
  }

  get ready(): boolean {
    return this.state === "ready";
  }

  command(...args: readonly Argument[]): Promise<Reply> {
    return this.#send(args, this.#options.timeoutMs);
  }

  async evaluate(
    { source, sha1 }: Script,
    keys: readonly string[],
    args: readonly Argument[],
  ): Promise<Reply> {
    const { clock, timeoutMs } = this.#options;
    const beganAt = clock.elapsed();
    const rest = [keys.length, ...keys, ...args];
    try {
      return await this.#send(["EVALSHA", sha1, ...rest], timeoutMs);
    } catch (error) {
      if (!(error instanceof RedisError) || error.code !== "NOSCRIPT") throw error;
    }
    // The server has forgotten it (a restart, a failover, SCRIPT FLUSH), and has run nothing.
    return this.#send(["EVAL", source, ...rest], timeoutMs - (clock.elapsed() - beganAt));
  }

  close(): void {
    if (this.state === "closed") return;
    this.#redial?.cancel();
    this.#enter("closed", "closed by the gateway");
    this.#link.close();
  }

  async #send(args: readonly Argument[], timeoutMs: number): Promise<Reply> {
    if (this.state === "down" || this.state === "closed") {
      throw new RedisError("unavailable", `Redis is not connected: ${this.#problem}`);
    }
    if (this.#link.pending >= this.#options.queueLimit) {
      throw new RedisError("unavailable", "Too many commands wait for Redis.");
    }
    return this.#link.send(args, timeoutMs);
  }

  #dial(): RedisLink {
    const { clock } = this.#options;
    return new RedisLink(this.#address, this.#options, {
      opened: () => {
        this.#readyAt = clock.elapsed();
        this.#enter("ready");
      },
      ended: (error) => this.#recover(error),
    });
  }

  #recover(error: RedisError): void {
    if (this.state === "closed") return;
    const { clock } = this.#options;
    // A connection that is lost as soon as it is made counts as a failure more.
    if (clock.elapsed() - this.#readyAt >= MAX_BACKOFF_MS) this.#failures = 0;
    this.#readyAt = Infinity;
    const delayMs = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** this.#failures++);
    // What the server refuses, it will refuse again until somebody mends it.
    const longestMs = error.kind === "refused" ? MAX_BACKOFF_MS : delayMs;
    // Replicas that lost it together do not return together.
    this.#redial = clock.after(longestMs * (0.5 + Math.random() / 2), () => {
      this.#link = this.#dial();
    });
    this.#enter("down", error.message);
  }

  #enter(state: RedisState, problem = ""): void {
    if (state === this.state && problem === this.#problem) return;
    this.state = state;
    this.#problem = problem;
    this.#options.onState?.(state, ...(problem === "" ? [] : [problem]));
  }
}
