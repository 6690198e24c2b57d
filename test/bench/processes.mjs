// Starts the processes of a benchmark, each on its role's core, and leaves none behind.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { pinned } from "./cores.mjs";

const ANSWER_TIMEOUT_MS = 60_000;
const KEPT_ERROR_CHARS = 2_000;

const running = new Set();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(130));
// Whole groups: a killed nginx would leave its worker.
process.on("exit", () => running.forEach(({ pid }) => kill(pid)));

/**
 * Runs a command. One that ends before it is stopped ends the benchmark.
 * @param role whose core it gets
 */
export function run(role, command, env) {
  return watch(role, command, { env, stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a module of ours that answers questions. */
export function runModule(role, url) {
  const command = [process.execPath, fileURLToPath(url)];
  return watch(role, command, { stdio: ["ignore", "pipe", "pipe", "ipc"] });
}
/** Ends a process and all it has started. */
export async function stop(child) {
  running.delete(child);
  const ended = once(child, "close");
  kill(child.pid);
  await ended;
}

/** Runs a command to its end. @returns what it has printed */
export async function runToEnd(role, command, env) {
  const [file, ...args] = pinned(role, command);
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, env });
  running.add(child);
  let output = "";
  child.stdout.on("data", (text) => (output += text));
  child.stderr.on("data", (text) => (output += text));
  const [code] = await once(child, "close");
  running.delete(child);
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}.\n${output}`);
  return output;
}

/** One question to a process of ours, one answer. */
export async function ask(child, question) {
  const answered = once(child, "message");
  child.send(question);
  const late = sleep(ANSWER_TIMEOUT_MS, undefined, { ref: false });
  const [answer] = (await Promise.race([answered, late])) ?? [];
  if (answer === undefined) throw new Error(`No answer to ${JSON.stringify(question)}.`);
  return answer;
}

function watch(role, command, options) {
  const [file, ...args] = pinned(role, command);
  const child = spawn(file, args, { ...options, detached: true });
  let errors = "";
  // Logs go where an operator's would: to a pipe that somebody reads.
  child.stdout.resume();
  child.stderr.on("data", (text) => (errors = (errors + text).slice(-KEPT_ERROR_CHARS)));
  running.add(child);
  child.on("error", ({ message }) => giveUp(`${command.join(" ")}: ${message}`));
  child.on("close", () => {
    if (running.delete(child)) giveUp(`${command.join(" ")} ended by itself.\n${errors}`);
  });
  return child;
}

function kill(pid) {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

function giveUp(why) {
  console.error(why);
  process.exit(1);
}
