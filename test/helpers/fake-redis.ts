// A stand-in for Redis on a real socket: records the commands, answers as a test's script says.
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { TestContext } from "node:test";
import { ProtocolError, ReplyDecoder } from "../../src/store/resp.ts";
import { TEST_CERTIFICATE, TEST_KEY } from "./certificate.ts";
import { portOf } from "./fake-openai.ts";

/** The raw reply to one command, or nothing: then the script has seen to it, or never will. */
export type RedisScript = (
  command: readonly string[],
  client: Socket,
) => string | Buffer | undefined | void;

export interface FakeRedisOptions {
  /** Sent before any command. */
  readonly greeting?: string;
  readonly tls?: true;
  readonly host?: string;
  readonly port?: number;
}

export interface FakeRedis {
  readonly port: number;
  /** Every command of every connection, PING included. */
  readonly commands: (readonly string[])[];
  /** Every connection so far. */
  readonly clients: Socket[];
  /** The server names that TLS clients asked for. */
  readonly names: (string | false | null)[];
  /** Resolves as soon as so many commands have come in all. */
  received(count: number): Promise<void>;
  /** Closes all connections, and with `stop` takes no new ones. */
  drop(stop?: "stop"): Promise<void>;
}

export const accepts: RedisScript = ([name]) => (name === "PING" ? "+PONG\r\n" : "+OK\r\n");

/** Greets like a good server and leaves the other commands to the script. */
export function afterLogin(script: RedisScript): RedisScript {
  return (command, client) => {
    const login = ["AUTH", "SELECT", "PING"].includes(command[0] ?? "");
    return login ? accepts(command, client) : script(command, client);
  };
}

export async function fakeRedis(
  t: TestContext,
  script: RedisScript = accepts,
  { greeting, tls, host = "127.0.0.1", port = 0 }: FakeRedisOptions = {},
): Promise<FakeRedis> {
  const commands: (readonly string[])[] = [];
  const clients: Socket[] = [];
  const names: (string | false | null)[] = [];
  const waiting = new Set<() => void>();

  const serve = (client: Socket): void => {
    clients.push(client);
    client.on("error", () => client.destroy());
    if (greeting !== undefined) client.write(greeting);
    const decoder = new ReplyDecoder(64 * 1024 * 1024);
    const receive = (chunk: Buffer): void => {
      decoder.write(chunk);
      for (let next = decoder.read(); next !== undefined; next = decoder.read()) {
        const command = Array.isArray(next) ? next.map(String) : [String(next)];
        commands.push(command);
        for (const look of [...waiting]) look();
        const answer = script(command, client);
        if (answer !== undefined && client.writable) client.write(answer);
      }
    };
    client.on("data", (chunk: Buffer) => {
      try {
        receive(chunk);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        client.end("-ERR Protocol error\r\n");
      }
    });
  };
  const server: Server = tls
    ? createTlsServer({ key: TEST_KEY, cert: TEST_CERTIFICATE }, (socket) => {
        names.push(socket.servername);
        serve(socket);
      })
    : createServer(serve);
  server.listen(port, host);
  await once(server, "listening");
  const drop = async (stop?: "stop"): Promise<void> => {
    if (stop !== undefined) server.close();
    await Promise.all(
      clients.filter((client) => !client.closed).map((client) => once(client.destroy(), "close")),
    );
  };
  t.after(() => drop("stop"));

  return {
    port: portOf(server),
    commands,
    clients,
    names,
    received: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (commands.length < count) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
    drop,
  };
}
