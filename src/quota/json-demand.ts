// A call's demand, read from its JSON; and the usage of a stream, asked for where its client did
// not ask.
import { GatewayError } from "../errors.ts";
import { JsonMembers, wrongValue } from "../http/json-members.ts";
import { nameOf, type JsonValue, type JsonVisitor, type Member } from "../http/json-value.ts";
import type { Edit } from "../http/splice.ts";
import type { Parameters } from "../openai/parameters.ts";
import type { Demand } from "./demand.ts";

/** Members, below the outermost, that bring an image, a sound or a file, or link to one. */
const MEDIA = ["image_url", "url", "data", "file_data", "file_id"];
/** Of a file of text, in base64, what has the tokens of one medium. */
const FILE_BYTES = 10_000;
/** Work that goes on when the call is over, and whose usage nobody is told. */
const BACKGROUND = "background";
/** Shorter ones are links and names, and may count as text. */
const GIVEN_BYTES = 1_024;

export class JsonDemand implements JsonVisitor {
  readonly names: ReadonlySet<string>;
  readonly #parameters: Parameters;
  readonly #members: JsonMembers;
  readonly #media: ReadonlySet<string>;
  #prompts = 0;
  #mediaCount = 0;
  #mediaBytes = 0;
  #includeUsage: Member | undefined;
  #optionsEmpty = false;

  constructor(parameters: Parameters) {
    const { names, members, media } = toNames(parameters);
    this.names = names;
    this.#parameters = parameters;
    this.#media = media;
    this.#members = new JsonMembers(members);
  }

  member(name: string): void {
    this.#members.meet(name);
  }

  value(member: JsonValue): void {
    const { path } = member;
    const [first = "", second] = path;
    if (path.length === 1) this.#members.set(first, member);
    else if (path.length > 2 || first === "input") this.#weigh(nameOf(path), member);
    if (path.length !== 2) return;
    if (first === "prompt" && member.kind !== "literal") this.#prompts++;
    if (first !== "stream_options" || second !== "include_usage") return;
    if (this.#includeUsage !== undefined) throw wrongValue("include_usage", "is there twice");
    this.#includeUsage = member;
  }

  empty(path: readonly string[]): void {
    if (path.length === 1 && path[0] === "stream_options") this.#optionsEmpty = true;
  }

  /**
   * @throws GatewayError 400 for what two readers could read in two ways, 403 for what cannot be
   * counted.
   */
  end(): Demand {
    const background = this.#members.given(BACKGROUND);
    if (background !== undefined && background.text !== "false") {
      const message = `Your access counts what calls use: "${BACKGROUND}" has to be false.`;
      throw new GatewayError("parameter_not_allowed", message, { param: BACKGROUND });
    }
    const { outputCaps, choices } = this.#parameters;
    const given = (name: string): boolean => this.#members.given(name) !== undefined;
    const counts = (names: readonly string[]): readonly number[] =>
      names.filter(given).map((name) => this.#members.count(name));
    const caps = counts(outputCaps);
    return {
      model: this.#members.text("model"),
      serviceTier: this.#members.text("service_tier"),
      outputCap: caps.length > 0 ? Math.max(...caps) : undefined,
      choices: Math.max(1, ...counts(choices)) * Math.max(1, this.#prompts),
      media: this.#mediaCount,
      mediaBytes: this.#mediaBytes,
    };
  }

  /**
   * Asks for the usage of a stream, if there is one and its client did not.
   * @param root where a member can be put in front.
   */
  askForUsage(root: { readonly inside: number }): Edit | undefined {
    const { kind, text } = this.#members.given("stream") ?? {};
    if (kind !== "literal" || text !== "true") return undefined;
    const options = this.#members.get("stream_options");
    const asked = `"include_usage":true`;
    // In front of the others, of which there is one at least: `stream`.
    if (options === undefined) return insert(root.inside, `"stream_options":{${asked}},`);
    if (options.kind === "literal") return replace(options, `{${asked}}`);
    if (options.kind !== "object") return undefined; // OpenAI will refuse it.
    const usage = this.#includeUsage;
    if (usage === undefined) {
      return insert(options.start + 1, this.#optionsEmpty ? asked : `${asked},`);
    }
    return usage.kind === "literal" && usage.text !== "true" ? replace(usage, "true") : undefined;
  }

  #weigh(name: string, { kind, start, end }: Member): void {
    if (!this.#media.has(name) || kind !== "text") return;
    const bytes = end - start;
    // A file may be all text.
    this.#mediaCount += name === "file_data" ? Math.ceil(bytes / FILE_BYTES) : 1;
    if (bytes > GIVEN_BYTES) this.#mediaBytes += bytes;
  }
}

interface Names {
  readonly names: ReadonlySet<string>;
  /** Those that are outermost. */
  readonly members: ReadonlySet<string>;
  readonly media: ReadonlySet<string>;
}

/** Of each operation, of which there are few. */
const known = new WeakMap<Parameters, Names>();

function toNames(parameters: Parameters): Names {
  const found = known.get(parameters) ?? collectNames(parameters);
  known.set(parameters, found);
  return found;
}

function collectNames(parameters: Parameters): Names {
  const { outputCaps, choices, serviceTier, streamsUsage, prompts, stored } = parameters;
  const members = new Set([
    "model",
    ...outputCaps,
    ...choices,
    ...(serviceTier ? ["service_tier"] : []),
    ...(streamsUsage ? ["stream", "stream_options"] : []),
    ...(prompts ? ["prompt"] : []),
    ...stored.filter((name) => name === BACKGROUND),
  ]);
  const media = new Set(parameters.refers ? MEDIA : []);
  const names = new Set([...members, ...media, ...(streamsUsage ? ["include_usage"] : [])]);
  return { names, members, media };
}

function insert(at: number, text: string): Edit {
  return { start: at, end: at, text };
}

function replace({ start, end }: Member, text: string): Edit {
  return { start, end, text };
}
