// A call's demand, read from the fields of its form.
import { wrongValue } from "../http/json-members.ts";
import type { Parameters } from "../openai/parameters.ts";
import type { Demand } from "./demand.ts";

/** Of an edit: the image, its mask. Most send one or two. */
const IMAGES = 2;

export class FormDemand {
  readonly names: ReadonlySet<string>;
  readonly #parameters: Parameters;
  #model: string | undefined;
  #choices = 1;

  constructor(parameters: Parameters) {
    this.#parameters = parameters;
    this.names = new Set(["model", ...parameters.choices]);
  }

  /** Whether nothing that is still to come can change it: the number may stand behind the file. */
  get settled(): boolean {
    return this.#model !== undefined && this.#parameters.choices.length === 0;
  }

  /** @throws GatewayError 400 */
  readonly found = (name: string, value: string): void => {
    if (name === "model") this.#model = value;
    else if (/^[1-9]\d{0,14}$/.test(value)) this.#choices = Number(value);
    else throw wrongValue(name, "has to be a whole number from 1");
  };

  end(): Demand {
    return {
      model: this.#model,
      serviceTier: undefined,
      outputCap: undefined,
      choices: this.#choices,
      media: this.#parameters.output === "images" ? IMAGES : 0,
      mediaBytes: Infinity, // A form is nothing else.
    };
  }
}
