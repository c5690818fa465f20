/**
 * The model of one filter rule, as plain data (it crosses the channel between the processes as JSON).
 * The keys of the configuration and, later, iptables commands are front-ends to it.
 */

/** A half-open set of addresses: `address`/`length`, host-order signed word. Length 0 matches all. */
export interface Prefix {
  address: number;
  length: number;
}

/** Inclusive range of ports (or ICMP types). */
export interface PortRange {
  low: number;
  high: number;
}

/** Bits of `Rule.states`, the states of conntrack as a packet of the flow sees them. */
export const StateBit = {
  NEW: 1,
  ESTABLISHED: 2,
  RELATED: 4,
  INVALID: 8,
} as const;

export const Action = {
  DROP: 0,
  ACCEPT: 1,
  REJECT: 2,
} as const;
export type Action = (typeof Action)[keyof typeof Action];

/** What REJECT answers with: an ICMP destination-unreachable code, or a TCP reset. */
export const RejectWith = {
  NET_UNREACHABLE: 0,
  HOST_UNREACHABLE: 1,
  PROTOCOL_UNREACHABLE: 2,
  PORT_UNREACHABLE: 3,
  NET_PROHIBITED: 9,
  HOST_PROHIBITED: 10,
  ADMIN_PROHIBITED: 13,
  TCP_RESET: 256,
} as const;
export type RejectWith = (typeof RejectWith)[keyof typeof RejectWith];

/** Every present field must match; a list matches when one of its members does. Absent fields match all. */
export interface Rule {
  name?: string;
  /** Indexes of L3 interfaces (networks and uplinks). */
  inInterfaces?: number[];
  outInterfaces?: number[];
  /** Indexes of ports (a single container's TAP). An ingress port, or a bridged frame's egress port. */
  inPorts?: number[];
  outPorts?: number[];
  sources?: Prefix[];
  destinations?: Prefix[];
  /** IP protocol number. */
  protocol?: number;
  sourcePorts?: PortRange[];
  destinationPorts?: PortRange[];
  icmpTypes?: PortRange[];
  /** Or-ed `StateBit`s. */
  states?: number;
  action: Action;
  rejectWith?: RejectWith;
}

/** A chain: rules in order, then the policy. */
export interface Chain {
  policy: typeof Action.ACCEPT | typeof Action.DROP;
  rules: Rule[];
}
