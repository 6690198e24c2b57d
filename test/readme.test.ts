// The manual is true to the code.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { ENDPOINT_CLASSES, INFERENCE_CLASSES, type ConfigInput } from "../src/config/config.ts";
import { describe } from "../src/config/describe.ts";
import { parseConfig } from "../src/config/parse.ts";
import { PRICE_UNITS } from "../src/config/prices.ts";
import { readOtlp } from "../src/config/parse-otlp.ts";
import { SETTINGS, toFlag } from "../src/config/settings.ts";
import { ADMIN_ROUTES } from "../src/endpoints/admin.ts";
import { API_PREFIXES, PAGES } from "../src/endpoints/routes.ts";
import { FAILURES } from "../src/errors.ts";
import { createGateway } from "../src/gateway.ts";
import { METRICS, SERIES_LIMIT } from "../src/telemetry/gateway-families.ts";
import { startMock } from "../src/mock/server.ts";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");

const ADMIN_KEY = "admin-0123456789abcdef";

function section(title: string): string {
  const [, after = ""] = README.split(new RegExp(`^#+ ${title}$`, "m"));
  return after.split(/^##+ /m)[0] ?? "";
}

/** The cells of every table row below a title. */
function rows(title: string): readonly (readonly string[])[] {
  return section(title)
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("|---"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

interface Table {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Every table of the page. */
function tables(): readonly Table[] {
  const found = [...README.matchAll(/^\|(.*)\|\n\|(?:---\|)+\n((?:\|.*\|\n)*)/gm)];
  const toCells = (line: string): readonly string[] => line.split("|").map((cell) => cell.trim());
  return found.map(([, header = "", lines = ""]) => ({
    header: toCells(header),
    rows: lines
      .trimEnd()
      .split("\n")
      .map((line) => toCells(line).slice(1, -1)),
  }));
}

/** The cells of a column, of all tables that have it. */
function column(title: string): readonly string[] {
  return tables().flatMap(({ header, rows }) => {
    const at = header.indexOf(title);
    return at < 0 ? [] : rows.map((cells) => codes(cells[at] ?? "").join());
  });
}

function split<T>(all: readonly T[], belongs: (one: T) => boolean): readonly [T[], T[]] {
  return [all.filter(belongs), all.filter((one) => !belongs(one))];
}

/** What stands in backquotes. */
function codes(text: string): readonly string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
}

/** Every optional key given, so that none is left out. */
const EVERYTHING: ConfigInput = {
  upstreams: [{ apiKey: "key-0123456789", organization: "org-1", project: "proj_1" }],
  access: {
    keys: [{ name: "backend", sha256: "0".repeat(64), policy: "default", expires: "2999-01-01" }],
    jwt: [
      { issuer: "a", audience: ["b"], jwksUrl: "https://a.example", policy: "default" },
      {
        issuer: "a",
        audience: ["b"],
        secret: "s".repeat(32),
        policyClaim: "c",
        policies: ["default"],
      },
    ],
    tokens: { secret: "s".repeat(32), previousSecret: "p".repeat(32) },
    anonymous: "default",
  },
  policies: {
    default: {
      endpoints: ["chat"],
      models: ["m"],
      maxOutputTokens: 1,
      maxChoices: 1,
      tools: [],
      storedState: false,
      serviceTiers: ["auto"],
      maxBodyBytes: 1,
      origins: [],
      safetyIdentifier: true,
      requestsPerMinute: 1,
      tokensPerMinute: 1,
      concurrentRequests: 1,
      budget: "5/day",
      shared: { budget: "100/month" },
      perAddress: { requestsPerMinute: 1 },
    },
  },
  prices: { "my-model": { input: 1 } },
  store: { redisUrl: "redis://127.0.0.1", dataDir: "data" },
  admin: { key: "admin-0123456789abcdef" },
};

test("the settings tables have every setting, its flag and its path, and no other", () => {
  const described = describe({ config: parseConfig(EVERYTHING), sourceOf: () => "default" });
  const leaves = described
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s/)[0] ?? "")
    .map((path) => path.replace(/\[\d+\]/g, "[0]").replace(/^prices\..*/, "prices"));
  const [limits, settings] = split(leaves, (path) => path.startsWith("policies."));
  const named = SETTINGS.map(({ path }) => path);

  assert.deepEqual(
    column("in the file").toSorted(),
    [...new Set([...settings, ...named])].toSorted(),
  );
  assert.deepEqual(
    column("field").toSorted(),
    limits
      .map((path) => path.replace("policies.default.", "").replace(/^(\w+)\..*/, "$1"))
      .toSorted(),
  );
  const documented = rows("Settings").map(([name = "", flag = "", path = ""]) => {
    return [name, flag, path].map((cell) => codes(cell).join());
  });
  assert.deepEqual(
    documented.filter(([name]) => name !== "").toSorted(),
    SETTINGS.map(({ name, path, secret }) => {
      return [name, secret ? "" : `--${toFlag(name)}`, path];
    }).toSorted(),
  );
});

test("everything that may have a price is named, and the fields that others have together", () => {
  const [, , , , prices = ""] = rows("Settings").find(([, , path]) => path === "`prices`") ?? [];
  const [, fields = ""] = rows("What callers may ask").find(([name]) => name === "`shared`") ?? [];

  assert.deepEqual(
    codes(prices).filter((code) => /^\w+$/.test(code)),
    Object.keys(PRICE_UNITS),
  );
  const policies = {
    default: { shared: Object.fromEntries(codes(fields).map((name) => [name, 1])) },
  };
  assert.throws(() => parseConfig({ ...EVERYTHING, policies }), {
    message: /^policies\.default\.shared\.budget: expected [^\n]*, got 1$/,
  });
  assert.equal(codes(fields).length, 4);
});

test("the issuers of the page are accepted as they are written", () => {
  const { rows: logins = [] } = tables().find(({ header }) => header.includes("login")) ?? {};

  assert.ok(logins.length > 3, "the table is gone");
  for (const [login = "", ...cells] of logins) {
    const [issuer = "", audience = "chat", jwksUrl = ""] = cells.map((cell) => codes(cell)[0]);
    const config = parseConfig({ ...EVERYTHING, access: { jwt: [{ issuer, audience, jwksUrl }] } });
    assert.equal(String(config.access?.jwt[0]?.jwksUrl), new URL(jwksUrl).href, login);
  }
});

test("the error table is the code's, but for what is never sent", () => {
  const documented = rows("Routes")
    .filter(([status = ""]) => /^\d+$/.test(status))
    .flatMap(([status, names = ""]) => codes(names).map((code) => [code, Number(status)] as const));
  const sent = Object.entries(FAILURES).filter(([, { status }]) => status !== 499);

  assert.deepEqual(
    documented.toSorted(),
    sent.map(([code, { status }]) => [code, status]).toSorted(),
  );
});

test("the routes are the code's", () => {
  const documented = codes(
    rows("Routes")
      .slice(1, 9)
      .map(([route]) => route)
      .join(),
  );
  const pages = [...PAGES.keys()].map((path) => `GET ${path}`);
  const prefixes = API_PREFIXES.map((prefix) => `${prefix}/…`);

  assert.deepEqual(
    documented.toSorted(),
    [
      ...pages,
      ...prefixes,
      ...["/v1/realtime", "/v1/responses", "/metrics", "/admin/…"],
    ].toSorted(),
  );
  const admin = rows("The admin API").slice(1);
  assert.deepEqual(
    admin.map(([route = ""]) => codes(route).join()).toSorted(),
    ADMIN_ROUTES.toSorted(),
  );
});

test("the metrics and the number of their series are the code's", () => {
  const { rows: documented = [] } = tables().find(({ header }) => header[0] === "metric") ?? {};

  assert.deepEqual(
    documented,
    METRICS.map(({ name, type, labels, help }) => {
      return [`\`${name}\``, type, labels.map((label) => `\`${label}\``).join(", "), help];
    }),
  );
  const [, limit = ""] = /never more than ([\d ]+) series/.exec(README) ?? [];
  assert.equal(Number(limit.replace(" ", "")), SERIES_LIMIT);
});

test("OpenTelemetry's variables that are named are those that are read", () => {
  const table = rows("OpenTelemetry").map(([names = ""]) => codes(names));
  const documented = table.flat().filter((name) => /^OTEL_[A-Z_]+$/.test(name));
  const asked = new Set<string>();
  readOtlp((name) => {
    asked.add(name);
    return { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1", OTEL_TRACES_SAMPLER: "traceidratio" }[
      name
    ];
  }, []);

  assert.ok(documented.length > 10, "the table is gone");
  assert.deepEqual(
    documented.filter((name) => !asked.has(name)),
    [],
  );
  // Those of one signal are named by their ends.
  const signals = /^OTEL_EXPORTER_OTLP_(?:TRACES|METRICS)_|_(?:TIMEOUT|COMPRESSION|PROTOCOL)$/;
  assert.deepEqual(
    [...asked].filter((name) => !documented.includes(name) && !signals.test(name)),
    [],
  );
});

test("every class of endpoints is named, the open ones as such", () => {
  const [open = "", rest = ""] = section("Which endpoints").split("takes these names");

  assert.deepEqual(
    INFERENCE_CLASSES.filter((name) => !codes(open).includes(name)),
    [],
  );
  const others = ENDPOINT_CLASSES.filter((name) => !INFERENCE_CLASSES.includes(name));
  assert.deepEqual(
    others.filter((name) => !codes(rest).includes(name)),
    [],
  );
});

test("every file and script that is named exists", () => {
  const { scripts } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const prose = README.replace(/^```[^]*?^```$/gm, "");
  const files = codes(prose).filter((code) => /^(src|test)\/[\w./-]+$/.test(code));
  const commands = [...README.matchAll(/npm run (\w+)/g)].map(([, script = ""]) => script);

  assert.ok(files.length > 10 && commands.length > 3, "the page names too few");
  assert.deepEqual(
    files.filter((file) => !existsSync(new URL(`../${file}`, import.meta.url))),
    [],
  );
  assert.deepEqual(
    commands.filter((script) => !(script in scripts)),
    [],
  );
});

test("every link within the page has its heading", () => {
  const anchors = [...README.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replace(/[^\w -]/g, "")
      .replaceAll(" ", "-"),
  );
  const links = [...README.matchAll(/\]\(#([\w-]+)\)/g)].map(([, anchor = ""]) => anchor);

  assert.ok(links.length > 0, "the page has no links");
  assert.deepEqual(
    links.filter((anchor) => !anchors.includes(anchor)),
    [],
  );
});

test("every curl example answers as promised, against the mock", async (t) => {
  const mock = await startMock({ firstTokenMs: 1, tokenIntervalMs: 1 });
  t.after(() => mock.close());
  const gateway = createGateway({
    upstreams: [{ baseUrl: mock.baseUrl, apiKey: "mock" }],
    server: { host: "127.0.0.1", port: 0 },
    access: { tokens: { secret: "s".repeat(32) }, anonymous: "default" },
    admin: { key: ADMIN_KEY },
    log: { level: "silent" },
  });
  const { port } = await gateway.listen();
  t.after(() => gateway.close());
  const blocks = [...README.matchAll(/^```sh\n([^]*?)^```/gm)].map(([, text = ""]) => text);
  const examples = blocks
    .flatMap((text) => text.split(/\n(?=curl )/))
    .map((text) => text.trim())
    .filter((text) => /^curl .*127\.0\.0\.1:3000/.test(text));

  const answers = [];
  for (const example of examples) {
    const command = `${example.replaceAll("127.0.0.1:3000", `127.0.0.1:${port}`)} -sS`;
    const env = { PATH: process.env["PATH"], ADMIN_KEY };
    answers.push((await promisify(execFile)("sh", ["-c", command], { env })).stdout);
  }

  const [chat = "", stream = "", minted = "", usage = "", trouble = ""] = answers;
  assert.equal(answers.length, 5);
  assert.match(JSON.parse(chat).choices[0].message.content, /Hello!/);
  assert.match(stream, /^event: response\.created\n[^]*event: response\.completed\ndata: .*\n\n$/);
  assert.deepEqual(Object.keys(JSON.parse(minted)), ["token", "expiresAt"]);
  assert.deepEqual(JSON.parse(usage).by, ["caller", "model"]);
  assert.match(trouble, /^HTTP\/1\.1 429 [^]*"code":"rate_limit_exceeded"/);
});

test("the settings files of the page are accepted", () => {
  const files = [...section("Settings").matchAll(/```json\n([^]*?)```/g)];
  const more = [...section("What callers may ask").matchAll(/```json\n([^]*?)```/g)];
  const [general, policies] = [...files, ...more].map(([, file = ""]) => JSON.parse(file));

  const upstreams = [{ ...general.upstreams[0], apiKey: "key-0123456789" }];
  const { policies: found } = parseConfig({ ...general, upstreams });
  assert.deepEqual(found.default.endpoints, ["chat", "responses", "models"]);
  const { access } = parseConfig({ ...policies, upstreams });
  assert.equal(access?.anonymous, "demo");
});

test("the programs that embed the gateway are those that the client tests run", () => {
  for (const name of ["express.js", "http.js"]) {
    const path = new URL(`clients/embedding/${name}`, import.meta.url);
    assert.ok(README.includes(`\`\`\`js\n${readFileSync(path, "utf8").trim()}\n\`\`\``), name);
  }
});

test("the example of a .env names settings alone, and sets nothing but the key", () => {
  const example = readFileSync(new URL("../.env.example", import.meta.url), "utf8");
  const assigned = [...example.matchAll(/^(# )?([A-Z_]+)=/gm)];
  const known = SETTINGS.map(({ name }) => name);

  assert.ok(assigned.length > 5, "the example is empty");
  for (const [, , name = ""] of assigned) assert.ok(known.includes(name), name);
  const active = assigned.filter(([, comment]) => comment === undefined);
  assert.deepEqual(
    active.map(([, , name]) => name),
    ["OPENAI_API_KEY"],
  );
});
