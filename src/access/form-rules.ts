// A policy's rules for the fields of a multipart form, told one by one as the form passes.
import { wrongValue } from "../http/json-members.ts";
import type { Edit } from "../http/splice.ts";
import type { Parameters } from "../openai/parameters.ts";
import type { Caller } from "./caller.ts";
import { notAllowed, wrongModel, type Policy } from "./policy.ts";

export class FormRules {
  readonly names: ReadonlySet<string>;
  readonly #policy: Policy;
  readonly #safetyIdentifier: string | undefined;
  readonly #models: ReadonlySet<string>;
  #model: string | undefined;

  constructor({ policy, safetyIdentifier }: Caller, parameters: Parameters) {
    const { limits, models } = policy;
    this.#policy = policy;
    this.#models = new Set(parameters.formModels);
    this.#safetyIdentifier = parameters.safetyIdentifier ? safetyIdentifier : undefined;
    this.names = new Set([
      ...(models === undefined ? [] : parameters.formModels),
      // In one piece it could hide a model.
      ...(models !== undefined && parameters.formModels.includes("svg[model]") ? ["svg"] : []),
      ...(limits.maxChoices === undefined ? [] : parameters.choices),
      ...(this.#safetyIdentifier === undefined ? [] : ["safety_identifier"]),
    ]);
  }

  /** Whether the form may go on its way: what is still to come can only be refused. */
  get settled(): boolean {
    return this.#policy.models === undefined || this.#model !== undefined;
  }

  /** @throws GatewayError 400 and 403 */
  readonly found = (name: string, value: string): void => {
    const { limits, allowsModel } = this.#policy;
    if (name === "svg") throw wrongValue(name, "has to be sent member by member: svg[model]");
    if (this.#models.has(name)) {
      if (!allowsModel(value)) throw wrongModel(this.#policy, value, name);
      if (name === "model") this.#model = value;
    } else if (name === "safety_identifier") {
      throw notAllowed(name, "safetyIdentifier", "none, the gateway sends it");
    } else {
      const { maxChoices = Infinity } = limits;
      if (!/^[1-9]\d{0,14}$/.test(value)) throw wrongValue(name, "has to be a whole number from 1");
      if (Number(value) > maxChoices) throw notAllowed(name, "maxChoices", `at most ${maxChoices}`);
    }
  };

  /** The form is complete. @throws GatewayError 403 */
  end(): void {
    if (!this.settled) throw wrongModel(this.#policy, undefined);
  }

  /** What is put in front of the form. */
  toEdits(boundary: string): readonly Edit[] {
    if (this.#safetyIdentifier === undefined) return [];
    const head = `--${boundary}\r\ncontent-disposition: form-data; name="safety_identifier"`;
    return [{ start: 0, end: 0, text: `${head}\r\n\r\n${this.#safetyIdentifier}\r\n` }];
  }
}
