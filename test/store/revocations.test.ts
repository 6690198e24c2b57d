// Who is shut out stays out: until the moment that was named, whatever dies meanwhile.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { openStore as open } from "../../src/store/open.ts";
import { Revocations } from "../../src/store/revocations.ts";
import { openRevocations } from "../../src/store/revocations-file.ts";
import { REVOCATION_LIMIT, type Store } from "../../src/store/store.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { startRedis, WITHOUT_REDIS } from "../helpers/redis-server.ts";
import { makeDirectory } from "../helpers/run-cli.ts";
import { messageOf, openManually, recover } from "./open-redis.ts";

const HOUR_MS = 3_600_000;
const NAMES = ["key:a", "token:ü 🙂", "https://login.example/#u|1", "192.0.2.1", "x".repeat(1_000)];

interface Opened {
  readonly store: Store;
  readonly clock: ManualClock;
}

const stores: Readonly<
  Record<string, readonly [(t: TestContext) => Promise<Opened>, string | false]>
> = {
  memory: [
    async () => {
      const clock = new ManualClock();
      return { store: new MemoryStore(clock), clock };
    },
    false,
  ],
  directory: [
    async (t) => {
      const clock = new ManualClock();
      return { store: await openDirectory(t, makeDirectory(t), clock), clock };
    },
    false,
  ],
  redis: [async (t) => openManually(t, (await startRedis(t)).url()), WITHOUT_REDIS],
};

/** As a gateway with DATA_DIR opens it. */
async function openDirectory(t: TestContext, dataDir: string, clock: ManualClock): Promise<Store> {
  const config = parseConfig({ upstreams: [{ apiKey: "key-0123456789" }], store: { dataDir } });
  const store = open(config, clock, () => {});
  t.after(() => store.close().catch(() => {}));
  await store.ready;
  return store;
}

for (const [name, [opened, skip]] of Object.entries(stores)) {
  test(`${name}: a caller is out until its moment, and nobody else is`, { skip }, async (t) => {
    const { store, clock } = await opened(t);
    for (const [index, caller] of NAMES.entries()) {
      await store.revoke({ caller, untilMs: clock.now() + (index + 1) * HOUR_MS });
    }
    await store.revoke({ caller: "for ever", untilMs: Infinity });

    const out = (): number => NAMES.filter((caller) => store.revoked(caller)).length;
    const counts = [out()];
    for (let hour = 0; hour < 5; hour++) {
      clock.advance(HOUR_MS);
      counts.push(out());
    }

    assert.deepEqual(counts, [5, 4, 3, 2, 1, 0]);
    assert.ok(store.revoked("for ever"), "for ever is over");
    for (const caller of ["", "key:b", "key:", "KEY:A", "toString", "for ever "]) {
      assert.ok(!store.revoked(caller), `"${caller}" is out`);
    }
    await recover(store, clock); // For a connection these were hours, too.
    assert.deepEqual(await store.revocations(), [{ caller: "for ever", untilMs: Infinity }]);
  });

  test(`${name}: a revocation is changed and lifted, and listed by caller`, { skip }, async (t) => {
    const { store, clock } = await opened(t);
    const untilMs = clock.now() + HOUR_MS;
    await store.revoke({ caller: "b", untilMs });
    await store.revoke({ caller: "a", untilMs: Infinity });
    await store.revoke({ caller: "b", untilMs: untilMs + 1 });
    assert.deepEqual(await store.revocations(), [
      { caller: "a", untilMs: Infinity },
      { caller: "b", untilMs: untilMs + 1 },
    ]);

    await store.revoke({ caller: "a", untilMs: 0 });
    await store.revoke({ caller: "nobody", untilMs: 0 });

    assert.deepEqual([store.revoked("a"), store.revoked("b")], [false, true]);
    assert.equal((await store.revocations()).length, 1);
  });
}

test("there are 10 000 at most, of which those that are over make room", async () => {
  const clock = new ManualClock();
  const many = Array.from({ length: REVOCATION_LIMIT - 200 }, (_, index) => {
    return { caller: `late:${index}`, untilMs: Infinity };
  });
  // Not one by one: each of them writes all.
  const file = new MemoryStore(clock, undefined, false, openFull(clock, [...many]));
  for (let index = 0; index < 200; index++) {
    await file.revoke({ caller: `early:${index}`, untilMs: clock.now() + 1 });
  }

  const message = await messageOf(file.revoke({ caller: "one", untilMs: Infinity }));
  assert.match(message, /10000 revocations already/);
  assert.ok(!file.revoked("one"), "it is out all the same");
  await file.revoke({ caller: "late:7", untilMs: clock.now() + 5 });
  clock.advance(1);
  await file.revoke({ caller: "one", untilMs: Infinity });
  assert.ok(file.revoked("one"), "there is no room");
});

function openFull(clock: ManualClock, known: readonly { caller: string; untilMs: number }[]) {
  return new Revocations(clock, known);
}

describe("in a directory", () => {
  test("they outlive the process, in a file for nobody else", async (t) => {
    const directory = makeDirectory(t);
    const clock = new ManualClock();
    const first = await openDirectory(t, directory, clock);
    await first.revoke({ caller: "key:a", untilMs: Infinity });
    await first.revoke({ caller: "token:b", untilMs: clock.now() + HOUR_MS });
    await first.close();

    const second = await openDirectory(t, directory, clock);

    assert.deepEqual([second.revoked("key:a"), second.revoked("token:b")], [true, true]);
    assert.equal(statSync(join(directory, "revocations.json")).mode & 0o777, 0o600);
    assert.ok(!readdirSync(directory).some((name) => name.endsWith(".tmp")), "a rest is left");
    clock.advance(HOUR_MS);
    assert.deepEqual([second.revoked("key:a"), second.revoked("token:b")], [true, false]);
  });

  const damages = [
    "",
    "{",
    "[]",
    '{"revocations":{}}',
    '{"revocations":[{"caller":7,"until":null}]}',
  ];
  damages.push(
    '{"revocations":[{"caller":"a","until":"soon"}]}',
    '{"revocations":[{"caller":"a"}]}',
  );
  for (const damaged of damages) {
    test(`a damaged file lets nobody in: ${damaged}`, async (t) => {
      const directory = makeDirectory(t, { "revocations.json": damaged });
      await assert.rejects(
        openDirectory(t, directory, new ManualClock()),
        /revocations\.json is damaged, so nobody knows who is revoked: mend it, or remove it/,
      );
      assert.equal(readFileSync(join(directory, "revocations.json"), "utf8"), damaged);
      // The directory can be opened by the next one.
      assert.ok(!existsSync(join(directory, "lock")), "it is still locked");
    });
  }

  test("what cannot be written is not done, and said", async (t) => {
    const directory = makeDirectory(t);
    const clock = new ManualClock();
    const revocations = openRevocations(join(directory, "gone"), clock);

    await assert.rejects(revocations.put({ caller: "a", untilMs: Infinity }), {
      name: "StoreError",
      message: /revocations\.json cannot be written/,
    });

    assert.ok(!revocations.has("a"), "it is out all the same");
  });

  test("in a directory that is read-only all stays as it was", async (t) => {
    const directory = makeDirectory(t);
    const revocations = openRevocations(directory, new ManualClock());
    await revocations.put({ caller: "a", untilMs: Infinity });
    chmodSync(directory, 0o555);

    const attempts = await asNobody(() =>
      Promise.allSettled([
        revocations.put({ caller: "b", untilMs: Infinity }),
        revocations.put({ caller: "a", untilMs: 0 }),
      ]),
    );

    for (const attempt of attempts) {
      const { name, message } = Object(attempt.status === "rejected" && attempt.reason);
      assert.equal(name, "StoreError");
      assert.match(message, /revocations\.json cannot be written: permission denied \(EACCES\)\.$/);
    }
    assert.deepEqual([revocations.has("a"), revocations.has("b")], [true, false]);
    const again = openRevocations(directory, new ManualClock());
    assert.deepEqual(again.list(), [{ caller: "a", untilMs: Infinity }]);
    assert.deepEqual(readdirSync(directory), ["revocations.json"]);
    chmodSync(directory, 0o755);
    await revocations.put({ caller: "b", untilMs: Infinity });
    assert.ok(revocations.has("b"), "it never recovers");
  });

  test("what a killed process had written aside is swept away", async (t) => {
    const directory = makeDirectory(t, { "revocations.json.77.tmp": "{" });

    await openDirectory(t, directory, new ManualClock());

    assert.ok(!readdirSync(directory).some((name) => name.endsWith(".tmp")), "it is still there");
  });

  test("a process that is killed loses none that it has said are kept", async (t) => {
    const directory = makeDirectory(t);
    const path = join(directory, "revocations.json");
    writeFileSync(path, '{"revocations":[]}');
    const said = new Set<string>();
    const url = (file: string): string => new URL(`../../src/${file}`, import.meta.url).href;
    const program = `
      import { openRevocations } from "${url("store/revocations-file.ts")}";
      import { systemClock } from "${url("clock.ts")}";
      const revocations = openRevocations(process.argv[1], systemClock);
      const bulk = "x".repeat(900);
      for (let count = 0; ; count++) {
        await revocations.put({ caller: bulk + "," + (count % 50), untilMs: Infinity });
        await revocations.put({ caller: process.argv[2] + count, untilMs: Infinity });
        process.stdout.write(process.argv[2] + count + " ");
      }`;
    for (let kill = 0; kill < 8; kill++) {
      const args = ["--import", import.meta.resolve("tsx"), "--input-type=module", "-e", program];
      const child = spawn(process.execPath, [...args, directory, `${kill}:`], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      t.after(() => child.kill("SIGKILL"));
      let output = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
      await once(child.stdout, "data");
      await new Promise((resolve) => setTimeout(resolve, 5 + kill * 7));
      child.kill("SIGKILL");
      await once(child, "close");
      for (const caller of output.split(" ").slice(0, -1)) said.add(caller);

      const known = openRevocations(directory, new ManualClock());
      const lost = [...said].filter((caller) => !known.has(caller));
      assert.deepEqual(lost, [], `of ${said.size}`);
    }
    assert.ok(said.size >= 8, `only ${said.size} were kept`);
  });
});

/** Whoever runs the tests: rights do not stop the superuser. */
async function asNobody<Result>(work: () => Promise<Result>): Promise<Result> {
  if (process.geteuid?.() !== 0) return work();
  process.seteuid?.(65_534);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}
