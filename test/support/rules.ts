/** Rules in a short form, by indexes as plans have them, for tests that are about something else than iptables. */

import type { InterfacePlan, PortPlan, RouterPlan } from "../../src/dataplane/plan.ts";
import {
  emptyRuleSet,
  type Rule as FullRule,
  type Match,
  type Range,
  type RejectAnswer,
  type RuleSet,
} from "../../src/filter/rule_set.ts";
import { type Prefix, rangeOf } from "../../src/packet/ipv4_address.ts";

export { RuleState as StateBit } from "../../src/filter/rule_set.ts";

export const Action = { DROP: 0, ACCEPT: 1, REJECT: 2 } as const;
export type Action = (typeof Action)[keyof typeof Action];

export const RejectWith = {
  NET_UNREACHABLE: 0,
  HOST_UNREACHABLE: 1,
  PROTOCOL_UNREACHABLE: 2,
  PORT_UNREACHABLE: 3,
  NET_PROHIBITED: 9,
  HOST_PROHIBITED: 10,
  ADMIN_PROHIBITED: 13,
  TCP_RESET: "tcp-reset",
} as const satisfies Record<string, RejectAnswer>;

export type RejectWith = RejectAnswer;

export interface PortRange {
  low: number;
  high: number;
}

export interface Rule {
  name?: string;
  inInterfaces?: number[];
  outInterfaces?: number[];
  inPorts?: number[];
  outPorts?: number[];
  sources?: Prefix[];
  destinations?: Prefix[];
  protocol?: number;
  sourcePorts?: PortRange[];
  destinationPorts?: PortRange[];
  icmpTypes?: PortRange[];
  states?: number;
  action: Action;
  rejectWith?: RejectAnswer;
}

export interface Chain {
  policy: typeof Action.ACCEPT | typeof Action.DROP;
  rules: Rule[];
}

export interface SourceNatPlan {
  from: Prefix;
  out: number;
  to?: Range;
  ports?: Range;
  fullyRandom?: boolean;
}

export interface PublishPlan {
  protocol: number;
  interface: number;
  ports: Range;
  to: number;
  toPort?: number;
}

/** A plan with its rules in short. */
export interface ShortPlan extends Omit<RouterPlan, "rules"> {
  forward: Chain;
  input: Chain;
  bridge?: Chain;
  sourceNat: SourceNatPlan[];
  publish: PublishPlan[];
}

export function planOf({ forward, input, bridge, sourceNat, publish, ...plan }: ShortPlan): RouterPlan {
  const rules = emptyRuleSet();
  const write = (table: "filter" | "nat", name: string, chain: Partial<RuleSet["filter"]["chains"][0]>): void =>
    void Object.assign(rules[table].chains.find((each) => each.name === name) as object, chain);
  const chains = { FORWARD: forward, INPUT: input, BRIDGE: bridge };
  for (const [name, chain] of Object.entries(chains)) {
    if (chain === undefined) continue;
    const policy = chain.policy === Action.ACCEPT ? "ACCEPT" : "DROP";
    write("filter", name, { policy, rules: chain.rules.map((rule) => filterRule(rule, plan)) });
  }
  write("nat", "POSTROUTING", { rules: sourceNat.map((rule) => sourceRule(rule, plan)) });
  write("nat", "PREROUTING", { rules: publish.map((rule) => publishRule(rule, plan)) });
  return { ...plan, rules };
}

interface Places {
  interfaces: InterfacePlan[];
  ports: PortPlan[];
}

const nameOf = ({ interfaces }: Places, index: number): string =>
  interfaces.find((each) => each.index === index)?.name ?? `#${index}`;
const portName = ({ ports }: Places, index: number): string =>
  ports.find((each) => each.index === index)?.name ?? `#${index}`;
const ranges = (list: PortRange[]): Range[] => list.map(({ low, high }) => ({ first: low, last: high }));

export function filterRule(rule: Rule, places: Places): FullRule {
  const matches: Match[] = [];
  const { sourcePorts, destinationPorts, icmpTypes, states } = rule;
  if (sourcePorts !== undefined)
    matches.push({ kind: "multiport", side: "source", ports: { is: ranges(sourcePorts) } });
  if (destinationPorts !== undefined)
    matches.push({ kind: "multiport", side: "destination", ports: { is: ranges(destinationPorts) } });
  if (icmpTypes !== undefined) {
    const types = icmpTypes.flatMap(({ low, high }) =>
      Array.from({ length: high - low + 1 }, (_, i) => ({ type: low + i, codes: { first: 0, last: 255 } })),
    );
    matches.push({ kind: "icmp", types: { is: types } });
  }
  if (states !== undefined) matches.push({ kind: "conntrack", states: { is: states } });
  const ingress = [
    ...(rule.inInterfaces ?? []).map((index) => nameOf(places, index)),
    ...(rule.inPorts ?? []).map((index) => portName(places, index)),
  ];
  const egress = [
    ...(rule.outInterfaces ?? []).map((index) => nameOf(places, index)),
    ...(rule.outPorts ?? []).map((index) => portName(places, index)),
  ];
  const hasIngress = rule.inInterfaces !== undefined || rule.inPorts !== undefined;
  const hasEgress = rule.outInterfaces !== undefined || rule.outPorts !== undefined;
  return {
    ...(rule.name === undefined ? {} : { name: rule.name }),
    ...(hasIngress ? { in: { is: ingress } } : {}),
    ...(hasEgress ? { out: { is: egress } } : {}),
    ...(rule.sources === undefined ? {} : { source: { is: rule.sources.map(rangeOf) } }),
    ...(rule.destinations === undefined ? {} : { destination: { is: rule.destinations.map(rangeOf) } }),
    ...(rule.protocol === undefined ? {} : { protocol: { is: rule.protocol } }),
    matches,
    target:
      rule.action === Action.REJECT
        ? { kind: "REJECT", answer: rule.rejectWith ?? 3 }
        : { kind: rule.action === Action.ACCEPT ? "ACCEPT" : "DROP" },
  };
}

function sourceRule({ from, out, to, ports, fullyRandom }: SourceNatPlan, places: Places): FullRule {
  const options = {
    ...(ports === undefined ? {} : { ports }),
    ...(fullyRandom === true ? { randomFully: true as const } : {}),
  };
  return {
    source: { is: [rangeOf(from)] },
    out: { is: [nameOf(places, out)] },
    matches: [],
    target: to === undefined ? { kind: "MASQUERADE", ...options } : { kind: "SNAT", addresses: to, ...options },
  };
}

function publishRule({ protocol, interface: owner, ports, to, toPort }: PublishPlan, places: Places): FullRule {
  const address = places.interfaces.find((each) => each.index === owner)?.address ?? 0;
  const span = ports.last - ports.first;
  return {
    destination: { is: [{ first: address, last: address }] },
    protocol: { is: protocol },
    matches: [{ kind: protocol === 6 ? "tcp" : "udp", destinationPort: { is: ports } }],
    target: {
      kind: "DNAT",
      addresses: { first: to, last: to },
      ...(toPort === undefined ? {} : { ports: { first: toPort, last: toPort + span }, base: ports.first }),
      publishes: nameOf(places, owner),
    },
  };
}
