// API keys: random, long-lived, known here by their SHA-256 alone.
import { hash, randomBytes, timingSafeEqual } from "node:crypto";
import type { KeyConfig } from "../config/access.ts";
import { toDigest, toMoment } from "../config/parse-access.ts";

/** In front of every key made here, so that scanners for leaked secrets can know one. */
const PREFIX = "gwk_";

/** 256 random bits: nothing that a slow hash would have to protect. */
export function createKey(): { readonly key: string; readonly sha256: string } {
  const key = PREFIX + randomBytes(32).toString("base64url");
  return { key, sha256: toDigest(key) };
}

interface Entry {
  readonly name: string;
  readonly policy: string;
  readonly digest: Buffer;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export type FindKey = (key: string, nowMs: number) => Entry | undefined;

/**
 * Looks keys up by the first bytes of their digest, which tell nothing of any key, and compares the
 * whole digests in constant time.
 */
export function createKeyRing(keys: readonly KeyConfig[]): FindKey {
  const ring = new Map<number, Entry[]>();
  for (const { name, policy, sha256, expires } of keys) {
    const digest = Buffer.from(sha256, "hex");
    const expiresAt = expires === undefined ? Infinity : (toMoment(expires) ?? 0);
    const place = digest.readUInt32BE();
    ring.set(place, [...(ring.get(place) ?? []), { name, policy, digest, expiresAt }]);
  }
  return (key, nowMs) => {
    const digest = hash("sha256", key, "buffer");
    const entries = ring.get(digest.readUInt32BE()) ?? [];
    const entry = entries.find((candidate) => timingSafeEqual(candidate.digest, digest));
    return entry !== undefined && nowMs < entry.expiresAt ? entry : undefined;
  };
}
