// An operator: has the admin key, and reads what happens.
import assert from "node:assert/strict";
import { readStream } from "./read-stream.ts";

export const ADMIN_KEY = "admin-key-0123456789abcdef";
export const ADMIN = { authorization: `Bearer ${ADMIN_KEY}` } as const;

/** What `GET path` answers, read as JSON. */
export async function readAdmin<Answer>(url: string, path: string): Promise<Answer> {
  const response = await fetch(url + path, { headers: ADMIN });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}

export interface AdminEvent<Data> {
  readonly name: string;
  readonly data: Data;
}

/** Events one by one; ends when the gateway hangs up, and lets go of it when it is left. */
export async function* watchEvents<Data>(
  url: string,
  headers: Record<string, string> = ADMIN,
): AsyncGenerator<AdminEvent<Data>, void, undefined> {
  const controller = new AbortController();
  const response = await fetch(`${url}/admin/events`, { headers, signal: controller.signal });
  assert.equal(response.status, 200);
  const stream = readStream(response);
  let rest = "";
  try {
    for (let piece = await stream.next(); piece !== undefined; piece = await stream.next()) {
      const parts = (rest + piece).split("\n\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const [, name = "", data = ""] = /^event: (\w+)\ndata: (.*)$/.exec(part) ?? [];
        yield { name, data: JSON.parse(data) };
      }
    }
  } finally {
    controller.abort();
  }
}
