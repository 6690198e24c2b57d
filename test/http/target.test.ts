// What was routed is what is sent: one reading of the target, or none.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTarget } from "../../src/http/target.ts";

const SOUND: Readonly<Record<string, readonly [string, string]>> = {
  "/": ["/", ""],
  "/v1/models": ["/v1/models", ""],
  "/v1/models/": ["/v1/models/", ""],
  "/v1/models?": ["/v1/models", "?"],
  "/v1/models?a=1&b=%20+%2F?x": ["/v1/models", "?a=1&b=%20+%2F?x"],
  "/v1/models/ft:gpt-4o:org::id": ["/v1/models/ft:gpt-4o:org::id", ""],
  "/v1/models/ft%3Agpt-4o": ["/v1/models/ft%3Agpt-4o", ""],
  "/v1/models/%C3%A9%20%E2%82%AC": ["/v1/models/%C3%A9%20%E2%82%AC", ""],
  "/v1/a-b_c.d~e!$&'()*+,;=:@": ["/v1/a-b_c.d~e!$&'()*+,;=:@", ""],
  "http://host/v1/models?a=1": ["/v1/models", "?a=1"],
  "HTTPS://user:pass@host:1/v1": ["/v1", ""],
};

for (const [target, [path, search]] of Object.entries(SOUND)) {
  test(`${target} is ${path} and "${search}"`, () => {
    assert.deepEqual(parseTarget(target), { path, search });
  });
}

// Beside the ones that test/gateway/hostile-targets.test.ts sends over a socket.
const REFUSED = [
  "",
  "*",
  "?",
  "v1",
  "//host",
  "/\\host",
  "http:/v1",
  "http:///v1",
  "http://host",
  "http://host?/v1",
  "ws://host/v1",
  "javascript:/v1",
  "/a//b",
  "/a\\b",
  "/..",
  "/../",
  "/a/..",
  "/a/.",
  "/a/./b",
  "/.hidden",
  "/a/;b",
  "/a/..;/b",
  "/%",
  "/%2",
  "/%g0",
  "/%2e",
  "/%2E",
  "/%2f",
  "/%5c",
  "/%25",
  "/%252e",
  "/%00",
  "/%1f",
  "/%7f",
  "/%7e",
  "/%2d",
  "/%5f",
  "/%30",
  "/%41",
  "/%5a",
  "/%61",
  "/%7A",
  "/%80",
  "/%c0%af",
  "/%e0%80%af",
  "/%f5%80%80%80",
  "/%ed%a0%80",
  "/a b",
  "/a\tb",
  "/a\nb",
  "/a\0b",
  "/a\x7fb",
  "/\u00e9",
  '/a"b',
  "/a<b",
  "/a[b",
  "/a^b",
  "/a`b",
  "/a{b",
  "/a|b",
  "/a#b",
  "/a?b#c",
  "/a?b c",
  "/a?b\tc",
  "/a?b\u00e9",
];

for (const target of REFUSED) {
  test(`${JSON.stringify(target)} is refused`, () => {
    assert.equal(parseTarget(target), undefined);
  });
}

test("every byte that somebody may write encoded has one reading", () => {
  const passed = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).padStart(2, "0")}`)
    .filter((escape) => parseTarget(`/v1/${escape}`) !== undefined)
    .map((escape) => decodeURIComponent(escape));

  assert.equal(passed.join(""), " !\"#$&'()*+,:;<=>?@[]^`{|}");
});

test("a target of a megabyte costs no time to speak of", () => {
  const startedAt = performance.now();

  for (const text of [
    "/a".repeat(500_000),
    `/${"%C3%A9".repeat(150_000)}`,
    `${"/a".repeat(500_000)}\\`,
    `http://${"a".repeat(1_000_000)}`,
  ]) {
    parseTarget(text);
  }

  assert.ok(performance.now() - startedAt < 1_000);
});
