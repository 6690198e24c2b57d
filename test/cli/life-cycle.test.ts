// The program from its start to its end: what it prints, how it drains, how it exits.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { fakeOpenAI, type FakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { post, readStream } from "../helpers/read-stream.ts";
import {
  COMMAND,
  environmentFor,
  makeDirectory,
  startCli,
  type RunningCli,
  type Surroundings,
} from "../helpers/run-cli.ts";

const KEY = "sk-0123456789abcdef";
const CHAT = "/v1/chat/completions";

/** A stream that goes on until `finish` is called. */
function slowStream() {
  let finish = (): void => {};
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const script: Script = async (res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    res.write('data: {"n":1}\n\n');
    await finished;
    res.end("data: [DONE]\n\n");
  };
  return { script, finish };
}

function start(
  t: TestContext,
  openai: FakeOpenAI,
  surroundings: Surroundings = {},
): Promise<RunningCli> {
  const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: openai.baseUrl, ...surroundings.env };
  return startCli(t, { ...surroundings, env });
}

/** A gateway with one stream open, of which one event has come. */
async function startWithStream(t: TestContext, surroundings: Surroundings = {}) {
  const { script, finish } = slowStream();
  const openai = await fakeOpenAI(t, script);
  const cli = await start(t, openai, surroundings);
  const stream = readStream(await post(`${cli.url}${CHAT}`, { stream: true }));
  assert.equal(await stream.next(), 'data: {"n":1}\n\n');
  return { cli, stream, finish, openai };
}

async function drain(cli: RunningCli, signal: NodeJS.Signals): Promise<void> {
  cli.stop(signal);
  await cli.line(({ message }) => message.startsWith(`${signal}: draining`));
}

test("serves with nothing but a .env, and prints JSON where nobody watches", async (t) => {
  const openai = await fakeOpenAI(t);

  const cli = await startCli(t, {
    files: { ".env": `OPENAI_API_KEY=${KEY}\nOPENAI_BASE_URL=${openai.baseUrl}\nPORT=0\n` },
  });
  const response = await post(`${cli.url}${CHAT}`, { model: "gpt-4o-mini" });
  const answer = await response.text();
  const line = await cli.line(({ message }) => message === "request");

  const arrival = await openai.next();
  assert.equal(arrival.headers.authorization, `Bearer ${KEY}`);
  assert.equal(response.status, 200);
  const { time, id, durationMs, firstByteMs, gatewayMs, upstreamMs, ...rest } = line;
  assert.deepEqual(rest, {
    level: "info",
    message: "request",
    method: "POST",
    route: "POST /chat/completions",
    status: 200,
    caller: "127.0.0.1",
    policy: "default",
    inputTokens: 8,
    outputTokens: 0,
    costMicroUsd: 0,
    estimated: true,
    requestBytes: 23,
    responseBytes: answer.length,
    upstreamRequestId: "req_fake",
  });
  assert.equal(id, response.headers.get("x-gateway-request-id"));
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000, time);
  assert.ok(
    Number(gatewayMs) + Number(upstreamMs) <= Number(firstByteMs) + 1,
    JSON.stringify(line),
  );
  assert.ok(Number(firstByteMs) <= Number(durationMs), JSON.stringify(line));
});

test("says once what is odd and where it listens, then logs one line per request, none per probe", async (t) => {
  const cli = await start(t, await fakeOpenAI(t), {
    env: { CORS_ORIGIN: "https://app.example.com" },
  });

  await (await post(`${cli.url}${CHAT}`, {})).text();
  await (await fetch(`${cli.url}/healthz`)).text();
  await (await fetch(`${cli.url}/v1/nothing`)).text();
  await cli.line(({ status }) => status === 404);

  assert.deepEqual(
    cli.lines().map(({ level, message, status }) => [level, message, status]),
    [
      ["warn", 'CORS_ORIGIN: is no setting, did you mean "CORS_ORIGINS"?', undefined],
      [
        "warn",
        "open: whoever reaches 127.0.0.1 can spend from the key, and any page that a browser with such access " +
          "shows (CORS_ORIGINS is *)",
        undefined,
      ],
      ["info", `listening on ${cli.url}`, undefined],
      ["info", "request", 200],
      ["info", "request", 404],
    ],
  );
});

test("--mock serves without a key and says so", async (t) => {
  const cli = await startCli(t, { args: ["--mock"] });

  const response = await post(`${cli.url}${CHAT}`, {
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "Hello" }],
  });

  const answer: unknown = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  assert.equal(Object(answer).object, "chat.completion");
  assert.ok(cli.lines().some(({ message }) => message.startsWith("mock: ")));
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} lets an open stream complete and sends new calls elsewhere, then exits with 0`, async (t) => {
    const { cli, stream, finish } = await startWithStream(t);

    await drain(cli, signal);
    const refused = await post(`${cli.url}${CHAT}`, {});
    const ready = await fetch(`${cli.url}/readyz`);
    const alive = await fetch(`${cli.url}/healthz`);

    assert.equal(refused.status, 503);
    assert.equal(Object(await refused.json()).error.code, "draining");
    assert.equal(refused.headers.get("retry-after"), "1");
    assert.equal(refused.headers.get("connection"), "close");
    assert.equal(ready.status, 503);
    assert.equal(alive.status, 200);

    finish();
    assert.equal(await stream.rest(), "data: [DONE]\n\n");
    assert.equal((await cli.ended).code, 0, cli.output());
    const line = cli.lines().find(({ message, status }) => message === "request" && status === 200);
    assert.equal(line?.["error"], undefined);
    assert.equal(line?.["responseBytes"], 'data: {"n":1}\n\ndata: [DONE]\n\n'.length);
  });
}

test("at the deadline an open stream ends with an error event, and the exit code is still 0", async (t) => {
  const { cli, stream, openai } = await startWithStream(t, {
    files: { "gateway.json": '{"server":{"drainSeconds":1}}' },
  });

  const startedAt = performance.now();
  await drain(cli, "SIGTERM");
  const rest = await stream.rest();
  const { code } = await cli.ended;

  const [, event = ""] = /^data: (.*)\n\n$/.exec(rest) ?? [];
  const { error } = JSON.parse(event);
  assert.deepEqual(error, {
    message: "The gateway is restarting; this call was cut short.",
    type: "server_error",
    param: null,
    code: "draining",
  });
  assert.equal(code, 0, cli.output());
  const took = performance.now() - startedAt;
  assert.ok(took > 900 && took < 4_000, `${took} ms`);
  await (
    await openai.next()
  ).closed;
});

test("a second signal exits at once, and not with 0", async (t) => {
  const { cli, stream } = await startWithStream(t);

  await drain(cli, "SIGTERM");
  cli.stop("SIGINT");
  const { code, signal } = await cli.ended;

  assert.equal(code, 1);
  assert.equal(signal, null);
  await assert.rejects(stream.rest());
});

test("with nothing to do it exits at once, though connections are open", async (t) => {
  const openai = await fakeOpenAI(t);
  const cli = await start(t, openai);
  await (await post(`${cli.url}${CHAT}`, {})).text(); // leaves kept-alive connections on both sides
  const silent = await openSocket(cli.port);
  t.after(() => silent.destroy());

  const startedAt = performance.now();
  cli.stop("SIGTERM");
  const { code } = await cli.ended;

  assert.equal(code, 0);
  assert.ok(performance.now() - startedAt < 2_500, `${performance.now() - startedAt} ms`);
});

test("goes on when whoever read its log has gone", async (t) => {
  const cli = await start(t, await fakeOpenAI(t));

  cli.process.stdout?.destroy();
  cli.process.stderr?.destroy();
  const statuses = [];
  for (let call = 0; call < 3; call++) {
    const response = await post(`${cli.url}${CHAT}`, {});
    statuses.push(response.status);
    await response.text();
  }
  const exited = once(cli.process, "exit");
  cli.stop("SIGTERM");

  assert.deepEqual(statuses, [200, 200, 200]);
  assert.deepEqual(await exited, [0, null]);
});

test("help may be cut short by its reader", async (t) => {
  const [program = "", ...args] = COMMAND;
  const child = spawn(program, [...args, "--help"], {
    cwd: makeDirectory(t),
    env: environmentFor(),
  });

  child.stdout.destroy();
  let complaints = "";
  child.stderr.on("data", (text) => (complaints += text));
  const [code] = await once(child, "close");

  assert.equal(code, 0);
  assert.equal(complaints, "");
});

const hasScript = spawnSync("script", ["-V"]).status === 0;

test("writes for a person on a terminal", { skip: !hasScript }, async (t) => {
  const command = COMMAND.map((word) => `'${word}'`).join(" ");
  const child = spawn("script", ["-qec", `exec ${command} --mock --port 0`, "/dev/null"], {
    cwd: makeDirectory(t),
    env: { ...environmentFor(), TERM: "xterm" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => void child.kill("SIGKILL"));

  let text = "";
  for await (const chunk of child.stdout) {
    const before = text;
    text += chunk;
    const began = text.includes("listening on ") && !before.includes("listening on ");
    if (began) child.stdin.write("\x03"); // Ctrl+C, which arrives as SIGINT
  }

  const plain = text.replace(/\x1b\[\d+m/g, "");
  assert.match(plain, /^\d\d:\d\d:\d\d info  mock: .* no key is used, nothing is spent/m);
  assert.doesNotMatch(plain, /can spend/);
  assert.match(
    plain,
    /^\d\d:\d\d:\d\d info  listening on http:\/\/127\.0\.0\.1:\d+ version=\S+ node=v\d+/m,
  );
  assert.match(plain, /info  SIGINT: draining; once more to exit at once/);
  assert.doesNotMatch(plain, /^\{/m);
});
