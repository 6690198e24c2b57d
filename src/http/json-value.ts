// What a scan of JSON finds, and who is told.

/** A value found under one of the names that were asked for. */
export interface JsonValue {
  /** The members that lead to it, "*" for a list's element. It changes: copy what you keep. */
  readonly path: readonly string[];
  readonly kind: "text" | "literal" | "object" | "array";
  /**
   * A literal (number, true, false, null) as it is written, or the characters of a text. Nothing
   * for a text that is long, escaped or not plain ASCII: two readers might see two texts.
   */
  readonly text: string | undefined;
  /** Offset of its first byte in the body. */
  readonly start: number;
  /** Behind its last byte; of an object or array, behind its bracket. */
  readonly end: number;
}

export interface JsonVisitor {
  /** Members, at any depth, whose values are wanted; of a list also its elements. */
  readonly names: ReadonlySet<string>;
  /** Every member of the outermost object, wanted or not. */
  member(name: string): void;
  value(value: JsonValue): void;
  /** The object found last has no members. */
  empty?(path: readonly string[]): void;
}

/** The member that a value is of; of a list's element, the list's. */
export function nameOf(path: readonly string[]): string {
  const last = path.at(-1) ?? "";
  return last === "*" ? (path.at(-2) ?? "") : last;
}

/** A value by itself, where its name is known. */
export type Member = Omit<JsonValue, "path">;
