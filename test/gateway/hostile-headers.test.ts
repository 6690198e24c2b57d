// Header sets that try to smuggle a credential up, to strip the gateway's own, to make two readers
// differ, or to reach what they should not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { CLIENT_SECRET, EVIL, attacks, toRequest, type Attack } from "../helpers/attack.ts";
import { sendRaw } from "../helpers/raw-client.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const PATH = "/v1/chat/completions";

interface Expected {
  readonly status?: number;
  readonly arrivesWith?: Readonly<Record<string, string>>;
  readonly target?: string;
}

/** A POST with a JSON body. Goes up, unless a status says otherwise. */
function post(
  name: string,
  fields: readonly string[],
  { status = 200, target = PATH, ...rest }: Expected = {},
): Attack {
  const bytes = toRequest(`POST ${target} HTTP/1.1`, fields, "{}");
  return { name, bytes, status, ...rest, ...(status === 200 && { arrives: [`POST ${target}`] }) };
}

const LATIN1 = `a${Array.from({ length: 96 }, (_, index) => String.fromCharCode(160 + index)).join("")}b`;

function fill(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `a${index}: b`);
}

attacks(
  "no header of the client's goes up but those that OpenAI needs",
  [
    post("credentials under every name", [
      `Api-Key: ${CLIENT_SECRET}`,
      `X-Api-Key: ${CLIENT_SECRET}`,
      `Proxy-Authorization: Basic ${CLIENT_SECRET}`,
      `OpenAI-Organization: ${CLIENT_SECRET}`,
      `OPENAI-PROJECT: ${CLIENT_SECRET}`,
      `X-Auth-Token: ${CLIENT_SECRET}`,
      `OpenAI_Organization: ${CLIENT_SECRET}`,
    ]),
    post("addresses under every name", [
      `Forwarded: for=${CLIENT_SECRET}`,
      `X-Real-IP: ${CLIENT_SECRET}`,
      `CF-Connecting-IP: ${CLIENT_SECRET}`,
      `True-Client-IP: ${CLIENT_SECRET}`,
      `Via: 1.1 ${CLIENT_SECRET}`,
      `Referer: https://${CLIENT_SECRET}/`,
    ]),
    post("another host by header", [
      `X-Forwarded-Host: ${EVIL}`,
      `X-Host: ${EVIL}`,
      `Forwarded: host=${EVIL}`,
      `X-Forwarded-Server: ${EVIL}`,
      "X-Forwarded-Proto: gopher",
      "X-Forwarded-Port: 1",
    ]),
    post("another host by Host", [`Host: ${EVIL}`]),
    post("a Host that is no host", ["Host: evil/../\\@x"]),
    post("another path by header", [
      "X-Original-URL: /v1/organization/users",
      "X-Rewrite-URL: /admin",
      "X-Forwarded-Prefix: /..",
      "X-Forwarded-Path: /admin",
      "X-Accel-Redirect: /admin",
    ]),
    post(
      "another method by header",
      ["X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE"],
      { target: "/v1/files/file-1" },
    ),
    post(
      "a range, a condition and a coding",
      ["Range: bytes=0-1", "If-None-Match: x", "Accept-Encoding: gzip, br, zstd"],
      { arrivesWith: { "accept-encoding": "identity" } },
    ),
    post("names of Object.prototype", [
      "__proto__: x",
      "constructor: y",
      "hasOwnProperty: z",
      "toString: a",
      "__proto__: b",
    ]),
    post("trace context and loop marks", [
      "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "X-Amzn-Trace-Id: a",
    ]),
    post("an expectation that nobody meets", ["Expect: 200-ok"]),
    post("an expectation of leave, with the body sent at once", ["Expect: 100-continue"], {
      status: 100,
    }),
    post("a te and a trailer", ["TE: trailers, deflate", "Trailer: Authorization"]),
    post("an upgrade without Connection", ["Upgrade: websocket"]),
  ].map((each) => (each.status === 100 ? { ...each, arrives: [`POST ${PATH}`] } : each)),
);

attacks("Connection names no header of the gateway's away", [
  post("authorization", ["Connection: close, authorization, api-key"]),
  post("host and length", ["Connection: close, host, content-length"], {
    arrivesWith: { "content-length": "2" },
  }),
  post("accept-encoding", ["Connection: accept-encoding, close"], {
    arrivesWith: { "accept-encoding": "identity" },
  }),
  post("content-type, which is the client's own to drop", [
    "Connection: close, Content-Type",
    "Content-Type: application/json",
  ]),
  post("over two lines", ["Connection: close", "Connection: Authorization"]),
  post("with junk", ['Connection: close, ,;="\\, @, authorization;q=1']),
]);

attacks("what two readers could read differently is refused", [
  post("two hosts", ["Host: a", "Host: b"], { status: 400 }),
  post("two hosts, the same", ["Host: a", "Host: a"], { status: 400 }),
  post("two authorizations", ["Authorization: Bearer a", "Authorization: Bearer b"], {
    status: 400,
  }),
  post("two api-keys", ["Api-Key: a", "API-KEY: b"], { status: 400 }),
  post("two content types", ["Content-Type: application/json", "content-type: text/plain"], {
    status: 400,
  }),
  post("two origins", ["Origin: https://a.example", "Origin: https://b.example"], { status: 400 }),
  post("two lengths that differ", ["Content-Length: 2", "Content-Length: 3"], { status: 400 }),
  post("two lengths, the same", ["Content-Length: 2", "Content-Length: 2"], { status: 400 }),
  post("a list of lengths", ["Content-Length: 2, 2"], { status: 400 }),
  post("a folded line", ["X-A: b\r\n c: d"], { status: 400 }),
  post("a folded line with a tab", ["X-A: b\r\n\tAuthorization: Bearer x"], { status: 400 }),
  post("a space before the colon", ["Transfer-Encoding : chunked"], { status: 400 }),
  post("a tab before the colon", ["X-A\t: b"], { status: 400 }),
  post("a space before the name", [" X-A: b"], { status: 400 }),
  post("no colon", ["X-A"], { status: 400 }),
  post("no name", [": b"], { status: 400 }),
  post("a name with latin1", ["X-\xe9: b"], { status: 400 }),
  post("a name with brackets", ["X[a]: b"], { status: 400 }),
  post("a bare LF", ["X-A: b\nX-B: c"], { status: 400 }),
  post("a bare CR", ["X-A: b\rX-B: c"], { status: 400 }),
  post("CR CR LF", ["X-A: b\r"], { status: 400 }),
  post("a NUL in a value", ["X-A: b\0c"], { status: 400 }),
  post("a NUL in a name", ["X-\0A: b"], { status: 400 }),
  post("a control in a value", ["OpenAI-Beta: a\x01b"], { status: 400 }),
  post("a delete in a value", ["OpenAI-Beta: a\x7fb"], { status: 400 }),
  post("latin1 in a value that goes up", ["OpenAI-Beta: caf\xe9"], {
    arrivesWith: { "openai-beta": "caf\xe9" },
  }),
  post("a tab in a value that goes up", ["OpenAI-Beta: a\tb"], {
    arrivesWith: { "openai-beta": "a\tb" },
  }),
  post("every latin1 character in a value that goes up", [`X-Stainless-Lang: ${LATIN1}`], {
    arrivesWith: { "x-stainless-lang": LATIN1 },
  }),
  post("an empty value that goes up", ["OpenAI-Beta:", "Content-Type:", "User-Agent:"], {
    arrivesWith: { "content-type": "" },
  }),
  post("a list over two lines goes up as one", ["OpenAI-Beta: a", "OpenAI-Beta: b"], {
    arrivesWith: { "openai-beta": "a, b" },
  }),
  post("header fields of 20 000 bytes", [`X-A: ${"b".repeat(20_000)}`], { status: 431 }),
  post("one header name of 20 000 bytes", [`X-${"a".repeat(20_000)}: b`], { status: 431 }),
  post("990 header fields", fill(990)),
  post("1 000 header fields", fill(1_000), { status: 431 }),
  post(
    "1 500 header fields with a second authorization behind them",
    [...fill(1_500), "Authorization: Bearer x"],
    { status: 431 },
  ),
  post(
    "2 100 header fields without a value",
    Array.from({ length: 2_100 }, () => "a:"),
    { status: 431 },
  ),
]);

const HANDSHAKE = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/** A handshake, with some fields replaced. */
function shake(
  name: string,
  target: string,
  status: number,
  fields: readonly string[] = [],
): Attack {
  const given = fields.map((field) => field.split(":")[0]);
  const kept = HANDSHAKE.filter((field) => !given.includes(field.split(":")[0]));
  return { name, bytes: toRequest(`GET ${target} HTTP/1.1`, [...kept, ...fields]), status };
}

attacks("an upgrade is to a WebSocket of OpenAI's, or it is refused", [
  shake("on the welcome page", "/", 400),
  shake("on a page", "/healthz", 400),
  shake("on an unknown page", "/admin", 404),
  shake("in the organisation's area", "/v1/organization/users", 403),
  shake("in the organisation's area by disguise", "/v1/organization;x/users", 403),
  shake("on another host", `//${EVIL}/v1/realtime`, 400),
  shake("by dot segments", "/v1/realtime/../organization", 400),
  {
    ...shake("on a path that has none", "/v1/embeddings", 405),
    endpoints: ["embeddings", "models"],
  },
  { ...shake("on a path that is closed", "/v1/realtime?model=x", 403), endpoints: ["models"] },
  shake("with a short key", "/v1/realtime", 400, ["Sec-WebSocket-Key: abc"]),
  shake("with an empty key", "/v1/realtime", 400, ["Sec-WebSocket-Key:"]),
  shake("with two keys", "/v1/realtime", 400, [
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  ]),
  shake("with another version", "/v1/realtime", 400, ["Sec-WebSocket-Version: 8"]),
  shake("with two hosts", "/v1/realtime", 400, ["Host: a", "Host: b"]),
  {
    name: "with a body",
    bytes: toRequest("GET /v1/realtime HTTP/1.1", HANDSHAKE, "{}"),
    status: 400,
  },
  {
    name: "with a chunked body",
    bytes:
      toRequest("GET /v1/realtime HTTP/1.1", [...HANDSHAKE, "Transfer-Encoding: chunked"]) +
      "0\r\n\r\n",
    status: 400,
  },
  {
    name: "without Connection",
    bytes: toRequest("GET /v1/realtime HTTP/1.1", HANDSHAKE.slice(1)),
    status: 426,
    endpoints: ["realtime", "models"],
  },
]);

// Node 22.21, 24.9 and later let such a request pass as if it had not asked; older ones cannot.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const IGNORES_UPGRADE = major > 24 || (major === 24 && minor >= 9) || (major === 22 && minor >= 21);

for (const upgrade of ["h2c", "HTTP/2.0", "tls/1.0, websocket", "websocket"]) {
  test(`a POST with Upgrade: ${upgrade} is served as if it had not asked, or refused`, async (t) => {
    const openai = await fakeOpenAI(t);
    const { port } = await startGateway(t, openai.baseUrl);
    const fields = [
      "Connection: Upgrade, HTTP2-Settings",
      `Upgrade: ${upgrade}`,
      "HTTP2-Settings: AAMAAABk",
    ];

    const answer = await sendRaw(port, toRequest(`POST ${PATH} HTTP/1.1`, fields, "{}"));

    assert.equal(answer.status, IGNORES_UPGRADE ? 200 : 400);
    assert.equal(openai.arrivals.length, IGNORES_UPGRADE ? 1 : 0);
  });
}
