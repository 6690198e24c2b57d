// What OpenAI receives is what was sent: method, path, query and every byte of the body, for every
// call that the official SDK can make and for what no SDK would send.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeOpenAI, type Arrival, type Script } from "../helpers/fake-openai.ts";
import { inFrontOf, runGateway, UPSTREAM_KEY } from "./gateway-process.ts";
import { createClient, EVERY_BYTE, SDK_CALLS } from "./sdk-calls.ts";
import { readSdkOperations } from "./sdk-operations.ts";

/** Which headers of a call are OpenAI's business. */
const MEANT_FOR_OPENAI =
  /^(?:content-type|accept|user-agent|idempotency-key|x-client-request-id|x-stainless-.+|openai-.+)$/;

/** Every call fails the same way, whatever it is: only what arrived matters. */
const refuses: Script = async (res, arrival) => {
  await arrival.body;
  res.writeHead(418, { "content-type": "application/json" }).end('{"error":{"message":"teapot"}}');
};

test(
  "each call of the SDK arrives as it does without the gateway",
  { timeout: 20_000 },
  async (t) => {
    const openai = await fakeOpenAI(t, refuses);
    const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
    const direct = createClient(openai.baseUrl);
    const through = createClient(`${origin}/v1`);

    for (const { name, run } of SDK_CALLS) {
      await t.test(name, async () => {
        await assert.rejects(run(direct), { status: 418 });
        const expected = await describe(await openai.next());

        await assert.rejects(run(through), { status: 418 });
        const arrival = await openai.next();

        assert.deepEqual(await describe(arrival), expected);
        assert.equal(arrival.headers.authorization, `Bearer ${UPSTREAM_KEY}`);
      });
    }
  },
);

test(
  "every operation that the SDK has arrives as it does without the gateway",
  { timeout: 20_000 },
  async (t) => {
    const openai = await fakeOpenAI(t, refuses);
    const env = { ...inFrontOf(openai.baseUrl), ALLOWED_ENDPOINTS: "*,admin" };
    const { origin } = await runGateway(t, { env });
    const direct = createClient(openai.baseUrl);
    const through = createClient(`${origin}/v1`);
    const operations = readSdkOperations().filter(({ method }) => method !== "WEBSOCKET");

    const refused: string[] = [];
    for (const { method, template, search } of operations) {
      const path = template.replaceAll("{}", "id-1_2.3:4~%C3%BC") + search;
      const options = toRequest(method, path);
      await assert.rejects(direct.request(options), { status: 418 });
      const expected = await describe(await openai.next());
      const failure: unknown = await through.request(options).catch((error: unknown) => error);
      if (Object(failure).status !== 418) {
        refused.push(`${method} ${template}: ${Object(failure).code}`);
        continue;
      }
      assert.deepEqual(await describe(await openai.next()), expected);
    }

    assert.ok(operations.length > 380, `only ${operations.length} operations were compared`);
    assert.deepEqual(refused, []);
  },
);

test("JSON arrives byte for byte, however odd", { timeout: 20_000 }, async (t) => {
  const openai = await fakeOpenAI(t);
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
  const odd = [
    // An unknown parameter, an integer beyond 2 ** 53, a duplicate key, an odd order, spaces.
    '{ "z" :1,\t"unknown_parameter":{"b":0,"a":[ ]},\r\n"seed": 12345678901234567890 ,"model":"a","model":"b","1":0 }\n',
    // Escapes of several kinds for the same key, numbers that JSON.stringify would write otherwise.
    '{"\\u006dodel":"a","temperature":1.0,"top_p":1E-2,"n":-0,"user":"\\/\\ud83d\\ude42 🙂 \u2028"}',
    // Not JSON at all: to refuse it is OpenAI's business.
    '{"model": "a", "messages": [}',
    '\ufeff{"model":"a"}',
  ];

  for (const body of odd) {
    const response = await fetch(`${origin}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    await response.arrayBuffer();

    const arrival = await openai.next();
    assert.deepEqual(await arrival.body, Buffer.from(body));
    assert.equal(arrival.headers["content-type"], "application/json");
  }
});

test(
  "an upload arrives byte for byte, NULs and all 256 values included",
  { timeout: 20_000 },
  async (t) => {
    const openai = await fakeOpenAI(t);
    const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });
    const boundary = "a boundary'()+_,-./:=?";
    const body = Buffer.concat([
      Buffer.from(
        `a preamble\r\n--${boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n`,
      ),
      Buffer.from(
        `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="\u0000ü.wav"\r\n\r\n`,
      ),
      EVERY_BYTE,
      Buffer.from(`\r\n--${boundary}`, "latin1"), // A part that ends early, and no last boundary.
    ]);

    for (const duplex of [false, true]) {
      const response = await fetch(`${origin}/v1/audio/transcriptions`, {
        method: "POST",
        headers: { "content-type": `multipart/form-data; boundary="${boundary}"` },
        body: duplex ? new Blob([body]).stream() : body, // Without and with a known length.
        ...(duplex && { duplex: "half" as const }),
      });
      await response.arrayBuffer();

      const arrival = await openai.next();
      assert.deepEqual(await arrival.body, body);
      assert.equal(arrival.headers["content-type"], `multipart/form-data; boundary="${boundary}"`);
      assert.equal(arrival.headers["content-length"], duplex ? undefined : String(body.length));
    }
  },
);

test("a query arrives as it was written", { timeout: 20_000 }, async (t) => {
  const openai = await fakeOpenAI(t);
  const env = { ...inFrontOf(openai.baseUrl), ALLOWED_ENDPOINTS: "*" };
  const { origin } = await runGateway(t, { env });
  const query =
    "?include[]=a&include[]=b&after=x%20y+z&empty=&bare&%E2%82%AC=%e2%82%ac&?=/&a=1&a=2";

  await (await fetch(`${origin}/api/openai/v1/files/file-%C3%BC/content${query}`)).arrayBuffer();

  const arrival = await openai.next();
  assert.equal(arrival.url, `/v1/files/file-%C3%BC/content${query}`);
});

test("an answer comes back byte for byte, with its status", { timeout: 20_000 }, async (t) => {
  const answer = Buffer.concat([Buffer.from('{ "a":1.0,"a":12345678901234567890 }\n'), EVERY_BYTE]);
  const openai = await fakeOpenAI(t, (res) => {
    const type = "application/x-odd; a=b";
    res.writeHead(207, {
      "content-type": type,
      "content-length": answer.length,
      "x-new-header": "yes",
    });
    res.end(answer);
  });
  const { origin } = await runGateway(t, { env: inFrontOf(openai.baseUrl) });

  const response = await fetch(`${origin}/v1/models`);

  assert.equal(response.status, 207);
  assert.equal(response.headers.get("content-type"), "application/x-odd; a=b");
  assert.equal(response.headers.get("content-length"), String(answer.length));
  assert.equal(response.headers.get("x-new-header"), "yes");
  assert.deepEqual(Buffer.from(await response.arrayBuffer()), answer);
});

/** Reads have a query, writes a body too. */
function toRequest(method: string, path: string) {
  const query = { limit: 2, after: "a b+c", include: ["x", "ü"] };
  const body = { zeta: 1, alpha: "ü\u2028", nested: { list: [1.5, null] } };
  const options = {
    method: method.toLowerCase() as Lowercase<"GET" | "POST" | "DELETE">,
    path,
    query,
  };
  return method === "POST" ? { ...options, body } : options;
}

/** All that OpenAI could act on. A form's boundary is drawn at random: it gets a fixed name. */
async function describe({ method, url, headers, body }: Arrival) {
  const boundary = /boundary=(.+)$/.exec(headers["content-type"] ?? "")?.[1];
  const fix = (text: string): string =>
    boundary === undefined ? text : text.replaceAll(boundary, "BOUNDARY");
  const kept = Object.entries(headers).filter(([name]) => MEANT_FOR_OPENAI.test(name));
  return {
    method,
    url,
    headers: Object.fromEntries(kept.map(([name, value]) => [name, fix(String(value))])),
    body: fix((await body).toString("latin1")),
  };
}
