// Which tools a call may bring.
import type { GatewayError } from "../errors.ts";
import { wrongValue } from "../http/json-members.ts";
import type { JsonValue, Member } from "../http/json-value.ts";
import { notAllowed } from "./policy.ts";

/**
 * Tools stand in the list `tools`, but also in lists of that name further inside: in namespaces,
 * and in items of `input` that bring more of them. So every such list is looked at.
 */
export class ToolRule {
  readonly names = ["tools", "functions", "web_search_options", "prompt", "type"];
  readonly #allowed: readonly string[];
  /** Whether the last element of the outermost list has named its type. */
  #typed = true;

  constructor(allowed: readonly string[]) {
    this.#allowed = allowed;
  }

  value({ path, kind, text }: JsonValue): void {
    if (path.length === 2 && path[0] === "tools") this.#beginTool(kind);
    if (path.at(-1) !== "type" || path.at(-2) !== "*" || path.at(-3) !== "tools") return;
    if (kind !== "text" || !this.#allowed.includes(text ?? "")) throw this.#refused("tools");
    if (path.length === 3) this.#typed = true;
  }

  #beginTool(kind: JsonValue["kind"]): void {
    this.#endTool();
    if (kind !== "object") throw wrongValue("tools", "has to be a list of objects");
    this.#typed = false;
  }

  #endTool(): void {
    if (!this.#typed) throw wrongValue("tools", "has an entry without a type");
  }

  end(given: (name: string) => Member | undefined): void {
    this.#endTool();
    const list = given("tools");
    if (list !== undefined && list.kind !== "array") throw wrongValue("tools", "has to be a list");
    // A stored prompt may bring its own. Elsewhere `prompt` is the text itself.
    if (given("prompt")?.kind === "object") throw this.#refused("prompt");
    // Chat's ways from before there were tools.
    const former = { functions: "function", web_search_options: "web_search" };
    for (const [name, type] of Object.entries(former)) {
      if (given(name) !== undefined && !this.#allowed.includes(type)) throw this.#refused(name);
    }
  }

  #refused(field: string): GatewayError {
    return notAllowed(field, "tools", this.#allowed.join(", ") || "none");
  }
}
