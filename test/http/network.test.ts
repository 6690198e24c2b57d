// One caller is one IPv4 address, or one /64 of IPv6: whoever has that can write any address in it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { toNetwork } from "../../src/http/address.ts";

const CASES: Readonly<Record<string, readonly [address: string, expected: string]>> = {
  "an IPv4 address is itself": ["203.0.113.9", "203.0.113.9"],
  "an IPv6 address is its /64": ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  "whatever its other half is": ["2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"],
  "zeros left out at the end": ["2001:db8::", "2001:db8:0:0::/64"],
  "zeros left out in the middle": ["2001:db8::5:6", "2001:db8:0:0::/64"],
  "zeros left out within the network": ["2001::2:3:4:5:6", "2001:0:0:2::/64"],
  "zeros left out in front": ["::2:3:4:5:6:7", "0:0:2:3::/64"],
  "zeros written out": ["2001:0db8:0000:0002:0:0:0:1", "2001:db8:0:2::/64"],
  capitals: ["2001:DB8:A:B::1", "2001:db8:a:b::/64"],
  loopback: ["::1", "0:0:0:0::/64"],
  "the address of none": ["::", "0:0:0:0::/64"],
  "a link-local address with its interface": ["fe80::1%eth0", "fe80:0:0:0::/64"],
  "dots at the end": ["64:ff9b:1:2:3:4:192.0.2.1", "64:ff9b:1:2::/64"],
  "IPv4 within IPv6, in hexadecimal, is that address": ["::ffff:cb00:7109", "203.0.113.9"],
  "a socket that is gone": ["unknown", "unknown"],
};

for (const [name, [address, expected]] of Object.entries(CASES)) {
  test(name, () => {
    assert.equal(toNetwork(address), expected);
  });
}

test("neighbours in a /64 are one caller, and neighbouring /64s are two", () => {
  const one = toNetwork("2001:db8:0:1::1");

  assert.equal(toNetwork("2001:db8:0:1:8000::"), one);
  assert.notEqual(toNetwork("2001:db8:0:2::1"), one);
  assert.notEqual(toNetwork("2001:db8:1::1"), one);
});
