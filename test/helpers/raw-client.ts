// A client that writes bytes to a socket, for what no HTTP library would send.
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly text: string;
}

export async function openSocket(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** Sends the bytes and returns all that came until the connection closed or fell silent. */
export async function sendRaw(
  port: number,
  bytes: string | Buffer,
  { silenceMs = 300 }: { readonly silenceMs?: number } = {},
): Promise<RawAnswer> {
  const socket = await openSocket(port);
  const chunks: Buffer[] = [];
  const silent = new Promise<void>((resolve) => {
    let timer = setTimeout(resolve, silenceMs * 10);
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      clearTimeout(timer);
      timer = setTimeout(resolve, silenceMs);
    });
    socket.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  socket.write(bytes);
  await silent;
  socket.destroy();
  return parseAnswer(Buffer.concat(chunks).toString("latin1"));
}

export function parseAnswer(text: string): RawAnswer {
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const [statusLine = "", ...lines] = head.split("\r\n");
  const fields = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  return {
    status: Number(statusLine.split(" ")[1] ?? 0),
    headers: Object.fromEntries(fields),
    body: rest.join("\r\n\r\n"),
    text,
  };
}
