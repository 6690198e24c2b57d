#!/usr/bin/env node
// The command line: arguments, start, signals, exit codes. Exports nothing.
// 0: all is well. 1: it could not run. 2: the arguments or settings are wrong.
import { get } from "node:http";
import { systemClock } from "./clock.ts";
import { createAdminKey, describeNewKey, describeNewToken } from "./cli/credentials.ts";
import { help } from "./cli/help.ts";
import { closest } from "./config/closest.ts";
import { describe, toShown } from "./config/describe.ts";
import type { Config } from "./config/config.ts";
import { loadConfig } from "./config/load.ts";
import { secretsOf } from "./config/secrets.ts";
import { ConfigError, toLine } from "./config/reader.ts";
import { GatewayError } from "./errors.ts";
import { parseCommandLine, type CommandLine } from "./config/settings.ts";
import { OpenAIGateway } from "./gateway.ts";
import { createStdoutLog, redact, writeStdout } from "./telemetry/log.ts";
import { version } from "./version.ts";

const COMMANDS: Readonly<Record<string, (commandLine: CommandLine) => Promise<void> | void>> = {
  start,
  check,
  health,
  key: (commandLine) => print(describeNewKey(commandLine)),
  usage,
  top,
  token: (commandLine) => print(describeNewToken(commandLine, NO_UPSTREAM)),
  help: () => print(help()),
};

/** Commands that are for somebody: their second word. */
const NAMING: readonly string[] = ["key", "token"];

/** What --mock stands for where nothing is started. */
const NO_UPSTREAM = "http://localhost/v1";

await main();

async function main(): Promise<void> {
  // Whoever reads may hang up, as `head` does.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  try {
    const commandLine = parseCommandLine(process.argv.slice(2));
    const [word = "start", ...rest] = commandLine.words;
    const command = Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
    if (commandLine.help) print(help());
    else if (commandLine.version) print(`${version()}\n`);
    else if (command === undefined || rest.length > (NAMING.includes(word) ? 1 : 0))
      fail(2, unknownCommand(word, rest));
    else await command(commandLine);
  } catch (error) {
    if (error instanceof ConfigError) fail(2, `The settings are wrong:\n${indent(error.message)}`);
    else fail(1, explain(error));
  }
}

async function start(commandLine: CommandLine): Promise<void> {
  const mock = commandLine.mock ? await (await import("./mock/server.ts")).startMock() : undefined;
  const { config: loaded, hints } = loadConfig(commandLine, mock?.baseUrl);
  // Somebody is there who reads it, and nobody else does.
  const config = process.stdout.isTTY ? withAdminKey(loaded) : loaded;
  const log = createStdoutLog(config.log.level, secretsOf(config), systemClock);
  process.on("uncaughtException", (error) => {
    log.error("crashed", { cause: String(Object(error).stack ?? error) });
    process.exit(1);
  });
  for (const hint of hints) log.warn(toLine(hint));

  const gateway = new OpenAIGateway(config, { log });
  onStop((signal) => {
    log.info(`${signal}: draining; once more to exit at once`);
    return gateway.close();
  });
  const { url } = await gateway.listen();
  if (mock !== undefined)
    log.info("mock: answers are made up here, no key is used, nothing is spent");
  else if (isOpen(config)) log.warn(describeOpenness(config));
  const store = describeStore(config.store);
  log.info(`listening on ${url}`, { version: version(), node: process.version, store });
  if (process.stdout.isTTY) {
    const key = config === loaded ? "" : `#key=${config.admin?.key.reveal()}`;
    writeStdout(`Dashboard: ${toReachable(url)}/dashboard${key}\n`);
  }
}

/** Where none is set, one that lives as long as the process. */
function withAdminKey(config: Config): Config {
  return config.admin === undefined ? { ...config, admin: { key: createAdminKey() } } : config;
}

/** Where it is kept what callers have used. */
function describeStore({ redis, dataDir }: Config["store"]): string {
  if (redis !== undefined) return "Redis";
  return dataDir ?? "memory alone: what callers have used is forgotten with this process";
}

function isOpen({ access }: Config): boolean {
  return access === undefined || access.anonymous !== undefined;
}

/** Somebody is not asked who they are: what that means, here. */
function describeOpenness({ server: { host }, cors: { origins } }: Config): string {
  const pages = origins.includes("*")
    ? ", and any page that a browser with such access shows (CORS_ORIGINS is *)"
    : "";
  return `open: whoever reaches ${host} can spend from the key${pages}`;
}

/** As PID 1 a process without handlers would ignore these signals. */
function onStop(stop: (signal: string) => Promise<void>): void {
  let stopping = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(1);
      stopping = true;
      void stop(signal).then(() => process.exit(0));
    });
  }
}

/** Prints the settings in force, secrets hidden. */
function check(commandLine: CommandLine): void {
  const loaded = loadConfig(commandLine, commandLine.mock ? NO_UPSTREAM : undefined);
  const { config, hints } = loaded;
  for (const hint of hints) process.stderr.write(`${redact(toLine(hint))}\n`);
  // Somebody may have put a secret elsewhere too. In JSON it could hide behind a backslash.
  const hide = (value: string): string => redact(value, secretsOf(config));
  const hideText = (_: string, value: unknown) => (typeof value === "string" ? hide(value) : value);
  if (commandLine.json) print(`${JSON.stringify(toShown(config), hideText, 2)}\n`);
  else print(hide(`The settings are fine:\n${describe(loaded)}`));
}

/** For a container's health check: asks the gateway that runs beside it. */
async function health(commandLine: CommandLine): Promise<void> {
  const { host, port } = loadConfig(commandLine, NO_UPSTREAM).config.server;
  const options = { host: toReachable(host), port, path: "/healthz", timeout: 2_000 };
  // Not fetch, which refuses some ports, such as 6000 and 10080.
  await new Promise<void>((resolve) => {
    const call = get(options, ({ statusCode }) => {
      if (statusCode !== 200) fail(1, `Unhealthy: ${options.host}:${port} answers ${statusCode}.`);
      call.destroy();
      resolve();
    });
    call.on("timeout", () => call.destroy(new Error("silent for 2 s")));
    call.on("error", (error) => {
      fail(1, `Unhealthy: no answer from ${options.host}:${port} (${toCode(error)}).`);
    });
  });
}

/** Prints what was spent. */
async function usage(commandLine: CommandLine): Promise<void> {
  const { describeUsage, readUsage } = await import("./cli/usage.ts");
  const { config } = loadConfig(commandLine, NO_UPSTREAM);
  try {
    const summary = await readUsage(config, commandLine.options);
    print(commandLine.json ? `${JSON.stringify(summary, null, 2)}\n` : describeUsage(summary));
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    fail(2, error.message);
  }
}

/** Shows what the gateway that runs does now. */
async function top(commandLine: CommandLine): Promise<void> {
  const { admin, server } = loadConfig(commandLine, NO_UPSTREAM).config;
  if (admin === undefined) {
    return fail(2, "Set ADMIN_KEY to the one that the gateway was started with.");
  }
  const { top: show } = await import("./cli/top.ts");
  const ending = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => ending.abort());
  }
  const host = toReachable(server.host);
  const { stdin: input, stdout: output } = process;
  await show({
    url: new URL(`http://${host.includes(":") ? `[${host}]` : host}:${server.port}`),
    key: admin.key,
    input,
    output,
    json: commandLine.json,
    once: commandLine.options.has("once"),
    // Knows NO_COLOR and TERM=dumb.
    colour: output.isTTY === true && output.hasColors(),
    clock: systemClock,
    signal: ending.signal,
  });
}

/** Of a host or a URL: who listens everywhere is to be found here, too. */
function toReachable(host: string): string {
  return host.replace("0.0.0.0", "127.0.0.1").replace(/^::$|(?<=\[)::(?=\])/, "::1");
}

function unknownCommand(word: string, rest: readonly string[]): string {
  if (rest.length > 0) return `Unexpected argument "${rest.at(-1)}"; see --help.`;
  return `Unknown command "${word}"${closest(word, Object.keys(COMMANDS)) || "; see --help."}`;
}

/** What the system refused, in words. */
function explain(error: unknown): string {
  const { code, port, address, hostname } = Object(error);
  if (code === "EADDRINUSE") {
    return `Port ${port} on ${address} is in use: stop the other program or set PORT.`;
  }
  if (code === "EACCES")
    return `No permission to listen on port ${port}: set PORT to 1024 or above.`;
  if (["EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN"].includes(code)) {
    return `This machine has no address ${address ?? hostname}: set HOST to one it has.`;
  }
  return error instanceof Error ? error.message : String(error);
}

function toCode(error: Error): string {
  return "code" in error ? String(error.code) : error.message;
}

function indent(text: string): string {
  return text.replace(/^/gm, "  ");
}

function print(text: string): void {
  process.stdout.write(text);
}

function fail(exitCode: 1 | 2, message: string): void {
  process.stderr.write(`${redact(message)}\n`);
  process.exit(exitCode);
}
