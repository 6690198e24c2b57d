// What stands in the raw settings for a text of the file that named a variable.

/** A text with `${NAME}` in it: read as it expands, shown as its author wrote it. */
export class Expanded {
  readonly text: string;
  readonly #written: string;

  constructor(text: string, written: string) {
    this.text = text;
    this.#written = written;
  }

  /** Messages show values as JSON: what came from the environment may be a secret. */
  toJSON(): string {
    return this.#written;
  }
}

/** In the place of a value that could not be had, and whose problem is noted already. */
export const UNREADABLE = Symbol("unreadable");

/** The text behind the stand-in. */
export function unwrap(value: unknown): unknown {
  if (value instanceof Expanded) return value.text;
  return value === UNREADABLE ? undefined : value;
}

/** One of a list, the text where it came from a variable, and what a message may show of it. */
interface Item {
  readonly text: unknown;
  readonly written: unknown;
  /** `[1]`, where it has a place of its own. */
  readonly at: string;
}

/** The members of a list, or of a text with commas between them. Nothing for anything else. */
export function toItems(value: unknown, written: unknown): readonly Item[] | undefined {
  if (Array.isArray(value)) {
    const items = value.map((item, index) => {
      return { text: unwrap(item), written: item, at: `[${index}]` };
    });
    return items.filter((item) => item.written !== UNREADABLE);
  }
  if (typeof value !== "string") return undefined;
  const parts = value.split(",").map((part) => part.trim());
  return parts.map((text) => {
    return { text, written: written instanceof Expanded ? written : text, at: "" };
  });
}
