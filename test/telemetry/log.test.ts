// Lines that a machine or a person can read, and that never hold a secret.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogLevel } from "../../src/config/config.ts";
import { Secret } from "../../src/secret.ts";
import { createLog, createStdoutLog, redact, type LogFields } from "../../src/telemetry/log.ts";
import { ManualClock } from "../helpers/manual-clock.ts";

interface Options {
  readonly level?: LogLevel;
  readonly terminal?: boolean;
  readonly secrets?: readonly string[];
}

function openLog({ level = "debug", terminal = false, secrets = [] }: Options = {}) {
  const written: string[] = [];
  const log = createLog({
    level,
    terminal,
    clock: new ManualClock(),
    write: (line) => written.push(line),
    secrets: secrets.map((value) => new Secret(value)),
  });
  return { log, written };
}

/** The line that these fields make, as it is written and as a machine reads it. */
function writeOne(message: string, fields: LogFields, options: Options = {}) {
  const { log, written } = openLog(options);
  log.info(message, fields);
  const line = written.join("");
  return { line, parsed: JSON.parse(line) };
}

test("writes one JSON object and one line break per call", () => {
  const { line, parsed } = writeOne("request", {
    status: 200,
    stream: true,
    model: undefined,
    route: "GET /",
  });

  assert.deepEqual(parsed, {
    time: "2026-01-01T00:00:00.000Z",
    level: "info",
    message: "request",
    status: 200,
    stream: true,
    route: "GET /",
  });
  assert.equal(line.indexOf("\n"), line.length - 1);
});

test("keeps a line break in a value from starting a line of its own", () => {
  const { line, parsed } = writeOne("request", { reason: 'a\n{"level":"error"}' });

  assert.equal(line.split("\n").length, 2);
  assert.equal(parsed.reason, 'a\n{"level":"error"}');
});

const WRITTEN = {
  debug: ["debug", "info", "warn", "error"],
  info: ["info", "warn", "error"],
  warn: ["warn", "error"],
  error: ["error"],
  silent: [],
} as const satisfies Record<LogLevel, readonly string[]>;

for (const level of ["debug", "info", "warn", "error", "silent"] as const) {
  test(`at level ${level} writes ${WRITTEN[level].join(", ") || "nothing"}`, () => {
    const { log, written } = openLog({ level });

    for (const of of ["debug", "info", "warn", "error"] as const) log[of]("x");

    assert.deepEqual(
      written.map((line) => JSON.parse(line).level),
      WRITTEN[level],
    );
  });
}

test("on a terminal writes the time of day, the level, the message and the fields", () => {
  const { log, written } = openLog({ terminal: true });

  log.warn("request", {
    route: "POST /chat/completions",
    status: 200,
    caller: "127.0.0.1",
    model: undefined,
  });

  const plain = written.join("").replace(/\x1b\[\d+m/g, "");
  assert.equal(
    plain,
    '00:00:00 warn  request route="POST /chat/completions" status=200 caller=127.0.0.1\n',
  );
});

test("on a terminal quotes what could move the cursor or break the line", () => {
  const { log, written } = openLog({ terminal: true });

  log.info("request", { reason: "\x1b[2J\n" });

  assert.ok(written.join("").endsWith(' reason="\\u001b[2J\\n"\n'));
});

const KEY_LIKE = {
  "a project key": "sk-proj-Ab12_cd34-Ef56",
  "an older key": "sk-0123456789abcdef",
  "a service account's key": "sk-svcacct-0123456789",
  "an ephemeral key": "ek_68af296e8e408191a1120a8e",
  "a session key": "sess-0123456789abcdef",
  "a bearer credential": "Bearer opaque.credential/with+signs=",
  "a JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
  "the password in a URL": "redis://user:hunter2hunter2@cache:6379",
};

for (const [what, value] of Object.entries(KEY_LIKE)) {
  test(`hides ${what}, whoever it belongs to`, () => {
    const hidden = value.replace(/^Bearer |^redis:..user:|@cache:6379$/g, "");

    const { line, parsed } = writeOne(`got ${value}`, {
      reason: `was "${value}", twice "${value}"`,
    });

    assert.ok(!line.includes(hidden), line);
    assert.equal(parsed.reason.match(/\[secret\]/g)?.length, 2);
    assert.match(parsed.reason, /^was ".*\[secret\].*", twice ".*\[secret\].*"$/);
    assert.match(parsed.message, /^got .*\[secret\]/);
  });
}

test("leaves ordinary words alone", () => {
  const text =
    "task-management-system risk_assessment desk-0123456789 a bearer token, http://localhost:3000/v1";

  assert.equal(redact(text), text);
});

test("hides the configured secrets whatever their shape, also those that JSON would escape", () => {
  const secrets = ['pass"word\\1', "correct.horse.battery"];

  const { line, parsed } = writeOne(
    "refused",
    { cause: `key ${secrets[0]} or ${secrets[1]}` },
    { secrets },
  );

  assert.equal(parsed.cause, "key [secret] or [secret]");
  assert.ok(!line.includes("pass") && !line.includes("horse"));
});

test("hides secrets on a terminal too", () => {
  const { log, written } = openLog({ terminal: true, secrets: ["correct.horse.battery"] });

  log.error("with correct.horse.battery", { cause: "correct.horse.battery", key: "sk-0123456789" });

  assert.ok(written.join("").endsWith('with [secret] cause="[secret]" key="[secret]"\n'));
});

test("takes a placeholder such as the mock's key for an ordinary word", () => {
  const { parsed } = writeOne("mock: answers", {}, { secrets: ["mock"] });

  assert.equal(parsed.message, "mock: answers");
});

test("cuts a long value", () => {
  const { parsed } = writeOne("request", { reason: "word ".repeat(5_000) });

  assert.ok(parsed.reason.length <= 1_001 && parsed.reason.length > 900, `${parsed.reason.length}`);
  assert.ok(parsed.reason.endsWith("word …"));
});

test("cuts a long message and a long word too", () => {
  const { line, parsed } = writeOne("x ".repeat(5_000), { reason: "y".repeat(50_000) });

  assert.ok(line.length < 2_500, `${line.length}`);
  assert.equal(parsed.reason, "…");
});

for (const before of [980, 990, 995, 999]) {
  test(`shows no part of a secret that the cut at ${before} characters would run through`, () => {
    const padding = "x".repeat(before);

    const { line } = writeOne(
      "request",
      { reason: `${padding} correct.horse.battery.staple` },
      {
        secrets: ["correct.horse.battery.staple"],
      },
    );

    assert.doesNotMatch(line, /cor/);
  });
}

test("looks through hostile text in little time", () => {
  const hostile = "eyJ-".repeat(100_000);

  const startedAt = performance.now();
  writeOne("request", { reason: hostile, cause: `sk-${hostile}` });

  assert.ok(performance.now() - startedAt < 500);
});

test("writes values that no type allows, rather than failing the call that they are about", () => {
  const odd: object = {
    nothing: null,
    big: 10n,
    symbol: Symbol("x"),
    secret: new Secret("correct.horse.battery"),
    error: new TypeError("no"),
    endless: Infinity,
    half: "\ud800",
  };

  const { parsed } = writeOne("request", { ...odd });

  assert.deepEqual(
    { ...parsed, time: undefined },
    {
      time: undefined,
      level: "info",
      message: "request",
      nothing: "null",
      big: "10",
      symbol: "Symbol(x)",
      secret: "[secret]",
      error: "TypeError: no",
      endless: null,
      half: "\ud800",
    },
  );
});

test("many gateways in one process leave one listener on stdout", async () => {
  const count = (): readonly number[] => [
    process.stdout.listenerCount("error"),
    process.listenerCount("exit"),
  ];
  const write = async (): Promise<void> => {
    createStdoutLog("info", [], new ManualClock()).info("a line of a test");
    await new Promise((resolve) => setImmediate(resolve));
  };
  await write();
  const listeners = count();

  for (let gateway = 0; gateway < 20; gateway++) await write();

  assert.deepEqual(count(), listeners);
});
