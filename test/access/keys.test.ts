// API keys are random, are known by their SHA-256 alone, and are found by nothing less than themselves.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { createKey, createKeyRing } from "../../src/access/keys.ts";
import { parseKeyEntry } from "../../src/config/parse-access.ts";
import { redact } from "../../src/telemetry/log.ts";

const NOW = Date.UTC(2026, 0, 1);

/** A digest that agrees with a real one in its first bytes. */
function neighbour(sha256: string, sameBytes: number): string {
  const kept = sha256.slice(0, 2 * sameBytes);
  return (
    kept + [...sha256.slice(2 * sameBytes)].map((digit) => (digit === "0" ? "1" : "0")).join("")
  );
}

test("a key has 256 random bits behind a prefix that scanners know", () => {
  const keys = Array.from({ length: 100 }, () => createKey().key);

  for (const key of keys) {
    assert.match(key, /^gwk_[\w-]{43}$/);
    assert.equal(Buffer.from(key.slice(4), "base64url").length, 32);
    assert.equal(redact(`a line with ${key} in it`), "a line with [secret] in it");
  }
  assert.equal(new Set(keys).size, 100);
});

test("its SHA-256 is that of its UTF-8, and the settings take it", () => {
  const { key, sha256 } = createKey();
  const entry: object = { name: "backend", sha256 };

  assert.equal(sha256, createHash("sha256").update(key, "utf8").digest("hex"));
  assert.deepEqual(parseKeyEntry(entry), { name: "backend", sha256, policy: "default" });
});

test("a key is found among thousands, and nothing else is", () => {
  const made = Array.from({ length: 5_000 }, () => createKey());
  const find = createKeyRing(
    made.map(({ sha256 }, index) => ({ name: `k${index}`, sha256, policy: `p${index}` })),
  );

  for (const index of [0, 2_500, 4_999]) {
    const { key = "", sha256 = "" } = made[index] ?? {};
    const { name, policy } = find(key, NOW) ?? {};
    assert.deepEqual([name, policy], [`k${index}`, `p${index}`]);
    const digest = Buffer.from(sha256, "hex").toString("latin1");
    for (const other of ["", sha256, digest, `${key} `, key.slice(0, -1), key.toLowerCase()]) {
      assert.equal(find(other, NOW), undefined, other);
    }
  }
});

test("digests that begin alike are told apart, whatever their order", () => {
  const { key, sha256 } = createKey();
  const real = { name: "real", sha256, policy: "default" };
  const alike = [4, 16, 31].map((bytes) => {
    return { name: `alike-${bytes}`, sha256: neighbour(sha256, bytes), policy: "default" };
  });

  for (const keys of [
    [real, ...alike],
    [...alike, real],
  ]) {
    assert.equal(createKeyRing(keys)(key, NOW)?.name, "real");
  }
  assert.equal(createKeyRing(alike)(key, NOW), undefined);
});

test("a key is good until its moment, and not in it", () => {
  const { key, sha256 } = createKey();
  const until = (expires: string) => {
    return createKeyRing([{ name: "backend", sha256, policy: "default", expires }]);
  };

  for (const expires of ["2026-01-01", "2026-01-01T00:00Z", "2026-01-01T00:00:00.000Z"]) {
    assert.equal(until(expires)(key, NOW - 1)?.name, "backend", expires);
    assert.equal(until(expires)(key, NOW), undefined, expires);
  }
  assert.equal(until("no date")(key, NOW), undefined);
  assert.equal(until("2026-02-31")(key, NOW), undefined);
});

test("no key at all finds nobody", () => {
  assert.equal(createKeyRing([])("anything", NOW), undefined);
});
