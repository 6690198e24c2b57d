// CORS: exact origins, on every answer, and preflights before anything else.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfigInput } from "../../src/gateway.ts";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const APP = "https://app.example.com";
const LISTED: ConfigInput = { cors: { origins: [APP, "http://localhost:5173"] } };
const WITH_CREDENTIALS: ConfigInput = { cors: { origins: [APP], credentials: true } };

test("with *, every answer allows every origin and varies with none", async (t) => {
  const openai = await fakeOpenAI(
    t,
    (res) => void res.writeHead(200, { vary: "accept-encoding" }).end(),
  );
  const { url } = await startGateway(t, openai.baseUrl);

  for (const headers of [{}, { origin: APP }, { origin: "null" }]) {
    const response = await fetch(`${url}/v1/models`, { headers });

    assert.equal(response.status, 200);
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    assert.equal(response.headers.get("access-control-allow-credentials"), null);
    assert.equal(response.headers.get("vary"), null);
    assert.match(
      response.headers.get("access-control-expose-headers") ?? "",
      /x-request-id.*retry-after-ms.*x-should-retry/,
    );
  }
});

test("a listed origin is echoed, alone, and the answer varies with it", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl, LISTED);

  for (const origin of [APP, "http://localhost:5173"]) {
    const response = await fetch(`${url}/v1/models`, { headers: { origin } });

    assert.equal(response.status, 200);
    assert.equal(response.headers.get("access-control-allow-origin"), origin);
    assert.equal(response.headers.get("access-control-allow-credentials"), null);
    assert.equal(response.headers.get("vary"), "origin");
  }
});

test("a caller without an origin is no browser: it is served, and the answer still varies", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl, LISTED);

  const response = await fetch(`${url}/v1/models`);

  assert.equal(response.status, 200);
  assert.equal(response.headers.get("access-control-allow-origin"), null);
  assert.equal(response.headers.get("vary"), "origin");
});

const STRANGERS = [
  "https://evil.example",
  "null",
  "http://app.example.com",
  "https://app.example.com:8443",
  "https://app.example.com.evil.example",
  "https://evilapp.example.com",
  "https://sub.app.example.com",
  "HTTPS://APP.EXAMPLE.COM",
  "https://app.example.com/",
  "https://app.example.com, https://evil.example",
  "*",
  "",
];

for (const origin of STRANGERS) {
  test(`origin "${origin}" is not the listed one: refused before OpenAI is called`, async (t) => {
    const openai = await fakeOpenAI(t);
    const { url } = await startGateway(t, openai.baseUrl, WITH_CREDENTIALS);

    const response = await fetch(`${url}/v1/models`, { headers: { origin } });

    assert.equal(response.status, 403);
    assert.equal(JSON.parse(await response.text()).error.code, "origin_not_allowed");
    assert.equal(response.headers.get("access-control-allow-origin"), null);
    assert.equal(response.headers.get("access-control-allow-credentials"), null);
    assert.equal(response.headers.get("vary"), "origin");
    assert.equal(openai.arrivals.length, 0);
  });
}

test("credentials are allowed to listed origins when the operator says so", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl, WITH_CREDENTIALS);

  const response = await fetch(`${url}/v1/models`, { headers: { origin: APP } });

  assert.equal(response.headers.get("access-control-allow-origin"), APP);
  assert.equal(response.headers.get("access-control-allow-credentials"), "true");
});

test("a preflight is answered at once, with the headers that were asked for", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl, LISTED);

  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "OPTIONS",
    headers: {
      origin: APP,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type,x-brand-new",
    },
  });

  assert.equal(response.status, 204);
  assert.equal(await response.text(), "");
  assert.equal(response.headers.get("access-control-allow-origin"), APP);
  assert.equal(
    response.headers.get("access-control-allow-headers"),
    "authorization,content-type,x-brand-new",
  );
  assert.deepEqual(
    (response.headers.get("access-control-allow-methods") ?? "").split(", ").toSorted(),
    ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"],
  );
  assert.equal(response.headers.get("access-control-max-age"), "7200");
  assert.match(
    response.headers.get("vary") ?? "",
    /origin.*access-control-request-method.*access-control-request-headers/,
  );
  assert.equal(openai.arrivals.length, 0);
});

for (const asked of [undefined, "", "a;b", "<script>", "x".repeat(5_000), "caf\u00e9"]) {
  test(`a preflight that asks for ${JSON.stringify(asked?.slice(0, 20))} gets what the official SDK sends`, async (t) => {
    const openai = await fakeOpenAI(t);
    const { url } = await startGateway(t, openai.baseUrl);
    const headers = {
      origin: APP,
      ...(asked !== undefined && { "access-control-request-headers": asked }),
    };

    const response = await fetch(`${url}/v1/responses`, { method: "OPTIONS", headers });

    const allowed = (response.headers.get("access-control-allow-headers") ?? "").split(", ");
    for (const name of [
      "authorization",
      "content-type",
      "openai-beta",
      "x-stainless-lang",
      "x-stainless-retry-count",
    ]) {
      assert.ok(allowed.includes(name), name);
    }
  });
}

test("a stranger's preflight allows nothing", async (t) => {
  const openai = await fakeOpenAI(t);
  const { url } = await startGateway(t, openai.baseUrl, LISTED);

  const response = await fetch(`${url}/v1/models`, {
    method: "OPTIONS",
    headers: { origin: "https://evil.example" },
  });

  assert.equal(response.status, 204);
  for (const name of ["origin", "methods", "headers", "credentials"]) {
    assert.equal(response.headers.get(`access-control-allow-${name}`), null, name);
  }
  assert.match(response.headers.get("vary") ?? "", /origin/);
});

const FAILURES: Readonly<Record<string, readonly [string, RequestInit, number]>> = {
  "an unknown path": ["/v1/nothing", {}, 404],
  "a closed path": ["/v1/files", {}, 403],
  "a wrong method": ["/v1/models", { method: "PUT" }, 405],
  "a malformed target": ["/v1/%2f", {}, 400],
  "a body that is too large": ["/v1/embeddings", { method: "POST", body: "x".repeat(100) }, 413],
  "an upstream that fails": ["/v1/models", {}, 500],
};

for (const [name, [path, init, status]] of Object.entries(FAILURES)) {
  test(`the page may read the answer to ${name}`, async (t) => {
    const openai = await fakeOpenAI(t, (res) => void res.destroy());
    const { url } = await startGateway(t, openai.baseUrl, {
      ...LISTED,
      server: { maxBodyBytes: 50 },
    });

    const response = await fetch(url + path, { ...init, headers: { origin: APP } });

    assert.equal(response.status, status);
    assert.equal(response.headers.get("access-control-allow-origin"), APP);
    assert.match(
      response.headers.get("access-control-expose-headers") ?? "",
      /x-gateway-request-id/,
    );
    assert.equal(response.headers.get("vary"), "origin");
  });
}
