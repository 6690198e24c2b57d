// The list of models, with those taken out that the caller may not use. The one answer of OpenAI's
// that is read and written anew.
import type { Policy } from "../access/policy.ts";
import { GatewayError } from "../errors.ts";
import type { Asked } from "../openai/endpoints.ts";
import type { Reply } from "../upstream/attempt.ts";

/** OpenAI's own list has some 100 entries of 100 bytes. */
const LIMIT_BYTES = 8 * 1024 * 1024;

/** @throws GatewayError 500 for a list that cannot be read. */
export async function showModels(reply: Reply, policy: Policy, asked: Asked): Promise<Reply> {
  const listed = asked.operation?.template === "/models" && reply.status === 200;
  if (!listed || policy.models === undefined) return reply;
  const headers = withoutLength(reply.headers);
  if (asked.method === "HEAD") return { ...reply, headers };
  const list = parse(await collect(reply.body));
  const data = list.data.filter((model) => policy.allowsModel(String(Object(model).id)));
  const body = Buffer.from(JSON.stringify({ ...list, data }));
  return {
    ...reply,
    headers: [...headers, "content-length", String(body.length)],
    body: (async function* () {
      yield body;
    })(),
  };
}

function withoutLength(headers: readonly string[]): readonly string[] {
  const at = headers.findIndex((name, index) => index % 2 === 0 && name === "content-length");
  return at < 0 ? headers : headers.toSpliced(at, 2);
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > LIMIT_BYTES) throw unreadable();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parse(bytes: Buffer): { readonly data: readonly unknown[] } {
  try {
    const list: unknown = JSON.parse(bytes.toString());
    const data: unknown = Object(list).data;
    if (Array.isArray(data)) return { ...Object(list), data };
  } catch {
    // Not a list, then.
  }
  throw unreadable();
}

function unreadable(): GatewayError {
  const message = "OpenAI's list of models cannot be read, so it cannot be filtered for you.";
  return new GatewayError("upstream_reset", message);
}
