// The commands that make credentials: `key` and `token`.
import { randomBytes } from "node:crypto";
import { CredentialError } from "../access/jwt.ts";
import { createKey } from "../access/keys.ts";
import { mint, parseGrant, toSecretKey } from "../access/tokens.ts";
import { systemClock } from "../clock.ts";
import { loadConfig } from "../config/load.ts";
import { parseKeyEntry, toMoment } from "../config/parse-access.ts";
import { ConfigError } from "../config/reader.ts";
import { LIMIT_FLAGS, type CommandLine } from "../config/settings.ts";
import { Secret } from "../secret.ts";

const DAY_MS = 86_400_000;

/** 256 random bits. */
export function createAdminKey(): Secret {
  return new Secret(`gwa_${randomBytes(32).toString("base64url")}`);
}

/**
 * A new API key and what the gateway has to know of it.
 * @throws ConfigError
 */
export function describeNewKey({ words, options, json }: CommandLine): string {
  const [, name] = words;
  const { key, sha256 } = createKey();
  const policy = options.get("policy");
  const expires = toExpiry(options.get("expires"));
  const entry = {
    ...(name !== undefined && { name }),
    sha256,
    ...(policy !== undefined && { policy }),
    ...(expires !== undefined && { expires }),
  };
  parseKeyEntry(entry);
  if ((toMoment(expires ?? "") ?? Infinity) <= systemClock.now()) {
    throw new ConfigError([{ where: "--expires", message: "expected a date that is to come" }]);
  }
  if (json) return `${JSON.stringify({ key, entry })}\n`;
  const simple =
    policy === undefined && expires === undefined
      ? `\nOr, without a file and for the policy "default":\n  GATEWAY_KEYS=${name}:${key}\n`
      : "";
  return `The key, shown this once:
  ${key}

For "access": { "keys": [ … ] } in gateway.json:
  ${JSON.stringify(entry)}
${simple}`;
}

/** `90d` is that many days from now; anything else is for the settings to judge. */
function toExpiry(text: string | undefined): string | undefined {
  const days = /^(\d{1,5})d$/.exec(text ?? "")?.[1];
  if (days === undefined) return text;
  return new Date(systemClock.now() + Number(days) * DAY_MS).toISOString();
}

/**
 * A token as `POST /admin/tokens` would mint it, from the secret and policies of the settings.
 * @throws ConfigError
 */
export function describeNewToken(commandLine: CommandLine, noUpstream: string): string {
  const { words, options } = commandLine;
  // Not the flags: `--max-output-tokens` limits the token here, and not a policy.
  const { config } = loadConfig({ ...commandLine, flags: new Map() }, noUpstream);
  const { tokens } = config.access ?? {};
  if (tokens === undefined) {
    const message = "is missing: expected 32 random characters or more";
    throw new ConfigError([{ where: "TOKEN_SECRET", message }]);
  }
  const limits = LIMIT_FLAGS.flatMap(({ flag, field }) => {
    const value = options.get(flag);
    return value === undefined ? [] : [[field, value] as const];
  });
  const grant = parseGrant(
    {
      subject: words[1],
      policy: options.get("policy"),
      expiresInSeconds: options.get("expires-in"),
      ...(limits.length > 0 && { limits: Object.fromEntries(limits) }),
    },
    config,
  );
  try {
    return `${JSON.stringify(mint(grant, toSecretKey(tokens.secret.reveal()), systemClock))}\n`;
  } catch (error) {
    if (!(error instanceof CredentialError)) throw error;
    throw new ConfigError([{ where: "token", message: error.message }]);
  }
}
