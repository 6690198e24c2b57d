// Whether anybody may call: said at the start while it is so, and only then.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { startCli, type RunningCli } from "../helpers/run-cli.ts";

async function start(
  t: TestContext,
  settings: Readonly<Record<string, string>>,
): Promise<RunningCli> {
  const { baseUrl } = await fakeOpenAI(t);
  const env = { OPENAI_API_KEY: "sk-0123456789abcdef", OPENAI_BASE_URL: baseUrl, ...settings };
  return startCli(t, { env: { ...env, HOST: "127.0.0.1" } });
}

const CLOSED = {
  "a key in GATEWAY_KEYS": { env: { GATEWAY_KEYS: "backend:0123456789abcdef" } },
  "a TOKEN_SECRET": { env: { TOKEN_SECRET: "0123456789abcdef0123456789abcdef" } },
};

for (const [what, { env }] of Object.entries(CLOSED)) {
  test(`with ${what} it is not open, and says nothing of the kind`, async (t) => {
    const cli = await start(t, env);

    const response = await post(`${cli.url}/v1/chat/completions`, {});
    await response.text();
    await cli.line(({ status }) => status === 401);

    assert.deepEqual(
      cli.lines().map(({ level, message, error }) => [level, message, error]),
      [
        ["info", `listening on ${cli.url}`, undefined],
        ["info", "request", "invalid_api_key"],
      ],
    );
    assert.equal(response.headers.get("www-authenticate"), 'Bearer realm="openai-gateway"');
  });
}

test("an ADMIN_KEY alone leaves the gateway open, and it says so", async (t) => {
  const env = { ADMIN_KEY: "0123456789abcdef" };

  const cli = await start(t, env);

  assert.match(cli.lines()[0]?.message ?? "", /^open: whoever reaches 127\.0\.0\.1 can spend /);
});
