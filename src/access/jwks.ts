// The public keys of an issuer (RFC 7517), fetched when first wanted and held in memory. Strangers
// make us ask for keys, with any `kid` they like, so each reason to fetch has its own limit.
import { createPublicKey, type KeyObject } from "node:crypto";
import type { Clock } from "../clock.ts";
import { JWT_ALGORITHMS, type JwtAlgorithm } from "../config/access.ts";
import { GatewayError } from "../errors.ts";
import { fits, type Jwt } from "./jwt.ts";

type Wanted = Pick<Jwt, "algorithm" | "keyId">;

export interface KeySet {
  /**
   * The keys that may have signed such a token: none when the issuer has no such key.
   * @throws GatewayError 503 `issuer_unavailable` when there are no keys to check with.
   */
  find(wanted: Wanted): Promise<readonly KeyObject[]>;
}

export type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

/** For one fetch, headers and body together. */
const FETCH_LIMIT_MS = 5_000;
const MAX_BYTES = 512 * 1024;
const MAX_KEYS = 100;
/** Every candidate costs a verification. */
const MAX_CANDIDATES = 4;
const FRESH_MS = 10 * 60_000;
/** An outage of the issuer is survived that long, and so is a key that it withdraws in one. */
const STALE_MS = 24 * 3_600_000;
/** Between two fetches for the sake of unknown keys. */
const UNKNOWN_PAUSE_MS = 60_000;
/** After a fetch that failed. */
const FAILURE_PAUSE_MS = 5_000;

interface IssuerKey {
  readonly keyId: unknown;
  /** What it may verify. */
  readonly algorithms: readonly JwtAlgorithm[];
  readonly key: KeyObject;
}

export function createKeySet(url: URL, clock: Clock, fetch: Fetch = globalThis.fetch): KeySet {
  return new RemoteKeySet(clock, () => fetchKeys(url, clock, fetch));
}

/** When to fetch, and what to do meanwhile. Times are the monotonic clock's. */
class RemoteKeySet implements KeySet {
  readonly #clock: Clock;
  readonly #fetchKeys: () => Promise<readonly IssuerKey[]>;
  #keys: readonly IssuerKey[] = [];
  #fetchedAt = -Infinity;
  #failure: unknown;
  #failedAt = -Infinity;
  #unknownAt = -Infinity;
  #refreshing: Promise<void> | undefined;

  constructor(clock: Clock, fetchKeys: () => Promise<readonly IssuerKey[]>) {
    this.#clock = clock;
    this.#fetchKeys = fetchKeys;
  }

  async find(wanted: Wanted): Promise<readonly KeyObject[]> {
    if (this.#ageMs >= STALE_MS) {
      await this.#refresh();
      if (this.#ageMs >= STALE_MS) throw this.#unavailable();
      return select(this.#keys, wanted);
    }
    if (this.#ageMs >= FRESH_MS) void this.#refresh();
    const found = select(this.#keys, wanted);
    if (found.length > 0 || wanted.keyId === undefined) return found;
    await this.#lookAgain();
    return select(this.#keys, wanted);
  }

  get #ageMs(): number {
    return this.#clock.elapsed() - this.#fetchedAt;
  }

  get #pausing(): boolean {
    return this.#clock.elapsed() - this.#failedAt < FAILURE_PAUSE_MS;
  }

  /** The issuer may have a new key; that it is the token's is the token's word alone. */
  async #lookAgain(): Promise<void> {
    if (this.#refreshing === undefined && !this.#pausing) {
      const now = this.#clock.elapsed();
      if (now - this.#unknownAt < UNKNOWN_PAUSE_MS) return;
      this.#unknownAt = now;
    }
    await this.#refresh();
  }

  /** One fetch for all who wait, and none soon after a failed one. Never rejects. */
  async #refresh(): Promise<void> {
    if (this.#pausing) return;
    this.#refreshing ??= this.#replaceKeys().finally(() => (this.#refreshing = undefined));
    await this.#refreshing;
  }

  async #replaceKeys(): Promise<void> {
    try {
      this.#keys = await this.#fetchKeys();
      this.#fetchedAt = this.#clock.elapsed();
    } catch (error) {
      this.#failure = error;
      this.#failedAt = this.#clock.elapsed();
    }
  }

  #unavailable(): GatewayError {
    const waitedMs = this.#clock.elapsed() - this.#failedAt;
    return new GatewayError(
      "issuer_unavailable",
      "The keys that sign these tokens cannot be fetched; try again.",
      { retryAfterMs: Math.max(0, FAILURE_PAUSE_MS - waitedMs), cause: this.#failure },
    );
  }
}

function select(keys: readonly IssuerKey[], { algorithm, keyId }: Wanted): readonly KeyObject[] {
  return keys
    .filter((each) => keyId === undefined || each.keyId === keyId)
    .filter((each) => each.algorithms.includes(algorithm))
    .slice(0, MAX_CANDIDATES)
    .map(({ key }) => key);
}

/** @throws when there is no usable key: an empty set is more likely a mistake than a wish. */
async function fetchKeys(url: URL, clock: Clock, fetch: Fetch): Promise<readonly IssuerKey[]> {
  const keys = parseKeys(await fetchText(url, clock, fetch));
  if (keys.length === 0) throw new Error("The issuer's key set has no usable key.");
  return keys;
}

async function fetchText(url: URL, clock: Clock, fetch: Fetch): Promise<string> {
  const over = new AbortController();
  const { signal } = over;
  const late = new Error(`The issuer's key set took longer than ${FETCH_LIMIT_MS} ms.`);
  const timer = clock.after(FETCH_LIMIT_MS, () => over.abort(late));
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
  const answer = async (): Promise<string> => {
    const headers = { accept: "application/jwk-set+json, application/json" };
    return readText(await fetch(url, { headers, redirect: "error", signal }), signal);
  };
  try {
    return await Promise.race([answer(), aborted]);
  } finally {
    timer.cancel();
    // Whatever is left of the answer is not wanted.
    over.abort();
  }
}

/** Its reader is cancelled here, as undici 6 (Node 20 and 22) may lose the signal. */
async function readText({ status, body }: Response, signal: AbortSignal): Promise<string> {
  const reader = body?.getReader();
  const cancel = (): void => void reader?.cancel().catch(() => {});
  signal.addEventListener("abort", cancel);
  if (signal.aborted) cancel();
  if (status !== 200) throw new Error(`The issuer answered the call for its keys with ${status}.`);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) return new TextDecoder().decode(Buffer.concat(chunks));
    bytes += value.length;
    if (bytes > MAX_BYTES) throw new Error(`The issuer's key set is over ${MAX_BYTES} bytes.`);
    chunks.push(value);
  }
}

/** @throws when it is no key set; keys that we cannot use are left out (RFC 7517 §5). */
function parseKeys(text: string): readonly IssuerKey[] {
  const set: unknown = JSON.parse(text);
  if (!isObject(set) || !Array.isArray(set["keys"])) {
    throw new Error("The issuer's answer is not a key set.");
  }
  const jwks: readonly unknown[] = set["keys"].slice(0, MAX_KEYS);
  return jwks.map(toIssuerKey).filter((key) => key !== undefined);
}

function toIssuerKey(jwk: unknown): IssuerKey | undefined {
  if (!isObject(jwk)) return undefined;
  const { use = "sig", key_ops: operations = ["verify"], alg, kid } = jwk;
  const verifies = Array.isArray(operations) && operations.includes("verify");
  if (use !== "sig" || !verifies) return undefined;
  const key = toPublicKey(jwk);
  if (key === undefined) return undefined;
  const algorithms = JWT_ALGORITHMS.filter(
    (name) => (alg === undefined || alg === name) && fits(key, name),
  );
  return algorithms.length === 0 ? undefined : { keyId: kid, algorithms, key };
}

/** Made of the public members alone, so that a private key or a shared secret never becomes one. */
function toPublicKey(jwk: Readonly<Record<string, unknown>>): KeyObject | undefined {
  const members = ["kty", "crv", "x", "y", "n", "e"].map((name) => [name, jwk[name]] as const);
  const given = members.filter(([, value]) => typeof value === "string");
  try {
    return createPublicKey({ key: Object.fromEntries(given), format: "jwk" });
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
