// The official SDK understands every failure: OpenAI's own, the gateway's, and those that come when
// the answer has begun. It retries what may be retried and nothing else.
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import OpenAI, { APIError } from "openai";
import { completes, deadUrl, fakeOpenAI, type Arrival } from "../helpers/fake-openai.ts";
import { inFrontOf, runGateway } from "./gateway-process.ts";
import { createClient, EVERY_BYTE } from "./sdk-calls.ts";

const chat = { model: "gpt-4o-mini", messages: [{ role: "user", content: "Hi" }] } as const;
const bounded = { timeout: 20_000 };

const CLASSES = [
  [400, OpenAI.BadRequestError, null],
  [401, OpenAI.AuthenticationError, "invalid_api_key"],
  [403, OpenAI.PermissionDeniedError, "unsupported_country_region_territory"],
  [404, OpenAI.NotFoundError, "model_not_found"],
  [409, OpenAI.ConflictError, null],
  [422, OpenAI.UnprocessableEntityError, null],
  [429, OpenAI.RateLimitError, "rate_limit_exceeded"],
  [500, OpenAI.InternalServerError, null],
  [503, OpenAI.InternalServerError, "overloaded"],
] as const;

test("an error of OpenAI's has its class, code and request id", bounded, async (t) => {
  const { origin } = await runGateway(t, { args: ["--mock"] });

  for (const [status, ErrorClass, code] of CLASSES) {
    await t.test(`${status} is ${ErrorClass.name}`, async () => {
      const defaultHeaders = { "openai-mock": `status=${status}; delay-ms=0` };
      const client = createClient(`${origin}/v1`, { defaultHeaders });

      const error = await failureOf(client.chat.completions.create(toBody(chat)));

      assert.ok(error instanceof ErrorClass, String(error));
      assert.equal(error.status, status);
      assert.equal(error.code, code);
      assert.match(error.requestID ?? "", /^req_/);
    });
  }
});

test("a missing field is OpenAI's to name", bounded, async (t) => {
  const { origin } = await runGateway(t, { args: ["--mock"] });
  const client = createClient(`${origin}/v1`);

  const error = await failureOf(client.chat.completions.create({ ...toBody(chat), messages: [] }));

  assert.ok(error instanceof OpenAI.BadRequestError, String(error));
  assert.equal(error.param, "messages");
  assert.equal(error.code, "missing_required_parameter");
});

test("what the gateway refuses is an error of the SDK too", bounded, async (t) => {
  const openai = await fakeOpenAI(t);
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const client = createClient(`${origin}/v1`);

  const denied = await failureOf(client.files.list());
  const unknown = await failureOf(client.get("/no_such_thing"));
  const wrong = await failureOf(client.delete("/chat/completions"));

  assert.ok(denied instanceof OpenAI.PermissionDeniedError, String(denied));
  assert.equal(denied.code, "endpoint_not_allowed");
  assert.equal(denied.type, "invalid_request_error");
  assert.match(denied.requestID ?? "", /^gw_/);
  assert.ok(unknown instanceof OpenAI.NotFoundError, String(unknown));
  assert.equal(unknown.code, "unknown_url");
  assert.equal(wrong.status, 405);
  assert.equal(wrong.code, "method_not_allowed");
  assert.equal(openai.arrivals.length, 0);
});

test("the SDK waits as long as a 429 asks, then succeeds", bounded, async (t) => {
  const times: number[] = [];
  const openai = await fakeOpenAI(t, (res, arrival) => {
    times.push(performance.now());
    // Longer than the SDK's own first pause, which is half a second at most.
    if (times.length === 1) refuse(res, 429, { "retry-after-ms": "700", "retry-after": "1" });
    else return completes(res, arrival);
  });
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const client = createClient(`${origin}/v1`, { maxRetries: 2 });

  const completion = await client.chat.completions.create(toBody(chat));

  const [first = 0, second = 0] = times;
  assert.equal(completion.object, "chat.completion");
  assert.equal(times.length, 2);
  assert.ok(second - first >= 690, `it waited ${second - first} ms`);
  assert.equal(openai.arrivals[1]?.headers["x-stainless-retry-count"], "1");
});

test("the SDK does not retry what OpenAI says not to", bounded, async (t) => {
  const openai = await fakeOpenAI(t, (res) => refuse(res, 429, { "x-should-retry": "false" }));
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const client = createClient(`${origin}/v1`, { maxRetries: 2 });

  const error = await failureOf(client.chat.completions.create(toBody(chat)));

  assert.ok(error instanceof OpenAI.RateLimitError, String(error));
  assert.equal(openai.arrivals.length, 1);
});

test(
  "an OpenAI that cannot be reached is an InternalServerError that says so",
  bounded,
  async (t) => {
    const { origin } = await runGateway(t, { env: inFrontOf(await deadUrl()) });
    const client = createClient(`${origin}/v1`);

    const error = await failureOf(client.chat.completions.create(toBody(chat)));

    assert.ok(error instanceof OpenAI.InternalServerError, String(error));
    assert.equal(error.status, 500);
    assert.equal(error.code, "upstream_unreachable");
    assert.equal(error.type, "server_error");
    assert.match(error.requestID ?? "", /^gw_/);
  },
);

test("a call that OpenAI may have billed is not made twice", bounded, async (t) => {
  const openai = await fakeOpenAI(t, async (res, arrival) => {
    await arrival.body;
    res.socket?.resetAndDestroy();
  });
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const client = createClient(`${origin}/v1`, { maxRetries: 2 });

  const error = await failureOf(client.chat.completions.create(toBody(chat)));

  assert.ok(error instanceof OpenAI.InternalServerError, String(error));
  assert.equal(error.code, "upstream_reset");
  assert.equal(openai.arrivals.length, 1);
});

interface Streamed {
  /** As OpenAI sends them. */
  readonly events: readonly string[];
  start(client: OpenAI): PromiseLike<AsyncIterable<unknown>>;
}

const file = new File([EVERY_BYTE], "a.wav");
const delta =
  'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n';
const STREAMS: Readonly<Record<string, Streamed>> = {
  chat: {
    events: [delta, delta],
    start: (client) => client.chat.completions.create({ ...toBody(chat), stream: true }),
  },
  "the chat helper": {
    events: [delta, delta],
    start: async (client) => client.chat.completions.stream(toBody(chat)),
  },
  completions: {
    events: ['data: {"id":"c","object":"text_completion","choices":[{"text":"Hi","index":0}]}\n\n'],
    start: (client) => client.completions.create({ model: "m", prompt: "Hi", stream: true }),
  },
  responses: {
    events: [
      'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"r","output":[]}}\n\n',
      'event: response.in_progress\ndata: {"type":"response.in_progress","sequence_number":1,"response":{"id":"r","output":[]}}\n\n',
    ],
    start: (client) => client.responses.create({ model: "m", input: "Hi", stream: true }),
  },
  "a stored response": {
    events: [
      'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"r","output":[]}}\n\n',
    ],
    start: (client) => client.responses.retrieve("resp_1", { stream: true }),
  },
  images: {
    events: [
      'event: image_generation.partial_image\ndata: {"type":"image_generation.partial_image","b64_json":"AA=="}\n\n',
    ],
    start: (client) => client.images.generate({ model: "m", prompt: "Hi", stream: true }),
  },
  "image edits": {
    events: [
      'event: image_edit.partial_image\ndata: {"type":"image_edit.partial_image","b64_json":"AA=="}\n\n',
    ],
    start: (client) => client.images.edit({ model: "m", prompt: "Hi", image: file, stream: true }),
  },
  transcriptions: {
    events: ['data: {"type":"transcript.text.delta","delta":"Hi"}\n\n'],
    start: (client) => client.audio.transcriptions.create({ model: "m", file, stream: true }),
  },
  "an assistant's run": {
    events: ['event: thread.run.created\ndata: {"id":"run_1","object":"thread.run"}\n\n'],
    start: (client) =>
      client.beta.threads.runs.create("thread_1", { assistant_id: "asst_1", stream: true }),
  },
};

test("a stream that breaks off throws after its last whole event", bounded, async (t) => {
  const openai = await fakeOpenAI(t, breaksOff);
  const env = { ...inFrontOf(openai.baseUrl), ALLOWED_ENDPOINTS: "*" };
  const { origin } = await runGateway(t, { env });

  for (const [name, { events, start }] of Object.entries(STREAMS)) {
    await t.test(`${name}, broken between events`, async () => {
      const client = createClient(`${origin}/v1`, { defaultHeaders: { "openai-stream": name } });
      const seen: unknown[] = [];

      const error = await failureOf(collectInto(seen, start(client)));

      assert.equal(error.code, "upstream_reset");
      assert.equal(error.type, "server_error");
      assert.equal(seen.length, events.length);
    });

    // Half of an event cannot be taken back; it must not look like a whole one, nor like the end.
    await t.test(`${name}, broken within an event`, async () => {
      const defaultHeaders = { "openai-stream": name, "openai-cut": 'data: {"type":"cut of' };
      const client = createClient(`${origin}/v1`, { defaultHeaders, logLevel: "off" });
      const seen: unknown[] = [];

      await assert.rejects(collectInto(seen, start(client)));

      assert.equal(seen.length, events.length);
    });
  }
});

test("speech that breaks off is never a whole file", bounded, async (t) => {
  const openai = await fakeOpenAI(t, async (res) => {
    res.writeHead(200, { "content-type": "audio/mpeg" });
    await write(res, EVERY_BYTE);
    res.destroy();
  });
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const client = createClient(`${origin}/v1`);

  const speech = await client.audio.speech.create({ model: "m", voice: "alloy", input: "Hi" });

  await assert.rejects(speech.arrayBuffer());
});

test("speech as events that breaks off ends with an error event", bounded, async (t) => {
  const begun = 'data: {"type":"speech.audio.delta","audio":"AA=="}\n\n';
  const openai = await fakeOpenAI(t, async (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    await write(res, begun);
    res.destroy();
  });
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const client = createClient(`${origin}/v1`);

  const body = { model: "m", voice: "alloy", input: "Hi", stream_format: "sse" } as const;
  const text = await (await client.audio.speech.create(body)).text();

  assert.equal(text.slice(0, begun.length), begun);
  const [event = "", data = ""] = text.slice(begun.length).trimEnd().split("\n");
  assert.equal(event, "event: error");
  assert.equal(JSON.parse(data.slice("data: ".length)).error.code, "upstream_reset");
});

test("leaving a stream ends it at OpenAI at once", bounded, async (t) => {
  const openai = await fakeOpenAI(t, neverEnds);
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const client = createClient(`${origin}/v1`);

  const stream = await client.chat.completions.create({ ...toBody(chat), stream: true });
  for await (const { choices } of stream) {
    assert.equal(choices[0]?.delta.content, "Hi");
    break;
  }
  const leftAt = performance.now();

  const { closed } = await openai.next();
  await assertAtOnce(leftAt, closed);
});

test("aborting a call that has no answer yet ends it at OpenAI at once", bounded, async (t) => {
  const openai = await fakeOpenAI(t, () => {});
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const client = createClient(`${origin}/v1`, { maxRetries: 2 });
  const leaving = new AbortController();

  const call = client.responses.create({ model: "m", input: "Hi" }, { signal: leaving.signal });
  const { closed } = await openai.next();
  leaving.abort();
  const leftAt = performance.now();

  const error = await failureOf(call);
  assert.ok(error instanceof OpenAI.APIUserAbortError, String(error));
  await assertAtOnce(leftAt, closed);
  assert.equal(openai.arrivals.length, 1);
});

test("events come one by one, as OpenAI sends them", bounded, async (t) => {
  const openai = await fakeOpenAI(t, async (res, arrival) => {
    await arrival.body;
    neverEnds(res);
  });
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const client = createClient(`${origin}/v1`);

  const stream = await client.chat.completions.create({ ...toBody(chat), stream: true });
  const first = await stream[Symbol.asyncIterator]().next();

  // The stream is still open: had the gateway collected it, nothing would have come.
  assert.equal(first.value?.choices[0]?.delta.content, "Hi");
  stream.controller.abort();
});

function toBody({ model, messages }: typeof chat) {
  return { model, messages: [...messages] };
}

/** Plays the stream that the call names in its headers, up to where it breaks. */
async function breaksOff(res: ServerResponse, arrival: Arrival): Promise<void> {
  await arrival.body;
  const { "openai-stream": name, "openai-cut": cut = "" } = arrival.headers;
  const events = STREAMS[String(name)]?.events ?? [];
  res.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  await write(res, events.join("") + String(cut));
  res.socket?.resetAndDestroy();
}

function neverEnds(res: ServerResponse): void {
  res.writeHead(200, { "content-type": "text/event-stream" }).write(delta);
}

function refuse(res: ServerResponse, status: number, headers: Record<string, string>): void {
  res.writeHead(status, { "content-type": "application/json", ...headers });
  res.end(
    '{"error":{"message":"Not now.","type":"requests","param":null,"code":"rate_limit_exceeded"}}',
  );
}

async function assertAtOnce(leftAt: number, closed: Promise<number>): Promise<void> {
  const closedAt = await Promise.race([closed, sleep(2_000, Infinity, { ref: false })]);
  assert.ok(closedAt - leftAt < 500, `it took ${closedAt - leftAt} ms`);
}

/** Resolves when the bytes are on their way, and have had time to get there before a reset. */
async function write(res: ServerResponse, chunk: string | Buffer): Promise<void> {
  await new Promise<void>((resolve) => res.write(chunk, () => resolve()));
  await sleep(30);
}

async function collectInto(
  seen: unknown[],
  stream: PromiseLike<AsyncIterable<unknown>>,
): Promise<void> {
  for await (const event of await stream) seen.push(event);
}

/** The APIError that a call ends with. */
async function failureOf(call: PromiseLike<unknown>): Promise<APIError> {
  const ended = await Promise.resolve(call).then(
    () => assert.fail("it succeeded"),
    (error: unknown) => error,
  );
  assert.ok(ended instanceof APIError, String(ended));
  return ended;
}
