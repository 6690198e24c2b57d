// The command `top`: what the gateway that runs does now, live on a terminal. Where there is none
// to draw on: a table once, or a line of JSON every second.
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import {
  Live,
  watchGateway,
  type LiveCall,
  type LiveEvent,
  type LiveSource,
} from "./live-client.ts";
import * as table from "./table.ts";

export interface TopOptions extends LiveSource {
  readonly output: Writable & { isTTY?: boolean; columns?: number; rows?: number };
  /** Keys, where it is a terminal. */
  readonly input: Readable & { isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  /** Lines of JSON, until the reader hangs up. */
  readonly json: boolean;
  /** One table, or one line. */
  readonly once: boolean;
  /** Only ever on a terminal. */
  readonly colour: boolean;
}

/** Another screen, no cursor, and no line that goes on in the next. */
const ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const STYLES = { plain: "", bold: "\x1b[1m", dim: "\x1b[2m", red: "\x1b[31m", yellow: "\x1b[33m" };
const PLAIN_CALLS = 10;

type Line = readonly [cells: string, style: keyof typeof STYLES];

/** Headings, what stands below them, and how it is written. */
const COLUMNS = [
  ["calls", "requests", table.toCount],
  ["failed", "failed", table.toCount],
  ["refused", "refused", table.toCount],
  ["p50", "durationP50Ms", table.toDuration],
  ["p95", "durationP95Ms", table.toDuration],
  ["first", "firstByteP50Ms", table.toDuration],
  ["tok/s", "tokensPerSecond", table.toCount],
  ["$/h", "usdPerHour", table.toDollars],
] as const;

/**
 * Ends by a key, by the signal, or when nobody reads any more; the terminal is then as it was.
 * @throws Error that tells the operator what is wrong.
 */
export async function top(options: TopOptions): Promise<void> {
  const { output, signal, json } = options;
  const ending = new AbortController();
  const end = (): void => ending.abort();
  signal.addEventListener("abort", end);
  output.on("error", end).once("close", end);
  if (signal.aborted || output.destroyed) end();
  const awake = setInterval(() => {}, 60_000); // The clock's timers alone would let it exit.
  const view = new View(options.url.origin);
  const screen = createScreen(view, options, end);
  try {
    for await (const event of watchGateway({ ...options, signal: ending.signal })) {
      view.add(event);
      if (output.isTTY === true && !json && !options.once) {
        screen.draw();
      } else if (event.kind === "lost" && (options.once || !json)) {
        throw new Error(event.reason);
      } else if (event.kind !== "hello") {
        const written = output.write(json ? view.toJson(event) : view.toPlain());
        if (options.once || !json) return;
        if (!written) await once(output, "drain", { signal: ending.signal });
      }
    }
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  } finally {
    screen.close();
    clearInterval(awake);
    signal.removeEventListener("abort", end);
  }
}

/** The terminal, taken with the first frame. */
function createScreen(view: View, { input, output, colour }: TopOptions, end: () => void) {
  let taken = false;
  const draw = (): void => {
    if (!taken) take();
    if (output.writableLength > 0) return; // What nobody reads does not pile up.
    // Some terminals do not know their size.
    const [columns, rows] = [output.columns || 80, output.rows || 24];
    const lines = view.toLines(rows).map(([cells, style]) => {
      // The last column stays free: to erase what is behind it takes it along.
      const text = table.toText(table.fit(cells, columns - 1));
      return colour && style !== "plain" ? `${STYLES[style]}${text}\x1b[0m` : text;
    });
    output.write(`\x1b[H${lines.join("\x1b[K\r\n")}\x1b[K\x1b[J`);
  };
  const press = (keys: unknown): void => (view.press(String(keys)) ? draw() : end());
  const take = (): void => {
    taken = true;
    process.once("exit", close);
    output.on("resize", draw).write(ENTER);
    if (input.isTTY !== true) return;
    input.setRawMode?.(true);
    input.on("data", press).on("end", end).on("error", end);
  };
  const close = (): void => {
    if (!taken) return;
    taken = false;
    process.off("exit", close);
    output.off("resize", draw).write(LEAVE);
    if (input.isTTY !== true) return;
    input.off("data", press).off("end", end).pause();
    input.setRawMode?.(false);
  };
  return { draw, close };
}

/** How it is looked at. */
class View {
  readonly #origin: string;
  readonly #live = new Live();
  #lost = "";
  #by: "caller" | "model" = "caller";
  #sort = 0;

  constructor(origin: string) {
    this.#origin = origin;
  }

  add(event: LiveEvent): void {
    this.#live.add(event);
    this.#lost = "";
    if (event.kind === "lost")
      this.#lost = `${event.reason} Again in ${event.againInMs / 1_000} s.`;
  }

  /** Whether to go on. */
  press(keys: string): boolean {
    if (keys.startsWith("\x1b")) return true; // An arrow or the like, which are several letters.
    for (const key of keys) {
      if (key === "c") this.#by = "caller";
      if (key === "m") this.#by = "model";
      if (key === "s") this.#sort = (this.#sort + 1) % COLUMNS.length;
    }
    return !/[q\x03]/.test(keys);
  }

  toJson(event: LiveEvent): string {
    const gateway = { gateway: this.#origin, version: this.#live.hello.version };
    const told =
      event.kind === "tick" ? { ...event.told, lastMinute: this.#live.total() } : { lost: event };
    return `${table.toAscii(JSON.stringify({ ...gateway, ...told }))}\n`;
  }

  toPlain(): string {
    const lines = [...this.#head(), ...this.#table(Infinity), ...this.#calls(PLAIN_CALLS)];
    return lines.map(([cells]) => `${table.toText(cells)}\n`).join("");
  }

  /** So many at most: the table has half of what is free or less, the calls have the rest. */
  toLines(rows: number): readonly Line[] {
    const head = this.#head();
    const free = rows - 1 - head.length;
    const totals = this.#table(Math.max(1, Math.floor(free / 2) - 2));
    const calls = this.#calls(Math.max(0, free - totals.length - 2));
    const hint = `c callers  m models  s sort: ${COLUMNS[this.#sort]?.[0]}  q quit`;
    return [...[...head, ...totals, ...calls].slice(0, rows - 1), [hint, "dim"]];
  }

  #head(): readonly Line[] {
    const { hello, tick } = this.#live;
    const { host, healthy, lastFailure } = tick.upstream;
    const words = [
      this.#origin,
      hello.version,
      `up ${table.toAge(tick.nowMs - hello.startedAtMs)}`,
      host && `upstream ${healthy ? "well" : "failing"}`,
      `${tick.now.inFlight} in flight`,
      `${tick.now.streams} streams`,
      ...(["open", "mock"] as const).filter((name) => hello[name]),
    ];
    const { code, reason, atMs } = lastFailure;
    const troubles = [
      this.#lost,
      tick.now.draining ? "It drains: no more calls are taken." : "",
      tick.now.problem && `Store: ${tick.now.problem}`,
      healthy ? "" : code && `${host}, ${table.toAge(tick.nowMs - atMs)} ago: ${code}, ${reason}`,
    ];
    return [
      [table.toCells(words.filter(Boolean).join("  ")), "bold"],
      ...troubles.filter(Boolean).map((text): Line => [table.toCells(text), "red"]),
      ...this.#sums().map((text): Line => [text, "plain"]),
    ];
  }

  #sums(): readonly string[] {
    const { calls, tick } = this.#live;
    const overheads = calls
      .filter(({ atMs, firstByteMs }) => firstByteMs > 0 && tick.nowMs - atMs < 60_000)
      .map(({ gatewayMs }) => gatewayMs)
      .toSorted((a, b) => a - b);
    const medianMs = overheads[overheads.length >> 1] ?? NaN;
    const all = this.#live.total();
    const { toCount, toDollars, toDuration, toShare } = table;
    const took = `${toDuration(all.durationP50Ms)}, ${toDuration(all.durationP95Ms)}`;
    const first = `${toDuration(all.firstByteP50Ms)}, ${toDuration(all.firstByteP95Ms)}`;
    const failed = `${toShare(all.failed / all.requests)} failed`;
    const spent = `${toCount(all.tokensPerSecond)} tok/s, $${toDollars(all.usdPerHour)}/h`;
    const overhead = `${toShare(all.overheadShare)}, median ${toDuration(medianMs)}`;
    return [
      `Last minute: ${toCount(all.requestsPerSecond)} calls/s, ${failed}, ${spent}`,
      `p50, p95: ${took}; first byte ${first}; overhead ${overhead}`,
    ];
  }

  #table(limit: number): readonly Line[] {
    const [, key] = COLUMNS[this.#sort] ?? COLUMNS[0];
    const totals = this.#live.totals(this.#by).toSorted((a, b) => (b[key] || 0) - (a[key] || 0));
    const rows = totals.slice(0, limit).map((total) => {
      return [table.toName(total.name), ...COLUMNS.map(([, of, show]) => show(total[of]))];
    });
    const headings = COLUMNS.map(([heading]) => heading);
    return toTable([[`${totals.length} ${this.#by}s`, ...headings], ...rows], 1);
  }

  #calls(limit: number): readonly Line[] {
    const calls = this.#live.calls.slice(0, limit);
    const rows = calls.map((call) => [
      table.toTime(call.atMs),
      String(call.status),
      table.toDuration(call.durationMs).padStart(7),
      table.toName(call.caller),
      table.toName(call.model),
      table.toCells(call.error === "" ? call.route : `${call.error}: ${call.reason}`),
    ]);
    const headings = ["time, UTC", "", "   took", "caller", "model", "call or failure"];
    return toTable([headings, ...rows], 6, calls.map(toStyle));
  }
}

function toTable(rows: string[][], left: number, styles: Line[1][] = []): readonly Line[] {
  const [headings = "", ...lines] = table.align(rows, left);
  const below = lines.map((line, index): Line => [line, styles[index] ?? "plain"]);
  return [["", "plain"], [headings, "bold"], ...below];
}

function toStyle({ status, error }: LiveCall): Line[1] {
  if (status >= 500 || (error !== "" && status < 400)) return "red";
  return status >= 400 ? "yellow" : "plain";
}
