// The list of models, with those taken out that the caller may not use. The one answer of OpenAI's
// that is read and written anew.
import type { Policy } from "../access/policy.ts";
import { GatewayError } from "../errors.ts";
import type { Asked } from "../openai/endpoints.ts";
import type { Reply, ReplyBytes } from "../upstream/attempt.ts";
import { toFailure } from "../upstream/failure.ts";
import { toReplyBytes } from "../upstream/reply-body.ts";

/** OpenAI's own list has some 100 entries of 100 bytes. */
const LIMIT_BYTES = 8 * 1024 * 1024;

/** @throws GatewayError 500 for a list that cannot be read. */
export async function showModels(reply: Reply, policy: Policy, asked: Asked): Promise<Reply> {
  const listed =
    asked.operation?.template === "/models" && reply.status >= 200 && reply.status < 300;
  if (!listed || policy.models === undefined) return reply;
  const headers = withoutThose(reply.headers);
  if (asked.method === "HEAD") return { ...reply, headers };
  const data = parse(await collect(reply.body)).filter((model) => {
    const { id } = Object(model);
    return typeof id === "string" && policy.allowsModel(id);
  });
  const body = Buffer.from(JSON.stringify({ object: "list", data }));
  return {
    ...reply,
    headers: [...headers, "content-length", String(body.length)],
    contentLength: body.length,
    body: toReplyBytes(body),
  };
}

/** What told of OpenAI's own list. */
function withoutThose(headers: readonly string[]): readonly string[] {
  const told = (name = ""): boolean => name === "content-length" || name === "etag";
  return headers.filter((_, index) => !told(headers[index - (index % 2)]));
}

async function collect(body: ReplyBytes): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  try {
    await body.each((piece) => {
      bytes += piece.length;
      if (bytes > LIMIT_BYTES) throw unreadable();
      pieces.push(piece);
      return undefined;
    });
  } catch (error) {
    throw toFailure(error).error;
  }
  return Buffer.concat(pieces);
}

function parse(bytes: Buffer): readonly unknown[] {
  try {
    const { data } = Object(JSON.parse(bytes.toString()));
    if (Array.isArray(data)) return data;
  } catch {
    // Not a list, then.
  }
  throw unreadable();
}

function unreadable(): GatewayError {
  const message = "OpenAI's list of models cannot be read, so it cannot be filtered for you.";
  return new GatewayError("upstream_reset", message);
}
