// How much a model has written for a call whose usage nobody reported.

/** How fast a model thinks and writes, where nobody sees it. */
const TOKENS_PER_MS = 0.2;
/** Before its first word even one that does not think takes so long. */
const READING_MS = 2_000;

export interface Seen {
  /** Estimated from the text that has come. */
  readonly tokens: number;
  /** From the call to the first of it, or until now. */
  readonly waitedMs: number;
  /** Whether there was any. */
  readonly begun: boolean;
}

/**
 * Text shows how much of it there was, and the time before it how much was thought.
 * @param most what was set aside; what was thought is not more than that.
 */
export function estimateOutput({ tokens, waitedMs, begun }: Seen, most: number): number {
  const hiddenMs = begun ? Math.max(0, waitedMs - READING_MS) : waitedMs;
  return Math.max(tokens, Math.min(most, tokens + Math.ceil(hiddenMs * TOKENS_PER_MS)));
}
