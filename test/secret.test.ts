// A secret never prints itself, whatever prints it.
import assert from "node:assert/strict";
import { format, inspect } from "node:util";
import { test } from "node:test";
import { Secret } from "../src/secret.ts";

const VALUE = "sk-very-secret-0123456789";
const secret = new Secret(VALUE);

const WAYS: Readonly<Record<string, () => unknown>> = {
  "a template": () => `${secret}`,
  "String()": () => String(secret),
  "+": () => "" + String(secret),
  "JSON.stringify": () => JSON.stringify({ deep: [{ secret }] }),
  "util.inspect": () => inspect(secret),
  "util.inspect with everything shown": () =>
    inspect({ secret }, { showHidden: true, depth: 9, getters: true, customInspect: false }),
  "util.format": () => format("%s %o %O %j", secret, secret, secret, secret),
  "Object.entries": () => JSON.stringify(Object.entries(secret)),
  "a spread": () => JSON.stringify({ ...secret }),
  structuredClone: () =>
    inspect(structuredClone(secret), { showHidden: true, customInspect: false }),
  "an error's message": () => new Error(`failed with ${secret}`).stack,
  "an error's cause": () => inspect(new Error("failed", { cause: secret })),
};

for (const [name, print] of Object.entries(WAYS)) {
  test(`${name} does not show it`, () => {
    assert.ok(!String(print()).includes(VALUE));
  });
}

test("it says that it is hidden", () => {
  assert.equal(
    `${secret} ${JSON.stringify(secret)} ${inspect(secret)}`,
    '[secret] "[secret]" [secret]',
  );
});

test("reveal is the way to it", () => {
  assert.equal(secret.reveal(), VALUE);
});
