// How much a model has written for a call whose usage nobody reported.

/** How fast a model thinks and writes, where nobody sees it. */
const TOKENS_PER_MS = 0.2;
/** So long is even one silent that does not think. */
const PAUSE_MS = 2_000;

/** What shows of a model's work, and how long it was silent before and between. */
export class Work {
  #heardAtMs: number;
  #silentMs = 0;
  #tokens = 0;
  #begun = false;

  /** @param nowMs when it began. */
  constructor(nowMs: number) {
    this.#heardAtMs = nowMs;
  }

  /**
   * To be told whenever something has come, of which not everything is work.
   * @param tokens of all text so far, estimated.
   */
  hear(tokens: number, begun: boolean, nowMs: number): void {
    if (!begun || (this.#begun && tokens === this.#tokens)) return;
    this.#silentMs += Math.max(0, nowMs - this.#heardAtMs - PAUSE_MS);
    this.#heardAtMs = nowMs;
    this.#tokens = tokens;
    this.#begun = true;
  }

  /**
   * Text shows how much of it there was, and the silence how much was thought.
   * @param tokens of all text, estimated.
   * @param most what was set aside; what was thought is not more than that.
   */
  outputTokens(tokens: number, most: number, nowMs: number): number {
    const lastMs = nowMs - this.#heardAtMs;
    const silentMs = this.#begun ? this.#silentMs + Math.max(0, lastMs - PAUSE_MS) : lastMs;
    return Math.max(tokens, Math.min(most, tokens + Math.ceil(silentMs * TOKENS_PER_MS)));
  }
}
