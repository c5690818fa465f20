/**
 * The rule set: what iptables means by tables, chains, rules, matches and targets, as plain data. It is the one model of
 * policy and NAT: the keys of the configuration, `tapir iptables` and `iptables-restore` are front-ends to it, the
 * dataplane compiles it. It crosses the channel between the processes as JSON.
 *
 * Interfaces are named as rules name them (networks, ports and uplinks; a final `+` stands for any ending); what nothing
 * is called never matches. Addresses are host-order signed words. A rule matches when all that it names matches.
 */

/** First and last, both included; addresses are compared unsigned. */
export interface Range {
  first: number;
  last: number;
}

export interface RuleSet {
  filter: Table;
  nat: Table;
  /** Address sets by name, as of ipset: prefixes and ranges; a rule asks them by `{ kind: "set" }`. */
  sets: Record<string, Range[]>;
}

export const TABLE_NAMES = ["filter", "nat"] as const;
export type TableName = (typeof TABLE_NAMES)[number];

/** Built-in chains of each table, in iptables' order. BRIDGE is asked about frames that are switched inside a network. */
export const BUILT_IN_CHAINS = {
  filter: ["INPUT", "FORWARD", "OUTPUT", "BRIDGE"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
} as const;

export interface Table {
  /** The built-in chains first, then the user's, each in the order in which it is shown. */
  chains: Chain[];
}

export interface Chain {
  name: string;
  /** Of built-in chains only. BRIDGE is off (no frame meets it) while it has no rules and the policy ACCEPT. */
  policy?: "ACCEPT" | "DROP";
  rules: Rule[];
}

/** Something a rule asks for, or (`not`) anything but it. */
export interface Wish<T> {
  is: T;
  not?: true;
}

export interface Rule {
  /** Addresses: one range for iptables' `-s`, several for a list of the configuration. */
  source?: Wish<Range[]>;
  destination?: Wish<Range[]>;
  in?: Wish<string[]>;
  out?: Wish<string[]>;
  /** IP protocol number. 0 is that protocol alone, not all of them. */
  protocol?: Wish<number>;
  /** `-f`: second and further fragments; never there, because datagrams are whole before they meet rules. */
  fragment?: Wish<true>;
  /** In the order in which they were given. */
  matches: Match[];
  /** Absent: the rule only counts. */
  target?: Target;
  /** Where it comes from, when not from a command: the name that the configuration gives it. */
  name?: string;
}

export type Match =
  /** With ports and flags of TCP. `flags`: of those in `mask`, exactly those in `set` are there. */
  | {
      kind: "tcp";
      sourcePort?: Wish<Range>;
      destinationPort?: Wish<Range>;
      flags?: Wish<{ mask: number; set: number }>;
      option?: Wish<number>;
    }
  | { kind: "udp"; sourcePort?: Wish<Range>; destinationPort?: Wish<Range> }
  /** One of several types, each with the codes it may have. Type 255 with all codes: any. */
  | { kind: "icmp"; types: Wish<{ type: number; codes: Range }[]> }
  | { kind: "multiport"; side: "source" | "destination" | "either"; ports: Wish<Range[]> }
  | { kind: "iprange"; source?: Wish<Range>; destination?: Wish<Range> }
  /** `states` and `status`: or-ed `StateBit`s and `StatusBit`s; any of them. The rest as conntrack sees the flow. */
  | {
      kind: "conntrack";
      states?: Wish<number>;
      status?: Wish<number>;
      direction?: "ORIGINAL" | "REPLY";
      protocol?: Wish<number>;
      originalSource?: Wish<Range>;
      originalDestination?: Wish<Range>;
      replySource?: Wish<Range>;
      replyDestination?: Wish<Range>;
      originalSourcePort?: Wish<Range>;
      originalDestinationPort?: Wish<Range>;
    }
  /** The older spelling of `conntrack --ctstate`. */
  | { kind: "state"; states: Wish<number> }
  | { kind: "mark"; value: number; mask: number; not?: true }
  | { kind: "connmark"; value: number; mask: number; not?: true }
  /** Of the frame as it came in: upper 16 and lower 32 bits (signed). */
  | { kind: "mac"; high: number; low: number; not?: true }
  /** A token bucket: packets per `perSeconds` seconds (1, 60, 3600, 86400), and how many at once. */
  | { kind: "limit"; packets: number; perSeconds: number; burst: number }
  | { kind: "set"; name: string; sides: ("src" | "dst")[]; not?: true }
  | { kind: "addrtype"; source?: Wish<AddressType[]>; destination?: Wish<AddressType[]> }
  /** The port of a network: the ingress port, and for bridged frames the egress port. */
  | { kind: "physdev"; in?: Wish<string>; out?: Wish<string>; bridged?: Wish<true> }
  | { kind: "comment"; text: string };

export type AddressType = "UNSPEC" | "UNICAST" | "LOCAL" | "BROADCAST" | "MULTICAST";

/** States of conntrack as a packet of the flow sees them; SNAT and DNAT as `--ctstate` has them. */
export const RuleState = { NEW: 1, ESTABLISHED: 2, RELATED: 4, INVALID: 8, UNTRACKED: 16, SNAT: 32, DNAT: 64 } as const;

/** `--ctstatus`; CONFIRMED is every flow but that of the packet which opens it. */
export const StatusBit = { NONE: 1, EXPECTED: 2, SEEN_REPLY: 4, ASSURED: 8, CONFIRMED: 16 } as const;

/** What REJECT answers with: the code of ICMP "destination unreachable", or a TCP reset. */
export type RejectAnswer = 0 | 1 | 2 | 3 | 9 | 10 | 13 | "tcp-reset";

/** Draws ports at random (`--random`, `--random-fully`), or keeps a source on one address (`--persistent`). */
export interface NatOptions {
  random?: true;
  randomFully?: true;
  persistent?: true;
}

export type Target =
  | { kind: "ACCEPT" }
  | { kind: "DROP" }
  | { kind: "RETURN" }
  | { kind: "JUMP"; chain: string }
  | { kind: "GOTO"; chain: string }
  | { kind: "REJECT"; answer: RejectAnswer }
  /** `level`: 0 (emerg) to 7 (debug). `options`: or-ed LogOption. */
  | { kind: "LOG"; level: number; prefix: string; options: number }
  /** mark = (mark & ~mask) ^ value. */
  | { kind: "MARK"; value: number; mask: number }
  | { kind: "CONNMARK"; action: "set"; value: number; mask: number }
  | { kind: "CONNMARK"; action: "save" | "restore"; packetMask: number; flowMask: number }
  | ({ kind: "MASQUERADE"; ports?: Range } & NatOptions)
  | ({ kind: "SNAT"; addresses?: Range; ports?: Range } & NatOptions)
  /** `base`: the port that `ports.first` stands for: each goes to the one as far from `ports.first` as it is from `base`. */
  | ({ kind: "DNAT"; addresses?: Range; ports?: Range; base?: number; publishes?: string } & NatOptions)
  /** To the router's own address on the ingress interface. */
  | ({ kind: "REDIRECT"; ports?: Range } & NatOptions);

/** `--log-tcp-sequence`, `--log-tcp-options`, `--log-ip-options`, `--log-uid`, `--log-macdecode`. */
export const LogOption = { TCP_SEQUENCE: 1, TCP_OPTIONS: 2, IP_OPTIONS: 4, UID: 8, MAC_DECODE: 32 } as const;

/**
 * DNAT's `publishes` names the uplink whose port a rule of `nat.publish` publishes: such a flow passes FORWARD unless an
 * explicit rule decides otherwise, and one that comes from a network and goes to one gets the uplink's address as source.
 */
export type DestinationNat = Extract<Target, { kind: "DNAT" }>;

export function emptyRuleSet(): RuleSet {
  const chainsOf = (table: TableName): Chain[] =>
    BUILT_IN_CHAINS[table].map((name) => ({ name, policy: "ACCEPT", rules: [] }));
  return { filter: { chains: chainsOf("filter") }, nat: { chains: chainsOf("nat") }, sets: {} };
}
