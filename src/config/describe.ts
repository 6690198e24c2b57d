// The settings in force as lines to read: path, value and where it was set.
import { isRecord } from "./reader.ts";
import type { Loaded } from "./load.ts";

/** Secrets are hidden by what they are: a Secret prints as `[secret]`. */
export function describe({ config, sourceOf }: Pick<Loaded, "config" | "sourceOf">): string {
  const rows = toLeaves(config, []).map(({ steps, text }) => {
    const name = steps.join(".").replace(/\.(\d+)(?=\.)/g, "[$1]");
    return { name, text, source: sourceOf(steps) };
  });
  const nameWidth = Math.max(...rows.map(({ name }) => name.length));
  const sourceWidth = Math.max(...rows.map(({ source }) => source.length));
  const lines = rows.map(({ name, text, source }) => {
    return `  ${name.padEnd(nameWidth)}  ${source.padEnd(sourceWidth)}  ${text}\n`;
  });
  return lines.join("");
}

interface Leaf {
  readonly steps: readonly string[];
  readonly text: string;
}

/** Down to what JSON would write as one value, or as a list of texts. */
function toLeaves(value: unknown, steps: readonly string[]): readonly Leaf[] {
  const branches = Array.isArray(value) ? value.some(isRecord) : isBranch(value);
  if (!branches) return [{ steps, text: toText(value) }];
  return Object.entries(Object(value)).flatMap(([key, member]) =>
    toLeaves(member, [...steps, key]),
  );
}

function toText(value: unknown): string {
  return Array.isArray(value) ? value.join(", ") || "none" : String(value);
}

/** A Secret or a URL is a leaf. */
function isBranch(value: unknown): boolean {
  return isRecord(value) && Object.getPrototypeOf(value) === Object.prototype;
}
