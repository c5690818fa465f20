/** NAT rules and published ports of the configuration, and how flows are tracked. */
import { type ConntrackPlan, DEFAULT_CONNTRACK, type SharedAddress } from "../../dataplane/plan.ts";
import type { Match, Range, Rule } from "../../filter/rule_set.ts";
import { Protocol } from "../../packet/ipv4.ts";
import { contains, formatAddress, prefixMask, rangeOf } from "../../packet/ipv4_address.ts";
import { formatPrefix, isHostOf, isUnicast, masked, readAddress, readPrefixOrAddress } from "./addresses.ts";
import type { InterfaceBuilder } from "./build_interfaces.ts";
import { formatPath, type Path, quote, type Report } from "./errors.ts";
import { findNamed, type Names } from "./names.ts";
import type { Configuration } from "./schema.ts";
import {
  type MasqueradeConfiguration,
  MOST_POOL_ADDRESSES,
  type PublishConfiguration,
  type SourceNatConfiguration,
} from "./schema_nat.ts";

const HIGHEST_PORT = 65_535;
const PORT_OR_RANGE = /^\d{1,5}(-\d{1,5})?$/;
const RANGE_WORDS = "an IPv4 address or a range of them";
const PROTOCOLS = { tcp: [Protocol.TCP], udp: [Protocol.UDP], both: [Protocol.TCP, Protocol.UDP] } as const;

export function buildConntrack(configuration: Configuration): ConntrackPlan {
  const { timeouts = {}, ...options } = configuration.conntrack ?? {};
  return {
    ...DEFAULT_CONNTRACK,
    ...options,
    timeouts: { ...timeouts },
    profile: configuration.nat?.profile ?? DEFAULT_CONNTRACK.profile,
    flowsPerHost: configuration.limits?.flowsPerHost ?? DEFAULT_CONNTRACK.flowsPerHost,
  };
}

interface SourceParts {
  out: number;
  rule: Rule;
  options: { ports?: Range; randomFully?: true };
}

interface Place {
  protocols: readonly number[];
  /** The address that is published; undefined where the uplink has none yet. */
  address: number | undefined;
  interface: number;
  ports: Range;
  path: Path;
}

export class NatBuilder {
  private readonly interfaces: InterfaceBuilder;
  private readonly names: Names;
  private readonly report: Report;
  private readonly places: Place[] = [];

  constructor(interfaces: InterfaceBuilder, names: Names, report: Report) {
    this.interfaces = interfaces;
    this.names = names;
    this.report = report;
  }

  /** Rules of POSTROUTING: those of `snat`, then those of `masquerade`. */
  sourceRules(configuration: Configuration): Rule[] {
    const { snat = [], masquerade = [] } = configuration.nat ?? {};
    const pools = snat.map((rule, index) => this.pool(rule, ["nat", "snat", index]));
    const own = masquerade.map((rule, index) => this.masquerade(rule, ["nat", "masquerade", index]));
    return [...pools, ...own].filter((rule) => rule !== undefined);
  }

  /** Rules of PREROUTING. */
  destinationRules(configuration: Configuration): Rule[] {
    return (configuration.nat?.publish ?? []).flatMap((rule, index) => this.published(rule, ["nat", "publish", index]));
  }

  /** What is published on an uplink. */
  publishedOn(owner: number): { protocol: number; first: number; last: number }[] {
    return this.places
      .filter((place) => place.interface === owner)
      .flatMap(({ protocols, ports }) => protocols.map((protocol) => ({ protocol, ...ports })));
  }

  private sharedOf(uplink: number): SharedAddress | undefined {
    return this.interfaces.interfaces.find(({ index }) => index === uplink)?.shared;
  }

  private masquerade(rule: MasqueradeConfiguration, path: Path): Rule | undefined {
    const source = this.source(rule, path);
    if (source === undefined) return undefined;
    const { ports } = source.options;
    const reserved = this.sharedOf(source.out)?.ports;
    if (ports !== undefined && reserved !== undefined && (ports.first < reserved.first || ports.last > reserved.last)) {
      this.report(
        [...path, "ports"],
        `not within the reserved ${reserved.first}-${reserved.last} of ${quote(rule.out)}`,
      );
    }
    return { ...source.rule, target: { kind: "MASQUERADE", ...source.options } };
  }

  private source(rule: MasqueradeConfiguration | SourceNatConfiguration, path: Path): SourceParts | undefined {
    const from = readPrefixOrAddress(rule.from, [...path, "from"], this.report);
    const out = this.uplink(rule.out, [...path, "out"]);
    const ports = rule.ports === undefined ? undefined : this.span(rule.ports, [...path, "ports"]);
    if (from === undefined || out === undefined || (rule.ports !== undefined && ports === undefined)) return undefined;
    return {
      out,
      rule: { source: { is: [rangeOf(from)] }, out: { is: [rule.out] }, matches: [], ...nameOf(rule) },
      options: {
        ...(ports === undefined ? {} : { ports }),
        ...(rule.fullyRandom === true ? { randomFully: true } : {}),
      },
    };
  }

  private pool(rule: SourceNatConfiguration, path: Path): Rule | undefined {
    const source = this.source(rule, path);
    const to = this.range(rule.to, [...path, "to"]);
    if (to === undefined || source === undefined) return undefined;
    if (this.sharedOf(source.out) !== undefined) {
      this.report([...path, "out"], `${quote(rule.out)} shares the host's address, and has no other`);
      return undefined;
    }
    if (!this.isFree(to, source.out, [...path, "to"])) return undefined;
    return { ...source.rule, target: { kind: "SNAT", addresses: to, ...source.options } };
  }

  private range(text: string, path: Path): { first: number; last: number } | undefined {
    const [firstText, lastText = firstText, ...rest] = text.split("-");
    if (rest.length > 0) {
      this.report(path, `expected ${RANGE_WORDS}, not ${quote(text)}`);
      return undefined;
    }
    const first = readAddress(firstText, path, this.report, RANGE_WORDS);
    const last = lastText === firstText ? first : readAddress(lastText, path, this.report, RANGE_WORDS);
    if (first === undefined || last === undefined) return undefined;
    const count = (last >>> 0) - (first >>> 0) + 1;
    if (count < 1) {
      this.report(path, `${quote(text)} ends before it begins; did you mean "${lastText}-${firstText}"?`);
    } else if (count > MOST_POOL_ADDRESSES) {
      this.report(path, `${quote(text)} has ${count} addresses: at most ${MOST_POOL_ADDRESSES} are supported`);
    } else if (!isUnicast(first) || !isUnicast(last)) {
      // What is not unicast comes in blocks far larger than a pool: between two unicast ends all are.
      this.report(path, `${formatAddress(isUnicast(first) ? last : first)} is not a unicast address`);
    } else {
      return { first, last };
    }
    return undefined;
  }

  /** Addresses to hand out are nobody else's: no network's, and of the router's own only that of the uplink. */
  private isFree(to: { first: number; last: number }, out: number, path: Path): boolean {
    const { connected, interfaces } = this.interfaces;
    for (const { interface: index, name, prefix, address } of connected) {
      const isNetworks = interfaces.some((each) => each.index === index && each.kind === "network");
      if (!isNetworks && index === out) continue;
      const length = isNetworks ? prefix.length : 32;
      const taken = masked({ address, length });
      const first = Math.max(to.first >>> 0, taken.address >>> 0);
      if (first > Math.min(to.last >>> 0, (taken.address | ~prefixMask(length)) >>> 0)) continue;
      const whose = isNetworks ? `in ${formatPrefix(taken)}, the subnet of` : "the router's own address on";
      this.report(path, `${formatAddress(first | 0)} is ${whose} ${quote(name)}`);
      return false;
    }
    return this.isHosts(to, out, path);
  }

  /** The router will answer ARP for them: they are neither the gateway's nor the subnet's own. */
  private isHosts(to: { first: number; last: number }, out: number, path: Path): boolean {
    const { connected, gateways } = this.interfaces;
    const reserved = gateways.map(({ via }) => ({ address: via, what: "the gateway of an uplink" }));
    for (const { interface: index, prefix } of connected) {
      if (index !== out || prefix.length > 30) continue;
      const { address } = masked(prefix);
      reserved.push({ address, what: "the address of a subnet, not a host's" });
      reserved.push({ address: address | ~prefixMask(prefix.length), what: "a broadcast address, not a host's" });
    }
    const found = reserved.find(({ address }) => address >>> 0 >= to.first >>> 0 && address >>> 0 <= to.last >>> 0);
    if (found !== undefined) this.report(path, `${formatAddress(found.address)} is ${found.what}`);
    return found === undefined;
  }

  /** What one published port, or range of them, is as rules of PREROUTING. */
  published(rule: PublishConfiguration, path: Path): Rule[] {
    const owner = this.uplink(rule.on, [...path, "on"]);
    const ports = this.span(rule.port, [...path, "port"]);
    const target = ports === undefined ? undefined : this.target(rule.to, ports, [...path, "to"]);
    if (owner === undefined || ports === undefined || target === undefined) return [];
    const protocols: readonly number[] = PROTOCOLS[rule.proto];
    const address = this.publishedAddress(rule, owner, path);
    if (!this.isFirst({ protocols, interface: owner, address, ports, path: [...path, "port"] })) return [];
    if (address === undefined) return [];
    const { to, toPort } = target;
    const last = ports.last - ports.first;
    return protocols.map((protocol) => ({
      destination: { is: [{ first: address, last: address }] },
      protocol: { is: protocol },
      matches: [{ kind: protocol === Protocol.TCP ? "tcp" : "udp", destinationPort: { is: ports } } satisfies Match],
      ...nameOf(rule),
      target: {
        kind: "DNAT",
        addresses: { first: to, last: to },
        ...(toPort === undefined ? {} : { ports: { first: toPort, last: toPort + last } }),
        ...(toPort === undefined || last === 0 ? {} : { base: ports.first }),
        publishes: rule.on,
      },
    }));
  }

  /** The uplink's address that a rule publishes. */
  private publishedAddress(rule: PublishConfiguration, owner: number, path: Path): number | undefined {
    const own = this.interfaces.connected.filter((each) => each.interface === owner).map(({ address }) => address);
    if (rule.address === undefined) return own[0];
    const at = [...path, "address"];
    const address = readAddress(rule.address, at, this.report);
    if (address === undefined || own.length === 0 || own.includes(address)) return address;
    this.report(
      at,
      `${quote(rule.on)} has no address ${formatAddress(address)} (it has ${own.map(formatAddress).join(", ")})`,
    );
    return undefined;
  }

  private isFirst(place: Place): boolean {
    const other = this.places.find(
      ({ protocols, interface: owner, address, ports }) =>
        owner === place.interface &&
        address === place.address &&
        ports.first <= place.ports.last &&
        place.ports.first <= ports.last &&
        protocols.some((protocol) => place.protocols.includes(protocol)),
    );
    if (other === undefined) this.places.push(place);
    else this.report(place.path, `published already, at ${formatPath(other.path)}`);
    return other === undefined;
  }

  private target(text: string, ports: Range, path: Path): { to: number; toPort?: number } | undefined {
    const [addressText, portText, ...rest] = text.split(":");
    if (rest.length > 0 || portText === "") {
      this.report(path, `expected an IPv4 address with a port, like 10.55.66.3:80, not ${quote(text)}`);
      return undefined;
    }
    const to = readAddress(addressText, path, this.report, "an IPv4 address with a port, like 10.55.66.3:80");
    const span = portText === undefined ? ports : this.span(portText, path);
    if (to === undefined || span === undefined || !this.isContainer(to, path)) return undefined;
    const wanted = ports.last - ports.first;
    if (portText?.includes("-") && span.last - span.first !== wanted) {
      this.report(path, `${quote(text)} has ${counted(span.last - span.first + 1)}, ${wanted + 1} are published`);
    } else if (span.first + wanted > HIGHEST_PORT) {
      this.report(path, `the last port of ${quote(text)} would be ${span.first + wanted}`);
    } else {
      return portText === undefined ? { to } : { to, toPort: span.first };
    }
    return undefined;
  }

  private isContainer(address: number, path: Path): boolean {
    const { connected, interfaces, hasAllNetworks } = this.interfaces;
    const own = connected.find((each) => each.address === address);
    if (own !== undefined) {
      this.report(path, `${formatAddress(address)} is the router's own address on ${quote(own.name)}`);
      return false;
    }
    const subnet = connected.find(({ prefix }) => contains(prefix, address));
    const isNetworks = interfaces.some(({ index, kind }) => index === subnet?.interface && kind === "network");
    if (subnet !== undefined && isNetworks) return isHostOf(subnet.prefix, address, "container", path, this.report);
    // It may be in the subnet that could not be read.
    if (hasAllNetworks) this.report(path, `${formatAddress(address)} is in no network's subnet`);
    return false;
  }

  private uplink(name: string, path: Path): number | undefined {
    const named = findNamed(this.names, name, path, this.report);
    if (named === undefined) return undefined;
    if (named.kind === "uplink") return this.interfaces.indexOfInterface.get(name);
    this.report(path, `${quote(name)} is a ${named.kind}, not an uplink`);
    return undefined;
  }

  private span(value: number | string, path: Path): Range | undefined {
    const [first, last = first] = String(value).split("-").map(Number);
    if (!PORT_OR_RANGE.test(String(value))) this.report(path, `expected a port or a range, not ${quote(value)}`);
    else if (first < 1 || last < 1 || first > HIGHEST_PORT || last > HIGHEST_PORT)
      this.report(path, `${quote(value)} has a port that is not 1 to ${HIGHEST_PORT}`);
    else if (first > last) this.report(path, `${quote(value)} ends before it begins; did you mean "${last}-${first}"?`);
    else return { first, last };
    return undefined;
  }
}

function nameOf({ name }: { name?: string }): { name?: string } {
  return name === undefined ? {} : { name };
}

function counted(ports: number): string {
  return ports === 1 ? "1 port" : `${ports} ports`;
}
