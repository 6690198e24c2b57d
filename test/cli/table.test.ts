// What stands in a terminal's tables: whatever a stranger is called, each cell stays in its place.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  align,
  fit,
  toAge,
  toAscii,
  toCells,
  toCount,
  toDollars,
  toDuration,
  toName,
  toShare,
  toText,
  toTime,
} from "../../src/cli/table.ts";

const show = (text: string): string => toText(toCells(text));

test("shows names in most letters, and nothing that a terminal obeys", () => {
  assert.equal(show("key:backend é ß Ω Ж … “x”"), "key:backend é ß Ω Ж … “x”");
  assert.equal(show("e\u0301"), "é");
  assert.equal(show("漢字かなカナ한국"), "漢字かなカナ한국");
  assert.equal(show("\x1b[2J\r\n\t\0\x7f\x9b"), "?[2J??????");
  assert.equal(show("\u202e\u2066\u200f\u200b\u00ad\ufeff\u2028\u2029"), "????????");
  // Letters from right to left, marks that join, emoji, fullwidth letters, half of a pair.
  assert.equal(show("אבx ع\u0301 क् 👍🏽 Ａ \ud800"), "??x ?? ?? ?? ? ?");
});

test("no letter of Unicode but the known ones gets through", () => {
  const passed: string[] = [];
  for (let code = 0; code <= 0x10ffff; code++) {
    const letter = String.fromCodePoint(code);
    if (letter !== "?" && show(letter) !== "?") passed.push(show(letter));
  }

  const harmful = passed.filter((letter) =>
    /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{M}\p{Zl}\p{Zp}]/u.test(letter),
  );
  assert.deepEqual(harmful, []);
  assert.ok(passed.length > 30_000, `${passed.length}`);
});

test("cuts by cells, also through a letter that is two of them", () => {
  const width = (text: string): number => toCells(text).length;
  const cells = toCells("漢字x");

  assert.equal(cells.length, 5);
  for (let limit = 1; limit <= 6; limit++) {
    assert.equal(width(toText(fit(cells, limit))), Math.min(limit, 5), `at ${limit}`);
  }
  assert.equal(toText(fit(cells, 4)), "漢 …");
  assert.equal(toText(fit(cells, 0)), "…");
  assert.equal(toName(""), "-");
  assert.equal(toName("x".repeat(30)), `${"x".repeat(19)}…`);
  assert.equal(toCells("x".repeat(9_000)).length, 2_000);
});

test("lines up columns: names to the left, numbers to the right", () => {
  const rows = [
    ["caller", "calls", "$"],
    [toCells("漢字漢字"), "1", "0.5"],
    ["a", "1,000,000", "12"],
  ];

  assert.deepEqual(align(rows, 1).map(toText), [
    "caller        calls    $",
    "漢字漢字          1  0.5",
    "a         1,000,000   12",
  ]);
  assert.deepEqual(align([], 1), []);
});

test("gives numbers a unit that fits them", () => {
  assert.deepEqual([0.3, 9.94, 9.96, 999.4, 999.6, 99_940, 1e6].map(toDuration), [
    "0.3 ms",
    "9.9 ms",
    "10 ms",
    "999 ms",
    "1.0 s",
    "99.9 s",
    "1000 s",
  ]);
  assert.deepEqual(
    [NaN].flatMap((none) => [toDuration(none), toShare(none)]),
    ["-", "-"],
  );
  assert.deepEqual([0.25, 12.6, 1_234_567].map(toCount), ["0.3", "13", "1,234,567"]);
  assert.deepEqual([0.00123, 1.239].map(toDollars), ["0.0012", "1.24"]);
  assert.equal(toShare(0.1234), "12.3 %");
  const ages = [59_999, 60_000, 3_599_999, 3_660_000, 90_000_000].map(toAge);
  assert.deepEqual(ages, ["59 s", "1 min", "59 min", "1 h 1 min", "1 d 1 h"]);
  assert.equal(toTime(Date.UTC(2026, 0, 1, 13, 14, 15)), "13:14:15");
  assert.match(toTime(-1e300) + toTime(1e300), /^00:00:00.+$/);
});

test("JSON keeps its meaning, in letters that no terminal obeys", () => {
  const value = { name: "\x9b\u202e漢👍\x7f é" };
  const json = toAscii(JSON.stringify(value));

  assert.match(json, /^[ -~]+$/);
  assert.deepEqual(JSON.parse(json), value);
});
