// Who is shut out stays out: until the moment that was named, whatever dies meanwhile.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { MemoryStore } from "../../src/store/memory-store.ts";
import { openStore as open } from "../../src/store/open.ts";
import { Revocations } from "../../src/store/revocations.ts";
import { openRevocations } from "../../src/store/revocations-file.ts";
import { REVOCATION_LIMIT, StoreError, type Store } from "../../src/store/store.ts";
import { ManualClock } from "../helpers/manual-clock.ts";
import { startRedis, WITHOUT_REDIS } from "../helpers/redis-server.ts";
import { makeDirectory } from "../helpers/run-cli.ts";
import {
  eventually,
  messageOf,
  openConnection,
  openManually,
  openStore,
  recover,
} from "./open-redis.ts";

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
  const store = new MemoryStore(clock);
  for (let index = 0; index < 200; index++) {
    await store.revoke({ caller: `early:${index}`, untilMs: clock.now() + 1 });
  }
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

    assert.throws(() => revocations.put({ caller: "a", untilMs: Infinity }), {
      name: "StoreError",
      message: /revocations\.json cannot be written/,
    });

    assert.ok(!revocations.has("a"), "it is out all the same");
  });

  test("a process that is killed leaves the old ones or the new ones", async (t) => {
    const directory = makeDirectory(t);
    const path = join(directory, "revocations.json");
    writeFileSync(path, '{"revocations":[]}');
    const url = (file: string): string => new URL(`../../src/${file}`, import.meta.url).href;
    const program = `
      import { openRevocations } from "${url("store/revocations-file.ts")}";
      import { systemClock } from "${url("clock.ts")}";
      const revocations = openRevocations(process.argv[1], systemClock);
      process.stdout.write("ready");
      for (let i = 0; ; i = (i + 1) % 50) revocations.put({ caller: "x".repeat(900) + i, untilMs: Infinity });`;
    for (let kill = 0; kill < 8; kill++) {
      const args = ["--import", import.meta.resolve("tsx"), "--input-type=module", "-e", program];
      const child = spawn(process.execPath, [...args, directory], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await once(child.stdout, "data");
      await new Promise((resolve) => setTimeout(resolve, 5 + kill * 7));
      child.kill("SIGKILL");
      await once(child, "close");

      const known = openRevocations(directory, new ManualClock()).list();
      assert.ok(known.length <= 50, `there are ${known.length}`);
    }
    assert.ok(
      openRevocations(directory, new ManualClock()).list().length > 0,
      "nothing was written",
    );
  });
});

describe("in a Redis", { skip: WITHOUT_REDIS }, () => {
  test("another gateway knows within 2 seconds, one that starts at once", async (t) => {
    const url = (await startRedis(t)).url();
    const [one, other] = [await openManually(t, url), await openManually(t, url)];
    await one.store.revoke({ caller: "key:a", untilMs: Infinity });
    assert.ok(one.store.revoked("key:a"), "it does not know itself");

    const third = await openManually(t, url);
    await eventually(() => third.store.revoked("key:a"));
    // The reply of its first look may still be on its way.
    await eventually(() => {
      if (other.clock.pending > 0) other.clock.advance(2_000);
      return other.store.revoked("key:a");
    });

    await other.store.revoke({ caller: "key:a", untilMs: 0 });
    assert.ok(!other.store.revoked("key:a"), "it is still out");
    await eventually(() => {
      one.clock.advance(2_000);
      return !one.store.revoked("key:a");
    });
  });

  test("while Redis is away the copies hold, and nothing is revoked that is not kept", async (t) => {
    const server = await startRedis(t);
    const { store, clock } = await openManually(t, server.url());
    await store.revoke({ caller: "key:a", untilMs: Infinity });

    await server.stop();
    await eventually(() => store.problem !== undefined);

    assert.ok(store.revoked("key:a"), "it was let in");
    assert.match(await messageOf(store.revoke({ caller: "key:b", untilMs: Infinity })), /Redis/);
    assert.ok(!store.revoked("key:b"), "it is out, and nobody else knows");
    await assert.rejects(store.revocations(), StoreError);
    clock.advance(60_000);
    assert.ok(store.revoked("key:a"), "it was let in");
  });

  test("a Redis that has lost all is told again by whoever lives", async (t) => {
    const url = (await startRedis(t)).url();
    const [one, other] = [await openManually(t, url), await openManually(t, url)];
    await one.store.revoke({ caller: "key:a", untilMs: Infinity });
    await other.store.revocations();
    await openConnection(t, url).command("FLUSHALL");
    // Somebody who knows of nothing has more to say than there was.
    const third = await openManually(t, url);
    for (const caller of ["x", "y", "z"]) await third.store.revoke({ caller, untilMs: Infinity });

    const known = [...(await one.store.revocations())].map(({ caller }) => caller);

    assert.deepEqual(known, ["key:a", "x", "y", "z"]);
    await eventually(async () => {
      third.clock.advance(2_000);
      await third.store.revocations();
      return third.store.revoked("key:a");
    });
    assert.equal((await other.store.revocations()).length, 4);
  });

  test("there are 10 000 at most on the server, too", async (t) => {
    const url = (await startRedis(t)).url();
    const { store } = await openManually(t, url);
    const redis = openConnection(t, url);
    for (let batch = 0; batch < 10; batch++) {
      const pairs = Array.from({ length: 1_000 }, (_, index) => [
        `${batch}:${index}`,
        "inf",
      ]).flat();
      await redis.command("HSET", "openai-gateway:{limits}:revoked", ...pairs);
    }

    const message = await messageOf(store.revoke({ caller: "one", untilMs: Infinity }));

    assert.match(message, /10000 revocations already/);
    await store.revoke({ caller: "3:7", untilMs: 0 });
    await store.revoke({ caller: "one", untilMs: Infinity });
    assert.equal((await store.revocations()).length, REVOCATION_LIMIT);
  });

  test("closing leaves no timer behind", async (t) => {
    const url = (await startRedis(t)).url();
    const store = openStore(t, url);
    await eventually(() => store.problem === undefined);
    await store.close();
  });
});
