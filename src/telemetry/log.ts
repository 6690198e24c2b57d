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
  const clean = (value: unknown): Clean => {
    if (typeof value === "number" || typeof value === "boolean") return value;
    return redactText(shorten(String(value)));
  };
  const toLine = terminal ? toPlain : toJson;

  const writer = (of: keyof Log): LogWriter => {
    if (WEIGHTS[of] < WEIGHTS[level]) return () => {};
    return (message, fields = {}) => write(toLine(of, clock.now(), message, fields, clean));
  };
  return {
    debug: writer("debug"),
    info: writer("info"),
    warn: writer("warn"),
    error: writer("error"),
  };
}

type Clean = string | number | boolean;
type ToLine = (
  level: keyof Log,
  nowMs: number,
  message: string,
  fields: LogFields,
  clean: (value: unknown) => Clean,
) => string;

/** Field by field: an object for JSON.stringify takes four times as long to make. */
const toJson: ToLine = (level, nowMs, message, fields, clean) => {
  const time = new Date(nowMs).toISOString();
  let line = `{"time":"${time}","level":"${level}","message":${JSON.stringify(clean(message))}`;
  for (const name in fields) {
    const value = fields[name];
    if (value !== undefined) line += `,"${name}":${JSON.stringify(clean(value))}`;
  }
  return `${line}}\n`;
};

/** ` key=value …`, quoted where a value would not read as one word. */
const toPlain: ToLine = (level, nowMs, message, fields, clean) => {
  const time = paint(2, new Date(nowMs).toISOString().slice(11, 19));
  let line = `${time} ${paint(COLOURS[level], level.padEnd(5))} ${clean(message)}`;
  for (const name in fields) {
    if (fields[name] === undefined) continue;
    const value = clean(fields[name]);
    const word = /^[\w.:/{}*-]+$/.test(String(value));
    line += ` ${name}=${word ? value : JSON.stringify(value)}`;
  }
  return `${line}\n`;
};

export function createStdoutLog(level: LogLevel, secrets: readonly Secret[], clock: Clock): Log {
  return createLog({
    level,
    clock,
    terminal: process.stdout.isTTY === true,
    write: writeStdout,
    secrets,
  });
}

let pending = "";
let watched = false;

/** What is written in one turn of the event loop goes out at once: each write is a system call. */
export function writeStdout(text: string): void {
  if (pending === "") {
    if (!watched) watch();
    setImmediate(flush);
  }
  pending += text;
}

/** Once, however many gateways there are. */
function watch(): void {
  watched = true;
  process.stdout.on("error", () => {}); // A closed pipe would end the process.
  process.on("exit", flush);
}

function flush(): void {
  const text = pending;
  pending = "";
  if (text !== "") process.stdout.write(text);
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
