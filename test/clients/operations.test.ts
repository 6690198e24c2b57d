// OpenAI adds paths every month, and the SDK knows them first: a new version of it that has one the
// gateway's table lacks fails here. The table is what policies, log and metrics speak of.
import assert from "node:assert/strict";
import { test } from "node:test";
import { findOperation, isAdministrative } from "../../src/openai/endpoints.ts";
import { readSdkOperations } from "./sdk-operations.ts";

test("the table has every operation that the official SDK has", () => {
  const operations = readSdkOperations();

  const missing = operations.filter(({ method, template }) => {
    const { operation } = findOperation(method, template.replaceAll("{}", "x"));
    return operation?.template.replace(/\{\w+\}/g, "{}") !== template;
  });

  assert.ok(operations.length > 380, `only ${operations.length} operations were read from the SDK`);
  const lines = missing.map(({ method, template, file }) => `${method} ${template} (${file})`);
  assert.deepEqual(lines, []);
});

test("what takes an administrator's key is administrative here: `*` does not open it", () => {
  const operations = readSdkOperations().filter(({ needsAdminKey }) => needsAdminKey);

  const open = operations.filter(({ method, template }) => {
    return !isAdministrative(method, template.replaceAll("{}", "x"));
  });

  assert.ok(operations.length > 140, `only ${operations.length} operations were read from the SDK`);
  assert.deepEqual(
    open.map(({ method, template }) => `${method} ${template}`),
    [],
  );
});
