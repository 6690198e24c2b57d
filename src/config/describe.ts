// The settings in force as lines to read: path, value and where it was set.
import type { BudgetConfig, Config } from "./config.ts";
import { toPath, type Loaded } from "./load.ts";
import { toBudgetText } from "./parse-budget.ts";
import type { OtlpTarget } from "./parse-otlp.ts";
import { isRecord } from "./reader.ts";
import { toRedisText } from "./redis-url.ts";

/** Secrets are hidden by what they are: a Secret prints as `[secret]`. */
export function describe({ config, sourceOf }: Pick<Loaded, "config" | "sourceOf">): string {
  const rows = toLeaves(toInput(config), []).map(({ steps, text }) => {
    return { name: toPath(steps), text, source: sourceOf(steps) };
  });
  const nameWidth = Math.max(...rows.map(({ name }) => name.length));
  const sourceWidth = Math.max(...rows.map(({ source }) => source.length));
  const lines = rows.map(({ name, text, source }) => {
    return `  ${name.padEnd(nameWidth)}  ${source.padEnd(sourceWidth)}  ${text}\n`;
  });
  return lines.join("");
}

/** What was parsed into something else, as it is set. */
function toInput(config: Config): object {
  const { redis, ...store } = config.store;
  const shown = { ...(redis && { redisUrl: toRedisText(redis) }), ...store };
  return { ...toShown(config), store: shown };
}

/** Vendors put tokens into the paths and queries of their collectors. */
export function toShown({ otlp, ...config }: Config): object {
  if (otlp === undefined) return config;
  const { traces, metrics, ...rest } = otlp;
  const show = (target: OtlpTarget) => ({ ...target, url: target.url.origin });
  return {
    ...config,
    otlp: {
      ...(traces && { traces: show(traces) }),
      ...(metrics && { metrics: show(metrics) }),
      ...rest,
    },
  };
}

interface Leaf {
  readonly steps: readonly string[];
  readonly text: string;
}

/** Down to what JSON would write as one value, or as a list of texts or budgets. */
function toLeaves(value: unknown, steps: readonly string[]): readonly Leaf[] {
  const branches = Array.isArray(value) ? !value.every(isItem) : isBranch(value);
  if (!branches) return [{ steps, text: toText(value) }];
  return Object.entries(Object(value)).flatMap(([key, member]) =>
    toLeaves(member, [...steps, key]),
  );
}

function isItem(value: unknown): boolean {
  return !isRecord(value) || isBudget(value);
}

function isBudget(value: unknown): value is BudgetConfig {
  return isRecord(value) && "usd" in value && "per" in value;
}

function toText(value: unknown): string {
  if (Array.isArray(value)) return value.map(toText).join(", ") || "none";
  return isBudget(value) ? toBudgetText(value) : String(value);
}

/** A Secret or a URL is a leaf. */
function isBranch(value: unknown): boolean {
  return isRecord(value) && Object.getPrototypeOf(value) === Object.prototype;
}
