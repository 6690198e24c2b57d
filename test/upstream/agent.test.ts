// The runtime's own agent is found by looking, and done without when it is not what we know.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test, type TestContext } from "node:test";
import { Agent, createDispatcher } from "../../src/upstream/agent.ts";
import { Wire } from "../../src/upstream/wire.ts";
import { fakeOpenAI, portOf } from "../helpers/fake-openai.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const TIMEOUTS = { connectMs: 1_000, firstByteMs: 1, idleMs: 1, stallMs: 1 };
const SLOTS = [Symbol.for("undici.globalDispatcher.1"), Symbol.for("undici.globalDispatcher.2")];

/** Puts something into undici's slots until the test ends; slots cannot always be deleted. */
function occupy(t: TestContext, value: unknown): void {
  void globalThis.Headers;
  for (const slot of SLOTS) {
    const before = Object.getOwnPropertyDescriptor(globalThis, slot);
    if (before === undefined && value === undefined) continue;
    Object.defineProperty(globalThis, slot, {
      value,
      writable: true,
      configurable: before?.configurable ?? true,
      enumerable: false,
    });
    t.after(() => {
      if (before === undefined) Reflect.deleteProperty(globalThis, slot);
      else Object.defineProperty(globalThis, slot, before);
    });
  }
}

test("this runtime offers one, and it works with fetch", async (t) => {
  const server = createServer((_, res) => res.end("answer")).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());

  const dispatcher = createDispatcher(TIMEOUTS);

  assert.ok(dispatcher !== undefined);
  const response = await fetch(`http://127.0.0.1:${portOf(server)}/`, { dispatcher });
  assert.equal(await response.text(), "answer");
  await dispatcher.destroy();
});

test("it is one of our own: what is global stays as it was", async () => {
  void globalThis.Headers;
  const before = SLOTS.map((slot): unknown => Reflect.get(globalThis, slot));

  const dispatcher = createDispatcher(TIMEOUTS);

  assert.deepEqual(
    SLOTS.map((slot): unknown => Reflect.get(globalThis, slot)),
    before,
  );
  assert.ok(!before.includes(dispatcher));
  assert.notEqual(createDispatcher(TIMEOUTS), dispatcher);
  await dispatcher?.destroy();
});

test("destroying it leaves the global one alone", async (t) => {
  const server = createServer((_, res) => res.end("answer")).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());

  await createDispatcher(TIMEOUTS)?.destroy();

  assert.equal(await (await fetch(`http://127.0.0.1:${portOf(server)}/`)).text(), "answer");
});

test("its clocks are off where the gateway has its own: a slow answer is not cut by undici", async () => {
  const dispatcher = createDispatcher(TIMEOUTS);
  const options = optionsOf(dispatcher);

  assert.equal(options["headersTimeout"], 0);
  assert.equal(options["bodyTimeout"], 0);
  assert.equal(options["allowH2"], false);
  await dispatcher?.destroy();
});

/** undici keeps what it was given behind a symbol. */
function optionsOf(dispatcher: object | undefined): Readonly<Record<string, unknown>> {
  const symbols = Object.getOwnPropertySymbols(dispatcher ?? {});
  const symbol = symbols.find((each) => each.description === "options");
  const options: unknown = symbol && Reflect.get(dispatcher ?? {}, symbol);
  assert.ok(typeof options === "object" && options !== null);
  return { ...options };
}

class Throwing {
  constructor(options?: unknown) {
    if (options !== undefined) throw new Error("not like this");
  }
}

class NoAgent {}

const ODD: Readonly<Record<string, unknown>> = {
  undefined: undefined,
  null: null,
  "a number": 42,
  "a text": "agent",
  "a plain object": {},
  "an object without a constructor": Object.create(null),
  "an object whose constructor is no function": { constructor: "agent" },
  "an object whose constructor is an arrow function": { constructor: () => ({}) },
  "a class that throws": new Throwing(),
  "a class that makes no dispatcher": new NoAgent(),
  "a function": () => {},
};

for (const [name, value] of Object.entries(ODD)) {
  test(`${name} in undici's slots: none, and nothing thrown`, (t) => {
    occupy(t, value);

    assert.equal(createDispatcher(TIMEOUTS), undefined);
  });
}

class OwnAgent {
  readonly options: unknown;

  constructor(options: unknown) {
    this.options = options;
  }

  dispatch(): void {}

  destroy(): void {}
}

test("a subclass in the slot, as under NODE_USE_ENV_PROXY, is what ours is made of", (t) => {
  occupy(t, new OwnAgent(undefined));

  const dispatcher: unknown = createDispatcher(TIMEOUTS);

  assert.ok(dispatcher instanceof OwnAgent);
  assert.deepEqual(dispatcher.options, {
    allowH2: false,
    connect: { timeout: 1_000 },
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 30_000,
  });
});

/** A server that answers with a head, and with a body when it is told to. */
async function startServer(t: TestContext) {
  let release = (): void => {};
  const server = createServer((req, res) => {
    req.resume().on("end", () => {
      res.writeHead(200).flushHeaders();
      release = () => res.end("answer");
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${portOf(server)}`;
  return { server, host, url: `http://${host}/`, release: () => release() };
}

function agentFor(t: TestContext, host: string): Agent {
  const agent = new Agent(TIMEOUTS, host, () => {});
  t.after(() => agent.close());
  return agent;
}

for (const body of [undefined, "a body"]) {
  test(`it tells what happens on the wire, ${body ?? "no body"}`, async (t) => {
    const { host, url, release } = await startServer(t);
    const moments: string[] = [];
    const own = agentFor(t, host).dispatcher;
    assert.ok(own !== undefined, "this runtime has no agent");
    const { dispatcher } = new Wire(own, (moment) => moments.push(moment));

    const asked = body === undefined ? {} : { method: "POST", body };
    const response = await fetch(url, { ...asked, dispatcher });
    const sent = body === undefined ? ["sent"] : ["sent", "sent"];
    assert.deepEqual(moments, ["connecting", "connected", ...sent, "answered"]);
    release();
    await response.text();

    assert.deepEqual(moments.slice(-2), ["answered", "firstByte"]);
  });
}

test("it counts the connections to its host as the host does, and to no other", async (t) => {
  const [one, other] = [await startServer(t), await startServer(t)];
  const agent = agentFor(t, one.host);
  let accepted = 0;
  one.server.on("connection", () => accepted++);
  const call = async (to: typeof one, from: Agent): Promise<void> => {
    const { dispatcher } = from;
    assert.ok(dispatcher !== undefined, "this runtime has no agent");
    const response = await fetch(to.url, { dispatcher });
    to.release();
    await response.text();
  };

  await call(one, agent);
  await call(one, agent);
  await call(other, agentFor(t, other.host));
  assert.ok(accepted > 0, "nobody has connected");
  assert.deepEqual([agent.connectionsOpened, agent.openConnections], [accepted, accepted]);

  one.server.closeAllConnections();
  while (agent.openConnections > 0) await new Promise((resolve) => setImmediate(resolve));
  await call(one, agent);
  assert.deepEqual([agent.connectionsOpened, agent.openConnections], [accepted, 1]);
});

test("where there is none, calls by direct go by fetch, and the log says so once", async (t) => {
  const openai = await fakeOpenAI(t, (res) => void res.end("{}"));
  const upstreams = [
    { baseUrl: openai.baseUrl, apiKey: "sk-test-0123456789", transport: "direct" },
  ] as const;
  const { url, log } = await startGateway(t, openai.baseUrl, { upstreams });
  void globalThis.Headers;
  const real: object =
    SLOTS.map((slot): unknown => Reflect.get(globalThis, slot)).find(isObject) ?? {};
  // Does what the real one does, and nobody could make another of it.
  occupy(t, {
    dispatch: (...args: unknown[]) => Reflect.apply(Reflect.get(real, "dispatch"), real, args),
  });

  for (const call of ["first", "second"]) {
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body: "{}" });
    assert.equal(response.status, 200, call);
    await response.text();
  }

  const warnings = log.filter(({ level }) => level === "warn").map(({ message }) => message);
  assert.deepEqual(
    warnings.map((each) => each.includes("fetch agent")),
    [true],
  );
});

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
