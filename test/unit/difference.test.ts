/** What lies between two configurations, in words. */
import { describe, expect, it } from "vitest";
import { parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import type { Configuration } from "../../src/control/configuration/schema.ts";
import { compareConfigurations, compareOpen, formatAction, summarise } from "../../src/control/difference.ts";

const BASE = `
version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    ports:
      c1: { netns: c1, address: 10.55.66.2 }
      c2: { netns: c2 }
uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 }
nat:
  masquerade: [ { from: 10.55.66.0/24, out: wan } ]
filter:
  forward:
    policy: drop
    rules:
      - { in: lab, out: wan, action: accept }
      - { in: wan, out: lab, state: [established, related], action: accept }
`;

function read(text: string): Configuration {
  const { configuration, errors } = parseConfiguration(text, "test");
  expect(errors).toBeUndefined();
  return configuration as Configuration;
}

function lines(after: string, before = BASE): string[] {
  return compareConfigurations(read(before), read(after)).map(formatAction);
}

describe("the difference of two configurations", () => {
  it("is empty for the same", () => {
    expect(lines(BASE)).toEqual([]);
    expect(summarise([])).toBe("nothing changes");
  });

  it.each([
    [
      "a port more",
      BASE.replace("c2: { netns: c2 }", "c2: { netns: c2 }\n      c3: { pid: 7 }"),
      ["+ port networks.lab.ports.c3: { pid: 7 }"],
    ],
    ["a port less", BASE.replace("      c2: { netns: c2 }\n", ""), ["- port networks.lab.ports.c2: { netns: c2 }"]],
    [
      "another address",
      BASE.replace("10.55.66.2", "10.55.66.9"),
      ["~ port networks.lab.ports.c1.address: 10.55.66.2 -> 10.55.66.9"],
    ],
    [
      "an MTU",
      BASE.replace("subnet: 10.55.66.0/24\n", "subnet: 10.55.66.0/24\n    mtu: 1400\n"),
      ["+ network networks.lab.mtu: 1400"],
    ],
    [
      "no uplink",
      BASE.replace(/uplinks:\n.*\n/, "").replace(/nat:[\s\S]*/, ""),
      [
        "- uplink uplinks.wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 }",
        "- nat rule nat.masquerade[0]: { from: 10.55.66.0/24, out: wan }",
        "- policy filter.forward.policy: drop",
        "- rule filter.forward.rules[0]: { in: lab, out: wan, action: accept }",
        "- rule filter.forward.rules[1]: { in: wan, out: lab, state: [ established, related ], action: accept }",
      ],
    ],
    [
      "a rule in front",
      BASE.replace("    rules:\n", "    rules:\n      - { in: lab, proto: udp, action: drop }\n"),
      ["+ rule filter.forward.rules[0]: { in: lab, proto: udp, action: drop }"],
    ],
    ["a policy", BASE.replace("policy: drop", "policy: accept"), ["~ policy filter.forward.policy: drop -> accept"]],
    [
      "a route",
      `${BASE}routes: [ { to: 198.51.100.0/24, via: 203.0.113.9 } ]\n`,
      ["+ route routes[0]: { to: 198.51.100.0/24, via: 203.0.113.9 }"],
    ],
    ["a limit", `${BASE}limits: { flows: 1000 }\n`, ["+ limit limits.flows: 1000"]],
  ])("tells %s", (_, after, expected) => {
    expect(lines(after)).toEqual(expected);
  });

  it("counts what it has in its summary", () => {
    const after = BASE.replace("policy: drop", "policy: accept").replace(
      "      - { in: lab, out: wan, action: accept }\n",
      "",
    );
    expect(summarise(compareConfigurations(read(BASE), read(after)))).toBe("1 policy altered, 1 rule removed");
  });

  it("finds rules again that have moved, of 10 000 in a moment", () => {
    const rules = Array.from({ length: 10_000 }, (_, at) => ({
      from: `10.${at >> 8}.${at & 255}.1`,
      action: "accept" as const,
    }));
    const of = (list: typeof rules): Configuration => ({ ...read(BASE), filter: { forward: { rules: list } } });
    const extra = { from: "192.0.2.1", action: "accept" as const };
    const inserted = compareConfigurations(of(rules), of([...rules.slice(0, 5000), extra, ...rules.slice(5000)]));
    expect(inserted).toMatchObject([{ change: "add", index: 5000 }]);
    const moved = compareConfigurations(of(rules), of([...rules.slice(1), rules[0]]));
    expect(moved).toMatchObject([
      { change: "remove", index: 0 },
      { change: "add", index: 9999 },
    ]);
    // Turned round, but one keeps its place among the others.
    expect(compareConfigurations(of(rules), of([...rules].reverse()))).toHaveLength(2 * 9_999);
  });

  it("names the devices that it opens and closes", () => {
    const plan = resolvePlan(read(BASE));
    const after = BASE.replace("c2: { netns: c2 }", "c3: { netns: c3, ifname: net0 }").replace(".66.2", ".66.9");
    expect(compareOpen(plan, resolvePlan(read(after), plan))).toEqual({
      opens: ["c3: net0 in c3", "c1: eth0 in c1"],
      closes: ["c1: eth0 in c1", "c2: eth0 in c2"],
    });
  });
});
