// The `openai-mock` request header, by which a caller asks for trouble:
// `openai-mock: status=429; delay-ms=500`.

import { invalid, type MockError } from "./errors.ts";

/** The directives that take a whole number, with what each accepts. */
const RANGES = {
  status: [400, 599],
  "delay-ms": [0, 600_000],
  "interval-ms": [0, 600_000],
  "break-after": [0, 1_000_000],
  "hang-after": [0, 1_000_000],
  tokens: [1, 100_000],
} as const satisfies Readonly<Record<string, readonly [min: number, max: number]>>;

type Name = keyof typeof RANGES;

export type Directives = Readonly<Partial<Record<Name, number>>> & { readonly code?: string };

const ALLOWED = [
  ...Object.entries(RANGES).map(([name, [min, max]]) => `${name}=${min}..${max}`),
  "code=NAME (with status)",
].join(", ");

export function parseDirectives(header: string): Directives {
  const numbers: Partial<Record<Name, number>> = {};
  let code: string | undefined;
  for (const directive of header.split(";")) {
    if (directive.trim() === "") continue;
    const [name = "", value = ""] = directive.split("=", 2).map((side) => side.trim());
    if (name === "code" && /^\w{1,64}$/.test(value)) code = value;
    else if (isName(name)) numbers[name] = parseNumber(name, value);
    else throw refuse(directive.trim());
  }
  if (code === undefined) return numbers;
  if (numbers.status === undefined) throw refuse(`code=${code}`);
  return { ...numbers, code };
}

function isName(name: string): name is Name {
  return Object.hasOwn(RANGES, name);
}

function parseNumber(name: Name, value: string): number {
  const [min, max] = RANGES[name];
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= min && number <= max) return number;
  throw refuse(`${name}=${value}`);
}

function refuse(directive: string): MockError {
  const message = `Bad openai-mock directive '${directive.slice(0, 80)}'. Allowed: ${ALLOWED}.`;
  return invalid(message, "openai-mock", "invalid_mock_directive");
}
