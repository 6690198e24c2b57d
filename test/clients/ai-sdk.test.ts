// Another client altogether: the AI SDK needs its `baseURL` changed and nothing else.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { createOpenAI, type OpenAIProvider } from "@ai-sdk/openai";
import { APICallError, embedMany, generateText, jsonSchema, Output, streamText } from "ai";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { inFrontOf, runGateway } from "./gateway-process.ts";

const bounded = { timeout: 20_000 };
/** The two APIs that it speaks: responses by default, chat on request. */
const MODELS = {
  responses: (openai: OpenAIProvider) => openai("gpt-5"),
  chat: (openai: OpenAIProvider) => openai.chat("gpt-4o-mini"),
} as const;

test("the AI SDK works through `openai-gateway --mock`", bounded, async (t) => {
  const openai = await connect(t);

  for (const [name, toModel] of Object.entries(MODELS)) {
    const model = toModel(openai);
    await t.test(`generateText by ${name}`, async () => {
      const { text, usage, finishReason } = await generateText({ model, prompt: "Say “hé”" });

      assert.match(text, /Say “hé”/);
      assert.equal(finishReason, "stop");
      assert.notEqual(usage.outputTokens ?? 0, 0);
    });

    await t.test(`streamText by ${name}`, async () => {
      const result = streamText({ model, prompt: "Say “hé”" });
      const pieces: string[] = [];
      for await (const piece of result.textStream) pieces.push(piece);

      assert.ok(pieces.length > 3, `only ${pieces.length} pieces came`);
      assert.match(pieces.join(""), /Say “hé”/);
      assert.notEqual((await result.usage).outputTokens ?? 0, 0);
    });

    await t.test(`a tool by ${name}`, async () => {
      const inputSchema = jsonSchema<{ city: string }>({
        type: "object",
        properties: { city: { type: "string" } },
      });
      const weather = { description: "Looks out of the window.", inputSchema };

      const { toolCalls } = await generateText({
        model,
        prompt: "Is it raining?",
        tools: { weather },
        toolChoice: "required",
      });

      assert.deepEqual(
        toolCalls.map(({ toolName, input }) => [toolName, input]),
        [["weather", { city: "mock" }]],
      );
    });

    await t.test(`structured output by ${name}`, async () => {
      const schema = jsonSchema<{ age: number }>({
        type: "object",
        properties: { age: { type: "integer", minimum: 7 } },
        required: ["age"],
        additionalProperties: false,
      });

      const { output } = await generateText({
        model,
        prompt: "How old?",
        output: Output.object({ schema }),
      });

      assert.deepEqual(output, { age: 7 });
    });
  }

  await t.test("embedMany", async () => {
    const model = openai.embedding("text-embedding-3-small");

    const { embeddings } = await embedMany({ model, values: ["one", "two"] });

    assert.deepEqual(
      embeddings.map(({ length }) => length),
      [1536, 1536],
    );
  });
});

test("the AI SDK sees an error's status, and whether to retry", bounded, async (t) => {
  for (const [status, isRetryable] of [
    [401, false],
    [429, true],
    [500, true],
  ] as const) {
    const openai = await connect(t, { "openai-mock": `status=${status}; delay-ms=0` });

    const call = generateText({ model: openai("gpt-5"), prompt: "Hi", maxRetries: 0 });

    await assert.rejects(call, (error) => {
      assert.ok(APICallError.isInstance(error), String(error));
      assert.equal(error.statusCode, status);
      assert.equal(error.isRetryable, isRetryable);
      return true;
    });
  }
});

test("the AI SDK sees that a stream broke off", bounded, async (t) => {
  const openai = await fakeOpenAI(t, async (res, arrival) => {
    await arrival.body;
    const delta = '{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"}}]}';
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write(`data: ${delta}\n\n`, () => setTimeout(() => res.destroy(), 30));
  });
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const model = createOpenAI({ baseURL: `${origin}/v1`, apiKey: "none" }).chat("gpt-4o-mini");
  const errors: unknown[] = [];

  const result = streamText({
    model,
    prompt: "Hi",
    onError: ({ error }) => void errors.push(error),
  });
  const pieces: string[] = [];
  for await (const piece of result.textStream) pieces.push(piece);

  assert.deepEqual(pieces, ["Hi"]);
  assert.equal(errors.length, 1);
  assert.match(JSON.stringify(errors[0]), /upstream_reset/);
});

async function connect(
  t: TestContext,
  headers: Record<string, string> = {},
): Promise<OpenAIProvider> {
  const { origin } = await runGateway(t, { args: ["--mock"] });
  const pace = { "openai-mock": "delay-ms=0; interval-ms=0" };
  return createOpenAI({
    baseURL: `${origin}/v1`,
    apiKey: "none",
    headers: { ...pace, ...headers },
  });
}
