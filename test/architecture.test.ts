// The shape of the code, held by a test instead of by habit.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

const SRC = resolve(import.meta.dirname ?? dirname(new URL(import.meta.url).pathname), "../src");

/** A file may import from its own layer's folder and from layers above it in this list. */
const LAYERS: readonly (readonly string[])[] = [
  ["errors.ts", "clock.ts", "cancellation.ts", "secret.ts", "version.ts"],
  ["config"],
  ["http"],
  ["store", "telemetry"],
  ["openai"],
  // Features: strangers to each other.
  ["access", "quota", "cache", "upstream", "usage"],
  ["pipeline"],
  ["endpoints"],
  ["gateway.ts"],
  // The imitation of OpenAI knows nothing of the gateway, and only the command line knows of it.
  ["mock"],
  ["cli"],
  ["index.ts"],
];

/** The table of OpenAI's operations is data; no line of it is worth hiding. */
const MAX_LINES: Readonly<Record<string, number>> = { "openai/endpoints.ts": 400 };

interface Source {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const sources = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map(readSource);

function readSource(path: string): Source {
  const text = readFileSync(join(SRC, path), "utf8");
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)];
  const imports = specifiers.map(([, to = ""]) => relative(SRC, resolve(SRC, dirname(path), to)));
  return { path, text, imports };
}

/** The first folder, or the file's own name at the top. */
function placeOf(path: string): string {
  return path.split("/")[0] ?? path;
}

function layerOf(path: string): number {
  return LAYERS.findIndex((places) => places.includes(placeOf(path)));
}

/** `path:line` of every match. */
function findAll(pattern: RegExp, except: readonly string[] = []): readonly string[] {
  return sources
    .filter(({ path }) => !except.includes(path))
    .flatMap(({ path, text }) =>
      text
        .split("\n")
        .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}`] : [])),
    );
}

test("every source file has a layer", () => {
  assert.ok(sources.length > 30);
  assert.deepEqual(
    sources.map(({ path }) => path).filter((path) => layerOf(path) < 0),
    [],
  );
});

test("imports point to existing files, and down", () => {
  const known = new Set(sources.map(({ path }) => path));
  const wrong = sources.flatMap(({ path, imports }) =>
    imports
      .filter((to) => !known.has(to) || layerOf(to) > layerOf(path))
      .map((to) => `${path} -> ${to}`),
  );
  assert.deepEqual(wrong, []);
});

test("features and the folders beside them do not import each other", () => {
  const wrong = sources.flatMap(({ path, imports }) =>
    imports
      .filter(
        (to) => layerOf(to) === layerOf(path) && placeOf(to) !== placeOf(path) && to.includes("/"),
      )
      .map((to) => `${path} -> ${to}`),
  );
  assert.deepEqual(wrong, []);
});

test("there are no import cycles", () => {
  const importsOf = new Map(sources.map(({ path, imports }) => [path, imports]));
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    assert.ok(!trail.includes(path), `${[...trail, path].join(" -> ")}`);
    if (done.has(path)) return;
    for (const to of importsOf.get(path) ?? []) visit(to, [...trail, path]);
    done.add(path);
  };
  for (const { path } of sources) visit(path, []);
});

test("the mock and the gateway are strangers", () => {
  const mock = sources.filter(({ path }) => path.startsWith("mock/"));
  assert.deepEqual(
    mock.flatMap(({ imports }) => imports.filter((to) => !to.startsWith("mock/"))),
    [],
  );
  const users = sources.filter(({ imports }) => imports.some((to) => to.startsWith("mock/")));
  assert.deepEqual(
    users.map(({ path }) => path).filter((path) => !path.startsWith("mock/")),
    ["index.ts"],
  );
});

test("nothing is imported but Node's own modules and our files", () => {
  const foreign =
    /^(?:import|export) .*from "(?!\.{1,2}\/|node:)|import\("(?!\.{1,2}\/|node:)|\brequire\(/;
  assert.deepEqual(findAll(foreign), []);
});

test("the environment is read in one file, the console in none", () => {
  assert.deepEqual(findAll(/process\.env\b/, ["config/load.ts"]), []);
  assert.deepEqual(findAll(/\bconsole\./), []);
});

test("files and lines stay short enough to read", () => {
  const long = sources.filter(
    ({ path, text }) => text.split("\n").length - 1 > (MAX_LINES[path] ?? 250),
  );
  assert.deepEqual(
    long.map(({ path }) => path),
    [],
  );
  assert.deepEqual(findAll(/^.{101,}$/), []);
});

test("serve.ts, the request's own path, fits on a screen", () => {
  const text = sources.find(({ path }) => path === "pipeline/serve.ts")?.text ?? "";
  const body = /export async function serve\([^]*?\n}\n/.exec(text)?.[0] ?? "";
  assert.ok(body.includes("forward") && body.split("\n").length <= 60, body);
});

test("types are honest and exports are named", () => {
  assert.deepEqual(findAll(/[:<(,|] ?any\b(?! )|\bas any\b|@ts-|\w!\.|\bas unknown as\b/), []);
  assert.deepEqual(findAll(/export default|export \* from/), []);
  assert.deepEqual(findAll(/\t/), []);
});

test("every file says in its first line what it is", () => {
  const silent = sources.filter(({ text }) => !/^(#!.*\n)?\/\/ \S/.test(text));
  assert.deepEqual(
    silent.map(({ path }) => path),
    [],
  );
});
