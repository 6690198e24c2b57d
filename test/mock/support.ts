// A mock for one test, and short ways to ask it and to look into what it answers.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { type MockOptions, startMock } from "../../src/mock/server.ts";

export interface Client {
  readonly baseUrl: string;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  /** `post`, and the reply parsed. */
  ask(path: string, body: unknown, headers?: Record<string, string>): Promise<unknown>;
  /** `post`, and the events of the reply parsed. */
  stream(path: string, body: unknown, headers?: Record<string, string>): Promise<Events>;
  close(): Promise<void>;
}

type Events = readonly unknown[];

/** Without delays, unless the test is about them. */
export async function openMock(t: TestContext, options: MockOptions = {}): Promise<Client> {
  const { baseUrl, close } = await startMock({ firstTokenMs: 0, tokenIntervalMs: 0, ...options });
  t.after(close);
  const post: Client["post"] = (path, body, headers = {}) => {
    if (body instanceof FormData) return fetch(baseUrl + path, { method: "POST", headers, body });
    const json = { "content-type": "application/json", ...headers };
    const bytes = typeof body === "string" ? body : JSON.stringify(body);
    return fetch(baseUrl + path, { method: "POST", headers: json, body: bytes });
  };
  return {
    baseUrl,
    close,
    post,
    get: (path, headers = {}) => fetch(baseUrl + path, { headers }),
    ask: async (...call) => (await post(...call)).json(),
    stream: async (...call) => readEvents(await post(...call)),
  };
}

/** The value at a path of names and indexes; `undefined` where the path leads nowhere. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>((part, step) => {
    return typeof part === "object" && part !== null ? Reflect.get(part, step) : undefined;
  }, value);
}

export function items(value: unknown): readonly unknown[] {
  assert(Array.isArray(value), "expected a list");
  return value;
}

/** The data of every event, parsed; `[DONE]` stays text. */
async function readEvents(reply: Response): Promise<Events> {
  assert.equal(reply.headers.get("content-type"), "text/event-stream; charset=utf-8");
  return parseEvents(await reply.text());
}

export function parseEvents(stream: string): Events {
  const data = [...stream.matchAll(/^data: (.*)\n\n/gm)].map(([, line]) => line ?? "");
  return data.map((line): unknown => (line === "[DONE]" ? line : JSON.parse(line)));
}

/** A form with a file of so many bytes. */
export function toForm(fields: Readonly<Record<string, string>>, bytes = 64_000): FormData {
  const form = new FormData();
  form.set("file", new File([new Uint8Array(bytes)], "talk.mp3", { type: "audio/mpeg" }));
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form;
}

/** An error in OpenAI's envelope: all four members, and those named have the values given. */
export async function assertRefused(reply: Response, status: number, expected: object) {
  const error = at(await reply.json(), "error");
  assert.equal(reply.status, status);
  assert.deepEqual(Object.keys(Object(error)), ["message", "type", "param", "code"]);
  for (const [name, value] of Object.entries(expected)) assert.equal(at(error, name), value);
}
