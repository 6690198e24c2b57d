// The journal in a directory of its own: what a restart, a report and a full disk find there.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import type { Entry, Spent } from "../../src/store/history.ts";
import { toRest } from "../../src/store/append-file.ts";
import { openJournal, type Journal, type JournalOptions } from "../../src/store/journal.ts";
import { WAITING_LIMIT } from "../../src/store/journal-writer.ts";
import { DAY_MS } from "../../src/store/period.ts";
import { StoreError } from "../../src/store/store.ts";
import { createEntry } from "../helpers/entries.ts";
import { readIds, startJournalProcess } from "../helpers/journal-process.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { makeDirectory } from "../helpers/run-cli.ts";

const START_MS = Date.UTC(2026, 0, 1);
const TODAY = "2026-01-01";
const CALLS = `calls-${TODAY}.jsonl`;
const HAS_FULL_DISK = existsSync("/dev/full") ? {} : { skip: "there is no /dev/full" };

interface Opened {
  readonly journal: Journal;
  readonly clock: ManualClock;
  readonly problems: string[];
  /** What it told when it was restored. */
  readonly told: readonly Spent[];
}

function start(t: TestContext, directory: string, options: Partial<JournalOptions> = {}): Opened {
  const clock = new ManualClock();
  const problems: string[] = [];
  const told: Spent[] = [];
  const onProblem = (message: string): void => void problems.push(message);
  const settings = { clock, keepDays: 90, sync: "never" as const, onProblem, ...options };
  const journal = openJournal(directory, settings);
  t.after(() => journal.close());
  journal.restore((spent) => void told.push(spent));
  return { journal, clock, problems, told };
}

/** A clock that stands on a later day. */
function clockAt(days: number): ManualClock {
  const clock = new ManualClock();
  clock.advance(days * DAY_MS);
  return clock;
}

async function record(directory: string, t: TestContext, ...entries: Entry[]): Promise<void> {
  const { journal } = start(t, directory);
  await Promise.all(entries.map((entry) => journal.add(entry)));
  await journal.close();
}

function on(day: number, told: Partial<Entry> = {}): Entry {
  return createEntry({ atMs: START_MS + day * DAY_MS, costMicroUsd: 1, ...told });
}

function costOf(told: readonly Spent[]): number {
  return told.reduce((sum, { costMicroUsd }) => sum + costMicroUsd, 0);
}

function linesOf(directory: string, name: string): readonly string[] {
  return readFileSync(join(directory, name), "utf8").split("\n").slice(0, -1);
}

/** Of the first caller, as the totals of that day have it. */
function requestsIn(directory: string, day: string): number {
  const path = join(directory, `totals-${day}.json`);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).rows[0].requests : 0;
}

/** For what the journal does by itself; the test's own limit ends it. */
async function eventually(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(2);
}

test("writes a call as one line, its fields in one order, without those that it has not", async (t) => {
  const directory = makeDirectory(t);
  const figures = { inputTokens: 5, cachedInputTokens: 2, outputTokens: 3, costMicroUsd: 9 };

  await record(
    directory,
    t,
    createEntry({ id: "1", atMs: START_MS + 61_007, ...figures, error: "upstream_reset" }),
    createEntry({ id: "2", model: undefined, estimated: true, scopes: [] }),
  );

  assert.equal(
    readFileSync(join(directory, CALLS), "utf8"),
    '{"at":"2026-01-01T00:01:01.007Z","id":"1","caller":"key:backend","policy":"user",' +
      '"route":"POST /chat/completions","model":"gpt-4o-mini","status":200,' +
      '"error":"upstream_reset","inputTokens":5,"cachedInputTokens":2,"outputTokens":3,' +
      '"costMicroUsd":9,"estimated":false,"scopes":["caller:key:backend"]}\n' +
      '{"at":"2026-01-01T00:00:00.000Z","id":"2","caller":"key:backend","policy":"user",' +
      '"route":"POST /chat/completions","status":200,"inputTokens":0,"cachedInputTokens":0,' +
      '"outputTokens":0,"costMicroUsd":0,"estimated":true,"scopes":[]}\n',
  );
});

test("keeps what it writes to its own user", async (t) => {
  const directory = join(makeDirectory(t), "a", "b");
  const { journal, clock } = start(t, directory);

  await journal.add(on(0));
  await journal.add(on(1));
  clock.advance(DAY_MS);
  await eventually(() => existsSync(join(directory, `totals-${TODAY}.json`)));

  assert.equal(statSync(directory).mode & 0o777, 0o700);
  assert.deepEqual(
    readdirSync(directory).map((name) => [name, statSync(join(directory, name)).mode & 0o777]),
    [CALLS, "calls-2026-01-02.jsonl", "lock", `totals-${TODAY}.json`].map((name) => [name, 0o600]),
  );
});

test("refuses a directory that it cannot write, in one sentence", (t) => {
  const directory = makeDirectory(t, { file: "" });
  const path = join(directory, "file", "data");

  assert.throws(() => start(t, path), {
    message: `The directory ${path} cannot be written: not a directory (ENOTDIR).`,
  });
});

test("tells a restart what was spent: today call by call, other days by whom", async (t) => {
  const directory = makeDirectory(t);
  const both = { scopes: ["caller:a", "policy:p"] };
  await record(
    directory,
    t,
    on(0, { ...both, costMicroUsd: 3 }),
    on(0, { ...both, costMicroUsd: 4 }),
    on(0, { scopes: ["caller:b"], costMicroUsd: 5 }),
    on(1, { ...both, costMicroUsd: 6 }),
    on(1, { ...both, costMicroUsd: 7 }),
  );

  const { told } = start(t, directory, { clock: clockAt(1) });

  assert.deepEqual(
    told.map(({ atMs, scopes, costMicroUsd }) => [atMs - START_MS, scopes, costMicroUsd]),
    [
      [DAY_MS - 1, ["caller:a", "policy:p"], 7],
      [DAY_MS - 1, ["caller:b"], 5],
      [DAY_MS, ["caller:a", "policy:p"], 6],
      [DAY_MS, ["caller:a", "policy:p"], 7],
    ],
  );
});

test("tells a restart also of the future, in which a wrong clock has written", async (t) => {
  const directory = makeDirectory(t);
  await record(directory, t, on(0), on(400, { costMicroUsd: 10 }));

  const { told, journal } = start(t, directory);

  assert.equal(costOf(told), 11);
  const rows = await journal.rows("2027-01-01", "2027-12-31");
  assert.deepEqual(
    rows.map(({ day, costMicroUsd }) => [day, costMicroUsd]),
    [["2027-02-05", 10]],
  );
});

test("writes the totals of a day once it is over, and needs its calls no more", async (t) => {
  const directory = makeDirectory(t);
  const { journal } = start(t, directory);
  const path = join(directory, `totals-${TODAY}.json`);

  await journal.add(on(0, { costMicroUsd: 2 }));
  await journal.add(on(0, { costMicroUsd: 3, status: 500 }));
  assert.equal(existsSync(path), false);
  await journal.add(on(1));
  await eventually(() => existsSync(path));

  assert.deepEqual(JSON.parse(readFileSync(path, "utf8")), {
    day: TODAY,
    bytes: statSync(join(directory, CALLS)).size,
    begin: readFileSync(join(directory, CALLS), "utf8").slice(0, 80),
    rows: [
      {
        ...{ caller: "key:backend", model: "gpt-4o-mini", requests: 2, failed: 1, estimated: 0 },
        ...{ inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, costMicroUsd: 5 },
      },
    ],
    spent: [{ scopes: ["caller:key:backend"], costMicroUsd: 5 }],
  });
  await journal.close();
  rmSync(join(directory, CALLS));
  const again = start(t, directory, { clock: clockAt(1) });
  assert.equal(costOf(again.told), 6);
  assert.equal((await again.journal.rows(TODAY, TODAY))[0]?.requests, 2);
  assert.deepEqual(again.problems, []);
});

test("writes the totals at the next start where no call came after the day", async (t) => {
  const directory = makeDirectory(t);
  await record(directory, t, on(0));

  start(t, directory, { clock: clockAt(1) });

  await eventually(() => existsSync(join(directory, `totals-${TODAY}.json`)));
});

test("puts every call into the file of its own day, whatever order they come in", async (t) => {
  const directory = makeDirectory(t);
  const { journal } = start(t, directory);

  for (const [at, day] of [0, 1, 0, 1, 1, 0].entries()) {
    const written = journal.add(on(day, { id: `${at}` }));
    if (at % 2 === 0) await written;
  }
  await eventually(() => requestsIn(directory, TODAY) === 3);

  const ids = (name: string) => linesOf(directory, name).map((line) => JSON.parse(line).id);
  assert.deepEqual(ids(CALLS), ["0", "2", "5"]);
  assert.deepEqual(ids("calls-2026-01-02.jsonl"), ["1", "3", "4"]);
  const rows = await journal.rows(TODAY, "2026-01-02");
  assert.deepEqual(
    rows.map(({ day, requests }) => [day, requests]),
    [
      [TODAY, 3],
      ["2026-01-02", 3],
    ],
  );
});

test("deletes calls that are older than keepDays, and goes on knowing their sums", async (t) => {
  const directory = makeDirectory(t);
  await record(directory, t, on(0), on(1), on(2), on(3));

  const { journal } = start(t, directory, { clock: clockAt(3), keepDays: 1 });
  await eventually(() => !existsSync(join(directory, "calls-2026-01-02.jsonl")));
  // What comes to a day that is over makes the journal look at everything once more.
  await journal.add(on(2));
  await eventually(() => requestsIn(directory, "2026-01-03") === 2);
  await journal.close();

  assert.equal(linesOf(directory, "calls-2026-01-03.jsonl").length, 2);
  assert.deepEqual(readdirSync(directory), [
    "calls-2026-01-03.jsonl",
    "calls-2026-01-04.jsonl",
    "totals-2026-01-01.json",
    "totals-2026-01-02.json",
    "totals-2026-01-03.json",
  ]);
  const again = start(t, directory, { clock: clockAt(3), keepDays: 1 });
  assert.equal(costOf(again.told), 5);
});

test("counts calls on top that come to a day whose calls were deleted", async (t) => {
  const directory = makeDirectory(t);
  await record(directory, t, on(0), on(0), on(0));
  await putAway(t, directory);
  await record(directory, t, on(0));

  const { told, journal } = start(t, directory, { clock: clockAt(1) });

  assert.equal(costOf(told), 4);
  assert.equal((await journal.rows(TODAY, TODAY))[0]?.requests, 4);
});

/** Leaves nothing but the totals. */
async function putAway(t: TestContext, directory: string): Promise<void> {
  const { journal } = start(t, directory, { clock: clockAt(9), keepDays: 1 });
  await eventually(() => !existsSync(join(directory, CALLS)));
  await journal.close();
}

test("counts a day again whose totals are damaged", async (t) => {
  for (const damage of ['{"day":"2026-01-01","bytes":9', "", "[]", `{"day":"${TODAY}"}`]) {
    const directory = makeDirectory(t);
    await record(directory, t, on(0), on(0));
    writeFileSync(join(directory, `totals-${TODAY}.json`), damage);

    const { told, problems } = start(t, directory, { clock: clockAt(1) });
    await eventually(() => readFileSync(join(directory, `totals-${TODAY}.json`)).length > 200);

    assert.equal(costOf(told), 2);
    assert.deepEqual(problems, [`totals-${TODAY}.json is damaged: the calls were counted again.`]);
  }
});

test("believes no totals with figures that cannot be", async (t) => {
  const directory = makeDirectory(t);
  await record(directory, t, on(0));
  await putAway(t, directory);
  const path = join(directory, `totals-${TODAY}.json`);
  const text = readFileSync(path, "utf8");
  const wrong = [
    text.replace('"requests":1', '"requests":-1'),
    text.replace('"scopes":["caller:key:backend"]', '"scopes":[7]'),
    text.replace('"costMicroUsd":1}]}', '"costMicroUsd":1e300}]}'),
    text.replace(`"day":"${TODAY}"`, '"day":"2025-12-31"'),
    text.replace(/"begin":"[^]*?","rows"/, '"rows"'),
  ];

  for (const each of wrong) {
    assert.notEqual(each, text);
    writeFileSync(path, each);
    const { told, problems, journal } = start(t, directory, { clock: clockAt(1) });
    await journal.rows(TODAY, TODAY);
    await journal.close();

    const names = `totals-${TODAY}.json, ${CALLS}`;
    const gone = "damaged, and the calls of that day are gone";
    assert.equal(costOf(told), 0);
    assert.deepEqual(problems, [
      `What was spent on ${TODAY} is not known: ${names}: ${gone}.`,
      `Days that are missing in a report: 1; the first one: ${names}: ${gone}.`,
    ]);
  }
});

test("skips what is no call, counts it, and tells so once", async (t) => {
  const directory = makeDirectory(t);
  await record(directory, t, on(0));
  const [good = ""] = linesOf(directory, CALLS);
  const bad = [
    good.slice(0, -5),
    "null",
    "7",
    "[]",
    "{}",
    "not JSON",
    "\0".repeat(300),
    good.replace('"costMicroUsd":1', '"costMicroUsd":-1'),
    good.replace('"costMicroUsd":1', '"costMicroUsd":1.5'),
    good.replace('"costMicroUsd":1', '"costMicroUsd":1e15'),
    good.replace('"costMicroUsd":1', '"costMicroUsd":null'),
    good.replace('"status":200', '"status":"200"'),
    good.replace(/"scopes":.*/, '"scopes":"caller:a"}'),
    good.replace('"estimated":false,', ""),
    good.replace(TODAY, "2026-01-02"),
    good.replace("T00:00", "T99:00"),
    good.replace(/"id":"[^"]*"/, '"id":"' + "x".repeat(9_000) + '"'),
    good.replace("backend", "b\u00e9"), // As latin1 below: no UTF-8.
  ];
  const text = bad.flatMap((line) => [line, "", good]).join("\n");
  const overlong = Buffer.alloc(700_000, "x");
  appendFileSync(join(directory, CALLS), Buffer.from(`${text}\n`, "latin1"));
  appendFileSync(join(directory, CALLS), Buffer.concat([overlong, Buffer.from(`\n${good}\n`)]));

  const { told, problems } = start(t, directory);

  assert.equal(costOf(told), bad.length + 2);
  assert.deepEqual(problems, [`${bad.length + 1} damaged lines were skipped in ${CALLS}.`]);
});

test("begins a new line where a crash has torn the last one", async (t) => {
  const directory = makeDirectory(t);
  await record(directory, t, on(0), on(0));
  const text = readFileSync(join(directory, CALLS));
  writeFileSync(join(directory, CALLS), text.subarray(0, -20));

  await record(directory, t, on(0, { costMicroUsd: 5 }));

  const { told, problems } = start(t, directory);
  assert.equal(costOf(told), 6);
  assert.deepEqual(problems, [`1 damaged line was skipped in ${CALLS}.`]);
});

test("takes a last line that has all but its break", async (t) => {
  const directory = makeDirectory(t);
  await record(directory, t, on(0), on(0));
  const text = readFileSync(join(directory, CALLS));
  writeFileSync(join(directory, CALLS), text.subarray(0, -1));

  const { told, journal, problems } = start(t, directory);
  await journal.add(on(0));
  await journal.close();

  assert.equal(costOf(told), 2);
  assert.equal(linesOf(directory, CALLS).length, 3);
  assert.deepEqual(problems, []);
});

test("tells damage of a day that is over once, not at every start", async (t) => {
  const directory = makeDirectory(t);
  await record(directory, t, on(0));
  appendFileSync(join(directory, CALLS), '{"at":"torn');

  const first = start(t, directory, { clock: clockAt(1) });
  await eventually(() => existsSync(join(directory, `totals-${TODAY}.json`)));
  await first.journal.close();
  const second = start(t, directory, { clock: clockAt(1) });

  assert.deepEqual(first.problems, [`1 damaged line was skipped in ${CALLS}.`]);
  assert.deepEqual(second.problems, []);
  assert.equal(costOf(second.told), 1);
});

test("reads large files in pieces, wherever their lines and letters are cut", async (t) => {
  const directory = makeDirectory(t);
  const { journal } = start(t, directory);
  const count = 5_000;
  for (let each = 0; each < count; each++) {
    const caller = `key:${"ü€🙂".repeat(each % 40)}`;
    void journal.add(on(0, { caller, scopes: [`caller:${caller}`] }));
  }
  await journal.close();

  const again = start(t, directory);

  assert.ok(statSync(join(directory, CALLS)).size > 4 * 256 * 1024, "one piece would hold it");
  assert.equal(again.told.length, count);
  assert.equal((await again.journal.rows(TODAY, TODAY)).length, 40);
  assert.deepEqual(again.problems, []);
});

test("writes no line over 8 KiB, and never cuts whom a call is charged to", async (t) => {
  const directory = makeDirectory(t);
  const scopes = [`caller:${"\u{1f600}".repeat(255)}`];
  const long = "\0".repeat(3_000);

  await record(directory, t, on(0, { caller: long, model: long, error: long, scopes }));

  const [line = ""] = linesOf(directory, CALLS);
  assert.ok(Buffer.byteLength(line) < 8 * 1024, `${Buffer.byteLength(line)} bytes`);
  const { told, problems } = start(t, directory);
  assert.deepEqual(
    told.map((spent) => spent.scopes),
    [scopes],
  );
  assert.deepEqual(problems, []);
});

test(
  "lets calls go on while the disk is full, and writes them afterwards",
  HAS_FULL_DISK,
  async (t) => {
    const directory = makeDirectory(t);
    const { journal, clock, problems } = start(t, directory);
    const path = join(directory, CALLS);
    symlinkSync("/dev/full", path);

    await journal.add(on(0));
    await journal.add(on(0));
    await journal.add(on(1));

    const failure = `Calls cannot be recorded in ${path}: no space is left (ENOSPC)`;
    assert.equal(journal.problem, `${failure}; calls that wait: 3, that are lost: 0`);
    clock.advance(1_000);
    await eventually(() => clock.pending > 0);
    assert.deepEqual(problems, [`${failure}.`]);

    rmSync(path);
    await journal.add(on(0));
    assert.equal(existsSync(path), false, "it does not try for every call");
    clock.advance(1_000);
    await eventually(() => existsSync(join(directory, "calls-2026-01-02.jsonl")));
    await journal.close();
    assert.equal(journal.problem, undefined);
    assert.deepEqual(problems.slice(1), ["Calls are recorded again."]);
    assert.equal(linesOf(directory, CALLS).length, 3);
    assert.equal(linesOf(directory, "calls-2026-01-02.jsonl").length, 1);
  },
);

test(
  "holds 8 MiB of calls that wait, and says how many more were lost",
  HAS_FULL_DISK,
  async (t) => {
    const directory = makeDirectory(t);
    const { journal, clock, problems } = start(t, directory);
    const path = join(directory, CALLS);
    symlinkSync("/dev/full", path);
    const long = on(0, { caller: "c".repeat(2_000) });
    await journal.add(long);

    const count = 5_000;
    for (let each = 1; each < count; each++) await journal.add(long);
    rmSync(path);
    clock.advance(1_000);
    await eventually(() => journal.problem === undefined);
    await journal.close();

    const kept = linesOf(directory, CALLS).length;
    const { size } = statSync(path);
    assert.ok(size <= WAITING_LIMIT && size > WAITING_LIMIT - 4_096, `${size} bytes`);
    assert.equal(problems.at(-1), `Calls that are lost to the record: ${count - kept}.`);
    const again = start(t, directory);
    for (let each = 0; each < count; each++) {
      const written = again.journal.add(long);
      if (each % 1_000 === 0) await written;
    }
    await again.journal.close();
    assert.deepEqual(again.problems, []);
    assert.equal(problems.filter((each) => each.includes("lost")).length, 1);
    assert.equal(linesOf(directory, CALLS).length, kept + count);
  },
);

test("says at its end how many calls it could not write", HAS_FULL_DISK, async (t) => {
  const directory = makeDirectory(t);
  const { journal, problems, clock } = start(t, directory);
  symlinkSync("/dev/full", join(directory, CALLS));

  await journal.add(on(0));
  await journal.add(on(0));
  await journal.close();

  assert.equal(clock.pending, 0);

  assert.equal(problems.at(-1), "Calls that are lost to the record: 2.");
});

test("writes again what is not whole after a write that ended early", () => {
  const lines = Buffer.from("one\ntwo\n");
  const rest = (written: number): string => toRest(lines, written).toString();

  assert.deepEqual([0, 1, 2].map(rest), ["one\ntwo\n", "one\ntwo\n", "one\ntwo\n"]);
  // A line that lacks its break gets that when the file is opened.
  assert.equal(rest(3), "two\n");
  assert.deepEqual([4, 5, 6].map(rest), ["two\n", "two\n", "two\n"]);
  assert.equal(rest(7), "");
});

test("tries once more when it is closed", HAS_FULL_DISK, async (t) => {
  const directory = makeDirectory(t);
  const { journal, problems } = start(t, directory);
  symlinkSync("/dev/full", join(directory, CALLS));
  await journal.add(on(0));
  rmSync(join(directory, CALLS));

  await journal.close();

  assert.equal(linesOf(directory, CALLS).length, 1);
  assert.equal(problems.at(-1), "Calls are recorded again.");
});

test("loses nothing where a file is full in the middle of a line", async (t) => {
  const directory = makeDirectory(t);
  const child = startJournalProcess(t, directory, "full", 128);
  const isCalls = (name: string): boolean => name.startsWith("calls-");

  await eventually(() => child.problems().length > 0);
  const [calls = ""] = readdirSync(directory).filter(isCalls);
  const full = readFileSync(join(directory, calls));
  const before = child.ids().length;
  // Somebody makes room.
  renameSync(join(directory, calls), join(directory, `full-${calls}`));
  await eventually(() => child.ids().length > before + 40);
  await child.kill();

  assert.equal(full.length, 128 * 512);
  assert.notEqual(full.at(-1), 10, "no line is torn");
  assert.match(child.problems()[0] ?? "", /^Calls cannot be recorded in .*EFBIG\)\.$/);
  assert.equal(child.problems()[1], "Calls are recorded again.");
  const found = readIds(directory);
  const known = new Set(found);
  // Where this process was slow, the new file is full as well: that was the third complaint.
  assert.deepEqual(
    child.ids(3).filter((id) => !known.has(id)),
    [],
  );
  assert.equal(known.size, found.length);
});

test("closes once, and lets a call that ends later go on", async (t) => {
  const directory = makeDirectory(t);
  const { journal, problems } = start(t, directory);
  void journal.add(on(0));

  await Promise.all([journal.close(), journal.close()]);
  await journal.add(on(0));

  assert.equal(linesOf(directory, CALLS).length, 1);
  assert.equal(existsSync(join(directory, "lock")), false);
  assert.deepEqual(problems, ["A call ended after the journal was closed: it is not recorded."]);
});

test("warns of another process in its directory, and leaves it the lock", async (t) => {
  const directory = makeDirectory(t);
  const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  t.after(() => other.kill());
  await once(other, "spawn");
  const lock = `${other.pid} ${hostname()}\n`;
  writeFileSync(join(directory, "lock"), lock);

  const { journal, problems } = start(t, directory);
  await journal.add(on(0));
  await journal.close();

  assert.deepEqual(problems, [
    `Another process, ${other.pid}, writes to ${directory}: ` +
      "budgets are not shared between two; share them with REDIS_URL.",
  ]);
  assert.equal(readFileSync(join(directory, "lock"), "utf8"), lock);
  assert.deepEqual(readdirSync(directory), [CALLS, "lock"]);
});

test("takes over a lock whose process is gone, and what it had written aside", async (t) => {
  const gone = spawn(process.execPath, ["-e", ""]);
  await once(gone, "exit");
  const stale = [
    `${gone.pid} ${hostname()}\n`,
    "1 another-host\n",
    `${process.pid} ${hostname()}\n`,
  ];

  for (const lock of [...stale, "no lock at all", ""]) {
    const aside = `totals-2025-12-31.json.${gone.pid}.tmp`;
    const directory = makeDirectory(t, { lock, [aside]: "{" });
    const { problems, journal } = start(t, directory);

    assert.deepEqual(problems, []);
    assert.deepEqual(readdirSync(directory), ["lock"]);
    assert.equal(readFileSync(join(directory, "lock"), "utf8"), `${process.pid} ${hostname()}\n`);
    await journal.close();
    assert.deepEqual(readdirSync(directory), []);
  }
});

test("leaves a lock alone that another process has taken over", async (t) => {
  const directory = makeDirectory(t);
  const { journal } = start(t, directory);
  writeFileSync(join(directory, "lock"), "1 another-host\n");

  await journal.close();

  assert.equal(readFileSync(join(directory, "lock"), "utf8"), "1 another-host\n");
});

test("syncs about once a second while there is something to sync", async (t) => {
  const directory = makeDirectory(t);
  const synced = await spyOnSync(t, directory);
  const { journal, clock } = start(t, directory, { sync: "interval" });

  for (let each = 0; each < 5; each++) await journal.add(on(0));
  assert.equal(synced.mock.callCount(), 0);
  clock.advance(1_000);
  assert.equal(synced.mock.callCount(), 1);
  clock.advance(60_000);
  assert.equal(synced.mock.callCount(), 1);
  await journal.add(on(0));
  await journal.close();

  assert.equal(synced.mock.callCount(), 2);
});

test("never syncs where that is the policy, nor in vain where every write does", async (t) => {
  for (const sync of ["never", "always"] as const) {
    const directory = makeDirectory(t);
    const synced = await spyOnSync(t, directory);
    const { journal, clock } = start(t, directory, { sync });

    await journal.add(on(0));
    clock.advance(1_000);
    await journal.close();

    assert.equal(synced.mock.callCount(), 0);
  }
});

const HAS_PROC = existsSync("/proc/self/fdinfo") ? {} : { skip: "there is no /proc" };

test(
  "opens its file so that every write reaches the disk, where it has to",
  HAS_PROC,
  async (t) => {
    for (const sync of ["never", "always"] as const) {
      const directory = makeDirectory(t);
      const { journal } = start(t, directory, { sync });
      await journal.add(on(0));

      const { ino } = statSync(join(directory, CALLS));
      const fd = readdirSync("/proc/self/fd").find((each) => {
        return statSync(`/proc/self/fd/${each}`, { throwIfNoEntry: false })?.ino === ino;
      });
      const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
      const flags = Number.parseInt(/flags:\s+(\d+)/.exec(info)?.[1] ?? "", 8);
      assert.equal((flags & 0o10000) !== 0, sync === "always"); // O_DSYNC
    }
  },
);

test("says once where syncing is denied, and goes on", async (t) => {
  const directory = makeDirectory(t);
  const synced = await spyOnSync(t, directory);
  synced.mock.mockImplementation(async () => {
    throw Object.assign(new Error("denied"), { code: "ERR_ACCESS_DENIED" });
  });
  const { journal, clock, problems } = start(t, directory, { sync: "interval" });

  for (let each = 0; each < 3; each++) {
    await journal.add(on(0));
    clock.advance(1_000);
    await turn();
  }
  await journal.close();

  assert.equal(synced.mock.callCount(), 1);
  assert.deepEqual(problems, [
    `${join(directory, CALLS)} cannot be synced: denied by Node's permission model ` +
      "(ERR_ACCESS_DENIED); what is written reaches the disk when the system sees fit.",
  ]);
  assert.equal(linesOf(directory, CALLS).length, 3);
});

test("goes on syncing where it fails, and says so once", async (t) => {
  const directory = makeDirectory(t);
  const synced = await spyOnSync(t, directory);
  synced.mock.mockImplementation(async () => {
    throw Object.assign(new Error("broken"), { code: "EIO" });
  });
  const { journal, clock, problems } = start(t, directory, { sync: "interval" });

  for (let each = 0; each < 3; each++) {
    await journal.add(on(0));
    clock.advance(1_000);
    await turn();
  }

  assert.equal(synced.mock.callCount(), 3);
  assert.equal(problems.length, 1);
  assert.match(problems[0] ?? "", /cannot be synced: the disk does not work \(EIO\);/);
});

/** Watches the method that all files share. */
async function spyOnSync(t: TestContext, directory: string) {
  const file = await open(join(directory, "any"), "w");
  await file.close();
  rmSync(join(directory, "any"));
  return t.mock.method(Object.getPrototypeOf(file), "datasync", Object(file).datasync);
}

test("reports 400 days at most, without those that cannot be read", async (t) => {
  const directory = makeDirectory(t);
  const { journal, problems } = start(t, directory);
  for (let day = 1; day <= 401; day++) {
    const name = new Date(START_MS - day * DAY_MS).toISOString().slice(0, 10);
    if (day === 7) mkdirSync(join(directory, `calls-${name}.jsonl`));
    else copyDay(directory, name);
  }
  await journal.add(on(0));

  const rows = await journal.rows("2000-01-01", "2030-01-01");

  assert.equal(rows.length, 399);
  assert.equal(rows[0]?.day, "2024-11-28");
  assert.equal(rows.at(-1)?.day, TODAY);
  assert.equal(problems.length, 1);
  assert.match(
    problems[0] ?? "",
    /^Days that are missing in a report: 1; .*calls-2025-12-25\.jsonl: .*\(EISDIR\)\.$/,
  );
});

function copyDay(directory: string, day: string): void {
  const figures = { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, costMicroUsd: 0 };
  const row = { caller: "a", model: "m", requests: 1, failed: 0, estimated: 0, ...figures };
  const totals = { day, bytes: 0, begin: "", rows: [row], spent: [] };
  writeFileSync(join(directory, `totals-${day}.json`), JSON.stringify(totals));
}

test("refuses a report that would fill the memory", async (t) => {
  const directory = makeDirectory(t);
  const { journal } = start(t, directory);
  for (let day = 1; day <= 21; day++) {
    const name = new Date(START_MS - day * DAY_MS).toISOString().slice(0, 10);
    copyDay(directory, name);
    const path = join(directory, `totals-${name}.json`);
    const totals = JSON.parse(readFileSync(path, "utf8"));
    const [row] = totals.rows;
    totals.rows = Array.from({ length: 10_000 }, (_, at) => ({ ...row, caller: `c${at}` }));
    writeFileSync(path, JSON.stringify(totals));
  }

  await assert.rejects(journal.rows("2000-01-01", "2030-01-01"), StoreError);
});

test("ignores files that are not its own", async (t) => {
  const directory = makeDirectory(t, {
    "calls-2025-13-45.jsonl": "{}\n",
    "calls-latest.jsonl": "{}\n",
    "totals-2025-12-31.json.bak": "{}",
    "notes.txt": "mine",
  });

  const { journal, told, problems } = start(t, directory);
  await journal.close();

  assert.deepEqual([told, problems], [[], []]);
  assert.equal(readdirSync(directory).length, 4);
});
