// What was measured, by program and metric, one figure a round; and what is made of it.

/** The value that a share of all are at or below. */
export function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** Undefined of nothing. */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length % 2 === 1) return sorted[Math.floor(middle)];
  return sorted.length === 0 ? undefined : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The figures of all rounds. What was not measured is undefined. */
export class Results {
  #rounds = new Map();

  add(program, figures) {
    for (const [metric, value] of Object.entries(figures)) {
      const key = `${program} ${metric}`;
      if (!this.#rounds.has(key)) this.#rounds.set(key, []);
      this.#rounds.get(key).push(value);
    }
  }

  median(program, metric) {
    return median(this.#of(program, metric));
  }

  /**
   * How many times as much as another program: the median of each round's own ratio, as what slows
   * a machine for a minute slows both.
   */
  ratio(program, metric, base) {
    const others = this.#of(base, metric);
    return median(
      this.#of(program, metric)
        .slice(0, others.length)
        .map((value, round) => value / others[round]),
    );
  }

  #of(program, metric) {
    return this.#rounds.get(`${program} ${metric}`) ?? [];
  }
}
