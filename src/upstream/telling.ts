// fetch takes its time before it sends and after it was answered: that is ours, not OpenAI's. What
// passes between fetch and its agent tells how long.
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

/** The agent for one call. */
export function telling(dispatcher: Dispatcher, tell: (moment: Moment) => void): Dispatcher {
  let listener: typeof tell | undefined = tell;
  const say = (moment: Moment): void => {
    listener?.(moment);
    // The last of them. What fetch has made outlives the call, until all garbage is collected.
    if (moment === "firstByte") listener = undefined;
  };
  const one: Dispatcher = Object.create(dispatcher);
  one.dispatch = (options, handler) => {
    say("connecting");
    for (const name of ON_SENT) once(handler, name, () => say("sent"));
    for (const [name, moment] of Object.entries(MOMENTS)) {
      if (name in handler) once(handler, name, () => say(moment));
    }
    return dispatcher.dispatch(options, handler);
  };
  return one;
}

/** Runs before a method of an object is called for the first time. */
function once(handler: object, name: string, run: () => void): void {
  const original: unknown = Reflect.get(handler, name);
  Reflect.set(handler, name, (...args: unknown[]): unknown => {
    if (original === undefined) Reflect.deleteProperty(handler, name);
    else Reflect.set(handler, name, original);
    run();
    return typeof original === "function" ? Reflect.apply(original, handler, args) : undefined;
  });
}
