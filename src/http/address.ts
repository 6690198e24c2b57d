// Who is at the other end, seen through the proxies in front.
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import type { IncomingMessage } from "node:http";

/** Compiles addresses and CIDR ranges that the configuration has checked. */
export function toAddressSet(ranges: readonly string[]): BlockList {
  const set = new BlockList();
  for (const range of ranges) {
    const [address = "", prefix] = range.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    set.addSubnet(address, Number(prefix ?? (family === "ipv6" ? 128 : 32)), family);
  }
  return set;
}

/**
 * The caller's address. `x-forwarded-for` is read from the right, past the proxies we trust: what
 * stands further left was written by the caller and proves nothing.
 */
export function clientAddress(req: IncomingMessage, trusted: BlockList): string {
  let address = bare(req.socket.remoteAddress ?? "unknown");
  const header = req.headers["x-forwarded-for"];
  if (header === undefined) return address;
  const forwarded = String(header).split(",");
  while (forwarded.length > 0 && contains(trusted, address)) {
    const next = bare(forwarded.pop()?.trim() ?? "");
    if (isIP(next) === 0) break;
    address = next;
  }
  return address;
}

/**
 * What one caller has: an IPv4 address, or the /64 of an IPv6 one, within which anybody may choose
 * addresses at will (RFC 6177).
 */
export function toNetwork(address: string): string {
  if (!isIPv6(address)) return address;
  const groups = toGroups(address);
  if (groups.slice(0, 5).every((group) => group === "0") && groups[5] === "ffff") {
    const bytes = groups.slice(6).flatMap((group) => {
      const value = Number.parseInt(group, 16);
      return [value >> 8, value & 255];
    });
    return bytes.join("."); // IPv4 in the clothes of IPv6 (RFC 4291 §2.5.5.2).
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}

/** The eight groups of an IPv6 address without its zone, in their one spelling (RFC 5952). */
function toGroups(address: string): readonly string[] {
  const { hostname } = new URL(`http://[${address.replace(/%.*$/, "")}]`);
  const [head = [], tail] = hostname
    .slice(1, -1)
    .split("::")
    .map((part) => part.split(":").filter((group) => group !== ""));
  if (tail === undefined) return head;
  return [...head, ...Array<string>(8 - head.length - tail.length).fill("0"), ...tail];
}

function contains(set: BlockList, address: string): boolean {
  return set.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}

/** `::ffff:10.0.0.1` and `10.0.0.1` are one address; some proxies add the port: `[::1]:4711`. */
function bare(text: string): string {
  const address = text.replace(/^\[(.+)\](?::\d+)?$|^([\d.]+):\d+$/, "$1$2");
  const mapped = address.replace(/^::ffff:/i, "");
  return isIPv4(mapped) ? mapped : address;
}
