// A stand-in for OpenAI on a real socket: records what arrives, plays the script a test gives it.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

/** What the upstream saw of one request. */
export interface Arrival {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly rawHeaders: readonly string[];
  /** Resolves with the whole body. */
  readonly body: Promise<Buffer>;
  /** Resolves with the body as soon as this many bytes of it are here. */
  received(bytes: number): Promise<Buffer>;
  /** Resolves when the gateway has closed the connection, with the time of that. */
  readonly closed: Promise<number>;
}

export type Script = (res: ServerResponse, arrival: Arrival) => void | Promise<void>;

export interface FakeOpenAI {
  /** As for OPENAI_BASE_URL. */
  readonly baseUrl: string;
  readonly arrivals: Arrival[];
  /** Resolves with the next request that has not been taken yet. */
  next(): Promise<Arrival>;
}

/** The default script: an ordinary completion, once the request is whole. */
export const completes: Script = async (res, { body }) => {
  await body;
  res.writeHead(200, { "content-type": "application/json", "x-request-id": "req_fake" });
  res.end('{"id":"chatcmpl-1","object":"chat.completion","choices":[]}');
};

export async function fakeOpenAI(
  t: TestContext,
  script: Script = completes,
  port = 0,
): Promise<FakeOpenAI> {
  const arrivals: Arrival[] = [];
  const waiting: ((arrival: Arrival) => void)[] = [];
  let taken = 0;

  const server = createServer((req, res) => {
    const arrival = toArrival(req);
    arrivals.push(arrival);
    waiting.shift()?.(arrival);
    void Promise.resolve(script(res, arrival)).catch(() => res.destroy());
  });
  server.keepAliveTimeout = 60_000;
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });

  return {
    baseUrl: `http://127.0.0.1:${portOf(server)}/v1`,
    arrivals,
    next() {
      const arrival = arrivals[taken++];
      if (arrival !== undefined) return Promise.resolve(arrival);
      return new Promise((resolve) => waiting.push(resolve));
    },
  };
}

function toArrival(req: IncomingMessage): Arrival {
  req.socket.setMaxListeners(0);
  const chunks: Buffer[] = [];
  let bytes = 0;
  const ended = new Promise<Buffer>((resolve, reject) => {
    req.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
    });
    req.on("end", () => resolve(Buffer.concat(chunks)));
    req.on("error", reject);
  });
  ended.catch(() => {});
  return {
    method: req.method ?? "",
    url: req.url ?? "",
    headers: req.headers,
    rawHeaders: req.rawHeaders,
    body: ended,
    closed: new Promise((resolve) => req.socket.once("close", () => resolve(performance.now()))),
    received: (wanted) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (bytes < wanted) return;
          req.off("data", look);
          resolve(Buffer.concat(chunks));
        };
        req.on("data", look);
        look();
      }),
  };
}

/** A URL that nothing listens on: connections are refused. */
export async function deadUrl(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server);
  server.close();
  await once(server, "close");
  return `http://127.0.0.1:${port}/v1`;
}

export function portOf(server: { address(): AddressInfo | string | null }): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not listening on TCP");
  return address.port;
}
