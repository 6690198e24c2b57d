// May this caller do this? Shut by default; every way to open it opens exactly what it says.
import assert from "node:assert/strict";
import { test } from "node:test";
import { authorize } from "../../src/access/authorize.ts";
import { compilePolicy } from "../../src/access/policy.ts";
import { ENDPOINT_CLASSES, INFERENCE_CLASSES } from "../../src/config/config.ts";
import { GatewayError } from "../../src/errors.ts";
import { findOperation } from "../../src/openai/endpoints.ts";

/** "open", or the code of the refusal with the methods that it offers. */
function outcome(endpoints: readonly string[], method: string, path: string): string {
  try {
    authorize(
      compilePolicy("test", { endpoints, assumedOutputTokens: 4_096 }),
      findOperation(method, path),
      { search: "" },
      {},
    );
    return "open";
  } catch (error) {
    assert.ok(error instanceof GatewayError);
    const { allow } = error.details;
    return allow === undefined ? error.code : `${error.code} ${allow.join(" ")}`;
  }
}

type Case = readonly [request: string, expected: string];

function check(name: string, endpoints: readonly string[], cases: readonly Case[]): void {
  test(name, () => {
    for (const [request, expected] of cases) {
      const [method = "", path = ""] = request.split(" ");
      assert.equal(outcome(endpoints, method, path), expected, request);
    }
  });
}

check(
  "the default opens stateless inference, and nothing that is stored, shared or administrative",
  INFERENCE_CLASSES,
  [
    ["POST /chat/completions", "open"],
    ["POST /responses", "open"],
    ["POST /responses/compact", "open"],
    ["GET /models", "open"],
    ["HEAD /models", "open"],
    ["GET /models/gpt-4o", "open"],
    ["GET /chat/completions", "endpoint_not_allowed"],
    ["GET /responses/r1", "endpoint_not_allowed"],
    ["DELETE /responses/r1", "endpoint_not_allowed"],
    ["POST /files", "endpoint_not_allowed"],
    ["WEBSOCKET /realtime", "endpoint_not_allowed"],
    ["WEBSOCKET /responses", "endpoint_not_allowed"],
    ["DELETE /models/ft:x", "endpoint_not_allowed"],
    ["GET /organization/costs", "endpoint_not_allowed"],
    ["GET /organization/brand_new", "endpoint_not_allowed"],
    ["GET /organization;x/costs", "endpoint_not_allowed"],
    ["GET /brand_new", "unknown_url"],
    ["GET /models/", "unknown_url"],
    ["POST /chat/completions/", "unknown_url"],
    ["PUT /models", "method_not_allowed GET"],
    ["GET /embeddings", "method_not_allowed POST"],
    ["GET /realtime", "upgrade_required"],
    ["POST /realtime", "upgrade_required"],
    ["WEBSOCKET /embeddings", "method_not_allowed POST"],
  ],
);

check(
  "no endpoints open nothing",
  [],
  [
    ["POST /chat/completions", "endpoint_not_allowed"],
    ["GET /brand_new", "unknown_url"],
  ],
);

check(
  "* opens every path, known or not, but the administrative ones",
  ["*"],
  [
    ["GET /files", "open"],
    ["GET /brand_new/x", "open"],
    ["PATCH /brand_new", "open"],
    ["POST /models", "open"],
    ["WEBSOCKET /realtime", "open"],
    ["WEBSOCKET /brand_new", "open"],
    ["GET /organization/costs", "endpoint_not_allowed"],
    ["GET /organization/brand_new", "endpoint_not_allowed"],
    ["GET /ORGANIZATION/costs", "endpoint_not_allowed"],
    ["POST /fine_tuning/jobs", "endpoint_not_allowed"],
    ["POST /projects/p1/roles", "endpoint_not_allowed"],
    ["DELETE /models/ft:x", "endpoint_not_allowed"],
    ["DELETE /MODELS/ft:x", "endpoint_not_allowed"],
    ["WEBSOCKET /organization/x", "endpoint_not_allowed"],
  ],
);

for (const endpoints of [["*"], ["admin"], INFERENCE_CLASSES]) {
  check(`a method that OpenAI has not is refused (${endpoints[0]})`, endpoints, [
    ["TRACE /models", "method_not_allowed GET"],
    ["QUERY /brand_new", "method_not_allowed GET HEAD POST PUT PATCH DELETE"],
    ["CONNECT /organization/costs", "method_not_allowed GET"],
    ["get /models", "method_not_allowed GET"],
  ]);
}

check(
  "admin opens the administrative paths, known or not, and nothing else",
  ["admin"],
  [
    ["GET /organization/costs", "open"],
    ["POST /organization/brand_new", "open"],
    ["DELETE /models/ft:x", "open"],
    ["GET /models", "endpoint_not_allowed"],
    ["GET /brand_new", "unknown_url"],
  ],
);

check(
  "* and admin together open everything",
  ["*", "admin"],
  [
    ["GET /organization/costs", "open"],
    ["GET /organization/brand_new", "open"],
    ["GET /brand_new", "open"],
    ["GET /models", "open"],
  ],
);

test("a class opens its own operations and no other class's", () => {
  const samples = {
    files: "GET /files",
    batches: "POST /batches",
    stored_responses: "GET /responses/r1",
    admin: "GET /organization/costs",
  };
  for (const [name, request] of Object.entries(samples)) {
    const [method = "", path = ""] = request.split(" ");
    const others = ENDPOINT_CLASSES.filter((other) => other !== name);
    assert.equal(outcome([name], method, path), "open");
    assert.equal(outcome(others, method, path), "endpoint_not_allowed", name);
  }
});

check(
  "a pattern opens one operation of OpenAI's",
  ["GET /files/{file_id}"],
  [
    ["GET /files/f1", "open"],
    ["HEAD /files/f1", "open"],
    ["DELETE /files/f1", "endpoint_not_allowed"],
    ["GET /files", "endpoint_not_allowed"],
    ["GET /files/", "unknown_url"],
    ["GET /files/f1/content", "endpoint_not_allowed"],
  ],
);

check("a pattern's parameter may have any name", ["GET /files/{x}"], [["GET /files/f1", "open"]]);

check(
  "a pattern that names one object opens that object alone",
  ["GET /models/gpt-4o", "DELETE /files/mine"],
  [
    ["GET /models/gpt-4o", "open"],
    ["GET /models/gpt-4", "endpoint_not_allowed"],
    ["GET /models/GPT-4O", "endpoint_not_allowed"],
    ["DELETE /files/mine", "open"],
    ["DELETE /files/yours", "endpoint_not_allowed"],
  ],
);

check(
  "a pattern with HEAD opens HEAD, not GET",
  ["HEAD /models"],
  [
    ["HEAD /models", "open"],
    ["GET /models", "endpoint_not_allowed"],
  ],
);

check(
  "a pattern's parameter does not stand for another operation of OpenAI's",
  ["POST /threads/{thread_id}", "POST /responses/{x}"],
  [
    ["POST /threads/t1", "open"],
    ["POST /threads/runs", "endpoint_not_allowed"],
    ["POST /responses/compact", "endpoint_not_allowed"],
  ],
);

check(
  "a pattern opens a path that we do not know, in its shape",
  ["GET /brand_new/{id}", "POST /brand_new"],
  [
    ["GET /brand_new/x", "open"],
    ["HEAD /brand_new/x", "open"],
    ["POST /brand_new", "open"],
    ["POST /brand_new/x", "unknown_url"],
    ["GET /brand_new/", "unknown_url"],
    ["GET /brand_new/x/y", "unknown_url"],
    ["GET /brand_new", "unknown_url"],
    ["GET /BRAND_NEW/x", "unknown_url"],
  ],
);

check(
  "a pattern of parameters opens nothing administrative",
  ["GET /{a}/{b}", "DELETE /{a}/{b}", "POST /{a}"],
  [
    ["GET /brand_new/x", "open"],
    ["GET /organization/brand_new", "endpoint_not_allowed"],
    ["GET /organization;x/brand_new", "endpoint_not_allowed"],
    ["GET /organization/costs", "endpoint_not_allowed"],
    ["DELETE /models/ft:x", "endpoint_not_allowed"],
    ["POST /projects", "endpoint_not_allowed"],
  ],
);

check(
  "a pattern that names an administrative path opens that one",
  ["GET /organization/costs", "GET /organization/usage/{kind}"],
  [
    ["GET /organization/costs", "open"],
    ["GET /organization/usage/brand_new", "open"],
    ["GET /organization/users", "endpoint_not_allowed"],
    ["GET /Organization/costs", "endpoint_not_allowed"],
  ],
);

check(
  "a pattern says nothing of other characters than it has",
  ["GET /a.b/{id}"],
  [["GET /axb/x", "unknown_url"]],
);
