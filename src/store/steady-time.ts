// The time that budgets go by. A wall clock may be set: forward, which would begin every period
// anew, and back, which would begin them twice.
import type { Clock } from "../clock.ts";

/** How fast a clock that was set is followed. Real clocks drift by less. */
const FOLLOWED = 0.01;

/**
 * Milliseconds since the epoch, from the wall clock once and then from the monotonic one; a wall
 * clock that differs is followed by one percent of the time that passes.
 */
export function createSteadyTime(clock: Clock): () => number {
  let wallMs = clock.now();
  let elapsedMs = clock.elapsed();
  return () => {
    const now = clock.elapsed();
    const passed = now - elapsedMs;
    const apart = clock.now() - (wallMs + passed);
    const most = passed * FOLLOWED;
    wallMs += passed + Math.max(-most, Math.min(most, apart));
    elapsedMs = now;
    return wallMs;
  };
}
