// Lines to read: JSON for machines, plain for a terminal. No secret gets past the sink.
import type { Clock } from "../clock.ts";
import type { LogLevel } from "../config/config.ts";
import type { Secret } from "../secret.ts";

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export type LogWriter = (message: string, fields?: LogFields) => void;

export type Log = Readonly<Record<Exclude<LogLevel, "silent">, LogWriter>>;

export interface LogOptions {
  readonly level: LogLevel;
  readonly clock: Clock;
  /** Plain text with colours instead of JSON. */
  readonly terminal: boolean;
  readonly write: (line: string) => void;
  /** Values that no line may contain, whatever their shape. */
  readonly secrets: readonly Secret[];
}

const WEIGHTS: Readonly<Record<LogLevel, number>> = {
  debug: 0,
  info: 1,
  warn: 2,
  error: 3,
  silent: 4,
};
const COLOURS = { debug: 2, info: 32, warn: 33, error: 31 } as const;
const VALUE_LIMIT = 1_000;

const KEY_LIKE = new RegExp(
  [
    String.raw`(?<![a-z])(?:sk|ek|rk|sess)[-_][\w-]{8,}`, // OpenAI's keys and ephemeral secrets
    String.raw`gw[ak]_[\w-]{8,}`, // ours
    String.raw`(?<=\bbearer\s)[^\s"',;]{6,}`,
    String.raw`(?:eyJ|(?<![a-z])e[wy])[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?`, // JWTs
    String.raw`(?<=:\/\/[^\s\/@"]*:)[^\s\/@"]+(?=@)`, // the password in a URL
  ].join("|"),
  "gi",
);

/** Hides the given secrets, and whatever looks like a key. */
export function redact(text: string, secrets: readonly Secret[] = []): string {
  return createRedact(secrets)(text);
}

/** The same for many texts. */
function createRedact(secrets: readonly Secret[]): (text: string) => string {
  const values = secrets
    .map((secret) => secret.reveal())
    // Shorter ones are placeholders, and words of ordinary lines too.
    .filter(({ length }) => length >= 8);
  return (text) => {
    let rest = text;
    for (const value of values) rest = rest.replaceAll(value, "[secret]");
    return rest.replace(KEY_LIKE, "[secret]");
  };
}

export function createLog({ level, clock, terminal, write, secrets }: LogOptions): Log {
  const redactText = createRedact(secrets);
  // Value by value, before quoting: in a finished line a secret could take a quote along, or hide
  // behind a backslash.
  const clean = (value: unknown): string | number | boolean | undefined => {
    if (typeof value === "number" || typeof value === "boolean" || value === undefined)
      return value;
    return redactText(shorten(String(value)));
  };

  const writer = (of: keyof Log): LogWriter => {
    if (WEIGHTS[of] < WEIGHTS[level]) return () => {};
    return (message, fields = {}) => {
      const time = new Date(clock.now()).toISOString();
      const text = clean(message);
      const given = Object.entries(fields).filter(([, value]) => value !== undefined);
      const cleaned = given.map(([name, value]) => [name, clean(value)] as const);
      const start = `${paint(2, time.slice(11, 19))} ${paint(COLOURS[of], of.padEnd(5))}`;
      const line = terminal
        ? `${start} ${text}${toPlain(cleaned)}`
        : JSON.stringify({ time, level: of, message: text, ...Object.fromEntries(cleaned) });
      write(`${line}\n`);
    };
  };
  return {
    debug: writer("debug"),
    info: writer("info"),
    warn: writer("warn"),
    error: writer("error"),
  };
}

const ignore = (): void => {};

/** Goes on where a closed pipe would end the process. */
export function createStdoutLog(level: LogLevel, secrets: readonly Secret[], clock: Clock): Log {
  const { stdout } = process;
  stdout.off("error", ignore).on("error", ignore); // once, however many gateways there are
  const write = (line: string): void => void stdout.write(line);
  return createLog({ level, clock, terminal: stdout.isTTY === true, write, secrets });
}

/** ` key=value …`, quoted where a value would not read as one word. */
function toPlain(fields: readonly (readonly [string, unknown])[]): string {
  return fields
    .filter(([, value]) => value !== undefined)
    .map(
      ([name, value]) =>
        ` ${name}=${/^[\w.:/{}*-]+$/.test(String(value)) ? value : JSON.stringify(value)}`,
    )
    .join("");
}

/** Cuts between words: the first half of a key would not be recognised as one. */
function shorten(text: string): string {
  if (text.length <= VALUE_LIMIT) return text;
  const end = text.lastIndexOf(" ", VALUE_LIMIT);
  return `${text.slice(0, end + 1)}…`;
}

function paint(colour: number, text: string): string {
  return `\x1b[${colour}m${text}\x1b[0m`;
}
