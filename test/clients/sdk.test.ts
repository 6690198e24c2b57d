// The official SDK notices nothing: every ordinary call works through a gateway process that was
// told no more than `--mock`, at both base URLs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startMock } from "../../src/mock/server.ts";
import { inFrontOf, runGateway } from "./gateway-process.ts";
import { createClient, SDK_CALLS } from "./sdk-calls.ts";

test("the official SDK works through `openai-gateway --mock`", { timeout: 20_000 }, async (t) => {
  const { origin } = await runGateway(t, { args: ["--mock"] });

  for (const path of ["/v1", "/api/openai/v1"]) {
    const client = createClient(origin + path);
    for (const call of SDK_CALLS) await t.test(`${call.name} at ${path}`, () => call.check(client));
  }
});

test("an answer through the gateway is the answer without it", { timeout: 20_000 }, async (t) => {
  const mock = await startMock();
  t.after(() => mock.close());
  const { origin } = await runGateway(t, { env: inFrontOf(mock.baseUrl) });
  const direct = createClient(mock.baseUrl);
  const through = createClient(`${origin}/v1`);

  for (const { name, run } of SDK_CALLS) {
    await t.test(name, async () => assert.deepEqual(await run(through), await run(direct)));
  }
});

test(
  "the caller's key, organization and project stay at the gateway",
  { timeout: 20_000 },
  async (t) => {
    const mock = await startMock({ apiKey: "sk-only-this-one", firstTokenMs: 0 });
    t.after(() => mock.close());
    const env = { ...inFrontOf(mock.baseUrl), OPENAI_API_KEY: "sk-only-this-one" };
    const { origin } = await runGateway(t, { env });
    const client = createClient(`${origin}/v1`, { organization: "org-mine", project: "proj-mine" });

    const { data, response } = await client.models.retrieve("gpt-4o-mini").withResponse();

    assert.equal(data.id, "gpt-4o-mini");
    assert.equal(response.headers.get("openai-organization"), null);
    assert.match(response.headers.get("x-request-id") ?? "", /^req_/);
    assert.match(response.headers.get("x-gateway-request-id") ?? "", /^gw_/);
  },
);
