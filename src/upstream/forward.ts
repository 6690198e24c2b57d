// The loop over attempts: at most two, the second only when OpenAI provably never saw the first.
import type { Cancellation } from "../cancellation.ts";
import type { Clock } from "../clock.ts";
import type { ApiCall, Attempt, Reply } from "./attempt.ts";

const PAUSE_MS = 100;

/**
 * @param canRepeat whether the body can still be sent from its first byte.
 * @throws GatewayError `upstream_…`, or the reason that the call was cancelled for.
 */
export async function forward(
  call: ApiCall,
  attempt: Attempt,
  canRepeat: () => boolean,
  clock: Clock,
): Promise<Reply> {
  const first = await attempt(call);
  if (first.kind === "reply") return first.reply;
  if (first.kind === "failed" || !canRepeat()) throw first.error;
  await pause(clock, call.cancellation);
  const second = await attempt(call);
  if (second.kind === "reply") return second.reply;
  throw second.error;
}

/** 100 to 200 ms, at random, so that calls that failed together do not return together. */
function pause(clock: Clock, cancellation: Cancellation): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(PAUSE_MS * (1 + Math.random()), () => {
      cancellation.unlisten(stop);
      resolve();
    });
    const stop = (): void => {
      timer.cancel();
      reject(cancellation.reason);
    };
    cancellation.listen(stop);
  });
}
