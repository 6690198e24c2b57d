// How the upstream does: what became of the attempts to reach it.
import type { Clock } from "../clock.ts";
import { GatewayError } from "../errors.ts";
import type { AttemptOutcome } from "../telemetry/call-report.ts";
import type { Attempt, Outcome } from "./attempt.ts";

/** Of so many attempts, the latest, most have to be answered for the upstream to be healthy. */
const WINDOW = 20;

const CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

export interface UpstreamFailure {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly code: string;
  readonly reason: string;
}

export class UpstreamHealth {
  /** How many attempts had which outcome. */
  readonly attempts: Record<AttemptOutcome, number> = {
    "1xx": 0,
    "2xx": 0,
    "3xx": 0,
    "4xx": 0,
    "5xx": 0,
    unreached: 0,
    failed: 0,
    cancelled: 0,
  };
  /** How many of them were second ones. */
  retries = 0;
  /** Milliseconds since 1970. */
  lastAnswerAtMs: number | undefined;
  lastFailure: UpstreamFailure | undefined;
  readonly #clock: Clock;
  /** Of the latest attempts, whether they were answered well. */
  readonly #latest: boolean[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get healthy(): boolean {
    const failures = this.#latest.filter((well) => !well).length;
    return failures * 2 <= this.#latest.length;
  }

  /** @param told of each attempt, and how long it took to be answered. */
  watch(attempt: Attempt, told: (outcome: AttemptOutcome, seconds: number) => void): Attempt {
    return async (call) => {
      const startedAt = this.#clock.elapsed();
      let outcome: AttemptOutcome = "cancelled";
      try {
        const result = await attempt(call);
        outcome = this.#note(result);
        return result;
      } catch (thrown) {
        // One of our clocks ran out: that is the upstream's silence, and no client's wish.
        if (thrown instanceof GatewayError && thrown.fault === "upstream") {
          outcome = "failed";
          this.#fail(thrown);
        }
        throw thrown;
      } finally {
        this.attempts[outcome]++;
        told(outcome, (this.#clock.elapsed() - startedAt) / 1_000);
      }
    };
  }

  #note(result: Outcome): AttemptOutcome {
    if (result.kind !== "reply") {
      this.#fail(result.error);
      return result.kind;
    }
    const { status } = result.reply;
    this.lastAnswerAtMs = this.#clock.now();
    if (status >= 500) this.#fail({ code: String(status), message: "OpenAI answered with it." });
    else this.#remember(true);
    return CLASSES[Math.floor(status / 100) - 1] ?? "failed";
  }

  #fail({ code, message }: Pick<GatewayError, "message"> & { readonly code: string }): void {
    this.lastFailure = { atMs: this.#clock.now(), code, reason: message };
    this.#remember(false);
  }

  #remember(well: boolean): void {
    this.#latest.push(well);
    if (this.#latest.length > WINDOW) this.#latest.shift();
  }
}
