// Changes a body as it passes: some bytes are put in or replaced, every other one stays as it is.

/** All of a body that is here already, or its pieces as they come. */
export type Payload = Uint8Array | AsyncIterable<Uint8Array>;

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
export function splice(payload: Payload, edits: readonly Edit[]): Payload {
  if (edits.length === 0) return payload;
  return payload instanceof Uint8Array ? spliceWhole(payload, edits) : splicePieces(payload, edits);
}

function spliceWhole(whole: Uint8Array, edits: readonly Edit[]): Uint8Array {
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const { start, end, text } of edits.toSorted((a, b) => a.start - b.start)) {
    parts.push(whole.subarray(from, start), Buffer.from(text));
    from = end;
  }
  return Buffer.concat([...parts, whole.subarray(from)]);
}

/** The same as it passes. */
export async function* splicePieces(
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
