// A policy's rules for the members of a JSON body: what is refused, and what is spliced in.
// Wherever two JSON readers could see two values, the call is refused.
import { nameOf, type JsonValue, type JsonVisitor, type Member } from "../http/json-value.ts";
import type { Edit } from "../http/splice.ts";
import type { Parameters } from "../openai/parameters.ts";
import type { Caller } from "./caller.ts";
import { notAllowed, wrongModel, wrongValue, type Policy } from "./policy.ts";
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
/** Not 0, which to some readers is as good as nothing. */
const WHOLE = /^[1-9]\d{0,14}$/;

export class JsonRules implements JsonVisitor {
  readonly names: ReadonlySet<string>;
  readonly #policy: Policy;
  readonly #parameters: Parameters;
  readonly #safetyIdentifier: string | undefined;
  readonly #folded: ReadonlySet<string>;
  readonly #members = new Map<string, Member | undefined>();
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
    this.#folded = new Set([...this.names].map((name) => name.toLowerCase()));
  }

  member(name: string): void {
    if (this.names.has(name)) {
      if (this.#members.has(name)) throw wrongValue(name, `is there twice`);
      this.#members.set(name, undefined);
    } else if (this.#folded.has(name.toLowerCase())) {
      throw wrongValue(name, `has to be written "${name.toLowerCase()}"`);
    }
  }

  value(value: JsonValue): void {
    const { path, ...member } = value;
    const [first = ""] = path;
    if (first === "metadata" || path.some((step) => SCHEMAS.has(step))) return;
    if (path.length === 1) this.#members.set(first, member);
    if (path.length > 1 || first === "models") this.#checkNestedModel(path, member);
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
    this.#tools?.end((name) => this.#given(name));
    this.#stored?.end((name) => this.#given(name));
    if (this.#stored !== undefined) this.#checkStore();
    if (this.#safetyIdentifier !== undefined)
      this.#set("safety_identifier", this.#safetyIdentifier);
    if (this.#added.length > 0) {
      const text = this.#added.join(",") + (root.empty ? "" : ",");
      this.#edits.push({ start: root.inside, end: root.inside, text });
    }
    return this.#edits;
  }

  /** `null` is as good as nothing. */
  #given(name: string): Member | undefined {
    const member = this.#members.get(name);
    return member?.kind === "literal" && member.text === "null" ? undefined : member;
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
    const model = this.#given("model");
    if (model !== undefined && (model.kind !== "text" || model.text === undefined)) {
      throw wrongValue("model", "has to be a plain text");
    }
    const name = model?.text;
    if (name === undefined || !this.#policy.allowsModel(name)) throw wrongModel(this.#policy, name);
  }

  #capOutput(limit: number): void {
    const { outputCaps } = this.#parameters;
    const [usual] = outputCaps;
    const asked = outputCaps.filter((name) => this.#given(name) !== undefined);
    for (const name of asked) if (this.#count(name) > limit) this.#set(name, limit);
    if (asked.length === 0 && usual !== undefined) this.#set(usual, limit);
  }

  #checkChoices(limit: number): void {
    for (const name of this.#parameters.choices) {
      if (this.#given(name) === undefined || this.#count(name) <= limit) continue;
      throw notAllowed(name, "maxChoices", `at most ${limit}`);
    }
  }

  /** Only what every reader takes for the same whole number. */
  #count(name: string): number {
    const { kind, text = "" } = this.#given(name) ?? {};
    if (kind === "literal" && WHOLE.test(text)) return Number(text);
    throw wrongValue(name, "has to be a whole number from 1");
  }

  #checkTier(tiers: readonly string[]): void {
    if (!this.#parameters.serviceTier) return;
    const tier = this.#given("service_tier");
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
    const given = this.#given("store");
    if (given === undefined) {
      if (store) this.#set("store", false);
    } else if (given.kind !== "literal" || given.text !== "false") {
      throw notAllowed("store", "storedState", "false");
    }
  }
}
