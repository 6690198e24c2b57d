// Content codings (RFC 9110 §8.4) of an upstream that was asked for none. What nobody can read
// nobody can meter, so they are undone where they are known: here as fetch does by itself.
import { pipeline, Readable, type Transform } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import type { ReplyBytes } from "./attempt.ts";

const DECODERS: ReadonlyMap<string, () => Transform> = new Map<string, () => Transform>([
  ["gzip", createGunzip],
  ["x-gzip", createGunzip],
  ["deflate", createInflate],
  ["br", createBrotliDecompress],
]);

/** As many as fetch undoes: more are an attack. */
const LIMIT = 5;

/** Those that a `Content-Encoding` lists, the first applied first. */
export function toCodings(field: string | undefined): readonly string[] {
  if (field === undefined) return [];
  const codings = field.split(",").map((coding) => coding.trim().toLowerCase());
  return codings.filter((coding) => coding !== "" && coding !== "identity");
}

/** @returns the content as it comes; nothing where a coding is not known, or there is none. */
export function decode(body: ReplyBytes, codings: readonly string[]): ReplyBytes | undefined {
  const known = codings.flatMap((coding) => DECODERS.get(coding) ?? []);
  if (codings.length === 0 || known.length < codings.length || known.length > LIMIT) return;
  return {
    async each(take) {
      const content = known.reduceRight<Readable>(
        (bytes, create) => pipeline(bytes, create(), () => {}),
        toReadable(body),
      );
      for await (const piece of content) await take(piece);
    },
    cancel: () => body.cancel(),
  };
}

function toReadable(body: ReplyBytes): Readable {
  let more: (() => void) | undefined;
  const readable = new Readable({
    read: () => more?.(),
    destroy(error, done) {
      body.cancel();
      done(error);
    },
  });
  const wait = (): Promise<void> => new Promise((resolve) => (more = resolve));
  body
    .each((piece) => (readable.push(piece) ? undefined : wait()))
    .then(
      () => readable.push(null),
      (error) => readable.destroy(error),
    );
  return readable;
}
