// Suggestions for what was probably meant.

/** `, did you mean "x"?` when a candidate is at most two edits away. */
export function closest(value: unknown, candidates: readonly string[]): string {
  if (typeof value !== "string") return "";
  const near = candidates
    .map((candidate) => ({ candidate, edits: editDistance(value, candidate) }))
    .sort((a, b) => a.edits - b.edits)[0];
  return near !== undefined && near.edits <= 2 && near.edits < near.candidate.length
    ? `, did you mean "${near.candidate}"?`
    : "";
}

/** Also what lacks a part, or has one too many: OPENAI_KEY and OPENAI_API_KEY. */
export function isNear(name: string, wanted: string): boolean {
  if (Math.abs(name.length - wanted.length) > 5) return false;
  return contains(name, wanted) || contains(wanted, name) || editDistance(name, wanted) <= 2;
}

/** Whether the letters of `part` are all in `whole`, in their order. */
function contains(whole: string, part: string): boolean {
  let at = 0;
  for (const letter of whole) if (letter === part[at]) at++;
  return at === part.length;
}

/** Levenshtein's distance, ignoring case. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, left] of [...a.toLowerCase()].entries()) {
    const next = [i + 1];
    for (const [j, right] of [...b.toLowerCase()].entries()) {
      const substituted = (row[j] ?? 0) + (left === right ? 0 : 1);
      next.push(Math.min(substituted, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
