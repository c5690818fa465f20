/** The keys `dhcp` and `dns` of a network: what they stand for, and what is wrong with them. */
import { describe, expect, it } from "vitest";
import { parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { formatAddress } from "../../src/packet/ipv4_address.ts";
import { word } from "../support/frames.ts";

const textOf = (keys: string, subnet = "10.55.66.0/24"): string => `version: 1
networks:
  lab:
    subnet: ${subnet}
    ${keys}
    ports:
      c1: { netns: c1 }
      c2: { netns: c2, address: 10.55.66.3 }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24 } }
`;

function resolved(keys: string) {
  const { configuration, errors } = parseConfiguration(textOf(keys), "f");
  if (configuration === undefined) throw new Error(JSON.stringify(errors));
  return resolvePlan(configuration);
}

const errorsOf = (keys: string, subnet?: string): string[] =>
  (parseConfiguration(textOf(keys, subnet), "f").errors ?? []).map(({ path, message }) => `${path}: ${message}`);

describe("dhcp", () => {
  it("has defaults: all of the subnet but what the router and ports have, an hour, eight leases a port", () => {
    const [plan] = resolved("dhcp: {}").networkServices.dhcp;
    expect([plan.pool.first, plan.pool.last].map(formatAddress)).toEqual(["10.55.66.1", "10.55.66.254"]);
    expect([...plan.pool.taken].map(formatAddress)).toEqual(["10.55.66.1", "10.55.66.3"]);
    expect(plan).toMatchObject({ leaseSeconds: 3600, dns: [], mtu: 1500, pool: { leasesPerPort: 8 } });
    expect(plan.domain).toBeUndefined();
    expect(plan.ports.map(({ name, address }) => [name, address])).toEqual([
      ["c1", undefined],
      ["c2", word("10.55.66.3")],
    ]);
  });

  it("tells of the gateway's forwarder where there is one, unless it says otherwise", () => {
    const gateway = word("10.55.66.1");
    expect(resolved("dhcp: {}\n    dns: {}").networkServices.dhcp[0]).toMatchObject({ dns: [gateway], domain: "lab" });
    const own = resolved("dhcp: { dns: [203.0.113.8], domain: a.test }\n    dns: { domain: b.test }").networkServices
      .dhcp[0];
    expect(own).toMatchObject({ dns: [word("203.0.113.8")], domain: "a.test" });
    expect(resolved("dhcp: { dns: [] }\n    dns: {}").networkServices.dhcp[0].dns).toEqual([]);
  });

  it("is told to the dataplane", () => {
    const flags = (keys: string) => {
      const [{ dhcp, dns }, wan] = resolved(keys).plan.interfaces;
      expect(wan).not.toHaveProperty("dhcp");
      return { dhcp, dns };
    };
    expect(flags("dhcp: {}")).toEqual({ dhcp: true, dns: undefined });
    expect(flags("dns: {}")).toEqual({ dhcp: undefined, dns: true });
    expect(flags("mtu: 1400")).toEqual({ dhcp: undefined, dns: undefined });
  });

  it.each([
    ["dhcp: { range: 10.55.66.100 }", /range: expected a range of addresses like/],
    ["dhcp: { range: 10.55.66.100-10.55.66.300 }", /expected an IPv4 address/],
    ["dhcp: { range: 10.55.67.1-10.55.67.9 }", /range: 10\.55\.67\.1 is outside 10\.55\.66\.0\/24/],
    ["dhcp: { range: 10.55.66.100-10.55.66.255 }", /is the broadcast address/],
    ["dhcp: { range: 10.55.66.100-10.55.66.99 }", /ends before it begins/],
    ["dhcp: { leaseSeconds: 5 }", /leaseSeconds: expected an integer from 10/],
    ["dhcp: { dns: [a] }", /dns\[0\]: expected an IPv4 address/],
    ["dhcp: { domain: 'a b' }", /domain: expected a domain name/],
    ["dhcp: { leases: 1 }", /leases/],
    ["dns: { servers: [127.0.0.1] }", /servers\[0\]: 127\.0\.0\.1 is not a unicast address/],
    ["dns: { servers: [10.55.66.1] }", /10\.55\.66\.1 is the router's own address on lab/],
    ["dns: { servers: [203.0.113.1] }", /203\.0\.113\.1 is the router's own address on wan/],
    ["dns: { domain: .lab }", /domain: expected a domain name/],
  ])("is refused: %s", (keys, pattern) => {
    const errors = errorsOf(keys);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(pattern);
  });

  it("needs a range in a large subnet, and no larger one than the table holds", () => {
    expect(errorsOf("dhcp: {}", "10.0.0.0/8")[0]).toMatch(/"range" has to say which are given away/);
    expect(errorsOf("dhcp: { range: 10.0.0.1-10.1.0.1 }", "10.0.0.0/8")[0]).toMatch(/more than 65536 addresses/);
    expect(errorsOf("dhcp: { range: 10.0.0.1-10.1.0.0 }", "10.0.0.0/8")).toEqual([]);
    expect(errorsOf("dhcp: {}", "10.55.0.0/16")).toEqual([]);
  });
});

it("dns: the names are the network's own by default, whatever the case", () => {
  expect(resolved("dns: {}").networkServices.dns[0]).toMatchObject({ domain: "lab", servers: [] });
  const plan = resolved("dns: { servers: [203.0.113.53, 10.55.66.3], domain: Lab.Test }").networkServices.dns[0];
  expect(plan).toMatchObject({ domain: "lab.test", servers: [word("203.0.113.53"), word("10.55.66.3")] });
});
