// Every operation of OpenAI's REST API under /v1, with the class a policy opens it by.
// From the OpenAPI document of openai/openai-openapi 2.3.0 (August 2026), plus what the official
// SDK 7.57 calls beyond it, plus the WebSockets.
import { ENDPOINT_CLASSES, type EndpointClass } from "../config/config.ts";

export interface Operation {
  /** As in HTTP, or `WEBSOCKET`. */
  readonly method: string;
  /** `/files/{file_id}`: names the route in log and metrics. */
  readonly template: string;
  readonly class: EndpointClass;
}

/** One line per path: its methods and its template. */
const OPERATIONS: Readonly<Record<EndpointClass, string>> = {
  chat: `
    POST /chat/completions`,
  completions: `
    POST /completions`,
  responses: `
    POST /responses
    POST /responses/compact
    POST /responses/input_tokens`,
  embeddings: `
    POST /embeddings`,
  moderations: `
    POST /moderations`,
  images: `
    POST /images/edits
    POST /images/generations
    POST /images/variations`,
  audio: `
    POST /audio/speech
    POST /audio/transcriptions
    POST /audio/translations`,
  models: `
    GET /models
    GET /models/{model}`,
  realtime: `
    WEBSOCKET /realtime
    POST /realtime/calls
    POST /realtime/calls/{call_id}/accept
    POST /realtime/calls/{call_id}/hangup
    POST /realtime/calls/{call_id}/refer
    POST /realtime/calls/{call_id}/reject
    POST /realtime/client_secrets
    POST /realtime/sessions
    POST /realtime/transcription_sessions
    WEBSOCKET /realtime/translations
    POST /realtime/translations/client_secrets
    WEBSOCKET /responses`,
  stored_chat: `
    GET /chat/completions
    GET POST DELETE /chat/completions/{completion_id}
    GET /chat/completions/{completion_id}/messages`,
  stored_responses: `
    GET DELETE /responses/{response_id}
    POST /responses/{response_id}/cancel
    GET /responses/{response_id}/input_items`,
  conversations: `
    POST /conversations
    GET POST DELETE /conversations/{conversation_id}
    GET POST /conversations/{conversation_id}/items
    GET DELETE /conversations/{conversation_id}/items/{item_id}`,
  files: `
    GET POST /files
    GET DELETE /files/{file_id}
    GET /files/{file_id}/content`,
  uploads: `
    POST /uploads
    POST /uploads/{upload_id}/cancel
    POST /uploads/{upload_id}/complete
    POST /uploads/{upload_id}/parts`,
  batches: `
    GET POST /batches
    GET /batches/{batch_id}
    POST /batches/{batch_id}/cancel`,
  vector_stores: `
    GET POST /vector_stores
    GET POST DELETE /vector_stores/{vector_store_id}
    POST /vector_stores/{vector_store_id}/file_batches
    GET /vector_stores/{vector_store_id}/file_batches/{batch_id}
    POST /vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel
    GET /vector_stores/{vector_store_id}/file_batches/{batch_id}/files
    GET POST /vector_stores/{vector_store_id}/files
    GET POST DELETE /vector_stores/{vector_store_id}/files/{file_id}
    GET /vector_stores/{vector_store_id}/files/{file_id}/content
    POST /vector_stores/{vector_store_id}/search`,
  containers: `
    GET POST /containers
    GET DELETE /containers/{container_id}
    GET POST /containers/{container_id}/files
    GET DELETE /containers/{container_id}/files/{file_id}
    GET /containers/{container_id}/files/{file_id}/content`,
  assistants: `
    GET POST /assistants
    GET POST DELETE /assistants/{assistant_id}`,
  threads: `
    POST /threads
    POST /threads/runs
    GET POST DELETE /threads/{thread_id}
    GET POST /threads/{thread_id}/messages
    GET POST DELETE /threads/{thread_id}/messages/{message_id}
    GET POST /threads/{thread_id}/runs
    GET POST /threads/{thread_id}/runs/{run_id}
    POST /threads/{thread_id}/runs/{run_id}/cancel
    GET /threads/{thread_id}/runs/{run_id}/steps
    GET /threads/{thread_id}/runs/{run_id}/steps/{step_id}
    POST /threads/{thread_id}/runs/{run_id}/submit_tool_outputs`,
  evals: `
    GET POST /evals
    GET POST DELETE /evals/{eval_id}
    GET POST /evals/{eval_id}/runs
    GET POST DELETE /evals/{eval_id}/runs/{run_id}
    POST /evals/{eval_id}/runs/{run_id}/cancel
    GET /evals/{eval_id}/runs/{run_id}/output_items
    GET /evals/{eval_id}/runs/{run_id}/output_items/{output_item_id}`,
  skills: `
    GET POST /skills
    GET POST DELETE /skills/{skill_id}
    GET /skills/{skill_id}/content
    GET POST /skills/{skill_id}/versions
    GET DELETE /skills/{skill_id}/versions/{version}
    GET /skills/{skill_id}/versions/{version}/content`,
  chatkit: `
    POST /chatkit/sessions
    POST /chatkit/sessions/{session_id}/cancel
    GET /chatkit/threads
    GET DELETE /chatkit/threads/{thread_id}
    GET /chatkit/threads/{thread_id}/items`,
  videos: `
    GET POST /videos
    POST /videos/characters
    GET /videos/characters/{character_id}
    POST /videos/edits
    POST /videos/extensions
    GET DELETE /videos/{video_id}
    GET /videos/{video_id}/content
    POST /videos/{video_id}/remix`,
  voices: `
    GET POST /audio/voice_consents
    GET POST DELETE /audio/voice_consents/{consent_id}
    POST /audio/voices
    DELETE /audio/voices/{voice_id}`,
  provenance: `
    POST /content_provenance_checks`,
  decisions: `
    POST /decisions`,
  live: `
    POST WEBSOCKET /live/sessions
    POST /live/sessions/{session_id}/accept
    WEBSOCKET /live/sessions/{session_id}/attach
    GET /live/sessions/{session_id}/content
    POST WEBSOCKET /live/sessions/{session_id}/fork
    POST /live/sessions/{session_id}/hangup
    POST /live/sessions/{session_id}/refer
    POST /live/sessions/{session_id}/reject`,
  agents: `
    GET POST /agents
    GET POST /agents/automations
    GET POST DELETE /agents/automations/{automation_id}
    GET POST /agents/automations/{automation_id}/invocations
    GET /agents/automations/{automation_id}/invocations/{invocation_id}
    POST /agents/automations/{automation_id}/pause
    POST /agents/automations/{automation_id}/resume
    GET POST /agents/environments
    GET POST /agents/environments/templates
    GET POST DELETE /agents/environments/templates/{environment_template_id}
    GET /agents/environments/{environment_id}
    GET POST /agents/environments/{environment_id}/files
    GET POST /agents/sessions
    GET POST DELETE /agents/sessions/{session_id}
    GET /agents/sessions/{session_id}/artifacts
    GET DELETE /agents/sessions/{session_id}/artifacts/{artifact_id}
    GET /agents/sessions/{session_id}/artifacts/{artifact_id}/content
    GET POST /agents/sessions/{session_id}/events
    GET /agents/sessions/{session_id}/items
    GET /agents/sessions/{session_id}/subagents
    GET /agents/sessions/{session_id}/subagents/{subagent_id}
    GET /agents/sessions/{session_id}/subagents/{subagent_id}/items
    GET /agents/sessions/{session_id}/subagents/{subagent_id}/turns
    GET /agents/sessions/{session_id}/subagents/{subagent_id}/turns/{turn_id}
    GET /agents/sessions/{session_id}/subagents/{subagent_id}/turns/{turn_id}/items
    GET /agents/sessions/{session_id}/traces
    GET /agents/sessions/{session_id}/turns
    GET /agents/sessions/{session_id}/turns/{turn_id}
    GET /agents/sessions/{session_id}/turns/{turn_id}/items
    GET POST DELETE /agents/{agent_id}`,
  admin: `
    POST /fine_tuning/alpha/graders/run
    POST /fine_tuning/alpha/graders/validate
    GET POST /fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions
    DELETE /fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions/{permission_id}
    GET POST /fine_tuning/jobs
    GET /fine_tuning/jobs/{fine_tuning_job_id}
    POST /fine_tuning/jobs/{fine_tuning_job_id}/cancel
    GET /fine_tuning/jobs/{fine_tuning_job_id}/checkpoints
    GET /fine_tuning/jobs/{fine_tuning_job_id}/events
    POST /fine_tuning/jobs/{fine_tuning_job_id}/pause
    POST /fine_tuning/jobs/{fine_tuning_job_id}/resume
    DELETE /models/{model}
    GET POST /organization/admin_api_keys
    GET DELETE /organization/admin_api_keys/{key_id}
    GET /organization/audit_logs
    GET POST /organization/certificates
    POST /organization/certificates/activate
    POST /organization/certificates/deactivate
    GET POST DELETE /organization/certificates/{certificate_id}
    GET /organization/costs
    GET POST /organization/data_retention
    GET POST /organization/external_keys
    GET DELETE /organization/external_keys/{external_key_id}
    POST /organization/external_keys/{external_key_id}/validate
    GET POST /organization/external_storage
    GET DELETE /organization/external_storage/{external_storage_id}
    POST /organization/external_storage/{external_storage_id}/validate
    GET POST /organization/groups
    GET POST DELETE /organization/groups/{group_id}
    GET POST /organization/groups/{group_id}/roles
    GET DELETE /organization/groups/{group_id}/roles/{role_id}
    GET POST /organization/groups/{group_id}/users
    GET DELETE /organization/groups/{group_id}/users/{user_id}
    GET POST /organization/invites
    GET DELETE /organization/invites/{invite_id}
    GET POST /organization/projects
    GET POST /organization/projects/{project_id}
    GET /organization/projects/{project_id}/api_keys
    GET POST DELETE /organization/projects/{project_id}/api_keys/{api_key_id}
    POST /organization/projects/{project_id}/archive
    GET /organization/projects/{project_id}/certificates
    POST /organization/projects/{project_id}/certificates/activate
    POST /organization/projects/{project_id}/certificates/deactivate
    GET POST /organization/projects/{project_id}/data_retention
    GET POST /organization/projects/{project_id}/groups
    GET DELETE /organization/projects/{project_id}/groups/{group_id}
    GET POST /organization/projects/{project_id}/hosted_tool_permissions
    GET POST DELETE /organization/projects/{project_id}/model_permissions
    GET /organization/projects/{project_id}/rate_limits
    POST /organization/projects/{project_id}/rate_limits/{rate_limit_id}
    GET POST /organization/projects/{project_id}/service_accounts
    GET POST DELETE /organization/projects/{project_id}/service_accounts/{service_account_id}
    POST /organization/projects/{project_id}/service_accounts/{service_account_id}/api_keys
    GET POST /organization/projects/{project_id}/service_tier_settings
    GET POST /organization/projects/{project_id}/spend_alerts
    GET POST DELETE /organization/projects/{project_id}/spend_alerts/{alert_id}
    GET POST DELETE /organization/projects/{project_id}/spend_limit
    GET POST /organization/projects/{project_id}/users
    GET POST DELETE /organization/projects/{project_id}/users/{user_id}
    GET POST /organization/roles
    GET POST DELETE /organization/roles/{role_id}
    GET POST /organization/spend_alerts
    GET POST DELETE /organization/spend_alerts/{alert_id}
    GET POST DELETE /organization/spend_limit
    GET /organization/usage/audio_speeches
    GET /organization/usage/audio_transcriptions
    GET /organization/usage/code_interpreter_sessions
    GET /organization/usage/completions
    GET /organization/usage/decisions
    GET /organization/usage/embeddings
    GET /organization/usage/file_search_calls
    GET /organization/usage/images
    GET /organization/usage/moderations
    GET /organization/usage/vector_stores
    GET /organization/usage/web_search_calls
    GET /organization/users
    GET POST DELETE /organization/users/{user_id}
    GET POST /organization/users/{user_id}/roles
    GET DELETE /organization/users/{user_id}/roles/{role_id}
    GET POST /organization/workload_identity_providers
    GET POST DELETE /organization/workload_identity_providers/{provider_id}
    GET POST /organization/workload_identity_providers/{provider_id}/federation_rules
    GET POST DELETE /organization/workload_identity_providers/{provider_id}/federation_rules/{id}
    GET POST /projects/{project_id}/groups/{group_id}/roles
    GET DELETE /projects/{project_id}/groups/{group_id}/roles/{role_id}
    GET POST /projects/{project_id}/roles
    GET POST DELETE /projects/{project_id}/roles/{role_id}
    GET POST /projects/{project_id}/users/{user_id}/roles
    GET DELETE /projects/{project_id}/users/{user_id}/roles/{role_id}
    GET /safety/alerts/{alert_id}
    GET /safety/cases/{case_id}
    GET POST /vaults
    GET POST DELETE /vaults/{vault_id}
    GET POST /vaults/{vault_id}/credentials
    GET POST DELETE /vaults/{vault_id}/credentials/{credential_id}
    GET POST /webhook_endpoints
    GET POST DELETE /webhook_endpoints/{webhook_endpoint_id}
    POST /webhook_endpoints/{webhook_endpoint_id}/rotate_secret
    POST /webhook_endpoints/{webhook_endpoint_id}/test
    GET /webhook_event_types`,
};

interface Branch {
  readonly literals: Map<string, Branch>;
  parameter?: Branch;
  readonly operations: Map<string, Operation>;
  /** The keys of those. */
  readonly methods: string[];
}

const ROOT = plant();

/** What a request asks for: an operation, or else the methods that its path does offer. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation | undefined;
  readonly methods: readonly string[];
}

/** HEAD is GET without the body (RFC 9110 §9.3.2). */
export function findOperation(method: string, path: string): Asked {
  const branch = walk(ROOT, path.slice(1).split("/"), 0);
  const operation = branch?.operations.get(method === "HEAD" ? "GET" : method);
  return { method, path, operation, methods: branch?.methods ?? [] };
}

const ADMINISTRATIVE =
  /^\/(?:organizations?|projects|fine_tuning|vaults|safety|webhook_\w+)(?:\/|$)/i;
/** A first segment that is no plain word. */
const DISGUISED = /^\/[^/]*[^\w\-/]/;

/**
 * Whether only the word `admin` opens it: organisation, projects, training, deleting models, and
 * what spreads a project's secrets and events (vaults, webhooks, safety cases); and whatever some
 * reader may take for one of these: `/organization;x`, `/%20projects`.
 */
export function isAdministrative(method: string, path: string): boolean {
  if (ADMINISTRATIVE.test(path) || DISGUISED.test(path)) return true;
  return method === "DELETE" && /^\/models(?:\/|$)/i.test(path);
}

/** Literals before parameters: `/threads/runs` is not a thread called "runs". */
function walk(branch: Branch, segments: readonly string[], depth: number): Branch | undefined {
  const segment = segments[depth];
  if (segment === undefined) return branch.operations.size > 0 ? branch : undefined;
  const literal = branch.literals.get(segment);
  const found = literal && walk(literal, segments, depth + 1);
  if (found !== undefined || branch.parameter === undefined || segment === "") return found;
  return walk(branch.parameter, segments, depth + 1);
}

function plant(): Branch {
  const root: Branch = createBranch();
  for (const name of ENDPOINT_CLASSES) {
    for (const line of OPERATIONS[name].trim().split("\n")) {
      const words = line.trim().split(" ");
      const template = words.pop() ?? "";
      for (const method of words) grow(root, { method, template, class: name });
    }
  }
  return root;
}

function grow(root: Branch, operation: Operation): void {
  let branch = root;
  for (const segment of operation.template.slice(1).split("/")) {
    if (segment.startsWith("{")) {
      branch = branch.parameter ??= createBranch();
    } else {
      const next = branch.literals.get(segment) ?? createBranch();
      branch.literals.set(segment, next);
      branch = next;
    }
  }
  branch.operations.set(operation.method, operation);
  branch.methods.push(operation.method);
}

function createBranch(): Branch {
  return { literals: new Map(), operations: new Map(), methods: [] };
}
