/** Rules of the configuration to rules of the filter. */
import { Action, type Chain, type PortRange, type Prefix, RejectWith, type Rule, StateBit } from "../../filter/rule.ts";
import { Protocol } from "../../packet/ipv4.ts";
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

const ACTIONS = { accept: Action.ACCEPT, drop: Action.DROP, reject: Action.REJECT } as const;
const PROTOCOLS = { tcp: Protocol.TCP, udp: Protocol.UDP, icmp: Protocol.ICMP } as const;

const STATES: Record<(typeof STATE_NAMES)[number], number> = {
  new: StateBit.NEW,
  established: StateBit.ESTABLISHED,
  related: StateBit.RELATED,
  invalid: StateBit.INVALID,
};

const REJECTS: Record<(typeof REJECT_NAMES)[number], RejectWith> = {
  "icmp-net-unreachable": RejectWith.NET_UNREACHABLE,
  "icmp-host-unreachable": RejectWith.HOST_UNREACHABLE,
  "icmp-proto-unreachable": RejectWith.PROTOCOL_UNREACHABLE,
  "icmp-port-unreachable": RejectWith.PORT_UNREACHABLE,
  "icmp-net-prohibited": RejectWith.NET_PROHIBITED,
  "icmp-host-prohibited": RejectWith.HOST_PROHIBITED,
  "icmp-admin-prohibited": RejectWith.ADMIN_PROHIBITED,
  "tcp-reset": RejectWith.TCP_RESET,
};

/** What the names of a rule stand for. */
export interface RuleIndexes {
  names: Names;
  /** Of networks and uplinks. */
  interfaces: ReadonlyMap<string, number>;
  /** Of networks and uplinks all their ports, of a port itself. */
  ports: ReadonlyMap<string, readonly number[]>;
}

export function buildChain(chain: ChainConfiguration, path: Path, indexes: RuleIndexes, report: Report): Chain {
  const rules = (chain.rules ?? []).map((rule, index) => {
    return new RuleBuilder([...path, "rules", index], indexes, report).build(rule, path.at(-1) as ChainName);
  });
  return { policy: ACTIONS[chain.policy ?? "accept"], rules };
}

type ChainName = "forward" | "input" | "bridge";

class RuleBuilder {
  private readonly path: Path;
  private readonly indexes: RuleIndexes;
  private readonly report: Report;

  constructor(path: Path, indexes: RuleIndexes, report: Report) {
    this.path = path;
    this.indexes = indexes;
    this.report = report;
  }

  build(rule: RuleConfiguration, chain: ChainName): Rule {
    const built: Rule = { action: ACTIONS[rule.action] };
    if (rule.name !== undefined) built.name = rule.name;
    if (rule.in !== undefined) this.addIngress(built, rule.in);
    if (rule.out !== undefined) this.addEgress(built, rule.out, chain);
    if (rule.from !== undefined) built.sources = this.prefixes(rule.from, "from");
    if (rule.to !== undefined) built.destinations = this.prefixes(rule.to, "to");
    const protocol = typeof rule.proto === "string" ? PROTOCOLS[rule.proto] : rule.proto;
    if (protocol !== undefined) built.protocol = protocol;
    if (rule.sport !== undefined) built.sourcePorts = this.ports(rule.sport, "sport", protocol);
    if (rule.dport !== undefined) built.destinationPorts = this.ports(rule.dport, "dport", protocol);
    if (rule.icmpType !== undefined) built.icmpTypes = this.icmpTypes(rule.icmpType, protocol);
    if (rule.state !== undefined) built.states = listOf(rule.state).reduce((bits, state) => bits | STATES[state], 0);
    this.addReject(built, rule);
    return built;
  }

  private addIngress(built: Rule, names: string | string[]): void {
    const found = this.find(names, "in").filter((named) => named !== undefined);
    if (found.every(({ kind }) => kind !== "port")) {
      built.inInterfaces = found.map(({ name }) => this.indexes.interfaces.get(name) as number);
    } else {
      // In a rule, interfaces and ports both have to match. Interfaces beside ports stand for all their ports.
      built.inPorts = found.flatMap(({ name }) => this.indexes.ports.get(name) ?? []);
    }
  }

  private addEgress(built: Rule, names: string | string[], chain: ChainName): void {
    if (chain === "bridge") {
      this.addBridgeEgress(built, names);
      return;
    }
    if (chain === "input") {
      this.fail(["out"], 'packets for the router itself do not leave: "out" is for forward rules', "key");
      return;
    }
    built.outInterfaces = [];
    for (const [index, named] of this.find(names, "out").entries()) {
      if (named === undefined) continue;
      if (named.kind === "port") {
        // By which port of a network a routed packet leaves is known only after the rules.
        const instead = `name its network ${quote(named.network)}, and its address in "to"`;
        this.fail(stepTo("out", names, index), `${quote(named.name)} is a port of a network: ${instead}`);
      } else {
        built.outInterfaces.push(this.indexes.interfaces.get(named.name) as number);
      }
    }
  }

  /** By which port a frame leaves is known where it is switched, unless it is flooded. */
  private addBridgeEgress(built: Rule, names: string | string[]): void {
    const found = this.find(names, "out").filter((named) => named !== undefined);
    if (found.every(({ kind }) => kind !== "port")) {
      built.outInterfaces = found.map(({ name }) => this.indexes.interfaces.get(name) as number);
    } else {
      built.outPorts = found.flatMap(({ name }) => this.indexes.ports.get(name) ?? []);
    }
  }

  private find(names: string | string[], key: string): (Named | undefined)[] {
    return listOf(names).map((name, index) => {
      return findNamed(this.indexes.names, name, [...this.path, ...stepTo(key, names, index)], this.report);
    });
  }

  private prefixes(texts: string | string[], key: string): Prefix[] {
    const read = listOf(texts).map((text, index) => {
      return readPrefixOrAddress(text, [...this.path, ...stepTo(key, texts, index)], this.report);
    });
    return read.filter((prefix) => prefix !== undefined);
  }

  private ports(value: string | number | (string | number)[], key: string, protocol: number | undefined): PortRange[] {
    if (protocol !== Protocol.TCP && protocol !== Protocol.UDP) {
      this.fail([key], `${quote(key)} needs "proto: tcp" or "proto: udp"`, "key");
    }
    return listOf(value).map((entry, index) => {
      const [low, high = low] = String(entry).split("-").map(Number);
      const path = stepTo(key, value, index);
      if (high > 65_535 || low > 65_535) this.fail(path, `${quote(entry)} has a port above 65535`);
      else if (low > high) this.fail(path, `${quote(entry)} ends before it begins; did you mean "${high}-${low}"?`);
      return { low, high };
    });
  }

  private icmpTypes(value: NonNullable<RuleConfiguration["icmpType"]>, protocol: number | undefined): PortRange[] {
    if (protocol !== Protocol.ICMP) this.fail(["icmpType"], '"icmpType" needs "proto: icmp"', "key");
    return listOf(value).map((entry) => {
      const type = typeof entry === "string" ? ICMP_TYPES[entry] : entry;
      return { low: type, high: type };
    });
  }

  private addReject(built: Rule, rule: RuleConfiguration): void {
    if (rule.action === "reject") built.rejectWith = REJECTS[rule.with ?? "icmp-port-unreachable"];
    else if (rule.with !== undefined) this.fail(["with"], '"with" needs "action: reject"', "key");
    if (rule.with === "tcp-reset" && built.protocol !== Protocol.TCP)
      this.fail(["with"], 'tcp-reset needs "proto: tcp"');
  }

  private fail(inside: Path, message: string, side: "key" | "value" = "value"): void {
    this.report([...this.path, ...inside], message, side);
  }
}

function listOf<T>(value: T | T[]): T[] {
  return Array.isArray(value) ? value : [value];
}

/** The path from a rule to member `index` of a key's list, or to the key's only value. */
function stepTo(key: string, value: unknown, index: number): Path {
  return Array.isArray(value) ? [key, index] : [key];
}
