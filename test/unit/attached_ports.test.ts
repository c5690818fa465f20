/** What ports bring along: published ports and routes; and ports of CNI, which stay whatever configuration comes. */
import { describe, expect, it } from "vitest";
import { keepCniPorts, withCni, withoutEndedCniPorts } from "../../src/control/cni.ts";
import {
  type Configuration,
  checkConfiguration,
  type PortConfiguration,
  resolvePlan,
} from "../../src/control/configuration/configuration.ts";
import type { PublishOfPort } from "../../src/control/configuration/schema_attached.ts";
import { withRules } from "../../src/control/iptables.ts";
import { describeRule } from "../../src/filter/format.ts";
import { restore } from "../../src/filter/iptables/restore.ts";
import { ruleWords } from "../../src/filter/iptables/write_rule.ts";
import { emptyRuleSet, type Rule, type RuleSet } from "../../src/filter/rule_set.ts";

/** Of this process, so that it is there. */
const THERE = "/proc/self/ns/net";
const GONE = "/nowhere/ns";
const WEB: PublishOfPort = { proto: "tcp", port: 8080, to: 80 };

function configured(ports: Record<string, PortConfiguration>): Configuration {
  return {
    version: 1,
    networks: { lab: { subnet: "10.55.66.0/24", ports } },
    uplinks: {
      wan: { kind: "packet", device: "up0", address: "203.0.113.1/24", addresses: ["203.0.113.10/24"] },
      lan: { kind: "packet", device: "up1", address: "198.51.100.1/24" },
    },
  };
}

const published = (...publish: PublishOfPort[]): Configuration =>
  configured({ c1: { netns: "c1", address: "10.55.66.2", publish } });
const chainOf = ({ nat }: RuleSet): Rule[] => nat.chains.find(({ name }) => name === "PREROUTING")?.rules ?? [];
const rulesOf = (configuration: Configuration): string[] =>
  chainOf(resolvePlan(configuration).plan.rules).map((rule) => describeRule(rule));
const errorsOf = (configuration: Configuration): string[] =>
  (checkConfiguration(configuration).errors ?? []).map(({ path, message }) => `${path}: ${message}`);

describe("what a port publishes", () => {
  it("is there on every uplink, on one, or on the one that has the address; behind all other rules", () => {
    const configuration = published(
      WEB,
      { proto: "udp", port: "53-54", on: "lan" },
      { ...WEB, address: "203.0.113.10" },
    );
    configuration.nat = { publish: [{ proto: "tcp", on: "wan", port: 81, to: "10.55.66.2:80" }] };
    configuration.filter = {
      iptables: ["*nat", "-A PREROUTING -p tcp --dport 82 -j DNAT --to-destination 10.55.66.2", "COMMIT"],
    };
    const rules = rulesOf(configuration);
    expect(rules).toHaveLength(6);
    const expected = [
      /203\.0\.113\.1 .*81.*10\.55\.66\.2:80/,
      /82.*10\.55\.66\.2/,
      /203\.0\.113\.1 .*8080.*10\.55\.66\.2:80/,
      /198\.51\.100\.1 .*8080.*10\.55\.66\.2:80/,
      /198\.51\.100\.1 .*udp.*53-54.*10\.55\.66\.2/,
      /203\.0\.113\.10 .*8080.*10\.55\.66\.2:80/,
    ];
    for (const [index, text] of expected.entries()) expect(rules[index]).toMatch(text);
  });

  it("is refused where it cannot be, by its place", () => {
    const place = "networks.lab.ports.c1.publish[0]";
    expect(errorsOf(configured({ c1: { netns: "c1", publish: [WEB] } }))).toEqual([
      `${place}: what is published needs the port's "address"`,
    ]);
    expect(errorsOf(published({ ...WEB, address: "203.0.113.99" }))[0]).toMatch(/none has 203\.0\.113\.99/);
    expect(errorsOf(published({ ...WEB, on: "lab" }))[0]).toMatch(/not an uplink/);
    const twice = published(WEB);
    twice.nat = { publish: [{ proto: "tcp", on: "wan", port: 8080, to: "10.55.66.2:80" }] };
    expect(errorsOf(twice)).toEqual([`${place}.port: published already, at nat.publish[0].port`]);
    const none = published(WEB);
    delete none.uplinks;
    expect(errorsOf(none)[0]).toMatch(/there is no uplink/);
  });

  it("stays the port's when commands change rules, unless they take it away", () => {
    const configuration = published({ ...WEB, on: "wan" }, { ...WEB, port: 81 });
    const { plan, publishedByPorts } = resolvePlan(configuration);
    const same = withRules(configuration, plan.rules, publishedByPorts);
    expect(same.networks).toEqual(configuration.networks);
    expect(JSON.stringify(same.filter?.iptables)).not.toMatch(/DNAT/);
    expect(rulesOf(same)).toEqual(rulesOf(configuration));
    // Of the second, published on two uplinks, one rule is left: it is a rule like any other from then on.
    const rules = structuredClone(plan.rules);
    chainOf(rules).splice(1, 1);
    const less = withRules(configuration, rules, publishedByPorts);
    expect(less.networks?.lab.ports?.c1.publish).toEqual([{ ...WEB, on: "wan" }]);
    const left = chainOf(resolvePlan(less).plan.rules).map((rule) => ruleWords(rule));
    expect(left.sort()).toEqual(
      chainOf(rules)
        .map((rule) => ruleWords(rule))
        .sort(),
    );
    // Saved and restored, they are the port's still.
    const text = withRules(configuration, plan.rules).filter?.iptables as string[];
    const again = restore(emptyRuleSet(), text.join("\n"), {}).rules;
    expect(withRules(configuration, again, publishedByPorts).networks).toEqual(configuration.networks);
  });
});

describe("routes of a port", () => {
  it("lead over the gateway unless they say, and are part of its device", () => {
    const routes = [{ to: "198.51.100.0/24" }, { to: "0.0.0.0/0", via: "10.55.66.9" }];
    const { devices } = resolvePlan(configured({ c1: { netns: "c1", address: "10.55.66.2", routes } }));
    expect(devices.find(({ name }) => name === "c1")?.routes).toEqual([
      { to: "198.51.100.0/24", via: "10.55.66.1" },
      { to: "0.0.0.0/0", via: "10.55.66.9" },
    ]);
  });

  it("have next hops in the network", () => {
    const routes = [{ to: "198.51.100.0/24", via: "203.0.113.2" }];
    expect(errorsOf(configured({ c1: { netns: "c1", address: "10.55.66.2", routes } }))[0]).toMatch(
      /^networks\.lab\.ports\.c1\.routes\[0\]\.via: .*outside 10\.55\.66\.0\/24/,
    );
    expect(errorsOf(configured({ c1: { netns: "c1", routes: [] } }))[0]).toMatch(/routes need an "address"/);
  });
});

describe("ports of CNI", () => {
  const cni = (netns: string, host: number, container = "c0ffee"): PortConfiguration => ({
    netns,
    ifname: `eth${host}`,
    address: `10.55.66.${host}`,
    cni: { network: "pods", container },
  });
  const names = ({ networks }: Configuration): string[] => Object.keys(networks?.lab?.ports ?? {});
  const own: Record<string, PortConfiguration> = { c1: { netns: "c1", address: "10.55.66.2" } };

  it("are carried over into a configuration that does not have them", () => {
    const present = configured({ ...own, a: cni(THERE, 3), b: cni(THERE, 4) });
    const next = keepCniPorts(present, configured({ c2: { netns: "c2" } }));
    expect(names(next)).toEqual(["c2", "a", "b"]);
    expect(next.networks?.lab.ports?.a).toEqual(cni(THERE, 3));
  });

  it("are not brought back by one that still has them, and end with their namespace", () => {
    const saved = configured({ ...own, a: cni(THERE, 3), old: cni(THERE, 5) });
    expect(names(keepCniPorts(configured({ a: cni(THERE, 6), gone: cni(GONE, 7) }), saved))).toEqual(["c1", "a"]);
    expect(names(withoutEndedCniPorts(configured({ ...own, a: cni(THERE, 3), gone: cni(GONE, 7) })))).toEqual([
      "c1",
      "a",
    ]);
    const untouched = configured(own);
    expect(keepCniPorts(configured({}), untouched)).toBe(untouched);
  });

  it("give way to the network that goes, and to who has their name or address now; the others stay", () => {
    const present = configured({ a: cni(THERE, 3), b: cni(THERE, 4), c: cni(THERE, 5) });
    const next = configured({ a: { netns: "c1" }, c1: { netns: "c1", ifname: "eth1", address: "10.55.66.4" } });
    const kept = keepCniPorts(present, next);
    expect(names(kept)).toEqual(["a", "c1", "c"]);
    expect(kept.networks?.lab.ports?.a).toEqual({ netns: "c1" });
    const { networks: _, ...without } = configured({});
    expect(keepCniPorts(present, without)).toEqual(without);
  });

  it("are shown with their container", () => {
    const id = "0123456789abcdef";
    const rows = withCni(configured({ ...own, a: cni(THERE, 3, id) }), [{ name: "a" }, { name: "c1" }]);
    expect(rows).toEqual([
      { name: "a", container: "0123456789ab", cni: { network: "pods", container: id } },
      { name: "c1" },
    ]);
  });
});
