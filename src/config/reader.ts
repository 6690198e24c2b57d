// Reads one raw object key by key and notes every problem with its place, instead of throwing.
import type { Secret } from "../secret.ts";
import { parseSecret } from "./secrets.ts";
import { closest } from "./closest.ts";
import { show } from "./show.ts";
import { Expanded, UNREADABLE, toItems, unwrap } from "./expanded.ts";

/** One wrong setting: where it is, what is wrong, what would be right. */
export interface Problem {
  readonly where: string;
  readonly message: string;
}

/** All that is wrong with the settings, one line each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const byLine = new Map(problems.map((problem) => [toLine(problem), problem]));
    const sorted = [...byLine].sort(([a], [b]) => (a < b ? -1 : 1));
    super(sorted.map(([line]) => line).join("\n"));
    this.problems = sorted.map(([, problem]) => problem);
  }
}

export function toLine({ where, message }: Problem): string {
  return `${where}: ${message}`;
}

/** What all readers of one configuration share. */
export interface Notes {
  readonly problems: Problem[];
  /** Where a value came from when not from the file: its path to "PORT" or "--port". */
  readonly origins: ReadonlyMap<string, string>;
}

type Range = { readonly min: number; readonly max: number };

const WHOLE = { what: "a whole number", digits: /^\d+$/, fits: Number.isInteger };
const DECIMAL = { what: "a number", digits: /^\d+(?:\.\d+)?$/, fits: Number.isFinite };

/** What every text of a list has to be. */
interface TextRule {
  readonly what: string;
  /** An empty list would be none. */
  readonly some?: true;
  fits(text: string): boolean;
  hint?(text: string): string;
}

/** What may be a text, a section, or a list of both. */
interface EntryRule<Entry> {
  /** @returns the entry, or what is expected; of that as `written` alone may be repeated. */
  fromText(text: string, written: string): Entry | string;
  /** Nothing where it has noted a problem. */
  fromSection(section: Reader): Entry | undefined;
}

export class Reader {
  readonly path: string;
  readonly #raw: Readonly<Record<string, unknown>>;
  readonly #notes: Notes;
  readonly #asked = new Set<string>();

  constructor(raw: unknown, path: string, notes: Notes) {
    this.path = path;
    this.#notes = notes;
    this.#raw = isRecord(raw) ? raw : {};
    if (raw === undefined || raw === UNREADABLE || isRecord(raw)) return;
    // Not which one: where a section is expected, it may well be the secret that belongs into it.
    const message = `expected an object, got ${typeof raw === "string" ? "a text" : show(raw)}`;
    notes.problems.push({ where: path || "settings", message });
  }

  text(key: string): string | undefined;
  text(key: string, fallback: string): string;
  text(key: string, fallback?: string): string | undefined {
    const value = this.#take(key);
    if (value === undefined) return fallback;
    if (typeof value === "string" && value !== "") return value;
    this.expected(key, "a text");
    return fallback;
  }

  /** Whole numbers; the digits of an environment variable count as one. */
  integer(key: string, fallback: number, range: Range): number {
    return this.#numeric(key, fallback, range, WHOLE);
  }

  /** Decimals too. */
  number(key: string, fallback: number, range: Range): number {
    return this.#numeric(key, fallback, range, DECIMAL);
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.#take(key);
    if (value === undefined) return fallback;
    if (value === true || value === "true") return true;
    if (value === false || value === "false") return false;
    this.expected(key, "true or false");
    return fallback;
  }

  oneOf<const Choice extends string>(
    key: string,
    fallback: Choice,
    choices: readonly Choice[],
  ): Choice {
    const value = this.#take(key);
    if (value === undefined) return fallback;
    const choice = choices.find((candidate) => candidate === value);
    if (choice !== undefined) return choice;
    this.expected(key, `one of ${choices.join(", ")}`, closest(value, choices));
    return fallback;
  }

  /** A list of texts, or one text with commas between them. */
  texts(key: string, fallback: readonly string[], rule: TextRule): readonly string[] {
    const value = this.#take(key);
    if (value === undefined) return fallback;
    const items = toItems(value, this.#own(key));
    if (items === undefined || (rule.some === true && items.length === 0)) {
      this.expected(key, `a list of ${rule.what}`);
    }
    return (items ?? []).flatMap(({ text, written }) => {
      if (typeof text === "string" && text !== "" && rule.fits(text)) return [text];
      const hint = typeof written === "string" ? (rule.hint?.(written) ?? "") : "";
      this.problem(key, `expected ${rule.what}, got ${show(written)}${hint}`);
      return [];
    });
  }

  /** A list of texts and sections, one of either, or one text with commas between several. */
  entries<Entry extends object>(key: string, rule: EntryRule<Entry>): readonly Entry[] {
    const value = this.#take(key);
    if (value === undefined) return [];
    const whole = { text: value, written: this.#own(key), at: "" };
    const none = Array.isArray(value) && value.length === 0;
    const items = none ? undefined : toItems(value, whole.written);
    return (items ?? [whole]).flatMap(({ text, written, at }) => {
      if (isRecord(text)) {
        return rule.fromSection(new Reader(text, `${this.at(key)}${at}`, this.#notes)) ?? [];
      }
      const plain = typeof text === "string" || typeof text === "number" ? String(text) : "";
      const entry = rule.fromText(plain, written instanceof Expanded ? "" : plain);
      if (typeof entry !== "string") return entry;
      this.problem(key, `${entry}, got ${show(written)}`);
      return [];
    });
  }

  /** What a text stands for, or what is wrong with it. It is in no message: it holds a secret. */
  hidden<Value extends object>(
    key: string,
    parse: (text: string | undefined) => Value | string,
  ): Value | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    const parsed = parse(typeof value === "string" ? value : undefined);
    if (typeof parsed !== "string") return parsed;
    this.problem(key, parsed);
    return undefined;
  }

  /** A secret that fits a header, without the white space around it. */
  secret(key: string): Secret | undefined {
    return this.hidden(key, parseSecret);
  }

  /** The text where there is one, for what may be a text or something else. */
  plain(key: string): string | undefined {
    const value = this.#take(key);
    return typeof value === "string" ? value : undefined;
  }

  /** Also of a value that turned out unreadable. */
  has(key: string): boolean {
    this.#take(key);
    return this.#own(key) !== undefined;
  }

  section(key: string): Reader {
    this.#take(key);
    return new Reader(this.#own(key), this.at(key), this.#notes);
  }

  /** A list of sections; absent, it is a list of one that says nothing. */
  sections(key: string): readonly Reader[] {
    const value = this.has(key) ? this.#take(key) : [{}];
    if (value === undefined) return []; // Unreadable, and noted already.
    if (!Array.isArray(value) || value.length === 0) {
      this.expected(key, "a list with at least one entry");
      return [];
    }
    return value.map((item, index) => new Reader(item, `${this.at(key)}[${index}]`, this.#notes));
  }

  /** Every member as a section of its own, for maps whose keys the operator chooses. */
  named(): readonly (readonly [string, Reader])[] {
    return Object.keys(this.#raw).map((key) => [key, this.section(key)]);
  }

  /** Where a key is, in the words of whoever set it. */
  at(key: string): string {
    const path = this.path === "" ? key : `${this.path}.${key}`;
    return this.#notes.origins.get(path) ?? path;
  }

  problem(key: string, message: string): void {
    this.#notes.problems.push({ where: this.at(key), message });
  }

  /** The problem of a value that is something else. */
  expected(key: string, what: string, hint = ""): void {
    this.problem(key, `expected ${what}, got ${show(this.#own(key))}${hint}`);
  }

  /** Reports the keys that nobody asked for. */
  finish(): void {
    for (const key of Object.keys(this.#raw)) {
      if (this.#asked.has(key)) continue;
      this.problem(key, `unknown setting${closest(key, [...this.#asked])}`);
    }
  }

  #numeric(key: string, fallback: number, { min, max }: Range, kind: typeof WHOLE): number {
    const value = this.#take(key);
    if (value === undefined) return fallback;
    const number = typeof value === "string" && kind.digits.test(value) ? Number(value) : value;
    if (kind.fits(number) && Number(number) >= min && Number(number) <= max) return Number(number);
    this.expected(key, `${kind.what} from ${min} to ${max}`);
    return fallback;
  }

  #take(key: string): unknown {
    this.#asked.add(key);
    return unwrap(this.#own(key));
  }

  /** Not what every object has, such as a `constructor`. */
  #own(key: string): unknown {
    return Object.hasOwn(this.#raw, key) ? this.#raw[key] : undefined;
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  if (value instanceof Expanded || Array.isArray(value)) return false;
  return typeof value === "object" && value !== null;
}
