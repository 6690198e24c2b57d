// Every operation has the class that a policy opens it by, and nothing administrative hides.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ENDPOINT_CLASSES, type EndpointClass } from "../../src/config/config.ts";
import { findOperation, isAdministrative } from "../../src/openai/endpoints.ts";

/** One or more of each class: method, path, template. */
const SAMPLES: Readonly<Record<EndpointClass, readonly (readonly [string, string, string])[]>> = {
  chat: [["POST", "/chat/completions", "/chat/completions"]],
  completions: [["POST", "/completions", "/completions"]],
  responses: [
    ["POST", "/responses", "/responses"],
    ["POST", "/responses/compact", "/responses/compact"],
    ["POST", "/responses/input_tokens", "/responses/input_tokens"],
  ],
  embeddings: [["POST", "/embeddings", "/embeddings"]],
  moderations: [["POST", "/moderations", "/moderations"]],
  images: [
    ["POST", "/images/generations", "/images/generations"],
    ["POST", "/images/edits", "/images/edits"],
  ],
  audio: [
    ["POST", "/audio/speech", "/audio/speech"],
    ["POST", "/audio/transcriptions", "/audio/transcriptions"],
  ],
  models: [
    ["GET", "/models", "/models"],
    ["GET", "/models/ft:gpt-4o:org::1", "/models/{model}"],
  ],
  realtime: [
    ["WEBSOCKET", "/realtime", "/realtime"],
    ["WEBSOCKET", "/responses", "/responses"],
    ["POST", "/realtime/client_secrets", "/realtime/client_secrets"],
    ["POST", "/realtime/calls/c1/hangup", "/realtime/calls/{call_id}/hangup"],
  ],
  stored_chat: [
    ["GET", "/chat/completions", "/chat/completions"],
    ["DELETE", "/chat/completions/c1", "/chat/completions/{completion_id}"],
  ],
  stored_responses: [
    ["GET", "/responses/r1", "/responses/{response_id}"],
    ["POST", "/responses/r1/cancel", "/responses/{response_id}/cancel"],
  ],
  conversations: [
    ["DELETE", "/conversations/c1/items/i1", "/conversations/{conversation_id}/items/{item_id}"],
  ],
  files: [
    ["POST", "/files", "/files"],
    ["GET", "/files/f1/content", "/files/{file_id}/content"],
  ],
  uploads: [["POST", "/uploads/u1/parts", "/uploads/{upload_id}/parts"]],
  batches: [["POST", "/batches/b1/cancel", "/batches/{batch_id}/cancel"]],
  vector_stores: [["POST", "/vector_stores/v1/search", "/vector_stores/{vector_store_id}/search"]],
  containers: [
    [
      "GET",
      "/containers/c1/files/f1/content",
      "/containers/{container_id}/files/{file_id}/content",
    ],
  ],
  assistants: [["POST", "/assistants/a1", "/assistants/{assistant_id}"]],
  threads: [
    ["POST", "/threads/runs", "/threads/runs"],
    ["GET", "/threads/t1", "/threads/{thread_id}"],
  ],
  evals: [
    [
      "GET",
      "/evals/e1/runs/r1/output_items/o1",
      "/evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}",
    ],
  ],
  skills: [["DELETE", "/skills/s1/versions/2", "/skills/{skill_id}/versions/{version}"]],
  chatkit: [["POST", "/chatkit/sessions", "/chatkit/sessions"]],
  videos: [
    ["POST", "/videos/characters", "/videos/characters"],
    ["POST", "/videos/v1/remix", "/videos/{video_id}/remix"],
  ],
  voices: [["POST", "/audio/voices", "/audio/voices"]],
  decisions: [["POST", "/decisions", "/decisions"]],
  live: [
    ["WEBSOCKET", "/live/sessions", "/live/sessions"],
    ["POST", "/live/sessions/s1/accept", "/live/sessions/{session_id}/accept"],
  ],
  agents: [
    ["GET", "/agents/automations/a1", "/agents/automations/{automation_id}"],
    ["GET", "/agents/environments/templates", "/agents/environments/templates"],
  ],
  provenance: [["POST", "/content_provenance_checks", "/content_provenance_checks"]],
  admin: [
    ["DELETE", "/models/ft:x", "/models/{model}"],
    ["POST", "/fine_tuning/jobs", "/fine_tuning/jobs"],
    ["GET", "/organization/costs", "/organization/costs"],
    ["POST", "/organization/projects/p1/archive", "/organization/projects/{project_id}/archive"],
    ["POST", "/projects/p1/roles", "/projects/{project_id}/roles"],
    ["POST", "/vaults/v1/credentials", "/vaults/{vault_id}/credentials"],
    [
      "POST",
      "/webhook_endpoints/w1/rotate_secret",
      "/webhook_endpoints/{webhook_endpoint_id}/rotate_secret",
    ],
    ["GET", "/webhook_event_types", "/webhook_event_types"],
    ["GET", "/safety/cases/c1", "/safety/cases/{case_id}"],
  ],
};

for (const name of ENDPOINT_CLASSES) {
  test(`class ${name}: its operations, and whether they are administrative`, () => {
    for (const [method, path, template] of SAMPLES[name]) {
      assert.deepEqual(findOperation(method, path).operation, { method, template, class: name });
      assert.equal(isAdministrative(method, path), name === "admin", path);
    }
  });
}

test("HEAD finds what GET finds, and nothing where there is no GET", () => {
  assert.equal(
    findOperation("HEAD", "/models").operation,
    findOperation("GET", "/models").operation,
  );
  assert.equal(findOperation("HEAD", "/embeddings").operation, undefined);
});

test("a literal comes before a parameter, and a parameter where the literal leads nowhere", () => {
  assert.equal(findOperation("POST", "/threads/runs").operation?.template, "/threads/runs");
  assert.equal(findOperation("GET", "/threads/runs").operation, undefined);
  assert.equal(
    findOperation("GET", "/threads/runs/messages").operation?.template,
    "/threads/{thread_id}/messages",
  );
  assert.equal(
    findOperation("GET", "/videos/characters/content").operation?.template,
    "/videos/characters/{character_id}",
  );
});

test("a path that OpenAI has offers its methods, one that it has not offers none", () => {
  assert.deepEqual(findOperation("PUT", "/models/x").methods.toSorted(), ["DELETE", "GET"]);
  assert.deepEqual(findOperation("PUT", "/nothing").methods, []);
});

const UNKNOWN = [
  "/",
  "",
  "/models/",
  "/models//",
  "//models",
  "/models/a/b",
  "/Models",
  "/MODELS",
  "/chat",
  "/chat/completions/",
  "/chat/completions/a/b",
  "/chat/Completions",
  "/embeddings;x",
  "/__proto__",
  "/constructor",
  "/toString",
  "/models/a/__proto__",
  "/{model}",
  "/files/f1/content/",
];

for (const path of UNKNOWN) {
  test(`"${path}" is no path of OpenAI's: spelling, slashes and all`, () => {
    const { operation, methods } = findOperation("GET", path);
    assert.deepEqual([operation, methods], [undefined, []]);
  });
}

test("a parameter is one segment, whatever is in it but nothing", () => {
  assert.equal(findOperation("GET", "/models/__proto__").operation?.template, "/models/{model}");
  assert.equal(findOperation("GET", "/models/a%2Fb").operation?.template, "/models/{model}");
  assert.equal(findOperation("GET", "/files//content").operation, undefined);
});

test("administrative is everything below the names, in every spelling and disguise", () => {
  for (const path of [
    "/organization",
    "/organization/",
    "/organization/new",
    "/ORGANIZATION/x",
    "/organizations/o",
    "/projects",
    "/Projects/p",
    "/fine_tuning",
    "/fine_tuning/new",
    "/organization;x",
    "/organization;x/users",
    "/organization%20/users",
    "/%20organization",
    "/organization:",
    "/;/organization",
    "/%EF%BD%8Frganization",
    "/+organization",
    "/organization.json",
  ]) {
    assert.ok(isAdministrative("GET", path), path);
  }
  for (const path of ["/models", "/models/x", "/Models/x", "/models;x/y"])
    assert.ok(isAdministrative("DELETE", path), path);
});

test("administrative is nothing else", () => {
  for (const path of [
    "/",
    "/models",
    "/models/organization",
    "/files/projects",
    "/chat/completions",
    "/brand_new",
    "/brand-new/x%20y",
    "/v1/organization2",
  ]) {
    assert.ok(!isAdministrative("GET", path), path);
  }
  assert.ok(!isAdministrative("DELETE", "/files/models"));
  assert.ok(!isAdministrative("GET", "/models/ft:x"));
});

test("ten thousand segments are walked in no time", () => {
  const startedAt = performance.now();

  findOperation("GET", "/threads/runs".repeat(10_000));

  assert.ok(performance.now() - startedAt < 200);
});
