// Changes a body as it passes: some bytes are put in or replaced, every other one stays as it is.

export interface Edit {
  /** Offsets in the body as it came; equal where something is only put in. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** How many bytes longer the body gets. */
export function growthOf(edits: readonly Edit[]): number {
  const grown = edits.map(({ start, end, text }) => Buffer.byteLength(text) - (end - start));
  return grown.reduce((sum, bytes) => sum + bytes, 0);
}

/** @param edits that do not overlap, none behind the last byte. */
export async function* splice(
  pieces: AsyncIterable<Uint8Array>,
  edits: readonly Edit[],
): AsyncGenerator<Uint8Array, void, undefined> {
  const waiting = edits.toSorted((a, b) => a.start - b.start);
  let begin = 0;
  for await (const piece of pieces) {
    const end = begin + piece.length;
    let from = begin;
    for (let edit = waiting[0]; edit !== undefined && edit.start < end; edit = waiting[0]) {
      if (edit.start > from) yield piece.subarray(from - begin, edit.start - begin);
      if (edit.start >= begin) yield Buffer.from(edit.text);
      from = Math.min(edit.end, end);
      if (edit.end > end) break;
      waiting.shift();
    }
    if (from < end) yield piece.subarray(from - begin);
    begin = end;
  }
}
