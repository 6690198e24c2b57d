// A program that has put an undici of its own into the place of Node's, as those do that install it
// for its proxies or mocks: calls get through by both transports, whichever major it is.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test, type TestContext } from "node:test";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { changed, recordingStore } from "../helpers/recorder.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const SLOTS = ["undici.globalDispatcher.1", "undici.globalDispatcher.2"].map((each) =>
  Symbol.for(each),
);
const require = createRequire(import.meta.url);
const [node = 0] = process.versions.node.split(".").map(Number);
// undici 8 does not load on Node 20.
const MAJORS = node < 22 ? ["undici6", "undici7"] : ["undici6", "undici7", "undici8"];

/** Until the end of the test. */
function replaceAgent(t: TestContext, name: string): void {
  void globalThis.Headers; // Node's own comes first, as in every program that has fetched before.
  const before = SLOTS.map((slot): unknown => Reflect.get(globalThis, slot));
  t.after(() => SLOTS.forEach((slot, index) => Reflect.set(globalThis, slot, before[index])));
  const { Agent, setGlobalDispatcher } = require(name);
  setGlobalDispatcher(new Agent());
}

/** What the first so many callers get resolves at once, when all of them have called. */
function gathering(count: number): () => Promise<void> {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return () => {
    if (--count === 0) open();
    return opened;
  };
}

for (const name of MAJORS) {
  for (const transport of ["fetch", "direct"] as const) {
    test(`${name} in the place of Node's own: calls by ${transport} get through`, async (t) => {
      const { baseUrl } = await fakeOpenAI(t, (res) => void res.end(`{"object":"list"}`));
      replaceAgent(t, name);
      const upstreams = [{ baseUrl, apiKey: "sk-test-0123456789", transport }];
      const policies = { default: { requestsPerMinute: 100 } };
      const { store: inner } = recordingStore();
      const together = gathering(3);
      const store = changed(inner, { admit: (claim) => together().then(() => inner.admit(claim)) });
      const settings = { upstreams, policies };
      const { url, log } = await startGateway(t, baseUrl, settings, { store });

      const call = async (): Promise<readonly [number, string]> => {
        const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body: "{}" });
        return [response.status, await response.text()];
      };

      const answers = [...(await Promise.all([call(), call(), call()])), await call()];
      assert.deepEqual(answers, Array(4).fill([200, `{"object":"list"}`]));
      const warnings = log.filter(({ level }) => level === "warn").map(({ message }) => message);
      const misfits = node < 26 && name === "undici8" ? 1 : 0;
      assert.equal(warnings.filter((each) => each.includes("fetch agent")).length, misfits);
      assert.equal(log.filter(({ error }) => error !== undefined).length, 0, "a call has failed");
    });
  }
}
