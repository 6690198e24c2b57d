// Counters, gauges and histograms in Prometheus' text format 0.0.4. To observe builds no text: what
// is written of a series but its value is made once, with the series.

/** Prometheus 3 takes nothing without it. */
export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

const OTHER = "other";

/** What one family of series is. */
export interface Shape<Labels extends readonly string[] = readonly string[]> {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: Labels;
  /** Sets of label values; all that come later are one more, of nothing but `other`. */
  readonly limit: number;
  /** Upper ends of a histogram's buckets, ascending, without the infinite one. */
  readonly bounds?: readonly number[];
}

/** How many lines of samples a family has at most. */
export function toSeriesLimit({ type, labels, limit, bounds = [] }: Shape): number {
  const lines = type === "histogram" ? bounds.length + 3 : 1;
  return (limit + (labels.length > 0 ? 1 : 0)) * lines;
}

/** One value for each label. */
type Values<Labels extends readonly string[]> = { readonly [index in keyof Labels]: string };

interface Series {
  /** Whole lines. */
  write(): string;
}

export class Counter implements Series {
  readonly #head: string;
  #value = 0;

  constructor({ name }: Shape, pairs: string) {
    this.#head = toHead(name, pairs);
  }

  /** Counters never fall, and one NaN would be for ever. */
  add(amount = 1): void {
    if (amount > 0 && amount < Infinity) this.#value += amount;
  }

  write(): string {
    return `${this.#head}${toNumber(this.#value)}\n`;
  }
}

/** Of what cannot be below 0, such as seconds. */
export class Histogram implements Series {
  readonly #bounds: readonly number[];
  readonly #bucketHeads: readonly string[];
  readonly #sumHead: string;
  readonly #countHead: string;
  /** One more than bounds. */
  readonly #counts: number[];
  #sum = 0;

  constructor({ name, bounds = [] }: Shape, pairs: string) {
    const ends = [...bounds, Infinity];
    const comma = pairs === "" ? "" : ",";
    this.#bounds = bounds;
    this.#bucketHeads = ends.map((end) => {
      return toHead(`${name}_bucket`, `${pairs}${comma}le="${toNumber(end)}"`);
    });
    this.#sumHead = toHead(`${name}_sum`, pairs);
    this.#countHead = toHead(`${name}_count`, pairs);
    this.#counts = ends.fill(0);
  }

  observe(value: number): void {
    if (!Number.isFinite(value)) return;
    const amount = Math.max(value, 0);
    let bucket = 0;
    while (amount > (this.#bounds[bucket] ?? Infinity)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += amount;
  }

  write(): string {
    let text = "";
    let count = 0;
    for (const [index, head] of this.#bucketHeads.entries()) {
      count += this.#counts[index] ?? 0;
      text += `${head}${count}\n`;
    }
    return `${text}${this.#sumHead}${toNumber(this.#sum)}\n${this.#countHead}${count}\n`;
  }
}

/** Asked when it is written. */
class Reading implements Series {
  readonly #head: string;
  readonly #read: () => number | undefined;

  constructor({ name }: Shape, pairs: string, read: () => number | undefined) {
    this.#head = toHead(name, pairs);
    this.#read = read;
  }

  write(): string {
    const value = this.#read();
    return value === undefined ? "" : `${this.#head}${toNumber(value)}\n`;
  }
}

interface Branch<Member> {
  readonly branches: Map<string, Branch<Member>>;
  member: Member | undefined;
}

/** All series of one name. */
export class Family<Labels extends readonly string[], Member extends Series> {
  readonly #shape: Shape<Labels>;
  readonly #create: (pairs: string) => Member;
  /** By the value of the first label, of the second, and so on. */
  readonly #root: Branch<Member> = createBranch();
  readonly #members: Member[] = [];

  constructor(shape: Shape<Labels>, create: (pairs: string) => Member) {
    this.#shape = shape;
    this.#create = create;
  }

  /** The series of these values, or of all that are too many. */
  with(...values: Values<Labels>): Member {
    let branch: Branch<Member> | undefined = this.#root;
    for (const value of values) branch = branch?.branches.get(value);
    return branch?.member ?? this.#add(values);
  }

  /** Nothing while there is no series. */
  write(): string {
    let samples = "";
    for (const member of this.#members) samples += member.write();
    const { name, type, help } = this.#shape;
    const head = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
    return samples === "" ? "" : head + samples;
  }

  #add(wanted: readonly string[]): Member {
    const { labels, limit } = this.#shape;
    const values = this.#members.length < limit ? wanted : wanted.map(() => OTHER);
    let branch = this.#root;
    for (const value of values) {
      const next = branch.branches.get(value) ?? createBranch<Member>();
      branch.branches.set(value, next);
      branch = next;
    }
    if (branch.member === undefined) {
      const pairs = values.map((value, index) => `${labels[index]}="${escapeValue(value)}"`);
      branch.member = this.#create(pairs.join(","));
      this.#members.push(branch.member);
    }
    return branch.member;
  }
}

export class Registry {
  readonly #families: { write(): string }[] = [];

  counter<Labels extends readonly string[]>(shape: Shape<Labels>): Family<Labels, Counter> {
    return this.#keep(new Family(shape, (pairs) => new Counter(shape, pairs)));
  }

  histogram<Labels extends readonly string[]>(shape: Shape<Labels>): Family<Labels, Histogram> {
    return this.#keep(new Family(shape, (pairs) => new Histogram(shape, pairs)));
  }

  /**
   * The one series of a gauge, or of a counter that somebody else keeps.
   * @param read is asked whenever all is written; `undefined` leaves it out.
   */
  reading<Labels extends readonly string[]>(
    shape: Shape<Labels>,
    read: () => number | undefined,
    ...values: Values<Labels>
  ): void {
    this.#keep(new Family(shape, (pairs) => new Reading(shape, pairs, read))).with(...values);
  }

  /** All families in the order they were made, their series in the order they came. */
  write(): string {
    let text = "";
    for (const family of this.#families) text += family.write();
    return text;
  }

  #keep<Kept extends { write(): string }>(family: Kept): Kept {
    this.#families.push(family);
    return family;
  }
}

function createBranch<Member>(): Branch<Member> {
  return { branches: new Map(), member: undefined };
}

/** A sample's line up to its value. */
function toHead(name: string, pairs: string): string {
  return pairs === "" ? `${name} ` : `${name}{${pairs}} `;
}

/** As Go's ParseFloat reads it. */
function toNumber(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeValue(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
