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
