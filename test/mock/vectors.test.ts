// Embeddings, moderations and the list of models.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertRefused, at, items, openMock } from "./support.ts";

const model = "text-embedding-3-small";

test("embeds each input as a unit vector that depends on the text alone", async (t) => {
  const mock = await openMock(t);

  const reply = await mock.ask("/embeddings", { model, input: ["cat", "dog", "cat"] });

  const vectors = items(at(reply, "data")).map((item) => items(at(item, "embedding")).map(Number));
  assert.deepEqual(
    vectors.map((vector) => vector.length),
    [1536, 1536, 1536],
  );
  assert(vectors.every((vector) => Math.abs(Math.hypot(...vector) - 1) < 1e-6));
  assert.deepEqual(vectors[0], vectors[2]);
  assert.notDeepEqual(vectors[0], vectors[1]);
  assert.deepEqual(at(reply, "usage"), { prompt_tokens: 3, total_tokens: 3 });
});

test("encodes the same numbers as base64", async (t) => {
  const mock = await openMock(t);
  const body = { model, input: "cat", dimensions: 8 };

  const plain = await mock.ask("/embeddings", body);
  const packed = await mock.ask("/embeddings", { ...body, encoding_format: "base64" });

  const bytes = Buffer.from(String(at(packed, "data", 0, "embedding")), "base64");
  const numbers = Array.from({ length: 8 }, (_, index) => bytes.readFloatLE(4 * index));
  assert.equal(bytes.length, 32);
  assert.deepEqual(numbers, at(plain, "data", 0, "embedding"));
});

test("embeds token ids, and larger for the large model", async (t) => {
  const mock = await openMock(t);
  const ask = async (input: unknown): Promise<unknown> =>
    mock.ask("/embeddings", { model: "text-embedding-3-large", input });

  const [one, two] = [await ask([1, 2, 3]), await ask([[1, 2, 3], [4]])];

  assert.equal(items(at(one, "data")).length, 1);
  assert.equal(items(at(one, "data", 0, "embedding")).length, 3072);
  assert.equal(at(one, "usage", "total_tokens"), 3);
  assert.equal(items(at(two, "data")).length, 2);
});

test("refuses an embedding of nothing", async (t) => {
  const mock = await openMock(t);
  for (const input of [undefined, [], 7, [{}]]) {
    await assertRefused(await mock.post("/embeddings", { model, input }), 400, { param: "input" });
  }
});

test("flags what names a category and nothing else", async (t) => {
  const mock = await openMock(t);

  const input = ["a lovely day", "some VIOLENCE"];

  const reply = await mock.ask("/moderations", { input });

  assert.equal(at(reply, "model"), "omni-moderation-latest");
  assert.equal(at(reply, "results", 0, "flagged"), false);
  assert.equal(at(reply, "results", 1, "flagged"), true);
  assert.equal(at(reply, "results", 1, "categories", "violence"), true);
  assert.equal(at(reply, "results", 1, "categories", "hate"), false);
});

test("judges a string alone and the parts of a message together", async (t) => {
  const mock = await openMock(t);
  const input = [{ type: "text", text: "hate" }, { type: "image_url" }, "odd"];

  const parts = await mock.ask("/moderations", { input });
  const single = await mock.ask("/moderations", { input: "fine" });

  assert.equal(items(at(parts, "results")).length, 1);
  assert.equal(at(parts, "results", 0, "flagged"), true);
  assert.equal(at(single, "results", 0, "flagged"), false);
  await assertRefused(await mock.post("/moderations", {}), 400, { param: "input" });
});

test("lists models and knows only those", async (t) => {
  const mock = await openMock(t);

  const models: unknown = await (await mock.get("/models")).json();
  const known: unknown = await (await mock.get("/models/gpt-4o-mini")).json();
  const unknown = await mock.get("/models/gpt-99");

  assert.deepEqual(
    items(at(models, "data")).find((one) => at(one, "id") === "gpt-4o-mini"),
    known,
  );
  assert.equal(at(known, "object"), "model");
  await assertRefused(unknown, 404, { code: "model_not_found" });
});
