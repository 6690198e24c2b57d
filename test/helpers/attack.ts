// Plays hostile requests against a gateway and holds what must be true whatever was sent: nobody
// but OpenAI is called, with the path that was asked for and the server's key alone; the key is in
// no byte that comes back; the gateway goes on.
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import type { ConfigInput } from "../../src/gateway.ts";
import { fakeOpenAI, type Arrival } from "./fake-openai.ts";
import { sendRaw, type RawAnswer } from "./raw-client.ts";
import { API_KEY, startGateway } from "./start-gateway.ts";

/** In every request that `toRequest` writes, and in none that OpenAI may see. */
export const CLIENT_SECRET = "secret-of-the-client";

/** Replaced by the address of a server that must never be called. */
export const EVIL = "evil.invalid";

export interface Attack {
  readonly name: string;
  readonly bytes: string | Buffer;
  /** What the client gets, or may get on different Nodes; 0 is a connection closed without an answer. */
  readonly status: number | readonly number[];
  /** The requests that OpenAI gets, in order; of a call that fails, at most these. Default none. */
  readonly arrives?: readonly string[];
  /** Names that must be among the headers that arrive, with their values. */
  readonly arrivesWith?: Readonly<Record<string, string>>;
  /** Of the `default` policy. Default everything but the administrative. */
  readonly endpoints?: readonly string[];
}

/** Headers that may reach OpenAI: the allow-list, what the gateway adds, and what fetch adds. */
const MAY_ARRIVE =
  /^(?:host|connection|content-type|content-length|transfer-encoding|accept|accept-language|accept-encoding|user-agent|sec-fetch-mode|authorization|idempotency-key|x-client-request-id|openai-(?!organization$|project$).+|x-stainless-.+)$/;

/** A request with credentials of the client's that no OpenAI may see, closing its connection. */
export function toRequest(line: string, fields: readonly string[] = [], body = ""): string {
  const given = fields.map((field) => field.slice(0, field.indexOf(":")).toLowerCase());
  const usual = [
    "Host: gateway.test",
    "Connection: close",
    `Authorization: Bearer ${CLIENT_SECRET}`,
    `Cookie: session=${CLIENT_SECRET}`,
    `X-Forwarded-For: ${CLIENT_SECRET}`,
    ...(body === "" ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
  ].filter((field) => !given.includes(field.slice(0, field.indexOf(":")).toLowerCase()));
  return `${[line, ...usual, ...fields].join("\r\n")}\r\n\r\n${body}`;
}

/** One test per case, all at once: most of their time is spent waiting for silence. */
export function attacks(subject: string, cases: readonly Attack[]): void {
  describe(subject, { concurrency: 16 }, () => {
    for (const each of cases) test(each.name, (t) => play(t, each));
  });
}

async function play(t: TestContext, attack: Attack): Promise<void> {
  const evil = await fakeOpenAI(t);
  const openai = await fakeOpenAI(t, async (res, arrival) => {
    await arrival.body.catch(() => {});
    res.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  const policies: ConfigInput["policies"] = { default: { endpoints: attack.endpoints ?? ["*"] } };
  const { port, url, log } = await startGateway(t, openai.baseUrl, { policies });

  const evilHost = new URL(evil.baseUrl).host;
  const answer = await sendRaw(port, aim(attack.bytes, evilHost));
  const arrivals = [...openai.arrivals];
  const afterwards = await fetch(`${url}/v1/models`);

  assert.ok(
    [attack.status].flat().includes(answer.status),
    `${answer.status}: ${answer.text.slice(0, 500)}`,
  );
  const arrived = arrivals.map(({ method, url: path }) => `${method} ${path}`);
  const wanted = (attack.arrives ?? []).map((line) => String(aim(line, evilHost)));
  const whole = answer.status === 200 || answer.status === 100;
  assert.deepEqual(arrived, whole ? wanted : wanted.slice(0, arrived.length));
  assert.equal(evil.arrivals.length, 0, "another host was called");
  arrivals.forEach(checkArrival);
  for (const [name, value] of Object.entries(attack.arrivesWith ?? {})) {
    assert.equal(arrivals[0]?.headers[name], value, name);
  }
  checkAnswer(answer);
  assert.doesNotMatch(
    JSON.stringify(log),
    new RegExp(`${API_KEY}|${CLIENT_SECRET}`),
    "a credential was logged",
  );
  assert.equal(afterwards.status, 200, "the gateway did not survive");
}

function aim(bytes: string | Buffer, evil: string): Buffer {
  const text = typeof bytes === "string" ? bytes : bytes.toString("latin1");
  return Buffer.from(text.replaceAll(EVIL, evil), "latin1");
}

/** What OpenAI may see of any request. */
export function checkArrival({ url, headers, rawHeaders }: Arrival): void {
  assert.match(url, /^\/v1\//);
  assert.equal(headers.authorization, `Bearer ${API_KEY}`);
  const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  assert.deepEqual(
    names.filter((name) => !MAY_ARRIVE.test(name)),
    [],
  );
  assert.deepEqual(names, [...new Set(names)], "a field went up twice");
  assert.ok(!rawHeaders.join("\n").includes(CLIENT_SECRET), "the client's credential went up");
}

/** What any client may see: never the key, and every refusal in OpenAI's envelope. */
export function checkAnswer({ status, headers, body, text }: RawAnswer): void {
  assert.ok(!text.includes(API_KEY), "the key came back");
  if (status < 400 || body === "") return;
  assert.equal(headers["content-type"], "application/json");
  const { error } = JSON.parse(body.slice(0, Number(headers["content-length"])));
  assert.deepEqual(Object.keys(error).toSorted(), ["code", "message", "param", "type"]);
}
