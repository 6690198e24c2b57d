// What a call used, read from whichever of OpenAI's usage objects its reply carries. Shapes from
// the OpenAPI document 2.3.0 and the official SDK 7.57.

/** Whole numbers of 0 or more. No part is larger than its whole. */
export interface Usage {
  readonly inputTokens: number;
  /** Parts of the input, which may overlap with the kinds below. */
  readonly cachedInputTokens: number;
  readonly cacheWriteTokens: number;
  /** The input's kinds; the rest of it is text. */
  readonly audioInputTokens: number;
  readonly imageInputTokens: number;
  /** What of these kinds was cached; the rest of what was cached is text. */
  readonly cachedAudioInputTokens: number;
  readonly cachedImageInputTokens: number;
  readonly outputTokens: number;
  /** Part of the output, at its price. */
  readonly reasoningTokens: number;
  /** The output's kinds; the rest of it is text. */
  readonly audioOutputTokens: number;
  readonly imageOutputTokens: number;
  /** Transcribed audio, where it is counted by its duration. */
  readonly audioMs: number;
  /** Calls of hosted tools, which cost by themselves. */
  readonly webSearches: number;
  readonly fileSearches: number;
  /** The report held what cannot be, and was brought within reason: worth a line in the log. */
  readonly clamped: boolean;
}

export const NO_USAGE: Usage = {
  inputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  audioInputTokens: 0,
  imageInputTokens: 0,
  cachedAudioInputTokens: 0,
  cachedImageInputTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  audioOutputTokens: 0,
  imageOutputTokens: 0,
  audioMs: 0,
  webSearches: 0,
  fileSearches: 0,
  clamped: false,
};

type Kind = "text" | "audio" | "image";

/** What tokens are whose kind a usage object does not tell. */
export interface Medium {
  readonly input: Kind;
  readonly output: Kind;
}

export const TEXT: Medium = { input: "text", output: "text" };
export const IMAGES: Medium = { input: "image", output: "image" };
export const SPEECH: Medium = { input: "text", output: "audio" };
export const TRANSCRIPTION: Medium = { input: "audio", output: "text" };

/** More tokens, or milliseconds, than any call has: 11 days of audio. */
const MOST = 1_000_000_000;

type Fields = Readonly<Record<string, unknown>>;

/**
 * Usage as `JSON.parse` gives it; nothing where it counts nothing. A count of zero is a count. What
 * is negative, fractional, a string, absurdly large, or larger than its whole is clamped.
 */
export function readUsage(value: unknown, medium = TEXT): Usage | undefined {
  const usage = toFields(value);
  const counter = new Counter();
  const audioMs = counter.count(usage["seconds"], 1000);
  const input = counter.count(usage["prompt_tokens"] ?? usage["input_tokens"]);
  const output = counter.count(usage["completion_tokens"] ?? usage["output_tokens"]);
  if (input === undefined && output === undefined && audioMs === undefined) return undefined;
  // Embeddings count no output, but a total.
  const total = counter.count(usage["total_tokens"]) ?? 0;
  const inputTokens = input ?? Math.max(0, total - (output ?? 0));
  const outputTokens = output ?? Math.max(0, total - inputTokens);
  const details = toFields(
    usage["completion_tokens_details"] ??
      usage["output_tokens_details"] ??
      usage["output_token_details"],
  );
  const written = counter.kinds(outputTokens, details, medium.output);
  return {
    ...NO_USAGE,
    inputTokens,
    ...readInput(usage, inputTokens, medium.input, counter),
    outputTokens,
    reasoningTokens: counter.part(details["reasoning_tokens"], outputTokens),
    audioOutputTokens: written.audio,
    imageOutputTokens: written.image,
    audioMs: audioMs ?? 0,
    clamped: counter.clamped,
  };
}

function readInput(usage: Fields, whole: number, unnamed: Kind, counter: Counter): Partial<Usage> {
  // The third is transcription's and realtime's word.
  const details = toFields(
    usage["prompt_tokens_details"] ?? usage["input_tokens_details"] ?? usage["input_token_details"],
  );
  const { text, audio, image } = counter.kinds(whole, details, unnamed);
  // The image tool of Responses keeps these beside the details, and calls them otherwise.
  const cached = counter.part(details["cached_tokens"] ?? usage["cached_tokens"], whole);
  const kinds = toFields(details["cached_tokens_details"] ?? usage["cached_tokens_details"]);
  const audioTold = counter.part(kinds["audio_tokens"], Math.min(audio, cached));
  const imageTold = counter.part(
    kinds["image_tokens"] ?? kinds["cached_image_tokens"],
    Math.min(image, cached - audioTold),
  );
  // Cached text saves least, so what has no kind is text while there is any.
  const cachedImage = Math.max(imageTold, Math.min(image, cached - audioTold - text));
  return {
    cachedInputTokens: cached,
    cacheWriteTokens: counter.part(details["cache_write_tokens"], whole - cached),
    audioInputTokens: audio,
    imageInputTokens: image,
    cachedAudioInputTokens: Math.max(audioTold, cached - cachedImage - text),
    cachedImageInputTokens: cachedImage,
  };
}

/** Reads counts, and remembers whether one was out of all reason. */
class Counter {
  clamped = false;

  /** In whole units; of those that a scale makes, a fraction is no wonder. */
  count(value: unknown, scale = 1): number | undefined {
    if (value === undefined || value === null) return undefined;
    const given = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    const known = typeof given === "number" && !Number.isNaN(given);
    // Three digits, or 0.07 s were more than 70 ms.
    const exact = known ? Number((given * scale).toFixed(3)) : 0;
    const whole = Math.ceil(exact);
    const sane = Math.min(Math.max(whole, 0), MOST);
    if (typeof value !== "number" || sane !== (scale === 1 ? exact : whole)) this.clamped = true;
    return known ? sane : undefined;
  }

  /** A part of which no more than `left` can be. */
  part(value: unknown, left: number): number {
    const count = this.count(value) ?? 0;
    if (count > left) this.clamped = true;
    return Math.min(count, left);
  }

  /** Divides a whole into its kinds; what has none is of the kind `unnamed`. */
  kinds(whole: number, details: Fields, unnamed: Kind): Readonly<Record<Kind, number>> {
    const audio = this.part(details["audio_tokens"], whole);
    const image = this.part(details["image_tokens"], whole - audio);
    const text = this.part(details["text_tokens"], whole - audio - image);
    const named = { text, audio, image };
    return { ...named, [unnamed]: named[unnamed] + whole - text - audio - image };
  }
}

export interface Report {
  readonly usage: Usage;
  /** The model that answered, which is more exact than the one that was asked for. */
  readonly model: string | undefined;
  /** What was used, whatever was asked for; `fast` is reported as `priority`. */
  readonly serviceTier: string | undefined;
  /** What further models used for the same reply: pictures drawn as a tool, SVG. */
  readonly others: readonly Pick<Report, "usage" | "model">[];
}

/**
 * The usage in a whole JSON reply, or in an event of a stream. A stream that reports it twice, as
 * some servers do with every chunk, means the last.
 */
export function findUsage(reply: unknown): Report | undefined {
  const event = toFields(reply);
  const body = "response" in event ? toFields(event["response"]) : event;
  const medium = mediumOf(event);
  const usage =
    readUsage(body["usage"], medium) ??
    // Whisper's verbose reply has no usage in translations, nor had it any before 2025.
    (medium === TRANSCRIPTION ? readUsage({ seconds: body["duration"] }) : undefined);
  if (usage === undefined) return undefined;
  const tier = toName(body["service_tier"]);
  return {
    usage: { ...usage, ...countSearches(body, usage.clamped) },
    model: toName(body["model"]),
    serviceTier: tier === "fast" ? "priority" : tier,
    others: findOthers(body),
  };
}

function mediumOf(event: Fields): Medium {
  const type = toName(event["type"]) ?? "";
  if (type.startsWith("image_")) return IMAGES;
  if (type.startsWith("speech.")) return SPEECH;
  if (type.startsWith("transcript.") || type.includes("input_audio_transcription")) {
    return TRANSCRIPTION;
  }
  if ("object" in event || type !== "") return TEXT;
  // Neither kind of reply says what it is; lists of embeddings do.
  if (Array.isArray(event["data"])) return IMAGES;
  return typeof event["text"] === "string" ? TRANSCRIPTION : TEXT;
}

/** Hosted tools' calls: as OpenAI counts them, else as the reply shows them. */
function countSearches(body: Fields, clamped: boolean): Partial<Usage> {
  const counter = new Counter();
  const { web_search: search } = toFields(body["tool_usage"]);
  const items: unknown[] = Array.isArray(body["output"]) ? body["output"] : [];
  let webSearches = 0;
  let fileSearches = 0;
  for (const item of items) {
    const { type, action } = toFields(item);
    const { type: deed = "search" } = toFields(action);
    // Opening a page that was found, and looking into it, costs nothing.
    if (type === "web_search_call" && deed === "search") webSearches++;
    if (type === "file_search_call") fileSearches++;
  }
  webSearches = counter.count(toFields(search)["num_requests"]) ?? webSearches;
  return { webSearches, fileSearches, clamped: clamped || counter.clamped };
}

function findOthers(body: Fields): Report["others"] {
  if (body["tool_usage"] === undefined && body["svg_usage"] === undefined) return [];
  const { image_gen: drawn } = toFields(body["tool_usage"]);
  const tools: unknown[] = Array.isArray(body["tools"]) ? body["tools"] : [];
  const tool = tools.map(toFields).find(({ type }) => type === "image_generation");
  const svg = toFields(body["svg_usage"]);
  return [
    { usage: readUsage(drawn, IMAGES), model: toName(tool?.["model"]) },
    { usage: readUsage(svg), model: toName(svg["model"]) },
  ].flatMap(({ usage, model }) =>
    usage && usage.inputTokens + usage.outputTokens > 0 ? [{ usage, model }] : [],
  );
}

function toName(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** An object's members; nobody's where it is none. */
function toFields(value: unknown): Fields {
  return isObject(value) ? value : {};
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
