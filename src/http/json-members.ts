// The outermost members of a JSON object that matter to somebody. Wherever two JSON readers could
// see two of one name, or one in two ways, the call is refused.
import { GatewayError } from "../errors.ts";
import type { Member } from "./json-value.ts";

/** Not 0, which to some readers is as good as nothing. */
const WHOLE = /^[1-9]\d{0,14}$/;

export class JsonMembers {
  readonly #names: ReadonlySet<string>;
  readonly #folded: ReadonlySet<string>;
  readonly #members = new Map<string, Member | undefined>();

  constructor(names: ReadonlySet<string>) {
    this.#names = names;
    this.#folded = fold(names);
  }

  /** @throws GatewayError 400 for one that is there twice, or that some take for another. */
  meet(name: string): void {
    if (this.#names.has(name)) {
      if (this.#members.has(name)) throw wrongValue(name, "is there twice");
      this.#members.set(name, undefined);
    } else if (this.#folded.has(name.toLowerCase())) {
      throw wrongValue(name, `has to be written "${name.toLowerCase()}"`);
    }
  }

  set(name: string, member: Member): void {
    this.#members.set(name, member);
  }

  /** As it is written, `null` too. */
  get(name: string): Member | undefined {
    return this.#members.get(name);
  }

  /** `null` is as good as nothing. */
  given(name: string): Member | undefined {
    const member = this.#members.get(name);
    return member?.kind === "literal" && member.text === "null" ? undefined : member;
  }

  /** @throws GatewayError 400 for what not every reader takes for the same whole number from 1. */
  count(name: string): number {
    const { kind, text = "" } = this.given(name) ?? {};
    if (kind === "literal" && WHOLE.test(text)) return Number(text);
    throw wrongValue(name, "has to be a whole number from 1");
  }

  /** @throws GatewayError 400 for what is no text, or none that all readers read alike. */
  text(name: string): string | undefined {
    const member = this.given(name);
    if (member === undefined || (member.kind === "text" && member.text !== undefined)) {
      return member?.text;
    }
    throw wrongValue(name, "has to be a plain text");
  }
}

/** Of sets that stay, which most are. */
const folded = new WeakMap<ReadonlySet<string>, ReadonlySet<string>>();

function fold(names: ReadonlySet<string>): ReadonlySet<string> {
  const found = folded.get(names) ?? new Set([...names].map((name) => name.toLowerCase()));
  folded.set(names, found);
  return found;
}

/** What two readers could read in two ways, or none can. */
export function wrongValue(field: string, what: string): GatewayError {
  return new GatewayError("invalid_request", `"${field}" ${what}.`, { param: field });
}
