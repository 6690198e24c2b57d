// What applications do with the official SDK, one call per line of the list, each with what it gives.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

export interface SdkCall {
  readonly name: string;
  /** Resolves with everything that came back: of a stream, all events. */
  run(client: OpenAI): Promise<unknown>;
  /** Runs it against the mock and asserts what came back. */
  check(client: OpenAI): Promise<void>;
}

/** A client that gives up at once, and asks the mock for no pauses. */
export function createClient(
  baseURL: string,
  options: ConstructorParameters<typeof OpenAI>[0] = {},
): OpenAI {
  return new OpenAI({
    baseURL,
    apiKey: "the-callers-own",
    organization: null,
    project: null,
    maxRetries: 0,
    timeout: 10_000,
    ...options,
    defaultHeaders: { "openai-mock": "delay-ms=0; interval-ms=0", ...options.defaultHeaders },
  });
}

/** Each value of a byte twice in a row: NULs, and nothing that is UTF-8. */
export const EVERY_BYTE = Buffer.from(Array.from({ length: 512 }, (_, index) => index >> 1));

const messages = [{ role: "user", content: "Say “hé”: \u2028 🙂" }] as const;
const chat = { model: "gpt-4o-mini", messages: [...messages] };
const tool = {
  type: "function",
  function: {
    name: "weather",
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
} as const;
const audio = (): Promise<File> => toFile(EVERY_BYTE, "ü “quoted”.wav", { type: "audio/wav" });
const picture = (): Promise<File> => toFile(EVERY_BYTE, "picture.png", { type: "image/png" });

export const SDK_CALLS: readonly SdkCall[] = [
  sdkCall(
    "chat",
    (client) => client.chat.completions.create(chat),
    ({ choices, usage }) => {
      assert.match(choices[0]?.message.content ?? "", /“hé”/);
      assert.equal(choices[0]?.finish_reason, "stop");
      assert.notEqual(usage?.total_tokens ?? 0, 0);
    },
  ),
  sdkCall(
    "chat with a tool",
    (client) => {
      return client.chat.completions.create({ ...chat, tools: [tool], tool_choice: "required" });
    },
    ({ choices }) => {
      const [call] = choices[0]?.message.tool_calls ?? [];
      assert.ok(call?.type === "function", "no function was called");
      assert.deepEqual(JSON.parse(call.function.arguments), { city: "mock" });
    },
  ),
  sdkCall(
    "chat as a stream",
    async (client) => {
      return collect(await client.chat.completions.create({ ...chat, stream: true }));
    },
    (chunks) => {
      const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
      assert.match(text, /“hé”/);
      const odd = chunks.filter((chunk) => chunk.choices.length !== 1 || "usage" in chunk);
      assert.deepEqual(odd, []);
    },
  ),
  sdkCall(
    "chat as a stream with usage",
    async (client) => {
      const options = { stream: true, stream_options: { include_usage: true } } as const;
      return collect(await client.chat.completions.create({ ...chat, ...options }));
    },
    (chunks) => {
      const last = chunks.pop();
      assert.deepEqual(last?.choices, []);
      assert.notEqual(last?.usage?.total_tokens ?? 0, 0);
      assert.deepEqual(
        chunks.filter(({ usage }) => usage !== null),
        [],
      );
    },
  ),
  sdkCall(
    "chat by the stream helper",
    (client) => client.chat.completions.stream(chat).finalContent(),
    (text) => {
      assert.match(text ?? "", /“hé”/);
    },
  ),
  sdkCall(
    "completions",
    (client) => {
      return client.completions.create({ model: "gpt-3.5-turbo-instruct", prompt: "Once", n: 2 });
    },
    ({ choices }) => {
      assert.equal(choices.length, 2);
    },
  ),
  sdkCall(
    "completions as a stream",
    async (client) => {
      const body = { model: "gpt-3.5-turbo-instruct", prompt: "Once", stream: true } as const;
      return collect(await client.completions.create(body));
    },
    (chunks) => {
      assert.match(chunks.map(({ choices }) => choices[0]?.text).join(""), /Once/);
    },
  ),
  sdkCall(
    "responses",
    (client) => client.responses.create({ model: "gpt-5", input: "Good day" }),
    (response) => {
      assert.match(response.output_text, /Good day/);
      assert.equal(response.status, "completed");
    },
  ),
  sdkCall(
    "responses as a stream",
    async (client) => {
      return collect(
        await client.responses.create({ model: "gpt-5", input: "Good day", stream: true }),
      );
    },
    (events) => {
      assert.equal(events.at(-1)?.type, "response.completed");
      assert.deepEqual(
        events.map(({ sequence_number: number }) => number),
        [...events.keys()],
      );
    },
  ),
  sdkCall(
    "responses by the stream helper",
    async (client) => {
      return client.responses.stream({ model: "gpt-5", input: "Good day" }).finalResponse();
    },
    (response) => {
      assert.match(response.output_text, /Good day/);
    },
  ),
  sdkCall(
    "counting input tokens",
    (client) => {
      return client.responses.inputTokens.count({ model: "gpt-5", input: "Good day" });
    },
    ({ input_tokens: tokens }) => {
      assert.notEqual(tokens, 0);
    },
  ),
  // The SDK asks for base64 by itself, and decodes it.
  sdkCall(
    "embeddings",
    (client) => {
      return client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"] });
    },
    ({ data }) => {
      assert.deepEqual(
        data.map(({ embedding }) => embedding.length),
        [1536, 1536],
      );
      assert.equal(Math.hypot(...(data[0]?.embedding ?? [])).toFixed(3), "1.000");
    },
  ),
  sdkCall(
    "embeddings as numbers",
    (client) => {
      const body = {
        model: "text-embedding-3-small",
        input: "one",
        encoding_format: "float",
      } as const;
      return client.embeddings.create(body);
    },
    ({ data }) => {
      assert.equal(typeof data[0]?.embedding[0], "number");
    },
  ),
  sdkCall(
    "moderations",
    (client) => client.moderations.create({ input: "Good day" }),
    ({ results }) => {
      assert.equal(results.length, 1);
    },
  ),
  sdkCall(
    "speech",
    async (client) => {
      const body = { model: "gpt-4o-mini-tts", voice: "alloy", input: "Good day" } as const;
      const response = await client.audio.speech.create(body);
      return Buffer.from(await response.arrayBuffer());
    },
    (bytes) => {
      assert.equal(bytes.toString("latin1", 0, 4), "RIFF");
      assert.equal(bytes.readUInt32LE(4), bytes.length - 8);
    },
  ),
  sdkCall(
    "transcriptions",
    async (client) => {
      return client.audio.transcriptions.create({
        model: "gpt-4o-transcribe",
        file: await audio(),
      });
    },
    ({ text }) => {
      assert.match(text, /ü “quoted”\.wav/);
    },
  ),
  sdkCall(
    "transcriptions as a stream",
    async (client) => {
      const body = { model: "gpt-4o-transcribe", file: await audio(), stream: true } as const;
      return collect(await client.audio.transcriptions.create(body));
    },
    (events) => {
      assert.equal(events.at(-1)?.type, "transcript.text.done");
    },
  ),
  sdkCall(
    "translations",
    async (client) => {
      return client.audio.translations.create({ model: "whisper-1", file: await audio() });
    },
    ({ text }) => {
      assert.match(text, /ü “quoted”\.wav/);
    },
  ),
  sdkCall(
    "images",
    (client) => {
      return client.images.generate({ model: "gpt-image-1", prompt: "A square" });
    },
    ({ data }) => {
      assert.equal(toPng(data?.[0]?.b64_json), "PNG");
    },
  ),
  sdkCall(
    "images as a stream",
    async (client) => {
      const body = {
        model: "gpt-image-1",
        prompt: "A square",
        stream: true,
        partial_images: 2,
      } as const;
      return collect(await client.images.generate(body));
    },
    (events) => {
      assert.deepEqual(
        events.map(({ type }) => type.split(".")[1]),
        ["partial_image", "partial_image", "completed"],
      );
    },
  ),
  sdkCall(
    "editing images",
    async (client) => {
      const image = [await picture(), await picture()];
      return client.images.edit({ model: "gpt-image-1", image, prompt: "Rounder" });
    },
    ({ data }) => {
      assert.equal(toPng(data?.[0]?.b64_json), "PNG");
    },
  ),
  sdkCall(
    "varying images",
    async (client) => {
      return client.images.createVariation({ image: await picture() });
    },
    ({ data }) => {
      assert.equal(data?.length, 1);
    },
  ),
  sdkCall(
    "listing models",
    (client) => collect(client.models.list()),
    (models) => {
      assert.equal(models.find(({ id }) => id === "gpt-4o-mini")?.object, "model");
    },
  ),
  sdkCall(
    "one model",
    (client) => client.models.retrieve("gpt-4o-mini"),
    ({ id }) => {
      assert.equal(id, "gpt-4o-mini");
    },
  ),
];

function sdkCall<T>(
  name: string,
  run: (client: OpenAI) => Promise<T>,
  gives: (value: T) => void,
): SdkCall {
  return { name, run, check: async (client) => gives(await run(client)) };
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

function toPng(base64: string | undefined): string {
  return Buffer.from(base64 ?? "", "base64").toString("latin1", 1, 4);
}
