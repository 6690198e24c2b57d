// What the gateway is for: a page of another origin, in a real browser, with the official SDK. Only
// a browser asks before it sends, and hides from a page whatever CORS does not name.
import assert from "node:assert/strict";
import { test } from "node:test";
import { mintToken } from "../../src/gateway.ts";
import { startMock } from "../../src/mock/server.ts";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { startGateway } from "../helpers/start-gateway.ts";
import { reasonToSkip, runInPage, SDK_IMPORT_MAP, startBrowser, startPages } from "./browser.ts";

const PAGES = { "/": `<!doctype html><title>App</title>${SDK_IMPORT_MAP}` };

/** What a script of the page is given. */
interface Call {
  readonly baseURL: string;
  readonly apiKey: string;
  /** Sent by the SDK with its own. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Opens a script of the page: it has a client of the SDK, and the body of a call. */
const WITH_SDK = `async ({ baseURL, apiKey, headers }) => {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({
    baseURL, apiKey, defaultHeaders: headers, maxRetries: 0, dangerouslyAllowBrowser: true,
  });
  const chat = { model: "gpt-4o-mini", messages: [{ role: "user", content: "Say “hé” 🙂" }] };
`;

/** What came of a stream that was read to its end. */
interface Streamed {
  readonly texts: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
}

const STREAM = `${WITH_SDK}
  const created = client.chat.completions.create({ ...chat, stream: true });
  const { data, response } = await created.withResponse();
  const texts = [];
  for await (const { choices } of data) texts.push(choices[0]?.delta.content ?? "");
  return { texts: texts.filter(Boolean), headers: Object.fromEntries(response.headers) };
}`;

/** What a page can know of an error. Null is what the SDK left undefined. */
interface Failure {
  readonly name: string;
  readonly status: number | null;
  readonly code: string | null;
  readonly message: string;
  readonly requestID: string | null;
  readonly headers: Readonly<Record<string, string>>;
}

const FAIL = `${WITH_SDK}
  const toFailure = ({ constructor: { name }, status, code, message, requestID, headers }) => (
    { name, status, code, message, requestID, headers: Object.fromEntries(headers ?? []) }
  );
  return client.chat.completions.create(chat).then(() => null, toFailure);
}`;

const LEAVE_AFTER_TWO = `${WITH_SDK}
  const stream = await client.chat.completions.create({ ...chat, stream: true });
  let seen = 0;
  for await (const chunk of stream) if (++seen === 2) stream.controller.abort();
  return seen;
}`;

/** As a form would, so that the browser sends without asking; gives the status or the error. */
const POST = `(url) => fetch(url, { method: "POST", body: "{}" }).then(
  ({ status }) => status,
  ({ name }) => name,
)`;

const options = { skip: reasonToSkip(), timeout: 55_000 };

test("a page of another origin uses the official SDK", options, async (t) => {
  const browser = await startBrowser(t);
  const { origin } = await startPages(t, PAGES);
  const page = `${origin}/`;
  const secret = "the-secret-that-signs-tokens-0123456789";
  const cors = { origins: [origin] };
  const settings = { cors, access: { tokens: { secret } } };
  // What the page's own backend would hand to it: of use to this page only.
  const limits = { models: ["gpt-4o-mini"], origins: [origin] };
  const { token } = mintToken({ secret, subject: "visitor-1", limits });
  const mock = await startMock({ firstTokenMs: 1, tokenIntervalMs: 5 });
  t.after(() => mock.close());

  await t.test("a stream arrives whole, in many chunks", async (t) => {
    const { url, reported } = await startGateway(t, mock.baseUrl, settings);
    const call: Call = { baseURL: `${url}/v1`, apiKey: token };

    const { texts, headers } = await runInPage<Streamed>(browser, page, STREAM, call);

    assert.match(
      texts.join(""),
      /^\S.* You said “Say “hé” 🙂”, and this is the mock: .* no cost\.$/,
    );
    assert.ok(texts.length > 10, `${texts.length} chunks`);
    assert.match(headers["x-request-id"] ?? "", /^req_\d{32}$/);
    assert.match(headers["x-gateway-request-id"] ?? "", /^gw_/);
    const [asked, sent] = [await reported(), await reported()];
    assert.deepEqual([asked["method"], asked["status"]], ["OPTIONS", 204]);
    assert.deepEqual([sent["method"], sent["status"]], ["POST", 200]);
    assert.equal(sent["caller"], "token:visitor-1");
  });

  await t.test("a page without a valid token reads why it is refused", async (t) => {
    const { url } = await startGateway(t, mock.baseUrl, settings);
    const elsewhere = { ...limits, origins: ["https://elsewhere.example"] };
    const other = mintToken({ secret, subject: "visitor-2", limits: elsewhere });
    const fail = (apiKey: string) =>
      runInPage<Failure>(browser, page, FAIL, { baseURL: `${url}/v1`, apiKey });

    const forged = await fail(`${token.slice(0, -8)}AAAAAAAA`);
    const stolen = await fail(other.token);

    assert.deepEqual([forged.name, forged.status], ["AuthenticationError", 401]);
    assert.equal(forged.code, "invalid_api_key");
    assert.match(forged.message, /is not valid here/);
    assert.match(forged.headers["www-authenticate"] ?? "", /^Bearer .*error="invalid_token"$/);
    assert.match(forged.headers["x-gateway-request-id"] ?? "", /^gw_/);
    assert.deepEqual([stolen.status, stolen.code], [403, "origin_not_allowed"]);
    assert.match(stolen.message, /Allowed: https:\/\/elsewhere\.example/);
  });

  await t.test("an error can be read: status, body, ids, and when to try again", async (t) => {
    const { url } = await startGateway(t, mock.baseUrl, settings);
    const headers = { "openai-mock": "status=429" };
    const call: Call = { baseURL: `${url}/v1`, apiKey: token, headers };

    const failure = await runInPage<Failure>(browser, page, FAIL, call);

    assert.deepEqual([failure.name, failure.status], ["RateLimitError", 429]);
    assert.equal(failure.code, "rate_limit_exceeded");
    assert.match(failure.message, /Rate limit reached for requests/);
    assert.match(failure.requestID ?? "", /^req_\d{32}$/);
    assert.match(failure.headers["x-gateway-request-id"] ?? "", /^gw_/);
    assert.equal(failure.headers["retry-after"], "1");
    assert.equal(failure.headers["retry-after-ms"], "1000");
  });

  await t.test(
    "a page of an origin that is not listed learns nothing, nor does OpenAI",
    async (t) => {
      const upstream = await fakeOpenAI(t);
      const { url, reported } = await startGateway(t, upstream.baseUrl, { cors });
      const stranger = `${(await startPages(t, PAGES)).origin}/`;
      const call: Call = { baseURL: `${url}/v1`, apiKey: "the-callers-own" };
      const endpoint = `${url}/v1/chat/completions`;

      const failure = await runInPage<Failure>(browser, stranger, FAIL, call);
      const refused = await runInPage<number | string>(browser, stranger, POST, endpoint);
      const reached = upstream.arrivals.length;
      const answered = await runInPage<number | string>(browser, page, POST, endpoint);

      assert.deepEqual([failure.name, failure.status], ["APIConnectionError", null]);
      assert.deepEqual([refused, reached], ["TypeError", 0]);
      // The same is well where the origin is listed.
      assert.deepEqual([answered, upstream.arrivals.length], [200, 1]);
      const lines = [await reported(), await reported(), await reported()];
      assert.deepEqual(
        lines.map(({ method, status, error }) => [method, status, error]),
        [
          ["OPTIONS", 204, undefined],
          ["POST", 403, "origin_not_allowed"],
          ["POST", 200, undefined],
        ],
      );
    },
  );

  await t.test("a page that leaves a stream ends the call to OpenAI", async (t) => {
    const event = 'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}\n\n';
    // The rest never comes: both events are seen only if neither waits for what follows.
    const upstream = await fakeOpenAI(t, (res) => {
      res.writeHead(200, { "content-type": "text/event-stream" }).write(event + event);
    });
    const { url, reported } = await startGateway(t, upstream.baseUrl, settings);
    const call: Call = { baseURL: `${url}/v1`, apiKey: token };

    const seen = await runInPage<number>(browser, page, LEAVE_AFTER_TWO, call);

    assert.equal(seen, 2);
    await (
      await upstream.next()
    ).closed;
    const [, left] = [await reported(), await reported()];
    assert.deepEqual([left["method"], left["error"]], ["POST", "client_gone"]);
  });
});
