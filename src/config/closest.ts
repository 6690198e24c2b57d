// Suggestions for what was probably meant.

/** As many mistyped letters still let one see what was meant. */
const EDITS = 2;

/** `, did you mean "x"?` when a candidate is at most two edits away. */
export function closest(value: unknown, candidates: readonly string[]): string {
  if (typeof value !== "string") return "";
  const near = candidates
    .map((candidate) => ({ candidate, edits: editDistance(value, candidate) }))
    .sort((a, b) => a.edits - b.edits)[0];
  return near !== undefined && near.edits <= EDITS && near.edits < near.candidate.length
    ? `, did you mean "${near.candidate}"?`
    : "";
}

/** Also what lacks a part, or has one too many: OPENAI_KEY and OPENAI_API_KEY. */
export function isNear(name: string, wanted: string): boolean {
  if (Math.abs(name.length - wanted.length) > 5) return false;
  return contains(name, wanted) || contains(wanted, name) || editDistance(name, wanted) <= EDITS;
}

/** Whether the letters of `part` are all in `whole`, in their order. */
function contains(whole: string, part: string): boolean {
  let at = 0;
  for (const letter of whole) if (letter === part[at]) at++;
  return at === part.length;
}

/** Levenshtein's distance, ignoring case; more than a few edits are not counted. */
function editDistance(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > EDITS) return Infinity;
  const [a, b] = [one.toLowerCase(), other.toLowerCase()];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const substituted = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(substituted, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    if (Math.min(...next) > EDITS) return Infinity;
    row = next;
  }
  return row.at(-1) ?? 0;
}
