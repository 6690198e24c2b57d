// The model that an answer names, read from its first bytes without parsing it.

const LOOK_BYTES = 2_048;
const NAME = Buffer.from('"model":');
const VALUE = /^ ?"([\w.:/-]{1,100})"/;

/**
 * Chat, completions and responses name their model near the beginning. Inside a JSON string the
 * quotes would be escaped, so no content can be taken for it.
 */
export function findModel(first: Buffer): string | undefined {
  const bytes = first.subarray(0, LOOK_BYTES);
  const at = bytes.indexOf(NAME);
  return at < 0 ? undefined : VALUE.exec(bytes.toString("latin1", at + NAME.length))?.[1];
}
