/** Each thing that can be wrong with a configuration, with its position. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import {
  checkConfiguration,
  formatError,
  loadConfiguration,
  parseConfiguration,
  resolvePlan,
} from "../../src/control/configuration/configuration.ts";
import { editDistance, nearest } from "../../src/control/configuration/nearest.ts";

function errorsOf(text: string): string[] {
  return (parseConfiguration(text, "f").errors ?? []).map(formatError);
}

const NET =
  "version: 1\nnetworks:\n  lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: c1, address: 10.55.66.2 } } }\n";
const LAB = `${NET}uplinks:\n  wan: { kind: packet, device: up0, address: 203.0.113.1/24 }\n`;
/** Line 4 is the network `b`. */
const withNetwork = (network: string) => `${NET}  ${network}\n`;
/** Line 4 is the uplink. */
const withUplink = (uplink: string) => `${NET}uplinks: { wan: ${uplink} }\n`;
/** Line 3 are the ports, from column 2. */
const withPorts = (ports: string) => `version: 1\nnetworks: { lab: { subnet: 10.55.66.0/24, ports:\n ${ports} } }\n`;
/** Line 7 is the rule, from column 2. */
const withRule = (rule: string) => `${LAB}filter: { forward: { rules: [\n ${rule} ] } }\n`;
/** Line 6. */
const withLine = (line: string) => `${LAB}${line}\n`;
const PLACES = {
  text: (text: string) => text,
  network: withNetwork,
  ports: withPorts,
  uplink: withUplink,
  line: withLine,
  rule: withRule,
};

describe("YAML", () => {
  it.each([
    ["", ['f:1:1: the file is empty: it needs at least "version: 1" and a network']],
    ["# only a comment\n", ['f:1:1: the file is empty: it needs at least "version: 1" and a network']],
    ["- 1\n", ["f:1:1: expected a map, not a list"]],
    ["hello\n", ['f:1:1: expected a map, not "hello"']],
    [
      "version: 1\nnetworks: [\n",
      ["f:3:1: Flow sequence in block collection must be sufficiently indented and end with a ]"],
    ],
    [
      "version: 1\nversion: 1\nuplinks: {}\n",
      ['f:2:1: version: duplicate key "version"', "f:1:1: a router needs at least one network or uplink"],
    ],
    ["version: 1\n---\nversion: 1\n", ["f:2:1: a second document begins here: one is allowed"]],
    ["version: !thing 1\n", ["f:1:10: Unresolved tag: !thing"]],
    ["%YAML 1.1\n---\nversion: 1\n", ["f:1:1: YAML 1.1 is not supported, only 1.2"]],
    ["version: 1\n? [a]\n: 1\n", ["f:2:3: a key must be a word"]],
    [`${NET}routes: *nothing\n`, ['f:4:9: routes: no anchor "nothing" before this alias']],
    [`${NET}<<: {}\n`, ['f:4:1: "<<": unknown key "<<"']],
    [`${NET}__proto__: {}\n`, ['f:4:1: __proto__: unknown key "__proto__"']],
  ])("%j", (text, errors) => {
    expect(errorsOf(text).sort()).toEqual([...errors].sort());
  });

  it("that stands for billions of values by aliases is refused", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let level = 1; level < 10; level++) {
      lines.push(
        `a${level}: &a${level} [${Array(10)
          .fill(`*a${level - 1}`)
          .join(", ")}]`,
      );
    }
    expect(errorsOf(lines.join("\n")).filter((error) => error.includes("100000 values"))).toHaveLength(1);
  });

  it("whose alias contains itself is refused", () => {
    expect(errorsOf("version: &a [*a]\n").join()).toContain("nested too deep");
  });

  it("that opens thousands of brackets is refused in one line", () => {
    expect(errorsOf(`version: ${"[".repeat(20_000)}`)).toEqual([expect.stringMatching(/^f:1:\d+: nested too deep$/)]);
  });

  it("with an anchor that is given twice means the last one before the alias", () => {
    const text = `${NET}routes: [ { to: &a 192.0.2.0/24, via: &b 10.55.66.8 }, { to: &a 198.51.100.0/24, via: *b }, { to: *a, via: *b } ]\n`;
    expect(errorsOf(text)).toEqual([
      "f:4:99: routes[2].to: a second route to 198.51.100.0/24: the first is at routes[1].to",
    ]);
  });

  it("of more than 1 MiB is refused", () => {
    expect(errorsOf(`${LAB}#${"x".repeat(1024 * 1024)}`)).toEqual(["f:1:1: the file is larger than 1048576 bytes"]);
  });

  it("keeps syntax errors to a readable number", () => {
    expect(errorsOf("]\n".repeat(1000))).toHaveLength(21);
  });
});

describe("the shape", () => {
  it.each<[keyof typeof PLACES, string, unknown[]]>([
    ["text", "networks: {}\n", ['f:1:1: missing key "version"']],
    ["text", "version: 2\nuplinks: {}\n", ["f:1:10: version: expected 1, not 2"]],
    ["text", "version: 1\n", ["f:1:1: a router needs at least one network or uplink"]],
    ["network", "b: { }", ['f:4:3: networks.b: missing key "subnet"']],
    ["network", "b:", ["f:4:3: networks.b: expected a map, not nothing"]],
    [
      "network",
      "b: { subnet: 10.1.0.0/16, gatway: 10.1.0.1 }",
      ['f:4:29: networks.b.gatway: unknown key "gatway"; did you mean "gateway"?'],
    ],
    [
      "network",
      "b: { subnet: 10.1.0.0/16, MTU: 1500 }",
      ['f:4:29: networks.b.MTU: unknown key "MTU"; did you mean "mtu"?'],
    ],
    ["network", "b: { subnet: 10.1.0.0/16, zebra: 1 }", ['f:4:29: networks.b.zebra: unknown key "zebra"']],
    [
      "network",
      "b: { subnet: 10.1, mtu: 67 }",
      [
        "f:4:16: networks.b.subnet: expected an IPv4 prefix, not 10.1 (a text that looks like a number needs quotes)",
        "f:4:27: networks.b.mtu: expected an integer from 68 to 65521, not 67",
      ],
    ],
    [
      "network",
      "b: { subnet: 10.1.0.0/16, mtu: 1500.5 }",
      ["f:4:34: networks.b.mtu: expected an integer from 68 to 65521, not 1500.5"],
    ],
    [
      "network",
      "b: { subnet: 10.1.0.0/16, mtu: 70000 }",
      ["f:4:34: networks.b.mtu: expected an integer from 68 to 65521, not 70000"],
    ],
    [
      "network",
      '"b/c": { subnet: 10.1.0.0/16 }',
      [
        'f:4:3: networks."b/c": "b/c" is no valid name: 1 to 15 letters, digits, _, . and -, beginning with a letter or a digit',
      ],
    ],
    ["network", "sixteencharacter: { subnet: 10.1.0.0/16 }", [expect.stringContaining("is no valid name")]],
    [
      "ports",
      "{ c1: { netns: ../x } }",
      [`f:3:17: networks.lab.ports.c1.netns: expected a network namespace's name or path, not "../x"`],
    ],
    ["ports", "{ c1: { netns: .. } }", [expect.stringContaining("f:3:17: networks.lab.ports.c1.netns")]],
    [
      "ports",
      "{ c1: { netns: a, ifname: a/b } }",
      ['f:3:28: networks.lab.ports.c1.ifname: expected a device name of 1 to 15 characters, not "a/b"'],
    ],
    [
      "ports",
      "{ c1: { netns: a, ifname: sixteencharacter } }",
      [expect.stringContaining("f:3:28: networks.lab.ports.c1.ifname")],
    ],
    ["ports", "{ c1: { netns: a, ifname: tap%d } }", [expect.stringContaining("f:3:28: networks.lab.ports.c1.ifname")]],
    [
      "ports",
      "{ c1: { netns: a, mac: 02-00-00-00-00-01 } }",
      [expect.stringContaining("expected a hardware address like")],
    ],
    [
      "ports",
      "{ c1: { netns: a, defaultRoute: yes } }",
      ['f:3:34: networks.lab.ports.c1.defaultRoute: expected true or false, not "yes"'],
    ],
    ["ports", "{ c1: { pid: 0 } }", ["f:3:15: networks.lab.ports.c1.pid: expected a process id, not 0"]],
    [
      "uplink",
      "{ kind: pocket, device: up0, address: 203.0.113.1/24 }",
      ['f:4:25: uplinks.wan.kind: expected packet, tap or raw, not "pocket"; did you mean "packet"?'],
    ],
    [
      "line",
      "limits: { flows: 0, macs: 1e9, neighbours: many }",
      [
        "f:6:18: limits.flows: expected an integer from 1 to 16777216, not 0",
        "f:6:27: limits.macs: expected an integer from 1 to 1048576, not 1000000000",
        'f:6:44: limits.neighbours: expected an integer from 1 to 65535, not "many"',
      ],
    ],
    [
      "line",
      "control: { socket: tapir.sock }",
      ['f:6:20: control.socket: expected an absolute path of at most 107 bytes, not "tapir.sock"'],
    ],
    ["line", `control: { socket: /${"é".repeat(60)} }`, ["f:6:20: control.socket: the path is longer than 107 bytes"]],
    [
      "line",
      "bridge: { ageingSeconds: 0 }",
      ["f:6:26: bridge.ageingSeconds: expected an integer from 1 to 1000000, not 0"],
    ],
    [
      "line",
      "filter: { forward: { policy: reject } }",
      ['f:6:30: filter.forward.policy: expected accept or drop, not "reject"'],
    ],
    ["line", "routes: {}", ["f:6:9: routes: expected a list of routes, not a map"]],
    ["line", "routes: [ 5, { to: 192.0.2.0/24 } ]", ["f:6:11: routes[0]: expected a map { to, via }, not 5"]],
    ["line", "routes: [ { to: 192.0.2.0/24 } ]", ['f:6:11: routes[0]: a route needs "via", "dev" or "nexthops"']],
    ["rule", "{}", ['f:7:2: filter.forward.rules[0]: missing key "action"']],
    [
      "rule",
      "{ action: acept }",
      ['f:7:12: filter.forward.rules[0].action: expected accept, drop or reject, not "acept"; did you mean "accept"?'],
    ],
    [
      "rule",
      "{ action: drop, in: [] }",
      ["f:7:22: filter.forward.rules[0].in: expected a list of at least one, not a list"],
    ],
    [
      "rule",
      "{ action: drop, in: [lab, 5] }",
      [
        "f:7:28: filter.forward.rules[0].in[1]: expected a name of a network, port or uplink, not 5 (a text that looks like a number needs quotes)",
      ],
    ],
    [
      "rule",
      "{ action: drop, in: { lab } }",
      [
        "f:7:22: filter.forward.rules[0].in: expected a name of a network, port or uplink, or a list of them, not a map",
      ],
    ],
    [
      "rule",
      "{ action: drop, proto: tpc }",
      [
        'f:7:25: filter.forward.rules[0].proto: expected tcp, udp, icmp or a number from 0 to 255, not "tpc"; did you mean "tcp"?',
      ],
    ],
    [
      "rule",
      "{ action: drop, proto: 256 }",
      ["f:7:25: filter.forward.rules[0].proto: expected tcp, udp, icmp or a number from 0 to 255, not 256"],
    ],
    [
      "rule",
      "{ action: drop, proto: tcp, dport: [80, x] }",
      ['f:7:42: filter.forward.rules[0].dport[1]: expected a port from 0 to 65535 or a range like 2000-3000, not "x"'],
    ],
    [
      "rule",
      "{ action: drop, proto: tcp, dport: 80:90 }",
      [expect.stringContaining("f:7:37: filter.forward.rules[0].dport: expected a port")],
    ],
    [
      "rule",
      "{ action: drop, state: [new, NEW] }",
      [
        'f:7:31: filter.forward.rules[0].state[1]: expected new, established, related or invalid, not "NEW"; did you mean "new"?',
      ],
    ],
    [
      "rule",
      "{ action: drop, proto: icmp, icmpType: echo }",
      [expect.stringContaining("f:7:41: filter.forward.rules[0].icmpType: expected an ICMP type's name")],
    ],
    [
      "rule",
      "{ action: reject, with: icmp-port-unreachble }",
      [expect.stringContaining('; did you mean "icmp-port-unreachable"?')],
    ],
    ["rule", '{ action: drop, name: "" }', [expect.stringContaining("expected a text of 1 to 256 characters")]],
  ])("%s: %s", (place, text, errors) => {
    expect(errorsOf(PLACES[place](text))).toEqual(errors);
  });

  it.each([
    [
      "{ kind: raw, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 }",
      'gateway: "gateway" is for uplinks of kind packet and tap',
    ],
    ["{ kind: raw, address: 203.0.113.1/24 }", 'missing key "device"'],
    ["{ kind: tap, address: dhcp }", "address: a DHCP client runs on uplinks of kind packet only: give the address"],
    [
      "{ kind: packet, device: up0, address: dhcp, addresses: [203.0.113.9/24] }",
      'addresses: with `address: dhcp` there are no other "addresses"',
    ],
    [
      "{ kind: raw, device: up0, address: 203.0.113.1/24, ports: 50000-40000 }",
      'ports: "50000-40000" ends before it begins; did you mean "40000-50000"?',
    ],
    [
      "{ kind: raw, device: up0, address: 203.0.113.1/24, echoIds: 1-70000 }",
      'echoIds: "1-70000" is not within 0 to 65535',
    ],
    [
      "{ kind: packet, device: up0, address: 203.0.113.1/24, ports: 40000-50000 }",
      'ports: "ports" is for uplinks of kind raw',
    ],
    [
      "{ kind: packet, device: up0, address: 203.0.113.1/24, peerAddress: 203.0.113.2 }",
      'peerAddress: "peerAddress" is for uplinks of kind tap',
    ],
    [
      "{ kind: tap, address: 203.0.113.1/24, peerAddress: 203.0.113.1 }",
      "peerAddress: 203.0.113.1 is the router's own address",
    ],
    ["{ kind: tap, device: up0, ifname: up1, address: 203.0.113.1/24 }", 'ifname: "device" and "ifname" say the same'],
    ["{ kind: tap, address: 203.0.113.1/24, metric: 5 }", 'metric: "metric" needs a "gateway"'],
    [
      "{ kind: tap, address: 203.0.113.1/24, addresses: [203.0.113.9/24, 203.0.113.1/24] }",
      "addresses[1]: 203.0.113.1 is there twice",
    ],
    ["{ kind: tap, address: 203.0.113.1/24, mac: 01:00:00:00:00:01 }", "mac: 01:00:00:00:00:01 is a multicast address"],
  ])("uplink %s", (text, error) => {
    const [found, ...others] = errorsOf(withUplink(text));
    expect(found.replace(/^f:\d+:\d+: uplinks\.wan(\.|: )/, "")).toBe(error);
    expect(others).toEqual([]);
  });

  it("shows strange texts on one line, cut short", () => {
    const errors = errorsOf(withLine(`"a\\nb": 1\n"${"k".repeat(500)}": 1`));
    expect(errors[0]).toBe('f:6:1: "a\\nb": unknown key "a\\nb"');
    expect(errors.every((error) => !error.includes("\n"))).toBe(true);
    expect(errors[1].length).toBeLessThan(700);
  });
});

describe("addresses", () => {
  it.each<[keyof typeof PLACES, string, unknown[]]>([
    [
      "network",
      "b: { subnet: 10.1.0.1/16 }",
      ['f:4:16: networks.b.subnet: "10.1.0.1/16" has bits set beyond its prefix length; did you mean "10.1.0.0/16"?'],
    ],
    [
      "network",
      "b: { subnet: 10.1.0.0 }",
      ['f:4:16: networks.b.subnet: "10.1.0.0" has no prefix length: expected an IPv4 prefix like 10.55.66.0/24'],
    ],
    [
      "network",
      "b: { subnet: 10.1.0.0/33 }",
      [
        'f:4:16: networks.b.subnet: "10.1.0.0/33" has the prefix length "33", which is not 0 to 32: expected an IPv4 prefix like 10.55.66.0/24',
      ],
    ],
    [
      "network",
      "b: { subnet: 10.1.0.0/255.255.0.0 }",
      [expect.stringContaining('has the prefix length "255.255.0.0"')],
    ],
    [
      "network",
      "b: { subnet: 10.1.0/16 }",
      ['f:4:16: networks.b.subnet: expected an IPv4 prefix like 10.55.66.0/24, not "10.1.0"'],
    ],
    ["network", "b: { subnet: fd00::/64 }", ['f:4:16: networks.b.subnet: "fd00::" is IPv6: only IPv4 is supported']],
    ["network", 'b: { subnet: "::ffff:10.1.0.0/16" }', [expect.stringContaining("is IPv6: only IPv4 is supported")]],
    [
      "network",
      "b: { subnet: 010.1.0.0/16 }",
      ['f:4:16: networks.b.subnet: "010.1.0.0" is not a plain IPv4 address; did you mean "10.1.0.0"?'],
    ],
    ["network", "b: { subnet: 10.1.0.0/31 }", ["f:4:16: networks.b.subnet: prefix length /31 is not /1 to /30"]],
    ["network", "b: { subnet: 0.0.0.0/0 }", ["f:4:16: networks.b.subnet: prefix length /0 is not /1 to /30"]],
    [
      "network",
      "b: { subnet: 224.0.0.0/24 }",
      ["f:4:16: networks.b.subnet: the gateway's default 224.0.0.1 is not a unicast address"],
    ],
    ["network", "b: { subnet: 10.0.0.0/8 }", ['f:4:16: networks.b.subnet: 10.0.0.0/8 overlaps 10.55.66.0/24 of "lab"']],
    [
      "network",
      "b: { subnet: 10.55.66.128/25 }",
      ['f:4:16: networks.b.subnet: 10.55.66.128/25 overlaps 10.55.66.0/24 of "lab"'],
    ],
    [
      "network",
      "b: { subnet: 10.1.0.0/16, gateway: 10.2.0.1 }",
      ["f:4:38: networks.b.gateway: gateway 10.2.0.1 is outside 10.1.0.0/16"],
    ],
    [
      "network",
      "b: { subnet: 10.1.0.0/16, gateway: 10.1.0.0 }",
      ["f:4:38: networks.b.gateway: gateway 10.1.0.0 is the network's own address, not a host's"],
    ],
    [
      "network",
      "b: { subnet: 10.1.0.0/16, gateway: 10.1.255.255 }",
      ["f:4:38: networks.b.gateway: gateway 10.1.255.255 is the broadcast address, not a host's"],
    ],
    [
      "ports",
      "{ c1: { netns: a, address: 10.55.67.2 } }",
      ["f:3:29: networks.lab.ports.c1.address: address 10.55.67.2 is outside 10.55.66.0/24"],
    ],
    [
      "ports",
      "{ c1: { netns: a, address: 10.55.66.2/24 } }",
      ['f:3:29: networks.lab.ports.c1.address: expected an IPv4 address without a prefix length, not "10.55.66.2/24"'],
    ],
    ["ports", "{ c1: { netns: a, address: 10.55.66.255 } }", [expect.stringContaining("is the broadcast address")]],
    [
      "ports",
      "{ c1: { netns: a, address: 10.55.66.1 } }",
      ["f:3:29: networks.lab.ports.c1.address: address 10.55.66.1 is the gateway's"],
    ],
    [
      "ports",
      "{ c1: { netns: a, address: 10.55.66.2 }, c2: { netns: b, address: 10.55.66.2 } }",
      ["f:3:68: networks.lab.ports.c2.address: address 10.55.66.2 is in use already, at networks.lab.ports.c1.address"],
    ],
    [
      "uplink",
      "{ kind: packet, device: up0, address: 203.0.113.1 }",
      [
        'f:4:55: uplinks.wan.address: "203.0.113.1" has no prefix length: expected an IPv4 address with a prefix length like 203.0.113.1/24',
      ],
    ],
    [
      "uplink",
      "{ kind: packet, device: up0, address: 203.0.113.1/32 }",
      ["f:4:55: uplinks.wan.address: prefix length /32 is not /1 to /31"],
    ],
    [
      "uplink",
      "{ kind: packet, device: up0, address: 203.0.113.0/24 }",
      [expect.stringContaining("is the network's own address")],
    ],
    [
      "uplink",
      "{ kind: packet, device: up0, address: 10.55.66.7/16 }",
      ['f:4:55: uplinks.wan.address: 10.55.66.7/16 overlaps 10.55.66.0/24 of "lab"'],
    ],
    [
      "uplink",
      "{ kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.1 }",
      ["f:4:80: uplinks.wan.gateway: gateway 203.0.113.1 is the router's own address"],
    ],
    [
      "uplink",
      "{ kind: packet, device: up0, address: 203.0.113.1/24, gateway: 198.51.100.1 }",
      ["f:4:80: uplinks.wan.gateway: gateway 198.51.100.1 is outside 203.0.113.0/24"],
    ],
  ])("%s: %s", (place, text, errors) => {
    expect(errorsOf(PLACES[place](text))).toEqual(errors);
  });
});

describe("ports and uplinks", () => {
  it.each<[keyof typeof PLACES, string, unknown[]]>([
    ["ports", "{ c1: {} }", ['f:3:4: networks.lab.ports.c1: a port needs "netns" or "pid"']],
    [
      "ports",
      "{ c1: { netns: a, started: 1 } }",
      ['f:3:20: networks.lab.ports.c1.started: "started" is said of a "pid"'],
    ],
    [
      "ports",
      "{ c1: { netns: a, pid: 1 } }",
      ['f:3:20: networks.lab.ports.c1.pid: "netns" and "pid" exclude each other'],
    ],
    [
      "ports",
      "{ c1: { netns: a, defaultRoute: true } }",
      ['f:3:20: networks.lab.ports.c1.defaultRoute: a default route needs an "address"'],
    ],
    [
      "ports",
      "{ c1: { netns: a }, c2: { netns: a } }",
      ["f:3:22: networks.lab.ports.c2: device eth0 in /run/netns/a is in use already, at networks.lab.ports.c1"],
    ],
    ["ports", "{ c1: { netns: a }, c2: { netns: a, ifname: eth1 } }", []],
    [
      "ports",
      '{ c1: { netns: a, mac: "03:00:00:00:00:01" } }',
      ["f:3:25: networks.lab.ports.c1.mac: 03:00:00:00:00:01 is a multicast address"],
    ],
    ["ports", '{ c1: { netns: a, mac: "00:00:00:00:00:00" } }', [expect.stringContaining("is no device's address")]],
    [
      "ports",
      '{ c1: { netns: a, mac: "02:00:00:00:00:0a" }, c2: { netns: b, mac: "02:00:00:00:00:0A" } }',
      [expect.stringContaining("hardware address 02:00:00:00:00:0a is in use already, at networks.lab.ports.c1.mac")],
    ],
    [
      "ports",
      "{ lab: { netns: a } }",
      [
        'f:3:4: networks.lab.ports.lab: the name "lab" is in use already, for networks.lab: networks, ports and uplinks share their names',
      ],
    ],
    [
      "text",
      `${NET}uplinks: { c1: { kind: packet, device: up0, address: 203.0.113.1/24 } }`,
      [
        'f:4:12: uplinks.c1: the name "c1" is in use already, for networks.lab.ports.c1: networks, ports and uplinks share their names',
      ],
    ],
    [
      "uplink",
      "{ kind: packet, device: up0, address: 203.0.113.1/24, netns: x }",
      ['f:4:71: uplinks.wan.netns: "netns" is for uplinks of kind tap'],
    ],
    [
      "uplink",
      "{ kind: tap, device: up0, address: 203.0.113.1/24, netns: x, pid: 5 }",
      ['f:4:78: uplinks.wan.pid: "netns" and "pid" exclude each other'],
    ],
    [
      "text",
      `${LAB}  w2: { kind: packet, device: up0, address: 198.51.100.1/24 }\n`,
      ["f:6:3: uplinks.w2: device up0 is in use already, at uplinks.wan"],
    ],
    [
      "text",
      "version: 1\nuplinks:\n  a: { kind: packet, device: a, address: 203.0.113.1/24, gateway: 203.0.113.2 }\n" +
        "  b: { kind: packet, device: b, address: 198.51.100.1/24, gateway: 198.51.100.2 }\n",
      ["f:4:68: uplinks.b.gateway: a second default route: the first is at uplinks.a.gateway"],
    ],
  ])("%s: %s", (place, text, errors) => {
    expect(errorsOf(PLACES[place](text))).toEqual(errors);
  });

  it("are limited in number", () => {
    const uplinks = Array.from(
      { length: 129 },
      (_, i) => `u${i}: { kind: tap, device: u${i}, address: 10.${i}.0.1/24 }`,
    );
    expect(errorsOf(`version: 1\nuplinks: { ${uplinks.join(", ")} }`)).toEqual([
      "f:1:1: 129 networks and uplinks: at most 128 are supported",
    ]);
    const ports = Array.from({ length: 2049 }, (_, i) => `p${i}: { netns: p${i} }`);
    expect(errorsOf(withPorts(`{ ${ports.join(", ")} }`))).toEqual(["f:1:1: 2049 ports: at most 2048 are supported"]);
  });
});

describe("routes, NAT and rules", () => {
  it.each([
    [
      "routes: [ { to: 192.0.2.0/24, via: 192.0.2.1 } ]",
      ["f:6:36: routes[0].via: 192.0.2.1 is in no subnet of the router (10.55.66.0/24, 203.0.113.0/24)"],
    ],
    [
      "routes: [ { to: 192.0.2.0/24, via: 203.0.113.1 } ]",
      ["f:6:36: routes[0].via: 203.0.113.1 is the router's own address"],
    ],
    [
      "routes: [ { to: 192.0.2.0/24, via: 203.0.113.255 } ]",
      ["f:6:36: routes[0].via: next hop 203.0.113.255 is the broadcast address, not a host's"],
    ],
    ["routes: [ { to: 192.0.2.1/24, via: 203.0.113.2 } ]", [expect.stringContaining('did you mean "192.0.2.0/24"?')]],
    [
      "routes: [ { to: 10.55.66.0/24, via: 203.0.113.2 } ]",
      ['f:6:17: routes[0].to: 10.55.66.0/24 is the subnet of "lab" itself'],
    ],
    [
      "routes: [ { to: 192.0.2.0/24, via: 203.0.113.2 }, { to: 192.0.2.0/24, via: 203.0.113.3 } ]",
      ["f:6:57: routes[1].to: a second route to 192.0.2.0/24: the first is at routes[0].to"],
    ],
    [
      "nat: { masquerade: [ { from: 10.55.66.0/24, out: wam } ] }",
      ['f:6:50: nat.masquerade[0].out: no network, port or uplink is called "wam"; did you mean "wan"?'],
    ],
    [
      "nat: { masquerade: [ { from: 10.55.66.0/24, out: lab } ] }",
      ['f:6:50: nat.masquerade[0].out: "lab" is a network, not an uplink'],
    ],
    [
      "nat: { masquerade: [ { from: 10.55.66.1/24, out: wan } ] }",
      [expect.stringContaining("f:6:30: nat.masquerade[0].from: ")],
    ],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 203.0.113.9-203.0.113.3 } ] }",
      [
        'f:6:53: nat.snat[0].to: "203.0.113.9-203.0.113.3" ends before it begins; did you mean "203.0.113.3-203.0.113.9"?',
      ],
    ],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 203.0.113.0-203.0.118.0 } ] }",
      ['f:6:53: nat.snat[0].to: "203.0.113.0-203.0.118.0" has 1281 addresses: at most 1024 are supported'],
    ],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 10.55.66.9 } ] }",
      ['f:6:53: nat.snat[0].to: 10.55.66.9 is in 10.55.66.0/24, the subnet of "lab"'],
    ],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 10.55.65.250-10.55.66.3 } ] }",
      ['f:6:53: nat.snat[0].to: 10.55.66.0 is in 10.55.66.0/24, the subnet of "lab"'],
    ],
    [
      "  w2: { kind: tap, device: up1, address: 198.51.100.5/24 }\nnat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 198.51.100.1-198.51.100.9 } ] }",
      ['f:7:53: nat.snat[0].to: 198.51.100.5 is the router\'s own address on "w2"'],
    ],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 127.255.255.255-128.0.0.1 } ] }",
      ["f:6:53: nat.snat[0].to: 127.255.255.255 is not a unicast address"],
    ],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 223.255.255.250-224.0.0.1 } ] }",
      ["f:6:53: nat.snat[0].to: 224.0.0.1 is not a unicast address"],
    ],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 203.0.113.10-203.0.113.12-x } ] }",
      ['f:6:53: nat.snat[0].to: expected an IPv4 address or a range of them, not "203.0.113.10-203.0.113.12-x"'],
    ],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: here } ] }",
      ['f:6:53: nat.snat[0].to: expected an IPv4 address or a range of them, not "here"'],
    ],
    ["nat: { profile: lniux }", ['f:6:17: nat.profile: expected linux or bcp, not "lniux"; did you mean "linux"?']],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 203.0.113.9, ports: 70000 } ] }",
      [expect.stringContaining("nat.snat[0].ports: expected a port from 1 to 65535 or a range like 2000-3000")],
    ],
    [
      "nat: { snat: [ { from: 10.55.66.0/24, out: wan, to: 203.0.113.250-203.0.113.255 } ] }",
      ["f:6:53: nat.snat[0].to: 203.0.113.255 is a broadcast address, not a host's"],
    ],
    [
      "nat: { masquerade: [ { from: 10.55.66.0/24, out: wan, ports: 30-20 } ] }",
      ['f:6:62: nat.masquerade[0].ports: "30-20" ends before it begins; did you mean "20-30"?'],
    ],
    [
      'nat: { publish: [ { proto: tcp, on: lab, port: 80, to: "10.55.66.2:80" } ] }',
      ['f:6:37: nat.publish[0].on: "lab" is a network, not an uplink'],
    ],
    [
      'nat: { publish: [ { proto: sctp, on: wan, port: 80, to: "10.55.66.2:80" } ] }',
      ['f:6:28: nat.publish[0].proto: expected tcp, udp or both, not "sctp"'],
    ],
    [
      'nat: { publish: [ { proto: tcp, on: wan, port: 80, to: "203.0.113.7:80" } ] }',
      ["f:6:56: nat.publish[0].to: 203.0.113.7 is in no network's subnet"],
    ],
    [
      'nat: { publish: [ { proto: tcp, on: wan, port: 80, to: "10.55.66.1:80" } ] }',
      ['f:6:56: nat.publish[0].to: 10.55.66.1 is the router\'s own address on "lab"'],
    ],
    [
      'nat: { publish: [ { proto: tcp, on: wan, port: 80-89, to: "10.55.66.2:80-85" } ] }',
      ['f:6:59: nat.publish[0].to: "10.55.66.2:80-85" has 6 ports, 10 are published'],
    ],
    [
      'nat: { publish: [ { proto: tcp, on: wan, port: 80-89, to: "10.55.66.2:65530" } ] }',
      ['f:6:59: nat.publish[0].to: the last port of "10.55.66.2:65530" would be 65539'],
    ],
    [
      'nat: { publish: [ { proto: tcp, on: wan, port: 80, to: "10.55.66.2:" } ] }',
      ['f:6:56: nat.publish[0].to: expected an IPv4 address with a port, like 10.55.66.3:80, not "10.55.66.2:"'],
    ],
    ...["8e1", "0x50", " 80", "80-90-100", "http"].map((port): [string, unknown[]] => [
      `nat: { publish: [ { proto: tcp, on: wan, port: 80, to: "10.55.66.2:${port}" } ] }`,
      [`f:6:56: nat.publish[0].to: expected a port or a range, not "${port}"`],
    ]),
    [
      'nat: { publish: [ { proto: tcp, on: wan, port: 80, to: "10.55.66.2:0" } ] }',
      ['f:6:56: nat.publish[0].to: "0" has a port that is not 1 to 65535'],
    ],
    [
      'nat: { publish: [ { proto: tcp, on: wan, port: 80-89, to: "10.55.66.2:80-80" } ] }',
      ['f:6:59: nat.publish[0].to: "10.55.66.2:80-80" has 1 port, 10 are published'],
    ],
    [
      'nat: { publish: [ { proto: tcp, on: wan, port: 80, to: "10.55.66.255:80" } ] }',
      ["f:6:56: nat.publish[0].to: container 10.55.66.255 is the broadcast address, not a host's"],
    ],
    [
      'nat: { publish: [ { proto: tcp, on: wan, port: 80, to: "10.55.66.0:80" } ] }',
      ["f:6:56: nat.publish[0].to: container 10.55.66.0 is the network's own address, not a host's"],
    ],
    [
      "nat: { publish: [ { proto: both, on: wan, port: 80, to: 10.55.66.2 }, { proto: both, on: wan, port: 80, to: 10.55.66.2 } ] }",
      ["f:6:101: nat.publish[1].port: published already, at nat.publish[0].port"],
    ],
    ["limits: { flowsPerHost: -1 }", ["f:6:25: limits.flowsPerHost: expected an integer from 0 to 16777216, not -1"]],
    [
      "conntrack: { lose: true, liberal: x, maxRetransmissions: 0 }",
      [
        'f:6:14: conntrack.lose: unknown key "lose"; did you mean "loose"?',
        'f:6:35: conntrack.liberal: expected true or false, not "x"',
        "f:6:58: conntrack.maxRetransmissions: expected an integer from 1 to 15, not 0",
      ],
    ],
    [
      "nat: { publish: [ { proto: both, on: wan, port: 80-90, to: 10.55.66.2 }, { proto: udp, on: wan, port: 85, to: 10.55.66.2 } ] }",
      ["f:6:103: nat.publish[1].port: published already, at nat.publish[0].port"],
    ],
    [
      "conntrack: { timeouts: { udp_timout: 3 } }",
      ['f:6:26: conntrack.timeouts.udp_timout: unknown key "udp_timout"; did you mean "udp_timeout"?'],
    ],
    [
      "conntrack: { timeouts: { udp_timeout: 0 } }",
      ["f:6:39: conntrack.timeouts.udp_timeout: expected an integer from 1 to 1000000, not 0"],
    ],
    [
      "filter: { input: { rules: [ { out: wan, action: drop } ] } }",
      ['f:6:31: filter.input.rules[0].out: packets for the router itself do not leave: "out" is for forward rules'],
    ],
  ])("%s", (line, errors) => {
    expect(errorsOf(withLine(line))).toEqual(errors);
  });

  it.each([
    ["{ in: [wan, lob], action: drop }", ['in[1]: no network, port or uplink is called "lob"; did you mean "lab"?']],
    [
      "{ out: c1, action: drop }",
      ['out: "c1" is a port of a network: name its network "lab", and its address in "to"'],
    ],
    [
      "{ from: 10.55.66.2/24, action: drop }",
      ['from: "10.55.66.2/24" has bits set beyond its prefix length; did you mean "10.55.66.0/24"?'],
    ],
    ["{ to: [10.55.66.2, nowhere], action: drop }", ['to[1]: expected an IPv4 prefix or address, not "nowhere"']],
    ["{ dport: 80, action: drop }", ['dport: "dport" needs "proto: tcp" or "proto: udp"']],
    ["{ proto: icmp, sport: 80, action: drop }", ['sport: "sport" needs "proto: tcp" or "proto: udp"']],
    ["{ proto: udp, sport: 80-70, action: drop }", ['sport: "80-70" ends before it begins; did you mean "70-80"?']],
    ["{ proto: udp, sport: 80-99999, action: drop }", ['sport: "80-99999" has a port above 65535']],
    ["{ icmpType: 8, action: drop }", ['icmpType: "icmpType" needs "proto: icmp"']],
    ["{ with: icmp-host-unreachable, action: drop }", ['with: "with" needs "action: reject"']],
    ["{ with: tcp-reset, action: reject }", ['with: tcp-reset needs "proto: tcp"']],
  ])("%s", (rule, messages) => {
    const errors = errorsOf(withRule(rule));
    expect(errors.map((error) => error.replace(/^f:7:\d+: filter\.forward\.rules\[0\]\./, ""))).toEqual(messages);
  });

  it("name no consequences of what is wrong elsewhere", () => {
    const text = `${LAB.replace("203.0.113.1/24", "203.0.113.300/24")}routes: [ { to: 192.0.2.0/24, via: 203.0.113.2 } ]
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
filter: { forward: { rules: [ { in: lab, out: wan, action: drop } ] } }
`;
    expect(errorsOf(text)).toHaveLength(1);
  });
});

describe("files", () => {
  const folder = mkdtempSync(join(tmpdir(), "tapir-configuration-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const load = (path: string) => loadConfiguration(path).errors?.map(formatError);

  it("are read", () => {
    const file = join(folder, "lab.yaml");
    writeFileSync(file, `\uFEFF${LAB}`);
    expect(loadConfiguration(file).configuration?.version).toBe(1);
    writeFileSync(file, "version: 2\n");
    expect(load(file)).toEqual([`${file}:1:10: version: expected 1, not 2`]);
  });

  it("that cannot be read are errors without a position", () => {
    expect(load(join(folder, "absent"))).toEqual([`${folder}/absent: no such file`]);
    expect(load(folder)).toEqual([`${folder}: is a directory, not a file`]);
    expect(load("/dev/zero")).toEqual(["/dev/zero: the file is larger than 1048576 bytes"]);
    const file = join(folder, "binary");
    writeFileSync(file, Uint8Array.of(0x80, 0xff));
    expect(load(file)).toEqual([`${file}: the file is not UTF-8 text`]);
  });
});

describe("nearest", () => {
  it("counts what differs, neighbours in the wrong order as one", () => {
    expect(editDistance("", "abc")).toBe(3);
    expect(editDistance("gatway", "gateway")).toBe(1);
    expect(editDistance("tpc", "tcp")).toBe(1);
    expect(editDistance("kitten", "sitting")).toBe(3);
  });

  it("suggests nothing that differs in more than a third", () => {
    expect(nearest("to", ["in", "out"])).toBeUndefined();
    expect(nearest("gatway", ["subnet", "gateway", "gate"])).toBe("gateway");
    expect(nearest("x".repeat(100), ["x".repeat(100)])).toBeUndefined();
  });
});

describe("whatever it is given, it does not throw", () => {
  const hasResult = (text: string): void => {
    const { configuration, errors } = parseConfiguration(text, "f");
    if (configuration !== undefined) resolvePlan(configuration);
    else expect(errors?.map(formatError).every((error) => /^f:\d+:\d+: [^\n]+$/.test(error))).toBe(true);
  };

  it("on any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), hasResult), { numRuns: 500 });
  });

  it("on a text made of what YAML is made of", () => {
    const words = fc.constantFrom(
      ..."version: |1|\n|  |- |{|}|[|]|, |: |&a |*a |!!str |networks:|lab:|subnet: |10.55.66.0/24|uplinks:|~|\"|'|#|? |<<: ".split(
        "|",
      ),
    );
    const texts = fc.array(words, { maxLength: 40 }).map((parts) => `version: 1\n${parts.join("")}`);
    fc.assert(fc.property(texts, hasResult), { numRuns: 1000 });
  });

  it("on a configuration with a slip", () => {
    const good = withRule(
      "{ in: [lab, c1], out: wan, from: 10.55.66.2, proto: tcp, dport: [80, 90-99], state: new, action: reject, with: tcp-reset }",
    );
    expect(errorsOf(good)).toEqual([]);
    let valid = 0;
    const slip = fc.tuple(fc.nat(good.length - 1), fc.nat(6), fc.string({ maxLength: 4 }));
    fc.assert(
      fc.property(slip, ([at, length, text]) => {
        const changed = good.slice(0, at) + text + good.slice(at + length);
        if (parseConfiguration(changed, "f").configuration !== undefined) valid++;
        hasResult(changed);
      }),
      { numRuns: 1000 },
    );
    // Both outcomes have been met.
    expect(valid).toBeGreaterThan(0);
    expect(valid).toBeLessThan(1000);
  });

  it("on any JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(checkConfiguration(value).errors?.length).toBeGreaterThan(0);
      }),
    );
  });
});
