// The environment as settings see it: empty is not set, and NAME_FILE names a file with the value.
import { readFileSync } from "node:fs";
import { isNear } from "./closest.ts";
import { UNREADABLE } from "./expanded.ts";
import type { Problem } from "./reader.ts";
import { SETTINGS } from "./settings.ts";

/** A value and the name of the variable that it is from. */
export interface Found {
  readonly value: string | typeof UNREADABLE;
  readonly from: string;
}

export class Environment {
  readonly #values: Readonly<Record<string, string | undefined>>;
  readonly #problems: Problem[];
  /** Names that were looked for as secrets: by a setting, or by the file. */
  readonly #wanted = new Set<string>();

  constructor(values: Readonly<Record<string, string | undefined>>, problems: Problem[]) {
    this.#values = values;
    this.#problems = problems;
  }

  /** Without the line break that `echo` leaves at the end of a Kubernetes secret. */
  get(name: string): string | undefined {
    return this.#values[name]?.trim() || undefined;
  }

  find(name: string): Found | undefined {
    const value = this.get(name);
    return value === undefined ? undefined : { value, from: name };
  }

  /** Looks for the …_FILE form too. */
  findSecret(name: string): Found | undefined {
    this.#wanted.add(name).add(`${name}_FILE`);
    const found = this.find(name);
    const from = `${name}_FILE`;
    const file = this.get(from);
    if (file === undefined) return found;
    if (found !== undefined)
      return this.#unreadable(name, `and ${from} are both set: expected one of them`);
    try {
      return { value: readFileSync(file, "utf8").trim(), from };
    } catch (error) {
      return this.#unreadable(from, `names a file that ${toReason(error)}`);
    }
  }

  /** Names that are set, read by nobody and close to a setting that is not: OPENAI_KEY. */
  findNearMisses(): readonly Problem[] {
    const known = SETTINGS.flatMap(({ name }) => [name, `${name}_FILE`]);
    const unset = SETTINGS.filter(({ name }) => !this.get(name) && !this.get(`${name}_FILE`));
    const others = Object.keys(this.#values).filter(
      (name) => this.get(name) && !known.includes(name) && !this.#wanted.has(name),
    );
    return others.flatMap((where) => {
      // PORT and HOST are too short to tell a mistake from another program's variable.
      const meant = unset.find(({ name }) => name.includes("_") && isNear(where, name));
      return meant === undefined
        ? []
        : [{ where, message: `is no setting, did you mean "${meant.name}"?` }];
    });
  }

  #unreadable(where: string, message: string): Found {
    this.#problems.push({ where, message });
    return { value: UNREADABLE, from: where };
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  EISDIR: "is a directory",
  EACCES: "cannot be read by this user",
};

/** Why a file cannot be read. Not its name, which may be the key, written in the wrong place. */
export function toReason(error: unknown): string {
  const code = String(Object(error).code ?? error);
  return REASONS[code] ?? `cannot be read (${code})`;
}
