// Watches the event streams of OpenAI: two families, told apart by whether events have a type.
// Responses, pictures and audio do; the chunks of chat and completions have none.
import { EventSplitter, findDataLines } from "../http/event-splitter.ts";
import { findUsage, type Report } from "../openai/usage.ts";
import { ReplyEnds } from "./reply-ends.ts";
import { TextEstimate } from "./text-estimate.ts";

/** After these a client has everything. */
const LAST: ReadonlySet<string> = new Set([
  "response.completed",
  "response.incomplete",
  "response.failed",
  "image_generation.completed",
  "image_edit.completed",
  "speech.audio.done",
  "transcript.text.done",
  "error",
]);
const DONE = /^data: ?\[DONE\]/m;
const DONE_LENGTH = 64;
const FAILED = /^data: ?\{\s*"error"\s*:\s*[{"]/;

/** In the line that names the event, or where OpenAI has it: first in the data. */
const NAMED = /^(?:\xef\xbb\xbf)?event: ?((?:[\w-]+\.)+[\w-]+|error)[\r\n]/m;
const TYPED = /^(?:\xef\xbb\xbf)?data: ?\{\s*"type"\s*:\s*"((?:[\w-]+\.)+[\w-]+|error)"/m;

const USAGE = /"usage"\s*:\s*\{/;
/** What is content and no text. */
const MEDIA_EVENT = /audio\.delta$|partial_image$|^image_(?:generation|edit)\.completed$/;
const MEDIA = /"(?:audio|b64_json)"\s*:\s*["{]/;

export class EventReader {
  readonly #splitter = new EventSplitter();
  readonly #text = new TextEstimate();
  /** Of the event at hand, when it is over the limit. */
  #ends: ReplyEnds | undefined;
  #report: Report | undefined;
  begun = false;
  complete = false;

  get outputTokens(): number {
    return this.#text.tokens;
  }

  get heldBytes(): number {
    return this.#splitter.heldBytes + (this.#ends?.heldBytes ?? 0);
  }

  push(chunk: Uint8Array): void {
    for (const { bytes, whole, last } of this.#splitter.push(chunk)) {
      if (whole) this.#read(bytes);
      else this.#readPiece(bytes, last);
    }
  }

  report(): Report | undefined {
    return this.#report;
  }

  #read(event: Buffer): void {
    const text = event.toString("latin1");
    const type = toType(text);
    const medium = MEDIA_EVENT.test(type ?? "");
    // The others of a typed stream repeat what was written.
    if (!medium && (type === undefined || type.endsWith(".delta"))) this.#text.add(text);
    this.begun ||= medium || this.#text.tokens > 0 || (type === undefined && MEDIA.test(text));
    this.complete ||= type === undefined ? isEnd(text) : LAST.has(type);
    if (text.includes(`"usage"`) && USAGE.test(text)) this.#readUsage(event, type);
  }

  #readUsage(event: Buffer, type: string | undefined): void {
    const parsed = parseData(event);
    const report = findUsage(parsed);
    this.#report = report ?? this.#report;
    // Chat's chunk of usage: nothing but the end mark follows it.
    this.complete ||= type === undefined && report !== undefined && hasNoChoices(parsed);
  }

  #readPiece(piece: Buffer, last: boolean): void {
    this.#ends ??= new ReplyEnds();
    this.#ends.push(piece);
    if (!last) return;
    const type = toType(this.#ends.head.toString("latin1"));
    this.begun ||= MEDIA_EVENT.test(type ?? "");
    this.complete ||= LAST.has(type ?? "");
    this.#report = this.#ends.report(type) ?? this.#report;
    this.#ends = undefined;
  }
}

/** Only the names with a dot are types: `event: message` says nothing. */
function toType(event: string): string | undefined {
  return (event.startsWith("data:") ? undefined : NAMED.exec(event)?.[1]) ?? TYPED.exec(event)?.[1];
}

function isEnd(event: string): boolean {
  return (event.length <= DONE_LENGTH && DONE.test(event)) || FAILED.test(event);
}

function hasNoChoices(chunk: unknown): boolean {
  const choices: unknown = Object(chunk).choices;
  return Array.isArray(choices) && choices.length === 0;
}

function parseData(event: Buffer): unknown {
  const lines = findDataLines(event).map(({ from, to }) => event.toString("utf8", from, to));
  try {
    return JSON.parse(lines.join("\n"));
  } catch {
    return undefined;
  }
}
