// Images and audio are small, valid files, and streams of them end with usage.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inflateSync } from "node:zlib";
import { assertRefused, at, items, openMock, toForm } from "./support.ts";

const picture = { model: "gpt-image-1", prompt: "a blue square" };

test("draws a valid PNG, as many as asked for", async (t) => {
  const mock = await openMock(t);

  const reply = await mock.ask("/images/generations", { ...picture, n: 2 });

  assert.equal(items(at(reply, "data")).length, 2);
  const png = Buffer.from(String(at(reply, "data", 0, "b64_json")), "base64");
  assert.equal(png.subarray(0, 8).toString("latin1"), "\x89PNG\r\n\x1a\n");
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [256, 256]);
  const start = png.indexOf("IDAT");
  const pixels = inflateSync(png.subarray(start + 4, start + 4 + png.readUInt32BE(start - 4)));
  assert.equal(pixels.length, 256 * (1 + 256 / 8));
  assert.equal(at(reply, "usage", "total_tokens"), 4 + 2 * 1056);
});

test("answers a URL that loads without a network", async (t) => {
  const mock = await openMock(t);
  const body = { ...picture, response_format: "url" };

  const reply = await mock.ask("/images/generations", body);

  assert.match(String(at(reply, "data", 0, "url")), /^data:image\/png;base64,iVBOR/);
});

test("streams partial images and a completed one", async (t) => {
  const mock = await openMock(t);
  const form = toForm({ prompt: "a hat", stream: "true", partial_images: "2" });

  const drawn = await mock.stream("/images/generations", { ...picture, stream: true });
  const edited = await mock.stream("/images/edits", form);

  assert.deepEqual(
    drawn.map((event) => at(event, "type")),
    ["image_generation.completed"],
  );
  assert.deepEqual(
    edited.map((event) => at(event, "type")),
    ["image_edit.partial_image", "image_edit.partial_image", "image_edit.completed"],
  );
  assert.deepEqual(
    edited.map((event) => at(event, "partial_image_index")),
    [0, 1, undefined],
  );
  assert.equal(at(edited[2], "usage", "output_tokens"), 1056);
});

test("edits and varies images from a form", async (t) => {
  const mock = await openMock(t);

  const edited = await mock.post("/images/edits", toForm({ prompt: "a hat", n: "3" }));
  const varied = await mock.post("/images/variations", toForm({}));

  assert.equal(items(at(await edited.json(), "data")).length, 3);
  assert.equal(items(at(await varied.json(), "data")).length, 1);
});

test("speaks a valid WAV", async (t) => {
  const mock = await openMock(t);
  const body = { model: "gpt-4o-mini-tts", voice: "alloy", input: "Hello" };

  const reply = await mock.post("/audio/speech", body);

  const wave = Buffer.from(await reply.arrayBuffer());
  assert.equal(reply.headers.get("content-type"), "audio/wav");
  assert.equal(wave.toString("latin1", 0, 4), "RIFF");
  assert.equal(wave.toString("latin1", 8, 16), "WAVEfmt ");
  assert.equal(wave.readUInt32LE(4), wave.length - 8);
  assert.equal(wave.readUInt32LE(24), 24_000);
  assert.equal(wave.readUInt32LE(40), wave.length - 44);
});

test("speaks raw samples, or in events that end with usage", async (t) => {
  const mock = await openMock(t);
  const body = { model: "m", input: "Hello, world", response_format: "pcm" };

  const raw = await mock.post("/audio/speech", body);
  const events = await mock.stream("/audio/speech", { ...body, stream_format: "sse" });

  assert.equal(raw.headers.get("content-type"), "audio/pcm");
  const parts = events.map((event) => Buffer.from(String(at(event, "audio") ?? ""), "base64"));
  assert.deepEqual(Buffer.concat(parts), Buffer.from(await raw.arrayBuffer()));
  assert.deepEqual(events.at(-1), {
    type: "speech.audio.done",
    usage: { input_tokens: 3, output_tokens: 5, total_tokens: 8 },
  });
});

test("transcribes in each format, with usage by tokens or by duration", async (t) => {
  const mock = await openMock(t);
  const path = "/audio/transcriptions";
  const whisper = { model: "whisper-1" };

  const byTokens = await mock.ask(path, toForm({ model: "gpt-4o-transcribe" }));
  const bySeconds = await mock.ask(path, toForm(whisper));
  const plain = await mock.post(path, toForm({ ...whisper, response_format: "text" }));
  const verbose = await mock.ask(path, toForm({ ...whisper, response_format: "verbose_json" }));

  const sentence = "This is what the mock heard in talk.mp3.";
  assert.deepEqual(byTokens, {
    text: sentence,
    usage: {
      type: "tokens",
      input_tokens: 80,
      input_token_details: { text_tokens: 0, audio_tokens: 80 },
      output_tokens: 9,
      total_tokens: 89,
    },
  });
  assert.deepEqual(bySeconds, { text: sentence, usage: { type: "duration", seconds: 4 } });
  assert.equal(await plain.text(), `${sentence}\n`);
  assert.equal(at(verbose, "task"), "transcribe");
  assert.equal(at(verbose, "segments", 0, "end"), at(verbose, "duration"));
});

test("streams a transcript that ends with usage", async (t) => {
  const mock = await openMock(t);
  const form = toForm({ model: "gpt-4o-transcribe", stream: "true" });

  const events = await mock.stream("/audio/transcriptions", form);

  const joined = events.map((event) => at(event, "delta") ?? "").join("");
  assert.equal(at(events.at(-1), "type"), "transcript.text.done");
  assert.equal(at(events.at(-1), "text"), joined);
  assert.equal(at(events.at(-1), "usage", "output_tokens"), events.length - 1);
});

test("translates", async (t) => {
  const mock = await openMock(t);
  const form = toForm({ model: "whisper-1", response_format: "verbose_json" });

  const reply = await mock.ask("/audio/translations", form);

  assert.equal(at(reply, "task"), "translate");
});

test("refuses a transcription without a file or in an unknown format", async (t) => {
  const mock = await openMock(t);
  const bare = toForm({ model: "whisper-1" });
  bare.delete("file");
  const odd = toForm({ model: "whisper-1", response_format: "srt" });

  await assertRefused(await mock.post("/audio/transcriptions", bare), 400, { param: "file" });
  await assertRefused(await mock.post("/audio/transcriptions", odd), 400, {
    param: "response_format",
  });
});
