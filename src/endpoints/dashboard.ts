// `GET /dashboard`: one static page, the same for everybody. What it shows it asks for itself, with
// the admin key that its user has.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { sendText } from "../http/respond.ts";

interface Page {
  readonly html: string;
  readonly policy: string;
}

let page: Page | undefined;

/** Read with the first who asks for it. */
export function sendDashboard(res: ServerResponse): void {
  page ??= read();
  res.setHeader("content-security-policy", page.policy);
  res.setHeader("cross-origin-opener-policy", "same-origin");
  res.setHeader("cross-origin-resource-policy", "same-origin");
  res.setHeader("referrer-policy", "no-referrer");
  res.setHeader("x-content-type-options", "nosniff");
  res.setHeader("cache-control", "no-cache");
  sendText(res, 200, page.html, "text/html; charset=utf-8");
}

function read(): Page {
  const html = readFileSync(new URL("./dashboard.html", import.meta.url), "utf8");
  return { html, policy: toPolicy(html) };
}

/**
 * Content Security Policy (W3C, level 3): the page's own script and style, by their hashes, and
 * nothing else: no other host is asked, nobody frames it, and no text becomes markup.
 */
function toPolicy(html: string): string {
  return [
    "default-src 'none'",
    `script-src ${hashOf(html, "script")}`,
    `style-src ${hashOf(html, "style")}`,
    "img-src data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}

function hashOf(html: string, element: "script" | "style"): string {
  const [, text = ""] = new RegExp(`<${element}[^>]*>([^]*?)</${element}>`).exec(html) ?? [];
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
