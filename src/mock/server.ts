// A look-alike of the OpenAI API on loopback: same formats, no key, no cost, and the same answer
// to the same request. `directives.ts` is how a caller asks it for errors, delays and resets.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type Answer, type Endpoint, toErrorAnswer } from "./answer.ts";
import { answerSpeech, answerTranscription, answerTranslation } from "./audio.ts";
import { answerChat } from "./chat.ts";
import { answerCompletion } from "./completions.ts";
import { type Directives, parseDirectives } from "./directives.ts";
import { answerEmbeddings } from "./embeddings.ts";
import { errorFor, refused } from "./errors.ts";
import { type Fields, parseFields, readBody } from "./fields.ts";
import { answerEdit, answerGeneration, answerVariation } from "./images.ts";
import { answerModel, answerModels } from "./models.ts";
import { answerModerations } from "./moderations.ts";
import { play, type Script } from "./play.ts";
import { answerInputTokens, answerResponse } from "./responses.ts";

export interface MockOptions {
  /** Default: any free port. */
  readonly port?: number;
  /** The only key accepted. Default: every key, and none. */
  readonly apiKey?: string;
  /** Until the first byte of an answer. Default 150. */
  readonly firstTokenMs?: number;
  /** Between two events of a stream. Default 25. */
  readonly tokenIntervalMs?: number;
}

export interface MockServer {
  /** `http://127.0.0.1:PORT/v1` */
  readonly baseUrl: string;
  /** Ends every open answer and connection at once. */
  close(): Promise<void>;
}

const ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map<string, Endpoint>([
  ["POST /v1/chat/completions", answerChat],
  ["POST /v1/completions", answerCompletion],
  ["POST /v1/responses", answerResponse],
  ["POST /v1/responses/input_tokens", answerInputTokens],
  ["POST /v1/embeddings", answerEmbeddings],
  ["POST /v1/moderations", answerModerations],
  ["POST /v1/images/generations", answerGeneration],
  ["POST /v1/images/edits", answerEdit],
  ["POST /v1/images/variations", answerVariation],
  ["POST /v1/audio/speech", answerSpeech],
  ["POST /v1/audio/transcriptions", answerTranscription],
  ["POST /v1/audio/translations", answerTranslation],
  ["GET /v1/models", answerModels],
  ["GET /v1/models/{model}", answerModel],
]);

/** Headers of the real API. The organization is here because a gateway must not let it through. */
const HEADERS: Readonly<Record<string, string>> = {
  "openai-organization": "org-mock",
  "openai-version": "2020-10-01",
  "x-ratelimit-limit-requests": "10000",
  "x-ratelimit-limit-tokens": "200000",
  "x-ratelimit-remaining-requests": "9999",
  "x-ratelimit-remaining-tokens": "199900",
  "x-ratelimit-reset-requests": "8.64s",
  "x-ratelimit-reset-tokens": "30ms",
};

export async function startMock(options: MockOptions = {}): Promise<MockServer> {
  let requests = 0;
  const server = createServer((req, res) => {
    requests += 1;
    res.setHeader("x-request-id", `req_${String(requests).padStart(32, "0")}`);
    // A write may meet a socket that just closed; `close` tells us, and ends the answer.
    res.on("error", () => {});
    serve(req, res, options).catch(() => res.destroy());
  });
  // Longer than any client keeps a connection, so that none is closed while it is being reused.
  server.keepAliveTimeout = 120_000;
  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  return { baseUrl: `http://127.0.0.1:${portOf(server)}/v1`, close: () => close(server) };
}

async function serve(req: IncomingMessage, res: ServerResponse, options: MockOptions) {
  const gone = new AbortController();
  res.on("close", () => gone.abort());
  let directives: Directives = {};
  let answer: Answer;
  try {
    authorize(req.headers.authorization, options.apiKey);
    directives = parseDirectives(String(req.headers["openai-mock"] ?? ""));
    answer = await answerRequest(req, directives);
  } catch (thrown) {
    answer = toErrorAnswer(thrown);
  }
  const script = toScript(directives, options);
  res.setHeader("openai-processing-ms", script.delayMs);
  for (const [name, value] of Object.entries(HEADERS)) res.setHeader(name, value);
  await play(res, answer, script, gone.signal);
}

function authorize(authorization: string | undefined, apiKey: string | undefined): void {
  if (apiKey === undefined || authorization === `Bearer ${apiKey}`) return;
  throw errorFor(401);
}

async function answerRequest(req: IncomingMessage, directives: Directives): Promise<Answer> {
  const { method = "GET", url = "/" } = req;
  const [path = "/"] = url.split("?", 1);
  const body = await readBody(req);
  if (directives.status !== undefined) throw errorFor(directives.status, directives.code);
  const answerCall = findEndpoint(method, path);
  const contentType = req.headers["content-type"] ?? "";
  const fields: Fields = method === "GET" ? {} : await parseFields(contentType, body);
  const digest = createHash("sha256").update(`${method} ${path}\n`).update(body).digest("hex");
  return answerCall({ path, fields, digest, tokens: directives.tokens });
}

function findEndpoint(method: string, path: string): Endpoint {
  const template = path.replace(/^(\/v1\/models)\/[^/]+$/, "$1/{model}");
  const endpoint = ENDPOINTS.get(`${method} ${template}`);
  if (endpoint !== undefined) return endpoint;
  const offered = ["GET", "POST"].find((other) => ENDPOINTS.has(`${other} ${template}`));
  if (offered === undefined) {
    throw refused(404, "unknown_url", `Invalid URL (${method} ${path})`);
  }
  throw refused(405, "method_not_supported", `Only ${offered} requests are accepted.`);
}

function toScript(directives: Directives, options: MockOptions): Script {
  const { "break-after": breakAfter, "hang-after": hangAfter } = directives;
  const breaks = breakAfter !== undefined && breakAfter <= (hangAfter ?? Infinity);
  const after = breaks ? breakAfter : hangAfter;
  return {
    delayMs: directives["delay-ms"] ?? options.firstTokenMs ?? 150,
    intervalMs: directives["interval-ms"] ?? options.tokenIntervalMs ?? 25,
    stop: after === undefined ? undefined : { how: breaks ? "reset" : "silence", after },
  };
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}
