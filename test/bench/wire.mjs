// HTTP/1.1 on bare sockets, as much as a benchmark needs: the load shares its core with the
// upstream, and must not be what limits the program.
import { once } from "node:events";
import { connect } from "node:net";

const LAST_CHUNK = "0\r\n\r\n";

/** The key that callers have, where a program asks for one. */
export const CALLER_KEY = "bench-caller-key-0123456789";

/**
 * What a call asks for. To our upstream `max_tokens` is how many events a stream has, and `seed`
 * how many milliseconds are between them: two parameters that every proxy lets through.
 */
export function chatBody(stream) {
  return JSON.stringify({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "Say hello in a few words, please." }],
    max_tokens: stream?.events ?? 100,
    ...(stream !== undefined && { stream: true, seed: stream.paceMs }),
  });
}

/** A call in bytes. */
export function chatRequest(headers, stream) {
  const body = chatBody(stream);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(
    "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n" +
      `authorization: Bearer ${CALLER_KEY}\r\ncontent-type: application/json\r\n` +
      `${lines.join("")}content-length: ${body.length}\r\n\r\n${body}`,
  );
}

/** A connection that makes one call after the other. */
export class Connection {
  #socket;

  static async open(port) {
    const connection = new Connection();
    connection.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    await once(connection.#socket, "connect");
    return connection;
  }

  /** Reads the answer, a 200 or it throws. @returns milliseconds to its first byte */
  call(request) {
    const socket = this.#socket;
    const startedAt = performance.now();
    return new Promise((resolve, reject) => {
      let firstByteMs;
      let answer = "";
      const settle = (error) => {
        socket.off("data", onData).off("error", settle).off("close", onClose);
        if (error === undefined) resolve(firstByteMs);
        else reject(error);
      };
      const onClose = () => settle(new Error("The connection was closed."));
      const onData = (chunk) => {
        firstByteMs ??= performance.now() - startedAt;
        answer += chunk.latin1Slice();
        if (!isWhole(answer)) return;
        settle(answer.startsWith("HTTP/1.1 200") ? undefined : new Error(answer.slice(0, 500)));
      };
      socket.on("data", onData).on("error", settle).on("close", onClose);
      socket.write(request);
    });
  }

  close() {
    this.#socket.destroy();
  }
}

/** Of a request or an answer, headers and body. */
export function isWhole(message) {
  const bodyAt = message.indexOf("\r\n\r\n") + 4;
  if (bodyAt === 3) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(message);
  if (length !== null && length.index < bodyAt) return message.length >= bodyAt + Number(length[1]);
  if (!/\r\ntransfer-encoding: *chunked/i.test(message)) return true;
  return message.endsWith(LAST_CHUNK);
}

/** Watches a chunked answer for its end, however it arrives in pieces. */
export class EndOfChunks {
  #tail = "";

  /** Whether this piece was the last. */
  see(chunk) {
    const end = chunk.latin1Slice(Math.max(0, chunk.length - LAST_CHUNK.length));
    this.#tail = end.length === LAST_CHUNK.length ? end : (this.#tail + end).slice(-5);
    return this.#tail === LAST_CHUNK;
  }
}
