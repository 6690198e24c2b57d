// Audio: speech is a short tone, a transcript is a sentence with the name of the file.

import { type Answer, type Call, encodeEvent, toBytes, toEvents, toJson } from "./answer.ts";
import { invalid } from "./errors.ts";
import { type Fields, flag, missing, requireText } from "./fields.ts";
import { countTokens } from "./inputs.ts";
import { toPieces } from "./writing.ts";

/** What OpenAI's raw `pcm` is: 24 000 samples a second, 16 bits, one channel. */
const SAMPLE_RATE = 24_000;
const TONE_SECONDS = 0.25;
const TONE_HZ = 440;
/** Says all of the above: a WAV file is these 44 bytes and the samples. */
const WAVE_HEADER = "UklGRgQvAABXQVZFZm10IBAAAAABAAEAwF0AAIC7AAACABAAZGF0YeAuAAA=";
/** Audio tokens a second, roughly those of the speech models. */
const TOKENS_PER_SECOND = 20;
/** Of an upload: 128 kbit/s, a usual mp3. */
const BYTES_PER_SECOND = 16_000;

export function answerSpeech({ fields }: Call): Answer {
  requireText(fields, "model");
  const input = requireText(fields, "input");
  const raw = fields["response_format"] === "pcm";
  const audio = raw ? toTone() : toWave(toTone());
  if (fields["stream_format"] === "sse") return toEvents(toSpeechEvents(audio, input));
  // Honest about the bytes: nothing here can encode mp3, and every player takes WAV.
  return toBytes(raw ? "audio/pcm" : "audio/wav", audio);
}

function* toSpeechEvents(audio: Buffer, input: string): Iterable<string> {
  const size = Math.ceil(audio.length / 4);
  for (let at = 0; at < audio.length; at += size) {
    const part = audio.subarray(at, at + size).toString("base64");
    yield encodeEvent({ type: "speech.audio.delta", audio: part });
  }
  const usage = toUsage(countTokens(input), TONE_SECONDS * TOKENS_PER_SECOND);
  yield encodeEvent({ type: "speech.audio.done", usage });
}

function toTone(): Buffer {
  const samples = Buffer.alloc(2 * SAMPLE_RATE * TONE_SECONDS);
  for (let at = 0; at < samples.length / 2; at += 1) {
    const value = Math.sin((2 * Math.PI * TONE_HZ * at) / SAMPLE_RATE);
    samples.writeInt16LE(Math.round(value * 8000), 2 * at);
  }
  return samples;
}

function toWave(samples: Buffer): Buffer {
  return Buffer.concat([Buffer.from(WAVE_HEADER, "base64"), samples]);
}

export function answerTranscription({ fields }: Call): Answer {
  const transcript = listen(fields, "transcribe");
  const usage = toTranscriptUsage(transcript);
  if (flag(fields, "stream")) return toEvents(toTranscriptEvents(transcript.text, usage));
  return toTranscript(transcript, fields, usage);
}

export function answerTranslation({ fields }: Call): Answer {
  return toTranscript(listen(fields, "translate"), fields, undefined);
}

interface Transcript {
  readonly task: string;
  readonly text: string;
  readonly seconds: number;
}

function listen(fields: Fields, task: string): Transcript {
  requireText(fields, "model");
  const { file } = fields;
  if (!(file instanceof File)) throw missing("file");
  const seconds = Math.max(1, Math.round(file.size / BYTES_PER_SECOND));
  return { task, seconds, text: `This is what the mock heard in ${file.name}.` };
}

function toTranscript(transcript: Transcript, fields: Fields, usage: object | undefined): Answer {
  const { text, seconds, task } = transcript;
  const duration = { type: "duration", seconds };
  switch (fields["response_format"] ?? "json") {
    case "json":
      return toJson({ text, usage: fields["model"] === "whisper-1" ? duration : usage });
    case "text":
      return toBytes("text/plain; charset=utf-8", `${text}\n`);
    case "verbose_json": {
      const segments = [toSegment(transcript)];
      const verbose = { task, language: "english", duration: seconds, text, segments };
      return toJson({ ...verbose, usage: duration });
    }
    default:
      throw invalid("The mock answers json, text and verbose_json.", "response_format");
  }
}

function toSegment({ text, seconds: end }: Transcript): object {
  const quality = { temperature: 0, avg_logprob: -0.1, compression_ratio: 1, no_speech_prob: 0 };
  return { id: 0, seek: 0, start: 0, end, text, tokens: [], ...quality };
}

function* toTranscriptEvents(heard: string, usage: object): Iterable<string> {
  for (const delta of toPieces(heard)) yield encodeEvent({ type: "transcript.text.delta", delta });
  yield encodeEvent({ type: "transcript.text.done", text: heard, usage });
}

function toTranscriptUsage({ text: heard, seconds }: Transcript): object {
  const audioTokens = Math.ceil(seconds * TOKENS_PER_SECOND);
  const { input_tokens: inputTokens, ...usage } = toUsage(audioTokens, toPieces(heard).length);
  const details = { text_tokens: 0, audio_tokens: audioTokens };
  return { type: "tokens", input_tokens: inputTokens, input_token_details: details, ...usage };
}

function toUsage(inputTokens: number, outputTokens: number) {
  return {
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
  };
}
