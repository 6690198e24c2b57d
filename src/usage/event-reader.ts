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
/**
 * As nearly all chunks of chat and completions begin: none of these. JSON in several lines of data
 * begins in the first of them, too.
 */
const PLAIN = /^data: \{"[^et]/;
const DONE = /^data: ?\[DONE\]/m;
const DONE_LENGTH = 64;
const FAILED = /^data: ?\{\s*"error"\s*:\s*[{"]/;

/** In the line that names the event, or where OpenAI has it: first in the data. */
const NAMED = /^(?:\xef\xbb\xbf)?event: ?((?:[\w-]+\.)+[\w-]+|error)[\r\n]/m;
const TYPED = /^(?:\xef\xbb\xbf)?data: ?\{\s*"type"\s*:\s*"((?:[\w-]+\.)+[\w-]+|error)"/m;

const USAGE = /"usage"/;
const REPORTED = /"usage"\s*:\s*\{/;
/** What is content and no text. */
const MEDIA_EVENT = /audio\.delta$|partial_image$|^image_(?:generation|edit)\.completed$/;
const MEDIA = /"(?:audio|b64_json)"\s*:\s*["{]/;

/** An event, or a piece of one that is over the limit. */
export interface ReadEvent {
  readonly bytes: Buffer;
  /** Whether there may be a place for usage in it; not so in a mere piece. */
  readonly usage: boolean;
}

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

  /** @returns the events that are whole with it, and pieces of those over the limit. */
  push(chunk: Buffer): readonly ReadEvent[] {
    return this.#splitter.push(chunk).map(({ bytes, whole, last }) => {
      if (whole) return { bytes, usage: this.#read(bytes) };
      this.#readPiece(bytes, last);
      return { bytes, usage: false };
    });
  }

  /** @returns the last event, which nothing has ended. */
  end(): readonly ReadEvent[] {
    return [{ bytes: this.#splitter.end(), usage: true }];
  }

  report(): Report | undefined {
    return this.#report;
  }

  /** @returns whether there may be a place for usage in it. */
  #read(event: Buffer): boolean {
    const text = event.toString("latin1");
    const plain = PLAIN.test(text);
    const type = plain ? undefined : toType(text);
    const medium = type !== undefined && MEDIA_EVENT.test(type);
    // The others of a typed stream repeat what was written.
    if (!medium && (type === undefined || type.endsWith(".delta"))) this.#text.add(text);
    this.begun ||= medium || this.#text.tokens > 0 || (type === undefined && MEDIA.test(text));
    this.complete ||= type === undefined ? !plain && isEnd(text) : LAST.has(type);
    const usage = USAGE.test(text);
    if (usage && REPORTED.test(text)) this.#readUsage(event, type);
    return usage;
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
