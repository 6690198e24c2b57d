// A policy's fields, one promise each: what is refused and how, what is put right on the way, and
// what of a body is read at all.
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { describe, test, type TestContext } from "node:test";
import { setTimeout as turn } from "node:timers/promises";
import type { Limits } from "../../src/gateway.ts";
import { completes, fakeOpenAI, type Script } from "../helpers/fake-openai.ts";
import { createRandom, readJson, writeHarmless } from "../helpers/json-readers.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { post } from "../helpers/read-stream.ts";
import { startGateway } from "../helpers/start-gateway.ts";

async function start(t: TestContext, limits: Limits, script?: Script) {
  const openai = await fakeOpenAI(t, script);
  const policies = { default: { endpoints: ["*"], ...limits } };
  return { openai, ...(await startGateway(t, openai.baseUrl, { policies })) };
}

interface Answer {
  readonly status: number;
  readonly code?: string;
  readonly param?: string | null;
  readonly message?: string;
  /** What arrived whole at OpenAI. */
  readonly arrived?: string;
  readonly length?: string | undefined;
}

async function send(
  t: TestContext,
  limits: Limits,
  path: string,
  init: RequestInit,
): Promise<Answer> {
  const { openai, url } = await start(t, limits);
  const response = await fetch(`${url}/v1${path}`, { method: "POST", ...init });
  const { error = {} } = Object(await response.json());
  const [arrival] = openai.arrivals;
  const arrived = await arrival?.body.catch(() => undefined);
  return {
    status: response.status,
    ...error,
    ...(arrived && { arrived: arrived.toString("latin1") }),
    length: arrival?.headers["content-length"],
  };
}

const sendJson = (t: TestContext, limits: Limits, path: string, body: string): Promise<Answer> =>
  send(t, limits, path, { body, headers: { "content-type": "application/json" } });

const part = (name: string, value: string): string =>
  `--x\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
const FILE =
  '--x\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\n' +
  "content-type: image/png\r\n\r\n\x89PNG\r\n";

const sendForm = (t: TestContext, limits: Limits, path: string, parts: string): Promise<Answer> =>
  send(t, limits, path, {
    body: Buffer.from(`${parts}--x--\r\n`, "latin1"),
    headers: { "content-type": "multipart/form-data; boundary=x" },
  });

interface Refusal {
  readonly limits: Limits;
  readonly path: string;
  readonly body: string;
  readonly status: number;
  readonly code: string;
  readonly param: string;
  /** In the message. */
  readonly names: string;
}

const refusals: readonly Refusal[] = [
  {
    limits: { models: ["gpt-4o-mini", "gpt-5*"] },
    path: "/chat/completions",
    body: '{"model":"gpt-4o"}',
    status: 403,
    code: "model_not_allowed",
    param: "model",
    names: '"gpt-4o". Allowed: gpt-4o-mini, gpt-5* (models)',
  },
  {
    limits: { models: [] },
    path: "/embeddings",
    body: '{"model":"gpt-4o"}',
    status: 403,
    code: "model_not_allowed",
    param: "model",
    names: "Allowed: none (models)",
  },
  {
    limits: { models: ["gpt-4o-mini"] },
    path: "/embeddings",
    body: "{}",
    status: 403,
    code: "model_not_allowed",
    param: "model",
    names: "Name a model. Allowed: gpt-4o-mini",
  },
  {
    limits: { maxOutputTokens: 5 },
    path: "/completions",
    body: '{"max_tokens":"5"}',
    status: 400,
    code: "invalid_request",
    param: "max_tokens",
    names: "a whole number",
  },
  {
    limits: { maxChoices: 2 },
    path: "/completions",
    body: '{"best_of":3}',
    status: 403,
    code: "parameter_not_allowed",
    param: "best_of",
    names: "at most 2 (maxChoices)",
  },
  {
    limits: { maxChoices: 2 },
    path: "/images/generations",
    body: '{"n":10}',
    status: 403,
    code: "parameter_not_allowed",
    param: "n",
    names: "at most 2 (maxChoices)",
  },
  {
    limits: { tools: ["function", "custom"] },
    path: "/responses",
    body: '{"tools":[{"type":"mcp"}]}',
    status: 403,
    code: "parameter_not_allowed",
    param: "tools",
    names: "function, custom (tools)",
  },
  {
    limits: { tools: [] },
    path: "/chat/completions",
    body: '{"functions":[]}',
    status: 403,
    code: "parameter_not_allowed",
    param: "functions",
    names: "none (tools)",
  },
  {
    limits: { serviceTiers: ["flex", "default"] },
    path: "/responses/compact",
    body: '{"service_tier":"auto"}',
    status: 403,
    code: "parameter_not_allowed",
    param: "service_tier",
    names: "flex, default (serviceTiers)",
  },
  {
    limits: { storedState: false },
    path: "/responses",
    body: '{"store":true}',
    status: 403,
    code: "parameter_not_allowed",
    param: "store",
    names: "false (storedState)",
  },
  {
    limits: { storedState: false },
    path: "/responses/input_tokens",
    body: '{"previous_response_id":"resp_1"}',
    status: 403,
    code: "parameter_not_allowed",
    param: "previous_response_id",
    names: "none (storedState)",
  },
  {
    limits: { storedState: false },
    path: "/responses",
    body: '{"background":true}',
    status: 403,
    code: "parameter_not_allowed",
    param: "background",
    names: "false (storedState)",
  },
  {
    limits: { storedState: false },
    path: "/responses",
    body: '{"input":[{"type":"item_reference","id":"a"}]}',
    status: 403,
    code: "parameter_not_allowed",
    param: "input",
    names: "(storedState)",
  },
  {
    limits: { storedState: false },
    path: "/chat/completions",
    body: '{"messages":[{"content":[{"file":{"file_id":"a"}}]}]}',
    status: 403,
    code: "parameter_not_allowed",
    param: "file_id",
    names: "none (storedState)",
  },
  {
    limits: { safetyIdentifier: true },
    path: "/responses",
    body: '{"safety_identifier":[]}',
    status: 400,
    code: "invalid_request",
    param: "safety_identifier",
    names: "wrong type",
  },
];

describe("what is refused names the parameter and what is allowed", { concurrency: 8 }, () => {
  for (const { limits, path, body, names, ...expected } of refusals) {
    test(`${path} ${body} under ${JSON.stringify(limits)}`, async (t) => {
      const { message = "", arrived, length, ...answer } = await sendJson(t, limits, path, body);

      assert.deepEqual(answer, { ...expected, type: "invalid_request_error" });
      assert.ok(message.includes(names), message);
      assert.deepEqual([arrived, length], [undefined, undefined], "something went up");
    });
  }

  const forms: readonly [
    limits: Limits,
    parts: string,
    code: string,
    param: string,
    names: string,
  ][] = [
    [
      { models: ["a"] },
      part("model", "b") + FILE,
      "model_not_allowed",
      "model",
      "Allowed: a (models)",
    ],
    [{ models: ["a"] }, FILE, "model_not_allowed", "model", "Name a model. Allowed: a (models)"],
    [
      { maxChoices: 2 },
      part("n", "3") + FILE,
      "parameter_not_allowed",
      "n",
      "at most 2 (maxChoices)",
    ],
    [
      { safetyIdentifier: true },
      part("safety_identifier", "me") + FILE,
      "parameter_not_allowed",
      "safety_identifier",
      "the gateway sends it (safetyIdentifier)",
    ],
  ];
  for (const [limits, parts, code, param, names] of forms) {
    test(`a form under ${JSON.stringify(limits)}: ${names}`, async (t) => {
      const answer = await sendForm(t, limits, "/images/edits", parts);

      assert.deepEqual([answer.status, answer.code, answer.param], [403, code, param]);
      assert.ok(answer.message?.includes(names), String(answer.message));
      assert.equal(answer.arrived, undefined, "it arrived whole");
    });
  }
});

describe(
  "what a call leaves open is put right, and the rest stays as it is",
  { concurrency: 8 },
  () => {
    const splices: readonly [limits: Limits, path: string, body: string, arrives: string][] = [
      [{ maxOutputTokens: 9 }, "/responses", "{}", '{"max_output_tokens":9}'],
      [{ maxOutputTokens: 9 }, "/responses", ' { "a":1 }', ' {"max_output_tokens":9, "a":1 }'],
      [{ maxOutputTokens: 9 }, "/completions", '{"max_tokens" : 10 }', '{"max_tokens" : 9 }'],
      [{ maxOutputTokens: 9 }, "/completions", '{"max_tokens" : 9 }', '{"max_tokens" : 9 }'],
      [{ maxOutputTokens: 9 }, "/completions", '{"max_tokens":null}', '{"max_tokens":9}'],
      [{ maxOutputTokens: 9 }, "/chat/completions", "{}", '{"max_completion_tokens":9}'],
      [{ maxOutputTokens: 9 }, "/chat/completions", '{"max_tokens":8}', '{"max_tokens":8}'],
      [{ maxOutputTokens: 9 }, "/chat/completions", '{"max_tokens":99}', '{"max_tokens":9}'],
      [{ maxOutputTokens: 9 }, "/embeddings", '{"max_tokens":99}', '{"max_tokens":99}'],
      [{ serviceTiers: ["flex", "default"] }, "/responses", "{}", '{"service_tier":"flex"}'],
      [{ serviceTiers: ["flex", "auto"] }, "/responses", "{}", "{}"],
      [
        { serviceTiers: ["flex"] },
        "/responses",
        '{"service_tier":null}',
        '{"service_tier":"flex"}',
      ],
      [{ serviceTiers: ["flex"] }, "/embeddings", "{}", "{}"],
      [{ storedState: false }, "/responses", "{}", '{"store":false}'],
      [{ storedState: false }, "/responses", '{"store":null}', '{"store":false}'],
      [{ storedState: false }, "/chat/completions", "{}", '{"store":false}'],
      [{ storedState: false }, "/chat/completions", '{"store":false}', '{"store":false}'],
      [{ storedState: false }, "/embeddings", "{}", "{}"],
      [{ storedState: true }, "/responses", '{"store":true}', '{"store":true}'],
      [{ maxChoices: 2 }, "/chat/completions", '{"n":2}', '{"n":2}'],
      [{ maxChoices: 2 }, "/chat/completions", '{"n":null}', '{"n":null}'],
      [
        { tools: ["web_search"] },
        "/chat/completions",
        '{"web_search_options":{}}',
        '{"web_search_options":{}}',
      ],
      [{ tools: [] }, "/chat/completions", '{"tools":[]}', '{"tools":[]}'],
      [
        { storedState: false, maxOutputTokens: 9 },
        "/responses",
        '{ "a":1 }',
        '{"max_output_tokens":9,"store":false, "a":1 }',
      ],
    ];
    for (const [limits, path, body, arrives] of splices) {
      test(`${path} ${body} under ${JSON.stringify(limits)}`, async (t) => {
        const { status, arrived, length } = await sendJson(t, limits, path, body);

        assert.deepEqual([status, arrived], [200, arrives]);
        assert.equal(length, String(arrives.length));
      });
    }

    test("the safety identifier is 64 characters, the same every time, and not the caller's own", async (t) => {
      const limits = { safetyIdentifier: true };
      const id = /^[0-9a-f]{64}$/;

      const chat = await sendJson(t, limits, "/chat/completions", "{}");
      const reply = await sendJson(t, limits, "/responses", '{"safety_identifier":"me"}');
      const form = await sendForm(t, limits, "/images/edits", FILE);
      const vector = await sendJson(t, limits, "/embeddings", '{"safety_identifier":"me"}');

      const { safety_identifier: sent } = JSON.parse(chat.arrived ?? "");
      assert.match(sent, id);
      assert.equal(reply.arrived, `{"safety_identifier":"${sent}"}`);
      assert.equal(
        form.arrived,
        `--x\r\ncontent-disposition: form-data; name="safety_identifier"\r\n\r\n${sent}\r\n${FILE}--x--\r\n`,
      );
      assert.equal(form.length, String(form.arrived?.length));
      assert.equal(vector.arrived, '{"safety_identifier":"me"}');
    });
  },
);

describe("a body that no rule needs is not read", { concurrency: 8 }, () => {
  const SOME: Limits = { maxOutputTokens: 9, tools: [], serviceTiers: [] };
  const ALL: Limits = { ...SOME, storedState: false };
  const unread: readonly [limits: Limits, path: string][] = [
    [{}, "/chat/completions"],
    [{ storedState: true, safetyIdentifier: false, maxBodyBytes: 1_000 }, "/responses"],
    [ALL, "/embeddings"],
    [{ ...SOME, models: ["a"], maxChoices: 1 }, "/files"],
    [{ ...SOME, models: ["a"], maxChoices: 1 }, "/conversations"],
    [{ maxChoices: 1 }, "/audio/transcriptions"],
  ];
  for (const [limits, path] of unread) {
    test(`${path} under ${JSON.stringify(limits)}`, async (t) => {
      const { openai, port } = await start(t, limits);
      const socket = await openSocket(port);
      t.after(() => socket.destroy());
      const head = `POST /v1${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n`;

      // Half a body, of no type, and nothing that any rule could make sense of.
      socket.write(`${head}content-encoding: gzip\r\ncontent-length: 10\r\n\r\n[[{"}`);
      const arrival = await openai.next();
      assert.equal(String(await arrival.received(5)), '[[{"}');
      socket.write("\0\0\0\0\0");

      assert.match(String(await once(socket, "data")), /^HTTP\/1.1 200 /);
    });
  }

  test("but of one that is needed nothing goes up before its last byte has come", async (t) => {
    const { openai, port } = await start(t, { models: ["a"] });
    const socket = await openSocket(port);
    t.after(() => socket.destroy());
    const head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";

    socket.write(`${head}content-type: application/json\r\ncontent-length: 13\r\n\r\n{"model":"a"`);
    // A whole other call in the meantime.
    await fetch(`http://127.0.0.1:${port}/v1/models/a`);
    assert.deepEqual(
      openai.arrivals.map(({ url }) => url),
      ["/v1/models/a"],
    );
    socket.write("}");

    assert.match(String(await once(socket, "data")), /^HTTP\/1.1 200 /);
    assert.equal(String(await openai.arrivals[1]?.body), '{"model":"a"}');
  });

  test("and a form goes up from where its model is known, though not to its end", async (t) => {
    const { socket, sent, arrival, write } = await beginForm(t, { models: ["a"] });

    const last = `${part("n", "1")}--x--\r\n`;
    write(last, "");

    assert.match(String(await once(socket, "data")), /^HTTP\/1.1 200 /);
    assert.equal((await arrival.body).toString("latin1"), sent + last);
  });
});

/** A form that is not at its end yet, but has begun to arrive. */
async function beginForm(t: TestContext, limits: Limits) {
  const { openai, port } = await start(t, limits);
  const socket = await openSocket(port);
  t.after(() => socket.destroy());
  const write = (...chunks: readonly string[]): void => {
    for (const text of chunks) {
      socket.write(`${text.length.toString(16)}\r\n${text}\r\n`, "latin1");
    }
  };
  const head = "POST /v1/images/edits HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
  const type = "content-type: multipart/form-data; boundary=x\r\ntransfer-encoding: chunked";
  socket.write(`${head}${type}\r\n\r\n`);
  let sent = part("model", "a") + FILE;
  write(sent);
  // The last piece is held back until the next one comes, so there has to be one.
  for (let more = 0; openai.arrivals.length === 0 && more < 1_000; more++) {
    const another = part("prompt", `${more}`);
    sent += another;
    write(another);
    await turn(2);
  }
  const arrival = await openai.next();
  await arrival.received(part("model", "a").length + FILE.length);
  return { socket, sent, arrival, write };
}

test("a form that breaks a rule on its way up is refused, and never arrives whole", async (t) => {
  const { socket, arrival, write } = await beginForm(t, { maxChoices: 1 });

  write(part("n", "2"), "--x--\r\n", "");

  assert.match(String(await once(socket, "data")), /^HTTP\/1.1 403 [^]*"param":"n"/);
  await assert.rejects(arrival.body);
});

test("a body over the policy's limit is refused, announced or not, read or not", async (t) => {
  for (const limits of [{ maxBodyBytes: 20 }, { maxBodyBytes: 20, maxOutputTokens: 9 }]) {
    const { openai, url } = await start(t, limits);
    const ask = (body: string | ReadableStream): Promise<Response> =>
      post(`${url}/v1/embeddings`, undefined, { body, ...{ duplex: "half" } });
    const inPieces = (text: string): ReadableStream => new Blob([text]).stream();
    const large = `{"a":"${"b".repeat(13)}"}`;
    const small = large.replace("b", "");

    const statuses = [large, inPieces(large), small, inPieces(small)].map(async (body) => {
      const response = await ask(body);
      return [response.status, Object(await response.json()).error?.code];
    });

    const over = [413, "request_too_large"];
    const under = [200, undefined];
    assert.deepEqual(await Promise.all(statuses), [over, over, under, under]);
    const bodies = await Promise.all(openai.arrivals.map(({ body }) => body.catch(() => "")));
    assert.deepEqual(
      bodies.map(String).filter((text) => text !== ""),
      [small, small],
    );
  }
});

test("the limit is for what the client sends, not for what the gateway adds", async (t) => {
  const limits = { maxBodyBytes: 2, storedState: false, safetyIdentifier: true };

  assert.equal((await sendJson(t, limits, "/responses", "{}")).status, 200);
});

test("only pages of the policy's origins may call, and nobody without one", async (t) => {
  const { openai, url } = await start(t, { origins: ["https://app.example.com"] });
  const ask = async (headers: Record<string, string>) => {
    const response = await post(`${url}/v1/embeddings`, {}, { headers });
    return { status: response.status, ...Object(await response.json()).error };
  };

  assert.equal((await ask({ origin: "https://app.example.com" })).status, 200);
  for (const origin of ["https://other.example.com", "http://app.example.com", "null"]) {
    const { status, code, message } = await ask({ origin });
    assert.deepEqual([status, code], [403, "origin_not_allowed"], origin);
    assert.match(message, /Allowed: https:\/\/app\.example\.com \(origins\)/);
  }
  assert.equal((await ask({})).status, 403);
  assert.equal(openai.arrivals.length, 1);
});

const listed: Script = async (res, arrival) => {
  if (!arrival.url.startsWith("/v1/models")) return completes(res, arrival);
  const data = ["gpt-4o", "gpt-4o-mini", "gpt-5-nano", "ft:gpt-4o:acme"].map((id) => ({ id }));
  res.writeHead(200, { "content-type": "application/json" });
  res.end(JSON.stringify({ object: "list", data, extra: 1 }));
};

test("the list of models holds the allowed ones, and the others are not shown alone either", async (t) => {
  const { openai, url } = await start(t, { models: ["gpt-4o-mini", "gpt-5*"] }, listed);

  const list = await fetch(`${url}/v1/models`);
  const one = await fetch(`${url}/v1/models/gpt-5-nano`);
  const others = ["gpt-4o", "ft:gpt-4o:acme", "gpt-4o-mini%20", "GPT-5"];
  for (const name of others) {
    const other = await fetch(`${url}/v1/models/${name}`);
    const { error } = Object(await other.json());
    assert.deepEqual([other.status, error.code], [403, "model_not_allowed"], name);
  }

  assert.deepEqual(await list.json(), {
    object: "list",
    data: [{ id: "gpt-4o-mini" }, { id: "gpt-5-nano" }],
  });
  assert.equal(one.status, 200);
  assert.equal(openai.arrivals.length, 2);
});

test("without a list of models in the policy OpenAI's own passes as it is", async (t) => {
  const { url } = await start(t, { maxOutputTokens: 9 }, listed);

  const { data } = Object(await (await fetch(`${url}/v1/models`)).json());

  assert.equal(data.length, 4);
});

test("without stored state nothing is open but inference, whatever the endpoints say", async (t) => {
  const { openai, url } = await start(t, { storedState: false });
  const shut = [
    ["GET", "/responses/resp_1"],
    ["DELETE", "/responses/resp_1"],
    ["GET", "/chat/completions"],
    ["GET", "/unknown"],
    ["POST", "/files"],
    ["POST", "/conversations/conv_1/items"],
  ];

  for (const [method, path] of shut) {
    const response = await fetch(`${url}/v1${path}`, { method: method ?? "" });
    assert.equal(response.status, 403, `${method} ${path}`);
    assert.match(await response.text(), /endpoint_not_allowed/);
  }
  assert.equal(openai.arrivals.length, 0);
  assert.equal((await fetch(`${url}/v1/models`)).status, 200);
});

test("a call that rules look into has no query, but for what OpenAI and Azure have", async (t) => {
  const { openai, url } = await start(t, { models: ["a"] });
  const ask = async (query: string, headers = {}): Promise<number> =>
    (await post(`${url}/v1/chat/completions${query}`, { model: "a" }, { headers })).status;

  assert.equal(await ask("?model=gpt-5"), 400);
  assert.equal(await ask("?beta=true&n=9"), 400);
  assert.equal(await ask("?model=gpt-5", { search: "" }), 400, "a header passed for the query");
  assert.equal(openai.arrivals.length, 0);
  assert.equal(await ask("?beta=true"), 200);
  assert.equal(await ask("?api-version=2025-01-01-preview"), 200);
});

test("a client cannot say who it is in realtime's header either", async (t) => {
  const { openai, url } = await start(t, { safetyIdentifier: true });

  await post(
    `${url}/v1/chat/completions`,
    { model: "a" },
    { headers: { "openai-safety-identifier": "victim" } },
  );

  const [arrival] = openai.arrivals;
  assert.match(String(arrival?.headers["openai-safety-identifier"]), /^[\da-f]{64}$/);
});

test("an endpoint that the policy does not open is refused before its body is read", async (t) => {
  const { openai, port } = await start(t, { endpoints: ["chat"], models: ["a"] });
  const socket = await openSocket(port);
  t.after(() => socket.destroy());

  const head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n";
  socket.write(`${head}content-type: application/json\r\ncontent-length: 1000\r\n\r\n`);

  const [answer] = await once(socket, "data");
  assert.match(String(answer), /^HTTP\/1.1 403 [^]*"code":"endpoint_not_allowed"/);
  assert.equal(openai.arrivals.length, 0);
});

describe(
  "what cannot be looked into is shut where a rule would have to",
  { concurrency: 8 },
  () => {
    const rules: Limits = { models: ["a"], maxOutputTokens: 9, tools: [] };
    const shut = [
      "/batches",
      "/threads/runs",
      "/assistants",
      "/evals",
      "/videos",
      "/realtime/calls",
      "/unknown",
      "/responses/",
      "/chat/completions/new/thing",
    ];
    for (const path of shut) {
      test(`POST ${path}`, async (t) => {
        const { openai, url } = await start(t, rules);

        const response = await post(`${url}/v1${path}`, { model: "a" });

        assert.equal(response.status, 403);
        const { code, message } = Object(await response.json()).error;
        assert.equal(code, "endpoint_not_allowed");
        assert.match(message, /models, maxOutputTokens, tools/);
        assert.equal(openai.arrivals.length, 0);
      });
    }

    test("POST /responses/compact, whose output nothing caps", async (t) => {
      const { url } = await start(t, rules);

      const response = await post(`${url}/v1/responses/compact`, { model: "a" });

      assert.match(await response.text(), /cannot be held to the rules of your access \(maxOutput/);
      const without = await sendJson(t, { models: ["a"] }, "/responses/compact", '{"model":"a"}');
      assert.equal(without.status, 200);
    });

    for (const path of ["/realtime?model=a", "/responses", "/unknown"]) {
      test(`a WebSocket to ${path}`, async (t) => {
        const { openai, port } = await start(t, rules);
        const call = request({
          port,
          host: "127.0.0.1",
          path: `/v1${path}`,
          headers: {
            connection: "upgrade",
            upgrade: "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
          },
        }).end();

        const [response] = await once(call, "response");

        assert.equal(response.statusCode, 403);
        response.resume();
        assert.equal(openai.arrivals.length, 0);
      });
    }

    const open: readonly [method: string, path: string][] = [
      ["POST", "/files"],
      ["POST", "/vector_stores"],
      ["POST", "/conversations"],
      ["POST", "/containers"],
      ["GET", "/batches"],
      ["DELETE", "/responses/resp_1"],
      ["GET", "/unknown"],
    ];
    for (const [method, path] of open) {
      test(`but not ${method} ${path}, in which no model runs`, async (t) => {
        const { url } = await start(t, rules);

        assert.equal((await fetch(`${url}/v1${path}`, { method })).status, 200);
      });
    }

    test("and nothing where the policy has no such rule", async (t) => {
      const { url } = await start(t, { maxBodyBytes: 100, safetyIdentifier: false });

      for (const path of shut) assert.equal((await post(`${url}/v1${path}`, {})).status, 200, path);
    });
  },
);

test("every other byte of an allowed call arrives as it was sent, however it comes", async (t) => {
  const limits: Limits = { models: ["gpt-4o-mini"], maxOutputTokens: 100, storedState: false };
  const { openai, port } = await start(t, limits);

  for (let round = 0; round < 80; round++) {
    const random = createRandom(round);
    const texts = Array.from({ length: 6 }, () => writeHarmless(random));
    const [a, b, c, d, e, f] = texts;
    const before = `"x":${a} , "y":${b},"x":${c},\t`;
    const after = `,"metadata":${d},"messages" : ${e},"y":${f}} \r\n`;
    const asked = random() < 0.5 ? 5_000 : 50;
    const ask = (cap: number): string => `"model":"gpt-4o-mini","max_output_tokens":${cap}`;
    const body = Buffer.from(`\n {${before}${ask(asked)}${after}`);
    const chunked = random() < 0.5;
    const framing = chunked
      ? { "transfer-encoding": "chunked" }
      : { "content-length": body.length };
    const call = request({
      port,
      host: "127.0.0.1",
      method: "POST",
      path: "/v1/responses",
      headers: { "content-type": "application/json", ...framing },
    });
    for (let at = 0; at < body.length;) {
      const size = 1 + Math.floor(random() * 400);
      call.write(body.subarray(at, at + size));
      at += size;
    }
    const [response] = await once(call.end(), "response");
    response.resume();

    const arrival = await openai.next();
    const arrived = await arrival.body;
    const expected = `\n {"store":false,${before}${ask(Math.min(asked, 100))}${after}`;
    assert.equal(response.statusCode, 200, `round ${round}: ${String(body)}`);
    assert.equal(String(arrived), expected, `round ${round}`);
    const { "content-length": length = chunked ? arrived.length : undefined } = arrival.headers;
    assert.equal(Number(length), arrived.length, `round ${round}`);
    assert.doesNotThrow(() => readJson(arrived, { duplicates: "last" }), `round ${round}`);
  }
});
