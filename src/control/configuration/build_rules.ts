/** Rules of the configuration to rules of the filter. */
import type { Match, Range, RejectAnswer, Rule, Target, Wish } from "../../filter/rule_set.ts";
import { RuleState } from "../../filter/rule_set.ts";
import { Protocol } from "../../packet/ipv4.ts";
import { rangeOf } from "../../packet/ipv4_address.ts";
import { readPrefixOrAddress } from "./addresses.ts";
import { type Path, quote, type Report } from "./errors.ts";
import { findNamed, type Named, type Names } from "./names.ts";
import {
  type ChainConfiguration,
  ICMP_TYPES,
  type REJECT_NAMES,
  type RuleConfiguration,
  type STATE_NAMES,
} from "./schema_rules.ts";

const PROTOCOLS = { tcp: Protocol.TCP, udp: Protocol.UDP, icmp: Protocol.ICMP } as const;

const STATES: Record<(typeof STATE_NAMES)[number], number> = {
  new: RuleState.NEW,
  established: RuleState.ESTABLISHED,
  related: RuleState.RELATED,
  invalid: RuleState.INVALID,
};

const REJECTS: Record<(typeof REJECT_NAMES)[number], RejectAnswer> = {
  "icmp-net-unreachable": 0,
  "icmp-host-unreachable": 1,
  "icmp-proto-unreachable": 2,
  "icmp-port-unreachable": 3,
  "icmp-net-prohibited": 9,
  "icmp-host-prohibited": 10,
  "icmp-admin-prohibited": 13,
  "tcp-reset": "tcp-reset",
};

type ChainName = "forward" | "input" | "bridge";

/** The rules of a chain of the configuration. */
export function buildRules(name: ChainName, { rules = [] }: ChainConfiguration, names: Names, report: Report): Rule[] {
  return rules.map((rule, index) => {
    return new RuleBuilder(["filter", name, "rules", index], names, report).build(rule, name);
  });
}

class RuleBuilder {
  private readonly path: Path;
  private readonly names: Names;
  private readonly report: Report;

  constructor(path: Path, names: Names, report: Report) {
    this.path = path;
    this.names = names;
    this.report = report;
  }

  build(rule: RuleConfiguration, chain: ChainName): Rule {
    const protocol = typeof rule.proto === "string" ? PROTOCOLS[rule.proto] : rule.proto;
    const built: Rule = { matches: this.matches(rule, protocol), target: this.target(rule, protocol) };
    if (rule.name !== undefined) built.name = rule.name;
    if (rule.in !== undefined) built.in = wish(this.ingress(rule.in));
    if (rule.out !== undefined) built.out = wish(this.egress(rule.out, chain));
    if (rule.from !== undefined) built.source = wish(this.prefixes(rule.from, "from"));
    if (rule.to !== undefined) built.destination = wish(this.prefixes(rule.to, "to"));
    if (protocol !== undefined) built.protocol = wish(protocol);
    return built;
  }

  private ingress(names: string | string[]): string[] {
    return this.find(names, "in").flatMap((named) => (named === undefined ? [] : [named.name]));
  }

  private egress(names: string | string[], chain: ChainName): string[] {
    if (chain === "input") {
      this.fail(["out"], 'packets for the router itself do not leave: "out" is for forward rules', "key");
      return [];
    }
    return this.find(names, "out").flatMap((named, index) => {
      if (named === undefined) return [];
      if (named.kind === "port" && chain !== "bridge") {
        // By which port of a network a routed packet leaves is known only after the rules.
        const instead = `name its network ${quote(named.network)}, and its address in "to"`;
        this.fail(stepTo("out", names, index), `${quote(named.name)} is a port of a network: ${instead}`);
        return [];
      }
      return [named.name];
    });
  }

  /** In the order in which iptables takes them. */
  private matches(rule: RuleConfiguration, protocol: number | undefined): Match[] {
    const matches: Match[] = [];
    const sport = rule.sport === undefined ? undefined : this.ports(rule.sport, "sport", protocol);
    const dport = rule.dport === undefined ? undefined : this.ports(rule.dport, "dport", protocol);
    const single = {
      ...(sport?.length === 1 ? { sourcePort: wish(sport[0]) } : {}),
      ...(dport?.length === 1 ? { destinationPort: wish(dport[0]) } : {}),
    };
    if (Object.keys(single).length > 0) matches.push({ kind: protocol === Protocol.UDP ? "udp" : "tcp", ...single });
    if (sport !== undefined && sport.length > 1)
      matches.push({ kind: "multiport", side: "source", ports: wish(sport) });
    if (dport !== undefined && dport.length > 1)
      matches.push({ kind: "multiport", side: "destination", ports: wish(dport) });
    if (rule.icmpType !== undefined)
      matches.push({ kind: "icmp", types: wish(this.icmpTypes(rule.icmpType, protocol)) });
    if (rule.state !== undefined) {
      const states = listOf(rule.state).reduce((bits, state) => bits | STATES[state], 0);
      matches.push({ kind: "conntrack", states: wish(states) });
    }
    return matches;
  }

  private find(names: string | string[], key: string): (Named | undefined)[] {
    return listOf(names).map((name, index) => {
      return findNamed(this.names, name, [...this.path, ...stepTo(key, names, index)], this.report);
    });
  }

  private prefixes(texts: string | string[], key: string): Range[] {
    const read = listOf(texts).map((text, index) => {
      return readPrefixOrAddress(text, [...this.path, ...stepTo(key, texts, index)], this.report);
    });
    return read.flatMap((prefix) => (prefix === undefined ? [] : [rangeOf(prefix)]));
  }

  private ports(value: string | number | (string | number)[], key: string, protocol: number | undefined): Range[] {
    if (protocol !== Protocol.TCP && protocol !== Protocol.UDP) {
      this.fail([key], `${quote(key)} needs "proto: tcp" or "proto: udp"`, "key");
    }
    return listOf(value).map((entry, index) => {
      const [first, last = first] = String(entry).split("-").map(Number);
      const path = stepTo(key, value, index);
      if (last > 65_535 || first > 65_535) this.fail(path, `${quote(entry)} has a port above 65535`);
      else if (first > last) this.fail(path, `${quote(entry)} ends before it begins; did you mean "${last}-${first}"?`);
      return { first, last };
    });
  }

  private icmpTypes(
    value: NonNullable<RuleConfiguration["icmpType"]>,
    protocol: number | undefined,
  ): { type: number; codes: Range }[] {
    if (protocol !== Protocol.ICMP) this.fail(["icmpType"], '"icmpType" needs "proto: icmp"', "key");
    return listOf(value).map((entry) => {
      const type = typeof entry === "string" ? ICMP_TYPES[entry] : entry;
      return { type, codes: { first: 0, last: 255 } };
    });
  }

  private target(rule: RuleConfiguration, protocol: number | undefined): Target {
    if (rule.with === "tcp-reset" && protocol !== Protocol.TCP) this.fail(["with"], 'tcp-reset needs "proto: tcp"');
    if (rule.action === "reject") return { kind: "REJECT", answer: REJECTS[rule.with ?? "icmp-port-unreachable"] };
    if (rule.with !== undefined) this.fail(["with"], '"with" needs "action: reject"', "key");
    return { kind: rule.action === "accept" ? "ACCEPT" : "DROP" };
  }

  private fail(inside: Path, message: string, side: "key" | "value" = "value"): void {
    this.report([...this.path, ...inside], message, side);
  }
}

function wish<T>(is: T): Wish<T> {
  return { is };
}

function listOf<T>(value: T | T[]): T[] {
  return Array.isArray(value) ? value : [value];
}

/** The path from a rule to member `index` of a key's list, or to the key's only value. */
function stepTo(key: string, value: unknown, index: number): Path {
  return Array.isArray(value) ? [key, index] : [key];
}
