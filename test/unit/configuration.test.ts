/** From a configuration to the plan of the dataplane and its devices. */

import { describe, expect, it } from "vitest";
import {
  type Configuration,
  checkConfiguration,
  formatError,
  parseConfiguration,
  resolvePlan,
} from "../../src/control/configuration/configuration.ts";
import type { RouterPlan } from "../../src/dataplane/plan.ts";
import { type Chain, emptyRuleSet, type Range, type Rule, RuleState } from "../../src/filter/rule_set.ts";
import { word } from "../support/frames.ts";

function configure(text: string): Configuration {
  const { configuration, errors } = parseConfiguration(text, "test.yaml");
  if (configuration === undefined) throw new Error(errors?.map(formatError).join("\n"));
  return configuration;
}

const LAB = `
version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    ports:
      c1: { netns: c1, address: 10.55.66.2 }
      c2: { pid: 4711, ifname: lan0, address: 10.55.66.3, defaultRoute: true }
uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 }
`;

function chainOf({ rules }: RouterPlan, name: string, table: "filter" | "nat" = "filter"): Chain {
  return rules[table].chains.find((chain) => chain.name === name) as Chain;
}

const range = (first: string, last = first) => ({ first: word(first), last: word(last) });

/** The lab with one forward rule. */
function ruleOf(rule: string) {
  return chainOf(resolvePlan(configure(`${LAB}filter: { forward: { rules: [ ${rule} ] } }`)).plan, "FORWARD").rules[0];
}

describe("interfaces and ports", () => {
  const { plan, devices, limits, socket } = resolvePlan(configure(LAB));

  it("become a plan whose addresses are words", () => {
    expect(plan.interfaces).toEqual([
      {
        index: 0,
        name: "lab",
        kind: "network",
        address: word("10.55.66.1"),
        prefixLength: 24,
        mac: expect.stringMatching(/^02(:[0-9a-f]{2}){5}$/),
        mtu: 1500,
      },
      {
        index: 1,
        name: "wan",
        kind: "uplink",
        address: word("203.0.113.1"),
        prefixLength: 24,
        mac: expect.stringMatching(/^02(:[0-9a-f]{2}){5}$/),
        mtu: 0,
      },
    ]);
    expect(plan.ports).toEqual([
      { index: 0, name: "c1", interface: 0 },
      { index: 1, name: "c2", interface: 0 },
      { index: 2, name: "wan", interface: 1 },
    ]);
    expect(plan.routes).toEqual([
      { to: { address: 0, length: 0 }, nextHops: [{ interface: 1, via: word("203.0.113.2") }] },
    ]);
  });

  it("say what device each port is", () => {
    expect(devices).toEqual([
      {
        port: 0,
        kind: "tap",
        name: "c1",
        netns: "/run/netns/c1",
        ifname: "eth0",
        mtu: 1500,
        mac: expect.stringMatching(/^02:/),
        address: { address: word("10.55.66.2"), prefixLength: 24 },
      },
      {
        port: 1,
        kind: "tap",
        name: "c2",
        netns: "/proc/4711/ns/net",
        ifname: "lan0",
        mtu: 1500,
        mac: expect.stringMatching(/^02:/),
        address: { address: word("10.55.66.3"), prefixLength: 24 },
        defaultVia: word("10.55.66.1"),
      },
      { port: 2, kind: "packet", name: "wan", ifname: "up0", mtu: 0, mac: plan.interfaces[1].mac },
    ]);
  });

  it("have the defaults of the contract", () => {
    expect(limits).toEqual({ flows: 262_144, macs: 16_384, neighbours: 4096, routes: 1_000_000 });
    expect(socket).toBe("/run/tapir/tapir.sock");
    expect(plan.macAgeingSeconds).toBe(300);
    expect(plan.rules).toEqual(emptyRuleSet());
  });

  it("take what is given instead of the defaults", () => {
    const given = resolvePlan(
      configure(`
version: 1
networks:
  lab: { subnet: 10.55.66.0/24, gateway: 10.55.66.254, mtu: 9000, ports: { c1: { netns: c1, mac: "AA:BB:CC:00:00:01" } } }
bridge: { ageingSeconds: 10 }
limits: { flows: 100 }
control: { socket: /tmp/t.sock }
filter: { forward: { policy: drop }, input: { policy: drop } }
`),
    );
    expect(given.plan.interfaces[0]).toMatchObject({ address: word("10.55.66.254"), mtu: 9000 });
    expect(given.devices[0]).toMatchObject({ mtu: 9000, mac: "aa:bb:cc:00:00:01" });
    expect(given.devices[0]).not.toHaveProperty("address");
    expect(given.plan.macAgeingSeconds).toBe(10);
    expect(given.limits).toEqual({ flows: 100, macs: 16_384, neighbours: 4096, routes: 1_000_000 });
    expect(given.socket).toBe("/tmp/t.sock");
    expect(chainOf(given.plan, "FORWARD").policy).toBe("DROP");
    expect(chainOf(given.plan, "INPUT").policy).toBe("DROP");
  });

  it("have hardware addresses that are stable and all different", () => {
    const again = resolvePlan(configure(LAB));
    expect(again).toEqual(resolvePlan(configure(LAB)));
    const macs = [...plan.interfaces.map(({ mac }) => mac), devices[0].mac, devices[1].mac];
    expect(new Set(macs).size).toBe(4);
  });

  it("of two routers on one segment have different hardware addresses", () => {
    const other = resolvePlan(configure(LAB.replace("203.0.113.1/24", "203.0.113.3/24")));
    expect(other.plan.interfaces[1].mac).not.toBe(plan.interfaces[1].mac);
    expect(other.plan.interfaces[0].mac).toBe(plan.interfaces[0].mac);
  });

  it("may be TAPs for the outside, on links of two addresses", () => {
    const { plan, devices } = resolvePlan(
      configure(`
version: 1
uplinks:
  a: { kind: tap, device: a0, netns: outside, address: 198.51.100.0/31, gateway: 198.51.100.1 }
  b: { kind: tap, device: b0, address: 203.0.113.1/30, mtu: 1400 }
`),
    );
    expect(plan.interfaces.map(({ mtu }) => mtu)).toEqual([1500, 1400]);
    expect(devices[0]).toMatchObject({ kind: "tap", netns: "/run/netns/outside", ifname: "a0", mtu: 1500 });
    expect(devices[0].mac).not.toBe(plan.interfaces[0].mac);
    expect(devices[1]).not.toHaveProperty("netns");
  });

  it("may be called as members of objects are", () => {
    const { plan } = resolvePlan(
      configure("version: 1\nnetworks: { constructor: { subnet: 10.55.66.0/24, ports: { toString: { netns: c1 } } } }"),
    );
    expect(plan.interfaces[0].name).toBe("constructor");
    expect(plan.ports[0].name).toBe("toString");
  });
});

describe("routes and NAT", () => {
  it("resolve next hops to interfaces", () => {
    const { plan } = resolvePlan(
      configure(`${LAB}routes: [ { to: 198.51.100.0/24, via: 203.0.113.9 }, { to: 192.0.2.1, via: 10.55.66.9 } ]`),
    );
    expect(plan.routes).toEqual([
      { to: { address: word("198.51.100.0"), length: 24 }, nextHops: [{ interface: 1, via: word("203.0.113.9") }] },
      { to: { address: word("192.0.2.1"), length: 32 }, nextHops: [{ interface: 0, via: word("10.55.66.9") }] },
      { to: { address: 0, length: 0 }, nextHops: [{ interface: 1, via: word("203.0.113.2") }] },
    ]);
  });

  it("masquerade out of an uplink", () => {
    const { plan } = resolvePlan(
      configure(`${LAB}nat: { profile: linux, masquerade: [ { from: 10.55.66.0/24, out: wan } ] }`),
    );
    expect(chainOf(plan, "POSTROUTING", "nat").rules).toEqual([
      {
        source: { is: [range("10.55.66.0", "10.55.66.255")] },
        out: { is: ["wan"] },
        matches: [],
        target: { kind: "MASQUERADE" },
      },
    ]);
  });

  it("take addresses of a pool before the uplink's own", () => {
    const snat = "{ from: 10.55.66.2, out: wan, to: 203.0.113.10-203.0.113.12, ports: 2000-2999, fullyRandom: true }";
    const { plan } = resolvePlan(
      configure(`${LAB}nat: { masquerade: [ { from: 10.55.66.0/24, out: wan, ports: 4000 } ], snat: [ ${snat} ] }`),
    );
    expect(chainOf(plan, "POSTROUTING", "nat").rules).toEqual([
      {
        source: { is: [range("10.55.66.2")] },
        out: { is: ["wan"] },
        matches: [],
        target: {
          kind: "SNAT",
          addresses: range("203.0.113.10", "203.0.113.12"),
          ports: { first: 2000, last: 2999 },
          randomFully: true,
        },
      },
      {
        source: { is: [range("10.55.66.0", "10.55.66.255")] },
        out: { is: ["wan"] },
        matches: [],
        target: { kind: "MASQUERADE", ports: { first: 4000, last: 4000 } },
      },
    ]);
  });

  it("publish ports", () => {
    const publish = [
      '{ proto: tcp, on: wan, port: 8080, to: "10.55.66.3:80" }',
      '{ proto: both, on: wan, port: 5000-5009, to: "10.55.66.3:6000-6009" }',
      "{ proto: udp, on: wan, port: 53, to: 10.55.66.2 }",
    ];
    const { plan } = resolvePlan(configure(`${LAB}nat: { publish: [ ${publish.join(", ")} ] }`));
    const rule = (protocol: number, ports: Range, to: string, target: object) => ({
      destination: { is: [range("203.0.113.1")] },
      protocol: { is: protocol },
      matches: [{ kind: protocol === 6 ? "tcp" : "udp", destinationPort: { is: ports } }],
      target: { kind: "DNAT", addresses: range(to), ...target, publishes: "wan" },
    });
    const many = { ports: { first: 6000, last: 6009 }, base: 5000 };
    expect(chainOf(plan, "PREROUTING", "nat").rules).toEqual([
      rule(6, { first: 8080, last: 8080 }, "10.55.66.3", { ports: { first: 80, last: 80 } }),
      rule(6, { first: 5000, last: 5009 }, "10.55.66.3", many),
      rule(17, { first: 5000, last: 5009 }, "10.55.66.3", many),
      rule(17, { first: 53, last: 53 }, "10.55.66.2", {}),
    ]);
  });

  it("track flows as they are told", () => {
    const { plan, limits } = resolvePlan(
      configure(
        `${LAB}nat: { profile: bcp }\nconntrack: { loose: false, timeouts: { udp_timeout: 60 } }\nlimits: { flowsPerHost: 9 }`,
      ),
    );
    expect(plan.conntrack).toEqual({
      profile: "bcp",
      timeouts: { udp_timeout: 60 },
      loose: false,
      liberal: false,
      maxRetransmissions: 3,
      flowsPerHost: 9,
    });
    expect(Object.keys(limits).sort()).toEqual(["flows", "macs", "neighbours", "routes"]);
  });
});

describe("rules", () => {
  it.each<[string, Partial<Rule>]>([
    ["{ action: drop }", { target: { kind: "DROP" } }],
    ["{ in: lab, out: [wan, lab], action: accept }", { in: { is: ["lab"] }, out: { is: ["wan", "lab"] } }],
    ["{ in: c2, action: accept }", { in: { is: ["c2"] } }],
    ["{ in: [c2, wan], action: accept }", { in: { is: ["c2", "wan"] } }],
    [
      "{ from: 10.55.66.2, to: [198.51.100.0/24, 0.0.0.0/0], action: accept, name: x }",
      {
        name: "x",
        source: { is: [range("10.55.66.2")] },
        destination: { is: [range("198.51.100.0", "198.51.100.255"), range("0.0.0.0", "255.255.255.255")] },
      },
    ],
    [
      '{ proto: tcp, sport: 1024-65535, dport: [80, "443", 8000-8010], action: accept }',
      {
        protocol: { is: 6 },
        matches: [
          { kind: "tcp", sourcePort: { is: { first: 1024, last: 65_535 } } },
          {
            kind: "multiport",
            side: "destination",
            ports: {
              is: [
                { first: 80, last: 80 },
                { first: 443, last: 443 },
                { first: 8000, last: 8010 },
              ],
            },
          },
        ],
      },
    ],
    [
      "{ proto: 17, dport: 53, action: accept }",
      { protocol: { is: 17 }, matches: [{ kind: "udp", destinationPort: { is: { first: 53, last: 53 } } }] },
    ],
    ["{ proto: 0, action: accept }", { protocol: { is: 0 } }],
    [
      "{ proto: icmp, icmpType: [echo-request, 13], action: accept }",
      {
        protocol: { is: 1 },
        matches: [
          {
            kind: "icmp",
            types: {
              is: [
                { type: 8, codes: { first: 0, last: 255 } },
                { type: 13, codes: { first: 0, last: 255 } },
              ],
            },
          },
        ],
      },
    ],
    ["{ state: new, action: accept }", { matches: [{ kind: "conntrack", states: { is: RuleState.NEW } }] }],
    [
      "{ state: [established, related, established], action: accept }",
      { matches: [{ kind: "conntrack", states: { is: RuleState.ESTABLISHED | RuleState.RELATED } }] },
    ],
    ["{ state: invalid, action: accept }", { matches: [{ kind: "conntrack", states: { is: RuleState.INVALID } }] }],
    ["{ action: reject }", { target: { kind: "REJECT", answer: 3 } }],
    ["{ action: reject, with: icmp-admin-prohibited }", { target: { kind: "REJECT", answer: 13 } }],
    [
      "{ proto: tcp, action: reject, with: tcp-reset }",
      { protocol: { is: 6 }, target: { kind: "REJECT", answer: "tcp-reset" } },
    ],
  ])("%s", (text, rule) => {
    expect(ruleOf(text)).toEqual({ matches: [], target: { kind: "ACCEPT" }, ...rule });
  });

  it("may repeat parts by alias", () => {
    const { plan } = resolvePlan(
      configure(`${LAB}
filter:
  forward: { rules: [ { from: &inside [10.55.66.2, 10.55.66.3], action: accept }, { to: *inside, action: accept } ] }
`),
    );
    const [first, second] = chainOf(plan, "FORWARD").rules;
    expect(second.destination).toEqual(first.source);
    expect(first.source?.is).toHaveLength(2);
  });
});

describe("an anchor that is given again", () => {
  it("leaves the aliases before it as they were, also where they are repeated themselves", () => {
    const { plan } = resolvePlan(
      configure(`${LAB}
filter:
  forward:
    rules:
      - { from: &a 10.55.66.2, to: &list [*a], action: accept }
      - { from: &a 10.55.66.3, to: *list, action: accept }
`),
    );
    const [, rule] = chainOf(plan, "FORWARD").rules;
    expect(rule.source?.is).toEqual([range("10.55.66.3")]);
    expect(rule.destination?.is).toEqual([range("10.55.66.2")]);
  });
});

describe("indexes", () => {
  it("stay with what stays, and new things get new ones", () => {
    const before = resolvePlan(configure(LAB));
    const changed = configure(`
version: 1
networks:
  new: { subnet: 10.55.67.0/24, ports: { c9: { netns: c9 } } }
  lab: { subnet: 10.55.68.0/24, ports: { c2: { pid: 4711, ifname: lan0 }, c3: { netns: c3 } } }
uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24 }
`);
    const after = resolvePlan(changed, before);
    expect(after.plan.interfaces.map(({ name, index }) => [name, index])).toEqual([
      ["new", 2],
      ["lab", 0],
      ["wan", 1],
    ]);
    expect(after.plan.ports).toEqual([
      { index: 3, name: "c9", interface: 2 },
      { index: 1, name: "c2", interface: 0 },
      { index: 4, name: "c3", interface: 0 },
      { index: 2, name: "wan", interface: 1 },
    ]);
    expect(after.devices.map(({ port }) => port)).toEqual([3, 1, 4, 2]);
    // What c1 had is free again in the change after.
    const later = resolvePlan(configure(LAB), after);
    expect(later.plan.ports[0]).toMatchObject({ name: "c1", index: 0 });
  });

  it.each([
    ["another namespace", "netns: c1,", "netns: c7,"],
    ["another device", "netns: c1,", "netns: c1, ifname: eth1,"],
  ])("change for a port that moves to %s", (_, from, to) => {
    const before = resolvePlan(configure(LAB));
    const after = resolvePlan(configure(LAB.replace(from, to)), before);
    expect(after.plan.ports.map(({ index }) => index)).toEqual([3, 1, 2]);
  });

  it("stay for a port whose address changes", () => {
    const before = resolvePlan(configure(LAB));
    const after = resolvePlan(configure(LAB.replace("10.55.66.2", "10.55.66.9")), before);
    expect(after.plan.ports).toEqual(before.plan.ports);
  });

  it("never exceed twice the number of ports", () => {
    const configurations = [LAB, LAB.replaceAll("c1", "d1").replaceAll("c2", "d2").replaceAll("wan", "van")].map(
      configure,
    );
    let resolved = resolvePlan(configurations[0]);
    for (let turn = 1; turn < 10; turn++) resolved = resolvePlan(configurations[turn % 2], resolved);
    expect(Math.max(...resolved.plan.ports.map(({ index }) => index))).toBeLessThan(6);
  });
});

describe("a configuration as data", () => {
  it("is checked like a text, without positions", () => {
    const value = { version: 1, networks: { lab: { subnet: "10.55.66.0/24", ports: { c1: { netns: "c1" } } } } };
    const { configuration } = checkConfiguration(value);
    expect(configuration).toBe(value);
    const wrong = checkConfiguration({ ...value, networks: { lab: { subnet: "10.55.66.0" } } });
    expect(wrong.errors?.map(formatError)).toEqual([
      'configuration: networks.lab.subnet: "10.55.66.0" has no prefix length: expected an IPv4 prefix like 10.55.66.0/24',
    ]);
  });

  it("that is invalid has no plan", () => {
    const value = { version: 1, networks: { lab: { subnet: "10.55.66.0" } } } as Configuration;
    expect(() => resolvePlan(value)).toThrow(TypeError);
  });
});
