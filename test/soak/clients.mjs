// How clients talk to the gateway: well, with half an ear, or in bytes that are no HTTP.
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { CALLER } from "./gateway.mjs";

export class Clients {
  #port;
  #agent = new Agent({ keepAlive: true });

  constructor(port) {
    this.#port = port;
  }

  /**
   * A call whose answer has begun.
   * @returns the response, which is to be read or destroyed; when there is none, why.
   */
  async begin({ path = "/v1/chat/completions", scene, body, headers }) {
    const options = { port: this.#port, host: "127.0.0.1", agent: this.#agent };
    const sent = {
      ...CALLER,
      "content-type": "application/json",
      "content-length": body.length,
      ...(scene !== undefined && { "x-stainless-scene": scene }),
      ...headers,
    };
    const req = request({ ...options, method: "POST", path, headers: sent });
    const responding = new Promise((resolve) => {
      req.on("response", (res) => resolve(res.on("error", () => {})));
      req.on("error", ({ code }) => resolve({ statusCode: `no answer (${code})` }));
    });
    req.end(body);
    return responding;
  }

  /** A call that is read to its end: its status and text. */
  async call(options) {
    return readAll(await this.begin(options));
  }

  /** Sends bytes, and whatever is `next` to that; what came until the other side closed. */
  async send(bytes, next = () => {}) {
    const socket = connect(this.#port, "127.0.0.1").on("error", () => {});
    let text = "";
    socket.on("data", (piece) => next((text += piece.toString("latin1")), socket));
    socket.write(bytes);
    await new Promise((resolve) => socket.once("close", resolve));
    return text;
  }

  /** Lets go of idle connections; those in use stay. */
  hangUp() {
    this.#agent.destroy();
    this.#agent = new Agent({ keepAlive: true });
  }

  close() {
    this.#agent.destroy();
  }
}

/** @param res what `begin` has returned. */
export async function readAll(res) {
  if (typeof res.statusCode === "string") return { status: res.statusCode, text: "" };
  let text = "";
  res.setEncoding("utf8").on("data", (piece) => (text += piece));
  await new Promise((resolve) => res.once("close", resolve));
  return { status: res.complete ? res.statusCode : "broken", text };
}
