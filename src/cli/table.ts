// What tables on a terminal are made of: columns that line up, numbers with their units, and names
// of strangers that stay in their place. A text "in cells" has one UTF-16 unit for each cell: a
// letter that is two cells wide has a filler before it.

const FILLER = "\0";
const TEXT_LIMIT = 2_000;
const NAME_WIDTH = 20;

/** Kana, Chinese and Korean: two cells everywhere. */
const WIDE = "\\u3041-\\u3096\\u30a1-\\u30fa\\u30fc\\u3400-\\u4dbf\\u4e00-\\u9fff\\uac00-\\ud7a3";
/** European letters and punctuation: one cell. */
const NARROW =
  " -~\\u00a1-\\u00ac\\u00ae-\\u02af\\u0370-\\u0482\\u048a-\\u052f\\u1e00-\\u1eff\\u2010-\\u2027";
// All else may move the cursor, turn the line round (bidi), join with what stands beside it, or be
// as wide as the terminal likes.
const UNKNOWN = new RegExp(`[^${NARROW}${WIDE}]`, "gu");
const EACH_WIDE = new RegExp(`[${WIDE}]`, "gu");
const CUT_FILLER = new RegExp(`${FILLER}(?![${WIDE}])`, "gu");

/** Safe to show, in cells; what is not known to be safe becomes a question mark. */
export function toCells(text: string): string {
  const known = text.slice(0, TEXT_LIMIT).normalize("NFC").replace(UNKNOWN, "?");
  return known.replace(EACH_WIDE, `${FILLER}$&`);
}

/** No more than so many cells. */
export function fit(cells: string, width: number): string {
  return cells.length > width ? `${cells.slice(0, Math.max(0, width - 1))}…` : cells;
}

/** A name's cells in a table. */
export function toName(name: string): string {
  return fit(toCells(name === "" ? "-" : name), NAME_WIDTH);
}

/** The same JSON in letters that harm no terminal. */
export function toAscii(json: string): string {
  return json.replace(/[^ -~]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** What to print for a text in cells, wherever it was cut. */
export function toText(cells: string): string {
  return cells.replace(CUT_FILLER, " ").replaceAll(FILLER, "");
}

/** One line per row: so many columns to the left, the others, numbers, to the right. */
export function align(rows: readonly (readonly string[])[], left: number): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const pad = (cell: string, column: number): string => {
    const width = widths[column] ?? 0;
    return column < left ? cell.padEnd(width) : cell.padStart(width);
  };
  return rows.map((row) => row.map(pad).join("  ").trimEnd());
}

export function toCount(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

export function toDollars(value: number): string {
  return value.toFixed(value < 1 ? 4 : 2);
}

export function toShare(value: number): string {
  return Number.isNaN(value) ? "-" : `${(value * 100).toFixed(1)} %`;
}

/** Not a number: nothing is known of it. */
export function toDuration(ms: number): string {
  if (Number.isNaN(ms)) return "-";
  if (ms < 999.5) return `${ms.toFixed(ms < 9.95 ? 1 : 0)} ms`;
  return `${(ms / 1_000).toFixed(ms < 99_950 ? 1 : 0)} s`;
}

export function toAge(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.floor(ms / 1_000)} s`;
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1_440)} d ${Math.floor(minutes / 60) % 24} h`;
}

/** Of the day, in UTC. */
export function toTime(atMs: number): string {
  return new Date(Math.min(Math.max(0, atMs), 8.64e15)).toISOString().slice(11, 19);
}
