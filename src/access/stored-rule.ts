// `storedState: false`: nothing that OpenAI keeps is read, used or gone on with.
import type { GatewayError } from "../errors.ts";
import { wrongValue } from "../http/json-members.ts";
import { nameOf, type JsonValue, type Member } from "../http/json-value.ts";
import type { Parameters } from "../openai/parameters.ts";
import { notAllowed } from "./policy.ts";

/** Anywhere in a body, these name something that is stored at OpenAI. */
const STORED_IDS = [
  "file_id",
  "file_ids",
  "vector_store_ids",
  "container",
  "container_id",
  "skill_id",
  "comparison_response_id",
];
/** Items that are references unless they bring what they stand for. */
const CONTENTS: ReadonlyMap<string, string> = new Map([
  ["message", "content"],
  ["image_generation_call", "result"],
  ["reasoning", "encrypted_content"],
]);
export class StoredRule {
  readonly names: readonly string[];
  readonly #parameters: Parameters;
  readonly #ids: ReadonlySet<string>;
  /** Of the last element of `input`: its members, those with a text, and what it has to have. */
  readonly #seen = new Set<string>();
  readonly #item = new Set<string>();
  #itemNeeds: string | undefined;

  constructor(parameters: Parameters) {
    const { stored, refers, items, store } = parameters;
    this.#parameters = parameters;
    this.#ids = new Set(refers ? STORED_IDS : []);
    this.names = [
      ...stored,
      ...this.#ids,
      ...(refers ? ["id"] : []),
      ...(store === undefined ? [] : ["store"]),
      ...(items ? ["input", "type", "tools", ...CONTENTS.values()] : []),
    ];
  }

  value({ path, kind, text }: JsonValue): void {
    const name = nameOf(path);
    if (kind === "text" && this.#ids.has(name)) throw notAllowed(name, "storedState", "none");
    // A spoken answer that OpenAI keeps, in a message of a chat.
    if (kind === "text" && name === "id" && path.at(-2) === "audio") {
      throw notAllowed("audio.id", "storedState", "none");
    }
    if (!this.#parameters.items || path[0] !== "input" || path[1] !== "*") return;
    if (path.length === 2) this.#beginItem(kind);
    else if (path.length === 3) this.#itemMember(name, kind, text);
  }

  #beginItem(kind: JsonValue["kind"]): void {
    this.#endItem();
    if (kind !== "object") throw wrongValue("input", "has to be a text or a list of objects");
    this.#seen.clear();
    this.#item.clear();
    this.#itemNeeds = "content"; // With nothing but an id it is a reference, too.
  }

  #itemMember(name: string, kind: JsonValue["kind"], text: string | undefined): void {
    if (this.#seen.has(name)) throw wrongValue("input", `has an item with "${name}" twice`);
    this.#seen.add(name);
    if (kind === "literal" || text === "") return;
    this.#item.add(name);
    if (name === "tools" && kind === "object") throw wrongValue("tools", "has to be a list");
    if (name !== "type") return;
    if (text === undefined || text === "item_reference") throw referenced();
    this.#itemNeeds = CONTENTS.get(text);
  }

  #endItem(): void {
    if (this.#itemNeeds !== undefined && !this.#item.has(this.#itemNeeds)) throw referenced();
  }

  end(given: (name: string) => Member | undefined): void {
    this.#endItem();
    for (const name of this.#parameters.stored) {
      const member = given(name);
      if (member === undefined) continue;
      if (name === "background" && member.kind === "literal" && member.text === "false") continue;
      throw notAllowed(name, "storedState", name === "background" ? "false" : "none");
    }
    if (this.#parameters.items && given("input")?.kind === "object") {
      throw wrongValue("input", "has to be a text or a list");
    }
  }
}

function referenced(): GatewayError {
  return notAllowed("input", "storedState", "items with all their content, and no references");
}
