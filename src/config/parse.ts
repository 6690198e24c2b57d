// Raw settings -> Config: one line per setting, with its default and range.
import { isIP } from "node:net";
import {
  LOG_LEVELS,
  type AdminConfig,
  type Config,
  type CorsConfig,
  type LogConfig,
  type ServerConfig,
  type StoreConfig,
  type TimeoutConfig,
  type UpstreamConfig,
} from "./config.ts";
import { parseAccess } from "./parse-access.ts";
import { isOrigin, parsePolicies, toOriginHint } from "./parse-policies.ts";
import { parsePrices } from "./prices.ts";
import { parseRedisUrl } from "./redis-url.ts";
import { ConfigError, Reader, type Notes } from "./reader.ts";
import { Secret } from "../secret.ts";

const MIB = 1024 * 1024;
const DAY_MS = 86_400_000;
const OPENAI_URL = "https://api.openai.com/v1";

/**
 * Checks plain settings and fills in every default.
 * @param origins where a value came from when not from the file: its path to "PORT" or "--port".
 * @throws ConfigError naming all problems at once.
 */
export function parseConfig(
  raw: unknown,
  origins: ReadonlyMap<string, string> = new Map(),
): Config {
  const notes: Notes = { problems: [], origins };
  const root = new Reader(raw, "", notes);
  const policies = parsePolicies(root.section("policies"));
  const open = !root.has("access");
  const config = {
    server: parseServer(root.section("server"), open ? "127.0.0.1" : "0.0.0.0"),
    cors: parseCors(root.section("cors")),
    upstreams: parseUpstreams(root),
    timeouts: parseTimeouts(root.section("timeouts")),
    ...(!open && { access: parseAccess(root, Object.keys(policies)) }),
    policies,
    prices: parsePrices(root.section("prices")),
    store: parseStore(root.section("store")),
    log: parseLog(root.section("log")),
    ...(root.has("admin") && { admin: parseAdmin(root.section("admin")) }),
  };
  root.finish();
  if (notes.problems.length > 0) throw new ConfigError(notes.problems);
  return config;
}

function parseServer(server: Reader, defaultHost: string): ServerConfig {
  const config = {
    host: server.text("host", defaultHost),
    port: server.integer("port", 3000, { min: 0, max: 65_535 }),
    trustedProxies: server.texts("trustedProxies", [], {
      what: "addresses or CIDR ranges",
      fits: isAddressRange,
    }),
    maxBodyBytes: server.integer("maxBodyBytes", 64 * MIB, { min: 1, max: 16_384 * MIB }),
    maxHeldBytes: server.integer("maxHeldBytes", 256 * MIB, { min: 1, max: 16_384 * MIB }),
    maxConnections: server.integer("maxConnections", 10_000, { min: 1, max: 1_000_000 }),
    maxConcurrentRequests: server.integer("maxConcurrentRequests", 5_000, {
      min: 1,
      max: 1_000_000,
    }),
    keepAliveSeconds: server.integer("keepAliveSeconds", 75, { min: 1, max: 3_600 }),
    drainSeconds: server.integer("drainSeconds", 25, { min: 0, max: 3_600 }),
  };
  if (isIP(config.host) === 0 && !/^\w[\w.-]*$/.test(config.host)) {
    server.expected("host", "an address such as 127.0.0.1, 0.0.0.0 or ::, or a host name");
  }
  server.finish();
  return config;
}

function parseCors(cors: Reader): CorsConfig {
  const config = {
    origins: cors.texts("origins", ["*"], {
      what: `"*" or origins such as "https://app.example.com"`,
      fits: (text) => text === "*" || isOrigin(text),
      hint: toOriginHint,
    }),
    credentials: cors.flag("credentials", false),
  };
  const any = config.origins.includes("*");
  if (any && config.origins.length > 1) cors.problem("origins", `expected "*" alone, or a list`);
  if (any && config.credentials) {
    cors.problem("credentials", `needs exact origins: browsers refuse it together with "*"`);
  }
  cors.finish();
  return config;
}

function parseUpstreams(root: Reader): readonly [UpstreamConfig] {
  const [upstream, ...others] = root.sections("upstreams").map(parseUpstream);
  if (others.length > 0) root.problem("upstreams", "expected exactly one entry");
  return [upstream ?? parseUpstream(new Reader({}, "", { problems: [], origins: new Map() }))];
}

function parseUpstream(upstream: Reader): UpstreamConfig {
  if (!upstream.has("apiKey")) {
    upstream.problem("apiKey", "is missing: expected the key that OpenAI gave you, sk-…");
  }
  const organization = parseHeaderText(upstream, "organization");
  const project = parseHeaderText(upstream, "project");
  const config = {
    name: upstream.text("name", "openai"),
    baseUrl: parseBaseUrl(upstream),
    apiKey: upstream.secret("apiKey") ?? new Secret(""),
    auth: upstream.oneOf("auth", "bearer", ["bearer", "api-key"]),
    transport: upstream.oneOf("transport", "fetch", ["fetch", "direct"]),
    ...(organization !== undefined && { organization }),
    ...(project !== undefined && { project }),
  };
  if (/\bapi\.openai\.com$/.test(config.baseUrl.hostname) && config.baseUrl.pathname === "/") {
    upstream.expected("baseUrl", `a URL that ends with the version, such as ${OPENAI_URL}`);
  }
  upstream.finish();
  return config;
}

/** An http(s) URL without credentials, query or fragment. */
function parseBaseUrl(upstream: Reader): URL {
  const text = upstream.text("baseUrl", OPENAI_URL);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) {
    if (!url.username && !url.password && !url.search && !url.hash) return url;
    upstream.problem("baseUrl", "expected a URL without user, password, query or fragment");
  } else {
    upstream.expected("baseUrl", "an http(s) URL");
  }
  return new URL(OPENAI_URL);
}

/** Node would refuse to send anything else, at every call. */
function parseHeaderText(upstream: Reader, key: string): string | undefined {
  const text = upstream.text(key);
  if (text === undefined || /^[\x21-\x7e]+$/.test(text)) return text;
  upstream.expected(key, "printable ASCII without spaces");
  return undefined;
}

function parseTimeouts(timeouts: Reader): TimeoutConfig {
  const range = { min: 1, max: DAY_MS };
  const config = {
    connectMs: timeouts.integer("connectMs", 10_000, range),
    firstByteMs: timeouts.integer("firstByteMs", 600_000, range),
    idleMs: timeouts.integer("idleMs", 300_000, range),
    stallMs: timeouts.integer("stallMs", 60_000, range),
  };
  timeouts.finish();
  return config;
}

function parseAdmin(admin: Reader): AdminConfig {
  const key = admin.secret("key");
  if (!admin.has("key")) admin.problem("key", "is missing: expected 16 random characters or more");
  if (key !== undefined && key.reveal().length < 16) {
    admin.problem("key", "is too short: expected 16 random characters or more");
  }
  admin.finish();
  return { key: key ?? new Secret("") };
}

function parseStore(store: Reader): StoreConfig {
  const redis = store.hidden("redisUrl", (text = "") => parseRedisUrl(text));
  const dataDir = store.text("dataDir");
  const config = {
    ...(redis !== undefined && { redis }),
    ...(dataDir !== undefined && { dataDir }),
    keepDays: store.integer("keepDays", 90, { min: 1, max: 3_650 }),
    sync: store.oneOf("sync", "interval", ["never", "interval", "always"]),
    whenDown: parseWhenDown(store.section("whenDown")),
  };
  store.finish();
  return config;
}

function parseWhenDown(whenDown: Reader): StoreConfig["whenDown"] {
  const config = {
    limits: whenDown.oneOf("limits", "open", ["open", "closed"]),
    budgets: whenDown.oneOf("budgets", "closed", ["open", "closed"]),
  };
  whenDown.finish();
  return config;
}

function parseLog(log: Reader): LogConfig {
  const config = { level: log.oneOf("level", "info", LOG_LEVELS) };
  log.finish();
  return config;
}

/** An address or a CIDR range (RFC 4632, RFC 4291). */
function isAddressRange(text: string): boolean {
  const [address = "", prefix, ...rest] = text.split("/");
  const bits = { 4: 32, 6: 128 }[isIP(address)] ?? -1;
  if (bits < 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
}
