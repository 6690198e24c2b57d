// The image is small, needs no privilege, and starts and stops as an orchestrator expects.

import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseEnv } from "node:util";
import { lacking } from "./buildah.ts";
import { buildImage, type Image } from "./image.ts";
import { start, type Container } from "./sandbox.ts";

const HEALTH = ["dist/index.js", "health"];
const bounded = { timeout: 15_000 };

test(".env.example means the same to Docker, which keeps quotes, and to Node", async () => {
  const text = await readFile(new URL("../../.env.example", import.meta.url), "utf8");
  const uncommented = text.replace(/^# (?=[A-Z_]+=)/gm, "");

  const lines = uncommented.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const docker = lines.map((line) => line.split(/=(.*)/s, 2));

  assert.deepEqual(Object.fromEntries(docker), { ...parseEnv(uncommented) });
});

describe("the image", { skip: reasonToSkip(), timeout: 90_000 }, () => {
  let image: Image;
  before(async () => {
    assert.deepEqual(lacking(), [], "what it takes to build an image is missing here");
    image = await buildImage();
  });
  after(() => image?.remove());

  test("starts node without a shell, as a user known by number not to be root", () => {
    const { config } = image;

    assert.equal(config.User, "65532:65532");
    assert.deepEqual(config.Entrypoint, ["/nodejs/bin/node"]);
    assert.deepEqual(config.Cmd, ["dist/index.js"]);
    assert.deepEqual(config.Healthcheck.Test, ["CMD", "/nodejs/bin/node", ...HEALTH]);
    assert.deepEqual(Object.keys(config.ExposedPorts), ["3000/tcp"]);
    assert.ok(config.Env.includes("HOST=0.0.0.0"));
    assert.ok(config.Env.includes("NODE_ENV=production"));
  });

  test("adds to its base only the program, which the program cannot change", async () => {
    const program = image.added.filter((path) => path !== "data");
    const rest = program.filter((path) => !path.startsWith("app/dist/"));
    const stats = await Promise.all(program.map((path) => stat(join(image.root, path))));

    assert.deepEqual(rest.sort(), ["app", "app/dist", "app/package.json"]);
    assert.ok(image.added.includes("app/dist/index.js"));
    assert.ok(stats.every(({ uid, gid, mode }) => uid === 0 && gid === 0 && (mode & 0o022) === 0));
  });

  test("has an empty directory for a volume, which the program can write", async () => {
    const { uid, gid } = await stat(join(image.root, "data"));

    assert.ok(image.added.includes("data"), "it is not there");
    assert.deepEqual(
      image.added.filter((path) => path.startsWith("data/")),
      [],
    );
    assert.deepEqual([uid, gid], [65_532, 65_532]);
  });

  test("answers on a read-only root without privileges, as PID 1", bounded, async (t) => {
    const { container, origin } = await serving(t, image);

    const welcome = await fetch(origin);
    const chat = await complete(origin);
    const status = await container.status();
    const write = start(t, image, ["-e", "fs.writeFileSync('/home/nonroot/file', '')"], {});
    const written = await write.exited;

    assert.equal(await welcome.text(), "Welcome to the OpenAI Reverse Proxy!");
    assert.equal(chat.object, "chat.completion");
    assert.equal(status.get("Uid"), "65532\t65532\t65532\t65532");
    assert.equal(status.get("Gid"), "65532\t65532\t65532\t65532");
    assert.equal(status.get("CapPrm"), "0000000000000000");
    assert.equal(status.get("NoNewPrivs"), "1");
    assert.match(status.get("NSpid") ?? "", /\t1$/);
    assert.equal(written, 1);
    assert.match(write.output(), /EROFS/);
  });

  test("ends well on SIGTERM, which PID 1 must ask to get", bounded, async (t) => {
    const { container } = await serving(t, image);

    await container.kill("SIGTERM");

    assert.equal(await container.exited, 0, container.output());
  });

  test("is healthy while it serves, and not when nothing listens", bounded, async (t) => {
    const { port } = await serving(t, image);

    const healthy = start(t, image, HEALTH, { PORT: `${port}` });
    const unhealthy = start(t, image, HEALTH, { PORT: `${await freePort()}` });

    assert.equal(await healthy.exited, 0, healthy.output());
    assert.notEqual(await unhealthy.exited, 0, unhealthy.output());
  });

  test("needs no file but its own under Node's permission model", bounded, async (t) => {
    const NODE_OPTIONS = "--permission --allow-fs-read=/app/";
    const { origin, port } = await serving(t, image, { NODE_OPTIONS });

    const chat = await complete(origin);
    const health = start(t, image, HEALTH, { NODE_OPTIONS, PORT: `${port}` });

    assert.equal(chat.object, "chat.completion");
    assert.equal(await health.exited, 0, health.output());
  });
});

function reasonToSkip(): string | false {
  if (process.env["CONTAINER_TESTS"] !== "1") return "runs with CONTAINER_TESTS=1, as in .ci/run";
  if (process.env["CI"] === "true" || lacking().length === 0) return false;
  return `needs ${lacking().join(", ")}`;
}

interface Serving {
  container: Container;
  origin: string;
  port: number;
}

async function serving(
  t: TestContext,
  image: Image,
  env: Record<string, string> = {},
): Promise<Serving> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const command = [...image.config.Cmd, "--mock"];
  const container = start(t, image, command, { ...env, PORT: `${port}` });
  let ended = false;
  void container.exited.then(() => (ended = true));
  while (
    !ended &&
    !(await fetch(`${origin}/healthz`).then(
      () => true,
      () => false,
    ))
  ) {
    await sleep(50);
  }
  assert.ok(!ended, `it did not start: ${container.output()}`);
  return { container, origin, port };
}

async function complete(origin: string): Promise<{ object: string }> {
  const response = await fetch(`${origin}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Hi" }] }),
  });
  return (await response.json()) as { object: string };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
