// The readers of streams, a process of their own, told what to do by messages. They count events
// and look at nothing else.
import { connect } from "node:net";
import { chatRequest, EndOfChunks } from "./wire.mjs";

const OPENING_AT_ONCE = 50;
const MARK = "~".charCodeAt(0);

const readers = new Set();
let events = 0;

class Reader {
  #socket;
  #fresh = true;
  #end = new EndOfChunks();
  #again;

  /**
   * @param first a request
   * @param again the request that follows each stream's end, if any does
   */
  constructor(port, first, again) {
    this.#again = again;
    this.begun = new Promise((resolve) => (this.begin = resolve));
    this.ended = new Promise((resolve) => (this.end = resolve));
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (chunk) => this.#read(chunk));
    this.#socket.on("error", fail);
    this.#socket.on("close", () => readers.has(this) && fail(new Error("A stream was cut off.")));
    this.#socket.write(first);
    readers.add(this);
  }

  /** Reads its stream to the end and begins no other. */
  finish() {
    this.#again = undefined;
    return this.ended;
  }

  leave() {
    readers.delete(this);
    this.#socket.destroy();
  }

  #read(chunk) {
    if (this.#fresh) {
      const status = chunk.latin1Slice(0, 12);
      if (status !== "HTTP/1.1 200") fail(new Error(`A stream was refused: ${chunk}`));
      this.#fresh = false;
    }
    for (let at = chunk.indexOf(MARK); at !== -1; at = chunk.indexOf(MARK, at + 1)) {
      events++;
      this.begin();
    }
    if (!this.#end.see(chunk)) return;
    if (this.#again === undefined) {
      this.leave();
      this.end();
    } else {
      this.#fresh = true;
      this.#socket.write(this.#again);
    }
  }
}

const TASKS = {
  /** Begins streams, as many more, and answers when each has had its first event. */
  async open({ count, port, headers, events, paceMs, again = false }) {
    const request = chatRequest(headers, { events, paceMs });
    let opened = 0;
    const opening = Array.from({ length: OPENING_AT_ONCE }, async () => {
      while (opened < count) {
        // Those that begin together would end together: the first ones are of all lengths.
        const first = Math.max(1, Math.round((events * ++opened) / count));
        const short = again ? chatRequest(headers, { events: first, paceMs }) : request;
        await new Reader(port, short, again ? request : undefined).begun;
      }
    });
    await Promise.all(opening);
    return {};
  },
  async count() {
    return { events };
  },
  /** Answers when all streams have ended. */
  async finish() {
    await Promise.all([...readers].map((reader) => reader.finish()));
    return {};
  },
  async leave() {
    readers.forEach((reader) => reader.leave());
    return {};
  },
};

process.on("message", async (question) => process.send(await TASKS[question.task](question)));
process.on("disconnect", () => process.exit());

function fail({ message }) {
  console.error(message);
  process.exit(1);
}
