// What `--help` prints.
import { LIMIT_FLAGS, SETTINGS, toFlag } from "../config/settings.ts";
import { version } from "../version.ts";

export function help(): string {
  const flags = SETTINGS.map(({ name, about, secret }) => {
    const flag = secret === true ? "" : `--${toFlag(name)}`;
    return `  ${name.padEnd(22)} ${flag.padEnd(22)} ${about}\n`;
  });
  const names = LIMIT_FLAGS.map(({ flag }) => `[--${flag} …]`);
  const limitFlags = [names.slice(0, 4), names.slice(4, 7), names.slice(7, 10), names.slice(10)]
    .map((line) => `             ${line.join(" ")}`)
    .join("\n");
  return `openai-gateway ${version()}: puts OpenAI behind a browser or mobile app and keeps the key.

Usage: node dist/index.js [command] [options]

Commands:
  start      (default) serve until SIGTERM or SIGINT
  check      print all settings and where they are set, or what is wrong with them
  key NAME   make an API key: prints it once, and the settings' entry with its SHA-256
             [--policy NAME] [--expires 2027-01-01 or 90d]
  token USER mint a short-lived token from TOKEN_SECRET
             [--policy NAME] [--expires-in SECONDS] and limits that narrow the policy:
${limitFlags}
  usage      what was spent, from DATA_DIR or REDIS_URL
             [--by caller,model,day] [--from 2026-11-01] [--to 2026-11-23] [--json]
  top        what the gateway on this host and port does now, live; needs ADMIN_KEY
             [--once] [--json]
  health     exit with 0 if the gateway on this host and port is alive
  help       this text

Options:
  --mock          answer from a built-in imitation of OpenAI: no key, nothing spent
  --config FILE   settings file; default gateway.json if there is one (GATEWAY_CONFIG)
  --json          let check, key, usage and top print JSON; token always does
  -h, --help      this text
  -v, --version   the version

Settings (environment or .env; also as options):
${flags.join("")}
OPENAI_API_KEY_FILE and the like may name a file that holds the secret.
Exit codes: 0 all is well, 1 it could not run, 2 the arguments or settings are wrong.
`;
}
