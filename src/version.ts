// Which version this is, as package.json has it.
import { readFileSync } from "node:fs";

let known: string | undefined;

/** `unknown` where somebody has bundled the code without its package.json. */
export function version(): string {
  return (known ??= read());
}

function read(): string {
  try {
    const url = new URL("../package.json", import.meta.url);
    const manifest: unknown = JSON.parse(readFileSync(url, "utf8"));
    return String(Object(manifest).version);
  } catch {
    return "unknown";
  }
}
