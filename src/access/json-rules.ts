// A policy's rules for the members of a JSON body: what is refused, and what is spliced in.
import { JsonMembers, wrongValue } from "../http/json-members.ts";
import { nameOf, type JsonValue, type JsonVisitor, type Member } from "../http/json-value.ts";
import type { Edit } from "../http/splice.ts";
import type { Parameters } from "../openai/parameters.ts";
import type { Caller } from "./caller.ts";
import { notAllowed, wrongModel, type Policy } from "./policy.ts";
import { StoredRule } from "./stored-rule.ts";
import { ToolRule } from "./tool-rule.ts";

/** Below these, all words are the client's own. */
const SCHEMAS: ReadonlySet<string> = new Set([
  "parameters",
  "schema",
  "input_schema",
  "output_schema",
]);
/** Tools, moderators and authors of images run models, too; some APIs fall back on several. */
const NAMES_MODELS: ReadonlySet<string> = new Set(["model", "models"]);

export class JsonRules implements JsonVisitor {
  readonly names: ReadonlySet<string>;
  readonly #policy: Policy;
  readonly #parameters: Parameters;
  readonly #safetyIdentifier: string | undefined;
  readonly #members: JsonMembers;
  readonly #tools: ToolRule | undefined;
  readonly #stored: StoredRule | undefined;
  readonly #edits: Edit[] = [];
  readonly #added: string[] = [];

  constructor({ policy, safetyIdentifier }: Caller, parameters: Parameters) {
    const { limits } = policy;
    this.#policy = policy;
    this.#parameters = parameters;
    this.#safetyIdentifier = parameters.safetyIdentifier ? safetyIdentifier : undefined;
    if (parameters.tools && limits.tools !== undefined) this.#tools = new ToolRule(limits.tools);
    if (limits.storedState === false) this.#stored = new StoredRule(parameters);
    this.names = new Set([
      ...(policy.models === undefined ? [] : NAMES_MODELS),
      ...(limits.maxOutputTokens !== undefined ? parameters.outputCaps : []),
      ...(limits.maxChoices !== undefined ? parameters.choices : []),
      ...(limits.serviceTiers !== undefined && parameters.serviceTier ? ["service_tier"] : []),
      ...(this.#safetyIdentifier === undefined ? [] : ["safety_identifier"]),
      ...(this.#tools?.names ?? []),
      ...(this.#stored?.names ?? []),
    ]);
    this.#members = new JsonMembers(this.names);
  }

  member(name: string): void {
    this.#members.meet(name);
  }

  value(value: JsonValue): void {
    const { path } = value;
    const [first = ""] = path;
    if (first === "metadata" || path.some((step) => SCHEMAS.has(step))) return;
    if (path.length === 1) this.#members.set(first, value);
    if (path.length > 1 || first === "models") this.#checkNestedModel(path, value);
    this.#tools?.value(value);
    this.#stored?.value(value);
  }

  /**
   * @param root where a member can be put in front, and whether it would be the only one.
   * @returns what is to be changed.
   * @throws GatewayError 400 and 403
   */
  end(root: { readonly inside: number; readonly empty: boolean }): readonly Edit[] {
    const { limits } = this.#policy;
    this.#checkModel();
    if (limits.maxOutputTokens !== undefined) this.#capOutput(limits.maxOutputTokens);
    if (limits.maxChoices !== undefined) this.#checkChoices(limits.maxChoices);
    if (limits.serviceTiers !== undefined) this.#checkTier(limits.serviceTiers);
    this.#tools?.end((name) => this.#members.given(name));
    this.#stored?.end((name) => this.#members.given(name));
    if (this.#stored !== undefined) this.#checkStore();
    if (this.#safetyIdentifier !== undefined)
      this.#set("safety_identifier", this.#safetyIdentifier);
    if (this.#added.length > 0) {
      const text = this.#added.join(",") + (root.empty ? "" : ",");
      this.#edits.push({ start: root.inside, end: root.inside, text });
    }
    return this.#edits;
  }

  #set(name: string, value: string | number | boolean): void {
    const text = JSON.stringify(value);
    const member = this.#members.get(name);
    if (member === undefined) this.#added.push(`"${name}":${text}`);
    else if (member.kind === "object" || member.kind === "array") {
      throw wrongValue(name, "has the wrong type");
    } else this.#edits.push({ start: member.start, end: member.end, text });
  }

  #checkNestedModel(path: readonly string[], { kind, text }: Member): void {
    if (!NAMES_MODELS.has(nameOf(path)) || this.#policy.models === undefined) return;
    if (kind !== "text" || path.includes("variables")) return; // A prompt's, named by its author.
    if (text === undefined || !this.#policy.allowsModel(text)) throw wrongModel(this.#policy, text);
  }

  #checkModel(): void {
    if (this.#policy.models === undefined) return;
    const name = this.#members.text("model");
    if (name === undefined || !this.#policy.allowsModel(name)) throw wrongModel(this.#policy, name);
  }

  #capOutput(limit: number): void {
    const { outputCaps } = this.#parameters;
    const [usual] = outputCaps;
    const asked = outputCaps.filter((name) => this.#members.given(name) !== undefined);
    for (const name of asked) if (this.#members.count(name) > limit) this.#set(name, limit);
    if (asked.length === 0 && usual !== undefined) this.#set(usual, limit);
  }

  #checkChoices(limit: number): void {
    for (const name of this.#parameters.choices) {
      if (this.#members.given(name) === undefined || this.#members.count(name) <= limit) continue;
      throw notAllowed(name, "maxChoices", `at most ${limit}`);
    }
  }

  #checkTier(tiers: readonly string[]): void {
    if (!this.#parameters.serviceTier) return;
    const tier = this.#members.given("service_tier");
    const [first] = tiers;
    if (tier === undefined && first !== undefined) {
      if (!tiers.includes("auto")) this.#set("service_tier", first);
    } else if (tier?.kind !== "text" || !tiers.includes(tier.text ?? "")) {
      throw notAllowed("service_tier", "serviceTiers", tiers.join(", ") || "none");
    }
  }

  #checkStore(): void {
    const { store } = this.#parameters;
    if (store === undefined) return;
    const given = this.#members.given("store");
    if (given === undefined) {
      if (store) this.#set("store", false);
    } else if (given.kind !== "literal" || given.text !== "false") {
      throw notAllowed("store", "storedState", "false");
    }
  }
}
