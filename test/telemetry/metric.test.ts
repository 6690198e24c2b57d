// Prometheus' text format 0.0.4, letter by letter.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CONTENT_TYPE, Registry, toSeriesLimit, type Shape } from "../../src/telemetry/metric.ts";
import { readExposition } from "./metric-traffic.ts";

function toShape<const Labels extends readonly string[]>(
  labels: Labels,
  changes: Partial<Omit<Shape, "labels">> = {},
): Shape<Labels> {
  return { name: "a_total", type: "counter", help: "All of a.", limit: 10, ...changes, labels };
}

const HEAD = "# HELP a_total All of a.\n# TYPE a_total counter\n";

test("the content type is the one that Prometheus 3 insists on", () => {
  assert.equal(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
});

test("writes a counter without labels", () => {
  const registry = new Registry();
  const counter = registry.counter(toShape([])).with();

  counter.add();
  counter.add(2.5);

  assert.equal(registry.write(), `${HEAD}a_total 3.5\n`);
});

test("writes the series of a family in the order they came, whatever happens later", () => {
  const registry = new Registry();
  const counter = registry.counter(toShape(["method", "code"]));
  counter.with("post", "200").add(1027);
  counter.with("get", "200").add();
  counter.with("post", "400").add(3);
  counter.with("get", "200").add();

  assert.equal(
    registry.write(),
    `${HEAD}a_total{method="post",code="200"} 1027\n` +
      'a_total{method="get",code="200"} 2\n' +
      'a_total{method="post",code="400"} 3\n',
  );
});

test("keeps values apart that would be one if they were joined", () => {
  const registry = new Registry();
  const counter = registry.counter(toShape(["x", "y"]));
  counter.with("a,b", "c").add(1);
  counter.with("a", "b,c").add(2);
  counter.with("", "a,b,c").add(3);

  const text = registry.write();

  assert.equal(readExposition(text)[0]?.samples.length, 3);
  assert.ok(text.includes('a_total{x="",y="a,b,c"} 3\n'), text);
});

test("writes nothing of a family without a series, and nothing at all without families", () => {
  const registry = new Registry();
  assert.equal(registry.write(), "");

  registry.counter(toShape(["x"]));
  registry.histogram(toShape(["x"], { name: "h", type: "histogram", bounds: [1] }));
  registry.reading(toShape([], { name: "g", type: "gauge" }), () => undefined);

  assert.equal(registry.write(), "");
});

test("escapes backslash, quote and line feed in label values, and nothing else", () => {
  const registry = new Registry();
  const odd = 'C:\\DIR\\n"FILE"\nnext\r\t{}=,# é 日本';
  registry
    .counter(toShape(["path"]))
    .with(odd)
    .add();

  const text = registry.write();

  const escaped = 'C:\\\\DIR\\\\n\\"FILE\\"\\nnext\r\t{}=,# é 日本';
  assert.equal(text, `${HEAD}a_total{path="${escaped}"} 1\n`);
});

test("escapes backslash and line feed in help, where a quote is a quote", () => {
  const registry = new Registry();
  registry.counter(toShape([], { help: 'The "a"\\n of\nall.' })).with();

  const [help] = registry.write().split("\n");

  assert.equal(help, '# HELP a_total The "a"\\\\n of\\nall.');
});

test("writes numbers as Go reads them", () => {
  const values = [NaN, Infinity, -Infinity, 0, -0, -1, 0.1, 1e-7, 1e21, 2 ** 53, 5e-324];
  const registry = new Registry();
  for (const [index, value] of values.entries()) {
    registry.reading(toShape([], { name: `g${index}`, type: "gauge" }), () => value);
  }

  const written = registry.write().match(/(?<=^g\d+ ).*$/gm);

  assert.deepEqual(written, [
    ...["NaN", "+Inf", "-Inf", "0", "0", "-1", "0.1", "1e-7", "1e+21"],
    ...["9007199254740992", "5e-324"],
  ]);
});

test("asks a reading whenever it is written, and leaves it out where nobody knows", () => {
  const registry = new Registry();
  let value: number | undefined = 1;
  registry.reading(toShape(["of"], { name: "g", type: "gauge" }), () => value, "x");
  const writeWith = (next: number | undefined): string => {
    value = next;
    return registry.write();
  };

  assert.match(writeWith(7), /^# HELP g .*\n# TYPE g gauge\ng\{of="x"\} 7\n$/);
  assert.equal(writeWith(undefined), "");
  assert.match(writeWith(8), /\ng\{of="x"\} 8\n$/);
});

test("a counter never falls, and nothing that is no number spoils it", () => {
  const registry = new Registry();
  const counter = registry.counter(toShape([])).with();
  counter.add(2);

  for (const amount of [-1, NaN, Infinity, -Infinity, 0]) counter.add(amount);

  assert.equal(registry.write(), `${HEAD}a_total 2\n`);
});

test("writes a histogram's buckets one on top of the other, then sum and count", () => {
  const registry = new Registry();
  const shape = toShape([], { name: "h", type: "histogram", bounds: [0.1, 1, 10] });
  const histogram = registry.histogram(shape).with();

  // What is equal to a bucket's end belongs to it.
  for (const value of [0.1, 0.5, 1, 1.0001, 10, 11, 0, -1]) histogram.observe(value);
  for (const value of [NaN, Infinity, -Infinity]) histogram.observe(value);

  assert.equal(
    registry.write(),
    "# HELP h All of a.\n# TYPE h histogram\n" +
      'h_bucket{le="0.1"} 3\nh_bucket{le="1"} 5\nh_bucket{le="10"} 7\nh_bucket{le="+Inf"} 8\n' +
      "h_sum 23.6001\nh_count 8\n",
  );
});

test("writes a histogram's other labels before its buckets' ends", () => {
  const registry = new Registry();
  const shape = toShape(["route"], { name: "h", type: "histogram", bounds: [5] });
  registry.histogram(shape).with('"chat"').observe(4);

  const lines = registry.write().split("\n").slice(2);

  assert.deepEqual(lines, [
    'h_bucket{route="\\"chat\\"",le="5"} 1',
    'h_bucket{route="\\"chat\\"",le="+Inf"} 1',
    'h_sum{route="\\"chat\\""} 4',
    'h_count{route="\\"chat\\""} 1',
    "",
  ]);
});

test("beyond its limit of series a family has one more, of nothing but other", () => {
  const registry = new Registry();
  const shape = toShape(["x", "y"], { limit: 2 });
  const counter = registry.counter(shape);
  counter.with("a", "1").add();
  counter.with("b", "1").add();

  for (let n = 0; n < 10_000; n++) counter.with(`a${n}`, "1").add();
  counter.with("a", "1").add();
  counter.with("a", "2").add();

  assert.equal(
    registry.write(),
    `${HEAD}a_total{x="a",y="1"} 2\na_total{x="b",y="1"} 1\na_total{x="other",y="other"} 10001\n`,
  );
  assert.equal(toSeriesLimit(shape), 3);
});

test("who is called other from the start is no second series beyond the limit", () => {
  const registry = new Registry();
  const counter = registry.counter(toShape(["x"], { limit: 2 }));

  for (const value of ["other", "a", "b", "c", "other"]) counter.with(value).add();

  assert.equal(registry.write(), `${HEAD}a_total{x="other"} 4\na_total{x="a"} 1\n`);
});

test("a histogram's limit counts every line", () => {
  const shape = toShape(["x"], { name: "h", type: "histogram", bounds: [1, 2], limit: 1 });
  const registry = new Registry();
  const histogram = registry.histogram(shape);

  for (const value of ["a", "b", "c"]) histogram.with(value).observe(1);

  const lines = registry.write().match(/^h_.*$/gm);
  assert.equal(lines?.length, toSeriesLimit(shape));
});
