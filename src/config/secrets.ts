// What settings hold that nobody may see: whether it is one, and where they are.
import { Secret } from "../secret.ts";

// What people really paste, from the plainest to the oddest. None of it is quoted back.
const SECRET_MISTAKES: readonly (readonly [RegExp, string])[] = [
  [/^$/, "is empty"],
  [/^bearer\s/i, `begins with "Bearer"`],
  [/^["'`]|["'`]$/, "is in quotes"],
  [/^[A-Z_]*KEY\s*=/, "begins with the name of a variable"],
  [
    /^(?=.{0,40}$).*(?:your|xxx|\.\.\.|…|<|\*\*\*|change.?me|replace|placeholder)/i,
    "is still a placeholder",
  ],
  [/\s/, "has white space or a line break inside"],
  [/[^\x21-\x7e]/, "has characters that are not printable ASCII"],
];

/** In words, without the text itself. */
export function findSecretMistake(text: string): string | undefined {
  return SECRET_MISTAKES.find(([pattern]) => pattern.test(text))?.[1];
}

/** A secret that fits a header, without the white space around it; or what is wrong with it. */
export function parseSecret(written: string | undefined): Secret | string {
  const text = written?.trim();
  const mistake = text === undefined ? "is not a text" : findSecretMistake(text);
  if (text !== undefined && mistake === undefined) return new Secret(text);
  return `${mistake}: expected the bare secret, printable ASCII without spaces or quotes`;
}

/** Every secret in a value, at any depth, so that a log can keep all of them out. */
export function secretsOf(value: unknown): readonly Secret[] {
  if (value instanceof Secret) return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(secretsOf);
}
