// The manual is true to the code.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { ENDPOINT_CLASSES, INFERENCE_CLASSES } from "../src/config/config.ts";
import { describe } from "../src/config/describe.ts";
import { parseConfig } from "../src/config/parse.ts";
import { SETTINGS, toFlag } from "../src/config/settings.ts";
import { API_PREFIXES, PAGES } from "../src/endpoints/routes.ts";
import { FAILURES } from "../src/errors.ts";
import { createGateway } from "../src/gateway.ts";
import { startMock } from "../src/mock/server.ts";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");

function section(title: string): string {
  const [, after = ""] = README.split(new RegExp(`^#+ ${title}$`, "m"));
  return after.split(/^## /m)[0] ?? "";
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

/** What stands in backquotes. */
function codes(text: string): readonly string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
}

test("the settings table has every setting, its flag and its path, and no other", () => {
  const table = rows("Settings").slice(1);
  const documented = table.map(([name = "", flag = "", path = ""]) => {
    return [codes(name).join(), codes(flag).join(), codes(path).join()];
  });
  // Every optional key given, so that none is left out.
  const upstream = { apiKey: "key-0123456789", organization: "org-1", project: "proj_1" };
  const config = parseConfig({ upstreams: [upstream] });
  const paths = describe({ config, sourceOf: () => "default" })
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s/)[0] ?? "");

  assert.deepEqual(documented.map(([, , path]) => path).toSorted(), paths.toSorted());
  const named = documented.filter(([name]) => name !== "");
  const settings = SETTINGS.map(({ name, path, secret }) => [
    name,
    secret ? "" : `--${toFlag(name)}`,
    path,
  ]);
  assert.deepEqual(named.toSorted(), settings.toSorted());
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
      .slice(1, 6)
      .map(([route]) => route)
      .join(),
  );
  const pages = [...PAGES.keys()].map((path) => `GET ${path}`);
  const prefixes = API_PREFIXES.map((prefix) => `${prefix}/…`);

  assert.deepEqual(
    documented.toSorted(),
    [...pages, ...prefixes, "/v1/realtime", "/v1/responses"].toSorted(),
  );
});

test("every class of endpoints is named, the open ones as such", () => {
  const [open = "", rest = ""] = section("What callers may use").split("takes these names");

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

  assert.ok(files.length > 10 && commands.length > 3);
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

  assert.ok(links.length > 0);
  assert.deepEqual(
    links.filter((anchor) => !anchors.includes(anchor)),
    [],
  );
});

test("every curl example answers as promised, against the mock", async (t) => {
  const mock = await startMock({ firstTokenMs: 1, tokenIntervalMs: 1 });
  t.after(() => mock.close());
  const settings = { upstreams: [{ baseUrl: mock.baseUrl, apiKey: "mock" }], server: { port: 0 } };
  const gateway = createGateway({ ...settings, log: { level: "silent" } });
  const { port } = await gateway.listen();
  t.after(() => gateway.close());
  const blocks = [...README.matchAll(/^```sh\n([^]*?)^```/gm)].map(([, text = ""]) => text);
  const examples = blocks
    .flatMap((text) => text.split(/\n(?=curl )/))
    .filter((text) => text.startsWith("curl "));

  const answers = [];
  for (const example of examples) {
    const command = example.replaceAll("127.0.0.1:3000", `127.0.0.1:${port}`);
    answers.push(
      (await promisify(execFile)("sh", ["-c", `${command} -sS`.replaceAll("\n -sS", " -sS")]))
        .stdout,
    );
  }

  const [chat = "", stream = "", trouble = ""] = answers;
  assert.equal(answers.length, 3);
  assert.match(JSON.parse(chat).choices[0].message.content, /Hello!/);
  assert.match(stream, /^event: response\.created\n[^]*event: response\.completed\ndata: .*\n\n$/);
  assert.match(trouble, /^HTTP\/1\.1 429 [^]*"code":"rate_limit_exceeded"/);
});

test("the settings file of the page is accepted", () => {
  const [, file = ""] = /```json\n([^]*?)```/.exec(section("Settings")) ?? [];

  const config = parseConfig(JSON.parse(file.replace("${OPENAI_API_KEY}", "key-0123456789")));

  assert.deepEqual(config.policies.default.endpoints, ["chat", "responses", "models"]);
});

test("the programs that embed the gateway are those that the client tests run", () => {
  for (const name of ["express.js", "http.js"]) {
    const path = new URL(`clients/embedding/${name}`, import.meta.url);
    assert.ok(README.includes(`\`\`\`js\n${readFileSync(path, "utf8").trim()}\n\`\`\``), name);
  }
});
