// Budgets in every form: "5/day", "$5/day", { "usd": 5, "per": "day" }, or a list of those.
import { BUDGET_PERIODS, type BudgetConfig, type BudgetPeriod } from "./config.ts";
import type { Reader } from "./reader.ts";

const RANGE = { min: 0.000001, max: 1_000_000 };
const DECIMALS = "6 decimals at most";

export function readBudget(limits: Reader, key: string): readonly BudgetConfig[] {
  const budgets = limits.entries(key, { fromText, fromSection });
  for (const period of BUDGET_PERIODS) {
    if (budgets.filter(({ per }) => per === period).length < 2) continue;
    limits.problem(key, `expected one budget for each period, got several for "${period}"`);
  }
  return budgets;
}

/** As an operator would write it. */
export function toBudgetText({ usd, per }: BudgetConfig): string {
  return `${usd}/${per}`;
}

function fromText(text: string, written: string): BudgetConfig | string {
  const [, amount = "", period] = /^\$?(\d+(?:\.\d+)?)\/(\w+)$/.exec(text) ?? [];
  const per = BUDGET_PERIODS.find((name) => name === period);
  if (per === undefined) return `expected dollars for a period, such as ${exemplify(written)}`;
  const usd = Number(amount);
  if (usd >= RANGE.min && usd <= RANGE.max && !isFiner(amount)) return { usd, per };
  return `expected ${RANGE.min} to ${RANGE.max} dollars, ${DECIMALS}`;
}

/** Of the amount that was written, what it may have meant. */
function exemplify(written: string): string {
  const [, amount = 5] = /^\$?(\d{1,7}(?:\.\d{1,6})?)(?:\/\w*)?$/.exec(written) ?? [];
  return BUDGET_PERIODS.map((per) => `${amount}/${per}`)
    .join(", ")
    .replace(/, (?=[^,]*$)/, " or ");
}

function fromSection(budget: Reader): BudgetConfig | undefined {
  if (!budget.has("usd")) budget.problem("usd", "is missing: expected dollars, such as 5");
  if (!budget.has("per")) {
    budget.problem("per", `is missing: expected one of ${BUDGET_PERIODS.join(", ")}`);
  }
  const usd = budget.number("usd", RANGE.min, RANGE);
  if (isFiner(String(usd))) budget.expected("usd", DECIMALS);
  const per = budget.oneOf<BudgetPeriod | "">("per", "", BUDGET_PERIODS);
  budget.finish();
  return per === "" ? undefined : { usd, per };
}

/** Than a micro-dollar, in which everything is counted. */
function isFiner(amount: string): boolean {
  return /\.\d{6}\d*[1-9]/.test(amount);
}
