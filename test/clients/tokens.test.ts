// Tokens by the book: what an independent library signs, the gateway accepts; what the gateway
// mints, that library verifies. And the official SDKs carry them in each of their ways.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { describe, test, type TestContext } from "node:test";
import { SignJWT, decodeProtectedHeader, exportJWK, generateKeyPair, jwtVerify } from "jose";
import OpenAI, { AzureOpenAI } from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";
import { WebSocket, WebSocketServer } from "ws";
import { mintToken, type ConfigInput, type Limits } from "../../src/gateway.ts";
import { fakeOpenAI, portOf, type Script } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { runCli } from "../helpers/run-cli.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";
import { createClient } from "./sdk-calls.ts";

const ISSUER = "https://login.example.com/";
const SECRET = "token-secret-token-secret-0123456789abcdef";
const USERS_SECRET = "users-secret-users-secret-0123456789abcdef";
const ADMIN_KEY = "admin-key-0123456789abcdef";
/** With callers to tell apart, a gateway listens everywhere. */
const onLoopback = { host: "127.0.0.1" };

const ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
];

const bounded = { timeout: 20_000 };
const chat = { model: "gpt-4o-mini", messages: [{ role: "user" as const, content: "Hi" }] };

const lists: Script = (res) => {
  res.writeHead(200, { "content-type": "application/json" });
  res.end('{"object":"list","data":[{"id":"gpt-4o-mini","object":"model"}]}');
};

/** The bytes that both sides take a secret for. */
function bytesOf(secret: string): Uint8Array {
  return new TextEncoder().encode(secret);
}

async function callWith(url: string, token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const answer = await post(`${url}/v1/chat/completions`, chat, { headers });
  await answer.arrayBuffer();
  return answer.status;
}

describe("a user's token that jose signs is accepted", () => {
  for (const algorithm of ALGORITHMS) {
    test(`with ${algorithm}, by the key that the issuer publishes`, bounded, async (t) => {
      const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
      const jwk = { ...(await exportJWK(publicKey)), kid: "k1", alg: algorithm, use: "sig" };
      const login = await fakeOpenAI(t, (res) => void res.end(JSON.stringify({ keys: [jwk] })));
      const jwksUrl = `${login.baseUrl}/jwks.json`;
      const openai = await fakeOpenAI(t);
      const { url, reported } = await startGateway(t, openai.baseUrl, {
        server: onLoopback,
        access: { jwt: [{ issuer: ISSUER, audience: ["chat"], jwksUrl }] },
      });
      const claims = new SignJWT().setIssuer(ISSUER).setAudience("chat").setSubject("user-1");
      const token = await claims
        .setProtectedHeader({ alg: algorithm, kid: "k1", typ: "at+jwt" })
        .setIssuedAt()
        .setNotBefore("0s")
        .setExpirationTime("5m")
        .sign(privateKey);

      assert.equal(await callWith(url, token), 200);
      assert.equal((await reported())["caller"], `${ISSUER}#user-1`);
      assert.equal(await callWith(url, token.replace(/.{4}$/, "AAAA")), 401);
      assert.equal(openai.arrivals.length, 1);
    });
  }

  test("with HS256, by the secret", bounded, async (t) => {
    const openai = await fakeOpenAI(t);
    const { url } = await startGateway(t, openai.baseUrl, {
      server: onLoopback,
      access: { jwt: [{ issuer: ISSUER, audience: ["chat"], secret: USERS_SECRET }] },
    });
    const sign = (secret: string): Promise<string> =>
      new SignJWT({ iss: ISSUER, aud: ["other", "chat"], sub: "ü 🙂" })
        .setProtectedHeader({ alg: "HS256" })
        .setExpirationTime("5m")
        .sign(bytesOf(secret));

    assert.equal(await callWith(url, await sign(USERS_SECRET)), 200);
    assert.equal(await callWith(url, await sign(SECRET)), 401);
  });
});

test("the keys of all algorithms in one set do not get in each other's way", bounded, async (t) => {
  const pairs = await Promise.all(
    ALGORITHMS.filter((name) => !/^(?:RS|PS)(?:384|512)/.test(name)).map(async (algorithm) => {
      const pair = await generateKeyPair(algorithm, { extractable: true });
      return { algorithm, ...pair, jwk: await exportJWK(pair.publicKey) };
    }),
  );
  const strange = { kty: "XYZ", crv: "unheard-of", kid: "k0" };
  const keys = [strange, ...pairs.map(({ jwk, algorithm }) => ({ ...jwk, kid: algorithm }))];
  const login = await fakeOpenAI(t, (res) => void res.end(JSON.stringify({ keys })));
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl, {
    server: onLoopback,
    access: {
      jwt: [{ issuer: ISSUER, audience: ["chat"], jwksUrl: `${login.baseUrl}/jwks.json` }],
    },
  });

  for (const { algorithm, privateKey } of pairs) {
    const token = await new SignJWT({ iss: ISSUER, aud: "chat", sub: "user-1" })
      .setProtectedHeader({ alg: algorithm, kid: algorithm })
      .setExpirationTime("5m")
      .sign(privateKey);
    assert.equal(await callWith(url, token), 200, algorithm);
  }
  assert.equal(login.arrivals.length, 1, "the keys were fetched more than once");
});

test(
  "a token that a backend mints with jose, from the documented claims, is accepted",
  bounded,
  async (t) => {
    const openai = await fakeOpenAI(t);
    const { url, reported } = await startGateway(t, openai.baseUrl, {
      server: onLoopback,
      access: { tokens: { secret: SECRET } },
      policies: { user: { models: ["gpt-4o*", "gpt-5"] } },
    });
    const mint = (limits: Limits): Promise<string> =>
      new SignJWT({ policy: "user", limits })
        .setProtectedHeader({ alg: "HS256", typ: "JWT" })
        .setIssuer("openai-gateway")
        .setSubject("user-1")
        .setIssuedAt()
        .setExpirationTime("10m")
        .setJti("0192d3e0-8a52-7c5e-b0f3-5f0c4d8e2a11")
        .sign(bytesOf(SECRET));

    assert.equal(await callWith(url, await mint({ models: ["gpt-4o-mini"] })), 200);
    assert.equal((await reported())["caller"], "token:user-1");
    assert.equal(await callWith(url, await mint({ models: ["gpt-5"] })), 403);

    const least = await new SignJWT({ iss: "openai-gateway", sub: "user-2" })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime("10m")
      .sign(bytesOf(SECRET));
    assert.equal(await callWith(url, least), 200);
    assert.equal(openai.arrivals.length, 2);
  },
);

describe("a token that the gateway mints is one that jose verifies", () => {
  const limits = { models: ["gpt-4o-mini"], maxOutputTokens: 100 };
  const wanted = { issuer: "openai-gateway", subject: "user-1", algorithms: ["HS256"] };

  async function check(token: string, expiresAt: string, lifetimeSeconds: number): Promise<void> {
    const { payload } = await jwtVerify(token, bytesOf(SECRET), {
      ...wanted,
      requiredClaims: ["exp", "iat", "jti", "policy", "limits"],
      maxTokenAge: lifetimeSeconds,
    });
    const { exp = 0, iat = 0, policy, limits: found } = payload;
    assert.equal(exp - iat, lifetimeSeconds);
    assert.equal(new Date(exp * 1_000).toISOString(), expiresAt);
    assert.deepEqual({ policy, limits: found }, { policy: "user", limits });
    assert.deepEqual(decodeProtectedHeader(token), { alg: "HS256", typ: "JWT" });
    await assert.rejects(jwtVerify(token, bytesOf(USERS_SECRET), wanted));
  }

  test("by mintToken()", async () => {
    const grant = { subject: "user-1", policy: "user", expiresInSeconds: 60, limits };
    const { token, expiresAt } = mintToken({ secret: SECRET, ...grant });

    await check(token, expiresAt, 60);
  });

  test("by POST /admin/tokens", bounded, async (t) => {
    const { url } = await startGateway(t, "http://127.0.0.1:9/v1", {
      server: onLoopback,
      access: { tokens: { secret: SECRET } },
      admin: { key: ADMIN_KEY },
      policies: { user: {} },
    });
    const grant = { subject: "user-1", policy: "user", expiresInSeconds: 90, limits };

    const headers = { authorization: `Bearer ${ADMIN_KEY}` };
    const answer = await post(`${url}/admin/tokens`, grant, { headers });

    const { token, expiresAt } = Object(await answer.json());
    await check(token, expiresAt, 90);
  });

  test("by the command `token`", bounded, async (t) => {
    const { code, stdout, stderr } = await runCli(t, {
      args: [
        ...["token", "user-1", "--policy", "user", "--expires-in", "120"],
        ...["--models", "gpt-4o-mini", "--max-output-tokens", "100"],
      ],
      env: { TOKEN_SECRET: SECRET },
      files: { "gateway.json": JSON.stringify({ policies: { user: {} } }) },
    });

    assert.equal(code, 0, stderr);
    const { token, expiresAt } = JSON.parse(stdout);
    await check(token, expiresAt, 120);
  });
});

describe("the official SDK", () => {
  const settings: ConfigInput = {
    server: onLoopback,
    access: { tokens: { secret: SECRET } },
    admin: { key: ADMIN_KEY },
    policies: { default: { endpoints: ["chat", "models", "realtime"] } },
  };
  const { token } = mintToken({ secret: SECRET, subject: "user-1" });

  test("gets in with a token as its key", bounded, async (t) => {
    const openai = await fakeOpenAI(t);
    const { url } = await startGateway(t, openai.baseUrl, settings);
    const client = createClient(`${url}/v1`, { apiKey: token });

    const { object } = await client.chat.completions.create(chat);

    assert.equal(object, "chat.completion");
    assert.equal(openai.arrivals[0]?.headers.authorization, `Bearer ${API_KEY}`);
  });

  test("fetches a token anew for every call, where its key is a function", bounded, async (t) => {
    const openai = await fakeOpenAI(t);
    const { url, log } = await startGateway(t, openai.baseUrl, settings);
    let subject = 0;
    const client = createClient(`${url}/api/openai/v1`, {
      apiKey: async () => {
        const headers = { authorization: `Bearer ${ADMIN_KEY}` };
        const grant = { subject: `user-${++subject}` };
        const answer = await post(`${url}/admin/tokens`, grant, { headers });
        return String(Object(await answer.json()).token);
      },
    });

    await client.chat.completions.create(chat);
    await client.chat.completions.create(chat);

    assert.equal(openai.arrivals.length, 2);
    const callers = log.map((line) => line["caller"]).filter((caller) => caller !== undefined);
    assert.deepEqual(callers, ["token:user-1", "token:user-2"]);
  });

  test("knows a 401 for what it is, and does not try again", bounded, async (t) => {
    const openai = await fakeOpenAI(t);
    const { url, log } = await startGateway(t, openai.baseUrl, settings);
    const client = createClient(`${url}/v1`, { apiKey: `${token}x`, maxRetries: 2 });

    await assert.rejects(client.chat.completions.create(chat), (error) => {
      assert.ok(error instanceof OpenAI.AuthenticationError, String(error));
      assert.deepEqual([error.status, error.code, error.param], [401, "invalid_api_key", null]);
      assert.equal(error.type, "invalid_request_error");
      assert.match(error.headers.get("www-authenticate") ?? "", /^Bearer .*error="invalid_token"$/);
      return true;
    });

    assert.equal(log.filter(({ message }) => message === "request").length, 1);
    assert.equal(openai.arrivals.length, 0);
  });

  test("for Azure sends its key in another header, and gets in", bounded, async (t) => {
    const openai = await fakeOpenAI(t, lists);
    const { url } = await startGateway(t, openai.baseUrl, settings);
    const options = { baseURL: `${url}/v1`, apiVersion: "preview", maxRetries: 0 };

    const models = await new AzureOpenAI({ ...options, apiKey: token }).models.list();
    const refused = new AzureOpenAI({ ...options, apiKey: "wrong" }).models.list();

    assert.deepEqual(
      models.data.map(({ id }) => id),
      ["gpt-4o-mini"],
    );
    await assert.rejects(refused, OpenAI.AuthenticationError);
    const [arrival, ...others] = openai.arrivals;
    assert.equal(others.length, 0);
    assert.equal(arrival?.headers["api-key"], undefined);
    assert.equal(arrival?.headers.authorization, `Bearer ${API_KEY}`);
  });

  test(
    "in a browser puts its key into a WebSocket's subprotocol, and gets in",
    bounded,
    async (t) => {
      const openai = await fakeRealtime(t);
      const { url } = await startGateway(t, openai.baseUrl, settings);
      withoutTls(t);
      const client = createClient(`${url}/v1`, {
        apiKey: token,
        organization: "org-of-the-client",
        project: "proj-of-the-client",
      });

      const realtime = new OpenAIRealtimeWebSocket({ model: "gpt-realtime" }, client);
      t.after(() => realtime.close());
      const created = new Promise((resolve, reject) => {
        realtime.on("session.created", resolve);
        realtime.on("error", reject);
      });

      assert.equal(Object(await created).type, "session.created");
      assert.equal(realtime.socket.protocol, "realtime");
      const [handshake] = openai.handshakes;
      assert.equal(handshake?.url, "/v1/realtime?model=gpt-realtime");
      assert.equal(handshake?.headers["sec-websocket-protocol"], "realtime");
      assert.equal(handshake?.headers.authorization, `Bearer ${API_KEY}`);
      const sent = handshake?.rawHeaders.join("\n") ?? "";
      for (const part of [...token.split("."), "of-the-client"]) {
        assert.ok(!sent.includes(part), "what is the gateway's alone went up");
      }
    },
  );

  test("in a browser is refused with a wrong key before OpenAI hears of it", bounded, async (t) => {
    const openai = await fakeRealtime(t);
    const { url, reported } = await startGateway(t, openai.baseUrl, settings);
    withoutTls(t);

    const client = createClient(`${url}/v1`, { apiKey: "wrong" });
    const realtime = new OpenAIRealtimeWebSocket({ model: "gpt-realtime" }, client);
    const [failure] = await new Promise<unknown[]>((resolve) => {
      realtime.on("error", (...args) => resolve(args));
    });

    assert.match(String(failure), /401/);
    assert.equal((await reported())["error"], "invalid_api_key");
    assert.equal(openai.handshakes.length, 0);
  });
});

/** Greets whoever connects, as OpenAI's realtime does. */
async function fakeRealtime(t: TestContext) {
  const handshakes: IncomingMessage[] = [];
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, handshake) => {
    handshakes.push(handshake);
    socket.send(JSON.stringify({ type: "session.created", event_id: "event_1", session: {} }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets.clients) socket.terminate();
    server.close();
  });
  return { baseUrl: `http://127.0.0.1:${portOf(server)}/v1`, handshakes };
}

/** The SDK insists on wss; what it offers stays as it is. Node 20 has no WebSocket of its own. */
function withoutTls(t: TestContext): void {
  class PlainWebSocket extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url.replace(/^wss:/, "ws:"), protocols);
    }
  }
  const before = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  Object.defineProperty(globalThis, "WebSocket", { value: PlainWebSocket, configurable: true });
  t.after(() => {
    if (before === undefined) Reflect.deleteProperty(globalThis, "WebSocket");
    else Object.defineProperty(globalThis, "WebSocket", before);
  });
}
