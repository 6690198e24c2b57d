// The caller's address is what the last proxy that we trust has seen, and nothing a caller can write.
import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { clientAddress, toAddressSet } from "../../src/http/address.ts";

function addressOf(
  remoteAddress: string | undefined,
  forwarded: string | undefined,
  trusted: readonly string[],
): string {
  const headers = forwarded === undefined ? {} : { "x-forwarded-for": forwarded };
  const made: unknown = { socket: { remoteAddress }, headers };
  return clientAddress(made as IncomingMessage, toAddressSet(trusted));
}

const PROXIES = ["10.0.0.0/8", "192.168.1.1", "fd00::/8", "2001:db8::7"];

const CASES: readonly (readonly [
  string,
  string | undefined,
  string | undefined,
  readonly string[],
  string,
])[] = [
  ["nobody is trusted: the socket's", "203.0.113.9", "1.2.3.4", [], "203.0.113.9"],
  ["the socket is no proxy: its own", "203.0.113.9", "1.2.3.4", PROXIES, "203.0.113.9"],
  ["a proxy without a list: its own", "10.0.0.1", undefined, PROXIES, "10.0.0.1"],
  ["a proxy with an empty list: its own", "10.0.0.1", "", PROXIES, "10.0.0.1"],
  ["a proxy: the rightmost", "10.0.0.1", "6.6.6.6, 1.2.3.4", PROXIES, "1.2.3.4"],
  [
    "what stands left of a stranger proves nothing",
    "10.0.0.1",
    "10.9.9.9, 6.6.6.6, 1.2.3.4",
    PROXIES,
    "1.2.3.4",
  ],
  ["two proxies: past both", "10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", PROXIES, "1.2.3.4"],
  ["a single address is trusted as such", "192.168.1.1", "1.2.3.4", PROXIES, "1.2.3.4"],
  ["its neighbour is not", "192.168.1.2", "1.2.3.4", PROXIES, "192.168.1.2"],
  ["proxies alone: the leftmost", "10.0.0.1", "10.0.0.3, 10.0.0.2", PROXIES, "10.0.0.3"],
  ["everybody is trusted: the leftmost", "9.9.9.9", "6.6.6.6, 1.2.3.4", ["0.0.0.0/0"], "6.6.6.6"],
  ["junk ends the search", "10.0.0.1", "1.2.3.4, junk", PROXIES, "10.0.0.1"],
  ["unknown ends the search", "10.0.0.1", "unknown", PROXIES, "10.0.0.1"],
  ["numbers beyond 255 end the search", "10.0.0.1", "1.2.3.4, 999.1.1.1", PROXIES, "10.0.0.1"],
  ["a host name ends the search", "10.0.0.1", "localhost", PROXIES, "10.0.0.1"],
  ["empty items end the search", "10.0.0.1", "1.2.3.4, ,", PROXIES, "10.0.0.1"],
  ["markup ends the search", "10.0.0.1", "<script>", PROXIES, "10.0.0.1"],
  ["no spaces", "10.0.0.1", "6.6.6.6,1.2.3.4,10.0.0.2", PROXIES, "1.2.3.4"],
  ["a port", "10.0.0.1", "1.2.3.4:4711", PROXIES, "1.2.3.4"],
  ["a port on a proxy", "10.0.0.1", "1.2.3.4, 10.0.0.2:80", PROXIES, "1.2.3.4"],
  ["IPv6", "fd00::1", "2001:db8::1", PROXIES, "2001:db8::1"],
  ["IPv6 in brackets", "fd00::1", "[2001:db8::1]", PROXIES, "2001:db8::1"],
  ["IPv6 in brackets with a port", "fd00::1", "[2001:db8::1]:4711", PROXIES, "2001:db8::1"],
  ["an IPv6 proxy in the list", "10.0.0.1", "1.2.3.4, 2001:db8::7", PROXIES, "1.2.3.4"],
  ["an IPv4 proxy on a socket of both", "::ffff:10.0.0.1", "1.2.3.4", PROXIES, "1.2.3.4"],
  ["an IPv4 caller on a socket of both", "::ffff:203.0.113.9", undefined, [], "203.0.113.9"],
  ["IPv4 in IPv6 in the list", "10.0.0.1", "::ffff:1.2.3.4", PROXIES, "1.2.3.4"],
  ["the same in capitals", "10.0.0.1", "::FFFF:1.2.3.4", PROXIES, "1.2.3.4"],
  ["IPv4 in IPv6 with a port", "10.0.0.1", "[::ffff:1.2.3.4]:1", PROXIES, "1.2.3.4"],
  ["a socket with no address: a pipe, or closed", undefined, "1.2.3.4", PROXIES, "unknown"],
];

for (const [name, remote, forwarded, trusted, expected] of CASES) {
  test(name, () => {
    assert.equal(addressOf(remote, forwarded, trusted), expected);
  });
}

test("a list of sixteen thousand proxies is walked", () => {
  const list = Array.from({ length: 16_000 }, () => "10.0.0.2").join(",");

  assert.equal(addressOf("10.0.0.1", `1.2.3.4,${list}`, PROXIES), "1.2.3.4");
});
