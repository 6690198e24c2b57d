// A refusal of the store's, as the client hears it: what is used up, and when to come back.
import { GatewayError, type ErrorDetails, type RefusedRule } from "../errors.ts";
import type { Level, Levels, Refused } from "../store/store.ts";

const RATES = {
  requestsPerMinute: "requests per minute",
  tokensPerMinute: "tokens per minute",
  concurrentRequests: "requests at a time",
} as const;

/** A rate or a number that is used up, or money that is. */
export function toRefusal(refused: Refused): GatewayError {
  const { rule, waitMs, held } = refused;
  const limits = toLimitHeaders(refused.levels);
  const details: ErrorDetails = {
    limits,
    refused: { rule, of: toKind(refused.scope) },
    ...(waitMs === undefined ? { retry: false } : { retryAfterMs: waitMs }),
  };
  if (rule === "budget") {
    const code = held ? "rate_limit_exceeded" : "insufficient_quota";
    return new GatewayError(code, describeBudget(refused), details);
  }
  return new GatewayError("rate_limit_exceeded", describeRate(refused, rule), details);
}

function describeRate({ wanted, limit, scope, waitMs }: Refused, rule: keyof typeof RATES): string {
  const what = `${toWhose(scope)} limit is ${limit} ${RATES[rule]}`;
  if (waitMs === undefined) {
    return `This call may take ${wanted} tokens, and ${what} (${rule}): ask for less output.`;
  }
  const needs = rule === "tokensPerMinute" ? `, of which this call needs ${wanted}` : "";
  return `Rate limit reached: ${what}${needs} (${rule}). Try again in ${toDuration(waitMs)}.`;
}

function describeBudget(refused: Refused): string {
  const { wanted, limit, left, held, scope, waitMs, per = "total" } = refused;
  const period = per === "total" ? "in total" : `per ${per}`;
  const budget = `${toWhose(scope)} budget of ${toUsd(limit)} ${period}`;
  if (held) {
    return `What is left of ${budget} is set aside for calls that are open. Try again soon.`;
  }
  if (wanted > limit) {
    return `This call may cost ${toUsd(wanted)}, more than ${budget}: ask for less output.`;
  }
  const needs = left > 0 ? `, and this call may cost ${toUsd(wanted)}` : "";
  const anew = waitMs === undefined ? "" : ` It begins anew in ${toDuration(waitMs)}.`;
  return `Of ${budget}, ${toUsd(left)} is left${needs}.${anew}`;
}

const WHOSE = { caller: "your", policy: "everybody's common", address: "your network's" } as const;

function toWhose(scope: string): string {
  return WHOSE[toKind(scope)];
}

function toKind(scope: string): RefusedRule["of"] {
  if (scope.startsWith("policy:")) return "policy";
  return scope.startsWith("address:") ? "address" : "caller";
}

/** As many decimals as say something. */
export function toUsd(microUsd: number): string {
  const dollars = (microUsd / 1_000_000).toFixed(6).replace(/0{1,4}$/, "");
  return `${dollars} USD`;
}

/** OpenAI's own names and format (its guide to rate limits). */
export function toLimitHeaders({
  requests,
  tokens,
}: Levels): readonly (readonly [string, string])[] {
  return [...toHeaders("requests", requests), ...toHeaders("tokens", tokens)];
}

function toHeaders(of: string, level: Level | undefined): readonly (readonly [string, string])[] {
  if (level === undefined) return [];
  return [
    [`x-ratelimit-limit-${of}`, String(level.limit)],
    [`x-ratelimit-remaining-${of}`, String(level.remaining)],
    [`x-ratelimit-reset-${of}`, toDuration(level.resetMs)],
  ];
}

/** As OpenAI writes them: `17ms`, `8.64s`, `6m0s`, `2h0m5s`. */
export function toDuration(ms: number): string {
  const whole = Math.ceil(ms);
  if (whole < 1_000) return `${whole}ms`;
  const minutes = Math.floor(whole / 60_000);
  const seconds = (whole % 60_000) / 1_000;
  if (minutes === 0) return `${seconds}s`;
  if (minutes < 60) return `${minutes}m${seconds}s`;
  return `${Math.floor(minutes / 60)}h${minutes % 60}m${Math.floor(seconds)}s`;
}
