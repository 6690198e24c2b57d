// What passes between fetch and its agent. fetch takes its time before it sends and after it was
// answered: that is ours, not OpenAI's. And a call is ended here, as a signal for fetch, which it
// hangs on every object of the call, takes a sixth of fetch's time.
import type { Cancellation } from "../cancellation.ts";
import type { Dispatcher } from "./agent.ts";
import type { Moment } from "./attempt.ts";

/** By the names that the handlers of undici 6 and 7 have, and those of 8. */
const MOMENTS: Readonly<Record<string, Moment>> = {
  onConnect: "connected",
  onRequestStart: "connected",
  onHeaders: "answered",
  onResponseStart: "answered",
  onData: "firstByte",
  onResponseData: "firstByte",
};
/** Handlers of fetch have none of these, and are told all the same. */
const ON_SENT = ["onBodySent", "onRequestSent"];

/** Of one call. */
export class Wire {
  /** The agent, for fetch. */
  readonly dispatcher: Dispatcher;
  // What fetch has made outlives its call until V8 collects all garbage, and the wire with it, so
  // nothing here leads to the call itself once that is answered.
  #tell: ((moment: Moment) => void) | undefined;
  #abort: ((reason: Error) => void) | undefined;
  #reason: Error | undefined;

  constructor(agent: Dispatcher, tell: (moment: Moment) => void) {
    this.#tell = tell;
    this.dispatcher = Object.create(agent);
    this.dispatcher.dispatch = (options, handler) => {
      this.#say("connecting");
      for (const name of ON_SENT) once(handler, name, () => this.#say("sent"));
      for (const [name, moment] of Object.entries(MOMENTS)) {
        if (!(name in handler)) continue;
        once(handler, name, (first) => {
          if (moment === "connected") this.#connected(first);
          this.#say(moment);
        });
      }
      return agent.dispatch(options, handler);
    };
  }

  /** @throws the reason, as soon as the call is cancelled, whatever becomes of the answer. */
  until<Answer>(answer: Promise<Answer>, cancellation: Cancellation): Promise<Answer> {
    return new Promise((resolve, reject) => {
      cancellation.listen(() => {
        this.#reason = cancellation.reason;
        reject(this.#reason);
        this.#end();
      });
      answer.then(resolve, reject);
    });
  }

  /** @param given undici's way to end the call, or the controller that has one. */
  #connected(given: unknown): void {
    const abort: unknown = typeof given === "function" ? given : Object(given).abort;
    if (typeof abort !== "function") return;
    this.#abort = (reason) => void Reflect.apply(abort, given, [reason]);
    this.#end();
  }

  #end(): void {
    if (this.#reason !== undefined) this.#abort?.(this.#reason);
  }

  #say(moment: Moment): void {
    this.#tell?.(moment);
    if (moment === "firstByte") this.#tell = undefined;
  }
}

/** Runs before an object's method is called for the first time, with what that is given first. */
function once(handler: object, name: string, run: (first: unknown) => void): void {
  const original: unknown = Reflect.get(handler, name);
  Reflect.set(handler, name, (...args: unknown[]): unknown => {
    Reflect.set(handler, name, original ?? nothing);
    run(args[0]);
    return typeof original === "function" ? Reflect.apply(original, handler, args) : undefined;
  });
}

function nothing(): void {}
