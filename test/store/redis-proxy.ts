// Stands between a store and its Redis, and loses or delays what passes.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { portOf } from "../helpers/fake-openai.ts";

export interface RedisProxy {
  readonly url: string;
  /** Of the next command that a test sends: the server gets it, its reply is lost. */
  loseReply(): void;
  /**
   * Of the next command: it stays on the way, and its connection breaks.
   * @returns what lets it arrive, on the connection that nobody reads any more.
   */
  delayCommand(): () => Promise<void>;
}

export async function startProxy(t: TestContext, port: number): Promise<RedisProxy> {
  const sockets = new Set<Socket>();
  let losing = false;
  let delaying: ((deliver: () => Promise<void>) => void) | undefined;

  const pair = (client: Socket): void => {
    const server = connect({ host: "127.0.0.1", port });
    let late = false;
    let deaf = false;
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.setNoDelay(true).on("error", () => socket.destroy());
    }
    client.on("data", (bytes: Buffer) => {
      if (delaying !== undefined) {
        late = true;
        delaying(async () => {
          const answered = once(server, "data");
          server.write(bytes);
          await answered;
        });
        delaying = undefined;
        client.destroy();
        return;
      }
      deaf = losing;
      losing = false;
      server.write(bytes);
    });
    server.on("data", (bytes: Buffer) => {
      if (deaf) client.destroy();
      else if (!late) client.write(bytes);
    });
    client.on("close", () => {
      if (!late) server.destroy();
    });
    server.on("close", () => client.destroy());
  };
  const proxy = createServer(pair).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  t.after(() => {
    proxy.close();
    for (const socket of sockets) socket.destroy();
  });

  return {
    url: `redis://127.0.0.1:${portOf(proxy)}/0`,
    loseReply: () => {
      losing = true;
    },
    delayCommand: () => {
      let deliver = (): Promise<void> => Promise.reject(new Error("No command has come."));
      delaying = (told) => {
        deliver = told;
      };
      return () => deliver();
    },
  };
}
