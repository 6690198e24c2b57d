// Where OpenAI's operations keep what policies govern. From the OpenAPI document 2.3.0 and the
// official SDK 7.57. What is not here cannot be looked into.
import { isAdministrative, type Asked } from "./endpoints.ts";

export interface Parameters {
  /** How the body is written. Image edits take both. */
  readonly formats: readonly ("json" | "form")[];
  /** What caps the output: the first is what to ask for where a call does not say. */
  readonly outputCaps: readonly string[];
  /** Writes text at length, and no parameter of it can cap that. */
  readonly uncapped: boolean;
  readonly choices: readonly string[];
  /** The fields of a form that name models; in JSON every member `model` does. */
  readonly formModels: readonly string[];
  /** Asks for hosted and other tools. */
  readonly tools: boolean;
  readonly serviceTier: boolean;
  readonly safetyIdentifier: boolean;
  /** `store`, and what it is where a call does not say. */
  readonly store: boolean | undefined;
  /** Members that go on with, or begin, something stored at OpenAI. */
  readonly stored: readonly string[];
  /** Whether its members, at any depth, may name stored files, containers and the like. */
  readonly refers: boolean;
  /** Its `input` may hold items, which may be references to stored ones. */
  readonly items: boolean;
  /** What is paid for beside the input. */
  readonly output: "text" | "images" | "speech" | "transcript" | "nothing";
  /** Costs nothing, nor does it count as tokens. */
  readonly free: boolean;
  /** Its streams report usage only when asked: `stream_options.include_usage`. */
  readonly streamsUsage: boolean;
  /** `prompt` may be a list, each of which is answered. */
  readonly prompts: boolean;
}

const NONE: Parameters = {
  formats: ["json"],
  outputCaps: [],
  uncapped: false,
  choices: [],
  formModels: ["model"],
  tools: false,
  serviceTier: false,
  safetyIdentifier: false,
  store: undefined,
  stored: [],
  refers: false,
  items: false,
  output: "nothing",
  free: false,
  streamsUsage: false,
  prompts: false,
};

const IMAGE: Partial<Parameters> = {
  choices: ["n"],
  formModels: ["model", "svg[model]"],
  safetyIdentifier: true,
  output: "images",
};

const RESPONSE: Partial<Parameters> = {
  output: "text",
  tools: true,
  stored: ["previous_response_id", "conversation", "prompt", "background"],
  refers: true,
  items: true,
};

const PARAMETERS: Readonly<Record<string, Partial<Parameters>>> = {
  "POST /chat/completions": {
    output: "text",
    streamsUsage: true,
    outputCaps: ["max_completion_tokens", "max_tokens"],
    choices: ["n"],
    tools: true,
    serviceTier: true,
    safetyIdentifier: true,
    store: true, // By default for new accounts, says OpenAI's guide to migrating to Responses.
    refers: true,
  },
  "POST /completions": {
    output: "text",
    streamsUsage: true,
    prompts: true,
    outputCaps: ["max_tokens"],
    choices: ["n", "best_of"],
  },
  "POST /responses": {
    ...RESPONSE,
    outputCaps: ["max_output_tokens"],
    serviceTier: true,
    safetyIdentifier: true,
    store: true,
  },
  "POST /responses/compact": { ...RESPONSE, uncapped: true, serviceTier: true },
  "POST /responses/input_tokens": { ...RESPONSE, output: "nothing", free: true },
  "POST /embeddings": {},
  "POST /moderations": { free: true },
  "POST /images/generations": IMAGE,
  "POST /images/edits": { ...IMAGE, formats: ["json", "form"], refers: true },
  "POST /images/variations": { choices: ["n"], formats: ["form"], output: "images" },
  "POST /audio/speech": { output: "speech" },
  "POST /audio/transcriptions": { formats: ["form"], output: "transcript" },
  "POST /audio/translations": { formats: ["form"], output: "transcript" },
};

const COMPLETE: ReadonlyMap<string, Parameters> = new Map(
  Object.entries(PARAMETERS).map(([name, own]) => [name, { ...NONE, ...own }]),
);

/** Objects without a model that would run: what they hold is used by other operations. */
const MODELLESS: ReadonlySet<string> = new Set([
  "stored_chat",
  "stored_responses",
  "conversations",
  "files",
  "uploads",
  "vector_stores",
  "containers",
  "skills",
  "voices",
  "provenance",
]);

/**
 * What an operation takes. "nothing" where there is nothing to govern; "unknown" where something
 * might be, which nobody here can look into: an operation that runs models in its own way, a
 * WebSocket, a path that OpenAI may have added yesterday.
 */
export function findParameters(asked: Asked): Parameters | "nothing" | "unknown" {
  const { method, path, operation } = asked;
  const known = COMPLETE.get(`${operation?.method} ${operation?.template}`);
  if (known !== undefined) return known;
  if (method === "WEBSOCKET") return "unknown";
  if (["GET", "HEAD", "DELETE"].includes(method)) return "nothing";
  if (operation === undefined || isAdministrative(method, path)) return "unknown";
  return MODELLESS.has(operation.class) ? "nothing" : "unknown";
}
