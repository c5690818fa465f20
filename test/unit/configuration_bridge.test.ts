/** Isolation, spoofing protection and the bridge chain: from the configuration to the plan. */
import { describe, expect, it } from "vitest";
import { formatError, parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { word } from "../support/frames.ts";

const MAC = "02:00:00:00:00:42";

function planOf(network: string, ports: string, rest = "") {
  const text = `version: 1
networks:
  lab: { subnet: 10.55.66.0/24, ${network} ports: { ${ports} } }
uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24 }
${rest}`;
  const { configuration, errors } = parseConfiguration(text, "f");
  if (configuration === undefined) throw new Error(errors?.map(formatError).join("\n"));
  return resolvePlan(configuration).plan;
}

const PORTS = `c1: { netns: c1, address: 10.55.66.2, mac: "${MAC}" }, c2: { netns: c2 }`;

describe("isolation", () => {
  it("is of no port and no network unless it is asked for", () => {
    const { interfaces, ports } = planOf("", PORTS);
    expect(interfaces.some((each) => "isolated" in each)).toBe(false);
    expect(ports.some((each) => "isolated" in each || "guard" in each)).toBe(false);
  });

  it.each([
    ["isolation: ports,", undefined, [true, true]],
    ["isolation: network,", true, [undefined, undefined]],
    ["isolation: [network, ports],", true, [true, true]],
  ])("%s", (network, isolated, expected) => {
    const plan = planOf(network, PORTS);
    expect(plan.interfaces[0].isolated).toBe(isolated);
    expect(plan.ports.slice(0, 2).map((port) => port.isolated)).toEqual(expected);
  });

  it("of a port goes before the network's", () => {
    const isolated = (network: string, own: string) =>
      planOf(network, `c1: { netns: c1, isolated: ${own} }`).ports[0].isolated;
    expect(isolated("isolation: ports,", "false")).toBeUndefined();
    expect(isolated("", "true")).toBe(true);
  });
});

describe("antiSpoofing", () => {
  it("pins hardware address and address of each port, where it has one", () => {
    const { ports, interfaces } = planOf("antiSpoofing: true,", PORTS);
    expect(ports[0].guard).toEqual({ mac: MAC, address: word("10.55.66.2") });
    expect(ports[1].guard).toEqual({ mac: expect.stringMatching(/^02:/) });
    expect(ports[1].guard?.mac).not.toBe(interfaces[0].mac);
    expect(ports[2].guard).toBeUndefined();
  });

  it("of a port goes before the network's", () => {
    const { ports } = planOf("antiSpoofing: true,", "c1: { netns: c1, antiSpoofing: false }, c2: { netns: c2 }");
    expect(ports.slice(0, 2).map(({ guard }) => guard !== undefined)).toEqual([false, true]);
    expect(planOf("", "c1: { netns: c1, antiSpoofing: true }").ports[0].guard).toBeDefined();
  });
});

describe("rateLimit", () => {
  it("of a network is that of its ports, but for those that have their own", () => {
    const { ports } = planOf(
      "rateLimit: { packetsPerSecond: 1000, newFlowsPerSecond: 50 },",
      "c1: { netns: c1 }, c2: { netns: c2, rateLimit: { bytesPerSecond: 5 } }",
    );
    expect(ports.slice(0, 2).map(({ rateLimit }) => rateLimit)).toEqual([{ packets: 1000, flows: 50 }, { bytes: 5 }]);
    expect(planOf("", PORTS).ports[0].rateLimit).toBeUndefined();
  });
});

describe("filter.bridge", () => {
  const chainOf = (bridge: string) =>
    planOf("", PORTS, `filter: { bridge: ${bridge} }`).rules.filter.chains.find(({ name }) => name === "BRIDGE");

  it.each([
    ["{ policy: accept }", { policy: "ACCEPT", rules: [] }],
    ["{ policy: drop }", { policy: "DROP", rules: [] }],
  ])("%s", (bridge, chain) => {
    expect(chainOf(bridge)).toEqual({ name: "BRIDGE", ...chain });
  });

  it("takes ports in `out`, and a network with all its ports", () => {
    const rules = "[ { in: c1, out: [c2], action: drop }, { in: lab, out: lab, action: accept } ]";
    expect(chainOf(`{ rules: ${rules} }`)?.rules).toEqual([
      { in: { is: ["c1"] }, out: { is: ["c2"] }, matches: [], target: { kind: "DROP" } },
      { in: { is: ["lab"] }, out: { is: ["lab"] }, matches: [], target: { kind: "ACCEPT" } },
    ]);
  });
});
