// Up goes an allow-list and the server's own; down comes everything but hops, cookies and identity.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { parseConfig } from "../../src/config/parse.ts";
import { Cancellation } from "../../src/cancellation.ts";
import { readResponse } from "../../src/upstream/fetch.ts";
import { fixedHeaders, toUpstreamHeaders } from "../../src/upstream/headers.ts";

function fixed(settings: Readonly<Record<string, string>> = {}) {
  const [upstream] = parseConfig({ upstreams: [{ apiKey: "sk-server", ...settings }] }).upstreams;
  return fixedHeaders(upstream);
}

test("the key goes as a bearer, or as Azure's api-key, never both", () => {
  assert.deepEqual(fixed(), { authorization: "Bearer sk-server", "accept-encoding": "identity" });
  assert.deepEqual(fixed({ auth: "api-key" }), {
    "api-key": "sk-server",
    "accept-encoding": "identity",
  });
});

test("organization and project are the operator's", () => {
  const own = fixed({ organization: "org-own", project: "proj_own" });

  const sent = toUpstreamHeaders(
    { "openai-organization": "org-theirs", "openai-project": "proj_theirs" },
    own,
  );

  assert.equal(sent["openai-organization"], "org-own");
  assert.equal(sent["openai-project"], "proj_own");
});

test("without the operator's, the caller's do not go up either", () => {
  const sent = toUpstreamHeaders(
    { "openai-organization": "org-theirs", "openai-project": "proj_theirs" },
    fixed(),
  );

  assert.deepEqual(Object.keys(sent).toSorted(), [
    "accept",
    "accept-encoding",
    "authorization",
    "user-agent",
  ]);
});

test("the gateway's own win over whatever the caller sends or names in Connection", () => {
  const sent = toUpstreamHeaders(
    {
      authorization: "Bearer theirs",
      "api-key": "theirs",
      "accept-encoding": "gzip",
      connection: "authorization, accept-encoding, content-length, content-type",
      "content-type": "a/b",
      "content-length": "2",
    },
    fixed(),
  );

  assert.deepEqual(sent, {
    accept: "*/*",
    "user-agent": "openai-gateway",
    authorization: "Bearer sk-server",
    "accept-encoding": "identity",
    "content-length": "2",
  });
});

test("what OpenAI needs goes up as it came", () => {
  const needed = {
    "content-type": "multipart/form-data; boundary=b",
    accept: "text/event-stream",
    "user-agent": "app/1",
    "idempotency-key": "k",
    "x-client-request-id": "c",
    "openai-beta": "a, b",
    "x-stainless-lang": "js",
  };

  const sent = toUpstreamHeaders(
    {
      ...needed,
      cookie: "a",
      referer: "b",
      origin: "c",
      "x-openai-beta": "d",
      "xopenai-a": "e",
      openai: "f",
    },
    fixed(),
  );

  assert.deepEqual(sent, { ...needed, ...fixed() });
});

test("a length goes up with a body, and an empty one is fetch's business", () => {
  assert.equal(toUpstreamHeaders({ "content-length": "5" }, fixed())["content-length"], "5");
  assert.equal(toUpstreamHeaders({ "content-length": "0" }, fixed())["content-length"], undefined);
  assert.equal(
    toUpstreamHeaders({ "transfer-encoding": "chunked" }, fixed())["transfer-encoding"],
    undefined,
  );
});

function down(
  headers: Readonly<Record<string, string>>,
  status = 200,
  body: string | Uint8Array<ArrayBuffer> | null = "x",
): Record<string, string> {
  const bodiless = status === 204 || status === 205 || status === 304;
  const response = new Response(bodiless ? null : body, { status, headers });
  const { headers: list } = readResponse(response, new Cancellation());
  const pairs = Array.from({ length: list.length / 2 }, (_, index) => [
    list[2 * index] ?? "",
    list[2 * index + 1] ?? "",
  ]);
  return Object.fromEntries(
    pairs.filter(([name]) => name !== "content-type" || headers["content-type"] !== undefined),
  );
}

test("everything of OpenAI's comes down that is the client's business", () => {
  const kept = {
    "content-type": "application/json",
    "x-request-id": "r",
    "openai-processing-ms": "5",
    "openai-version": "2020-10-01",
    "x-ratelimit-reset-tokens": "6m0s",
    "retry-after": "1",
    "cache-control": "no-store",
    etag: "e",
    location: "/v1/x",
    "x-brand-new": "y",
  };

  assert.deepEqual(down(kept), kept);
});

test("cookies, identity, the CDN's and its CORS do not", () => {
  assert.deepEqual(
    down({
      "set-cookie": "a",
      "openai-organization": "b",
      "openai-project": "c",
      "cf-ray": "d",
      "cf-brand-new": "e",
      server: "f",
      "alt-svc": "g",
      "server-timing": "h",
      nel: "i",
      "report-to": "j",
      "reporting-endpoints": "k",
      "strict-transport-security": "l",
      vary: "m",
      "access-control-allow-origin": "n",
      "access-control-allow-private-network": "o",
      "access-control-brand-new": "p",
    }),
    {},
  );
});

test("hops do not, fixed or named", () => {
  assert.deepEqual(
    down({
      connection: "x-a, X-B",
      "x-a": "1",
      "x-b": "2",
      "keep-alive": "3",
      te: "4",
      upgrade: "5",
      "transfer-encoding": "chunked",
      "proxy-authenticate": "6",
      trailer: "7",
    }),
    {},
  );
});

test("the length stays with a body that stays, and goes with a coding that is undone", () => {
  const body = gzipSync("x");

  assert.deepEqual(down({ "content-length": "9" }), { "content-length": "9" });
  assert.deepEqual(down({ "content-length": "9", "content-encoding": "gzip" }, 200, body), {});
  assert.deepEqual(down({ "content-length": "9", "content-encoding": "BR , gzip" }, 200, body), {});
  assert.deepEqual(down({ "content-length": "9", "content-encoding": "gzip, own" }, 200, body), {
    "content-length": "9",
    "content-encoding": "gzip, own",
  });
  assert.deepEqual(down({ "content-length": "9", "content-encoding": "gzip" }, 200, null), {
    "content-length": "9",
    "content-encoding": "gzip",
  });
});

test("a status without a body has no length, but 304 has the one that it stands for", () => {
  assert.deepEqual(down({ "content-length": "9" }, 204), {});
  assert.deepEqual(down({ "content-length": "9" }, 205), {});
  assert.deepEqual(down({ "content-length": "9" }, 304), { "content-length": "9" });
});
