/**
 * What the dataplane is told to be: the configuration resolved to numbers, as plain data. The control process makes
 * it and sends it as JSON; the dataplane never sees a name resolved twice. Addresses are host-order signed words,
 * MACs are `aa:bb:cc:dd:ee:ff`. Indexes are chosen by the control process and stay the same for the life of the
 * thing they name.
 */
import type { TimeoutSeconds } from "../conntrack/timeouts.ts";
import type { RuleSet } from "../filter/rule_set.ts";
import type { Prefix } from "../packet/ipv4_address.ts";
import type { PolicyRule } from "../routing/policy.ts";
import type { RouteOption } from "../routing/route_set.ts";

/** What the router may use of an address that it shares with the host. */
export interface SharedAddress {
  /** TCP and UDP ports. */
  ports: { first: number; last: number };
  /** Identifiers of ICMP queries. */
  echoIds: { first: number; last: number };
}

/** Next hop of an uplink that shares the host's address: a link-local address, which stands for the kernel. */
export const KERNEL_HOP = 0xa9fe0001 | 0;

export interface AddressPlan {
  address: number;
  prefixLength: number;
}

/** An L3 interface of the router: a network (a bridge with a gateway address) or an uplink (one port, no bridge). */
export interface InterfacePlan {
  index: number;
  name: string;
  kind: "network" | "uplink";
  /** The router's own address on it; 0 while it has none. */
  address: number;
  prefixLength: number;
  /** An uplink that shares the host's own address; the host's kernel is its only neighbour. */
  shared?: SharedAddress;
  /** An uplink whose address a DHCP server gives. */
  isLeased?: true;
  /** An uplink: more addresses of the router's own, with their subnets. */
  further?: AddressPlan[];
  /** The router's own hardware address on it, stable over restarts. */
  mac: string;
  /** Largest IPv4 packet in bytes. */
  mtu: number;
  /** A network: nothing passes between it and other networks. */
  isolated?: boolean;
  /** A network: nothing passes between it and the uplinks. */
  internal?: boolean;
  /** A network: the control process is its DHCP server; answers questions of DNS. */
  dhcp?: true;
  dns?: true;
}

/** A device the router holds. Frames of a network's ports are bridged; an uplink has exactly one port. */
export interface PortPlan {
  index: number;
  name: string;
  interface: number;
  /** A network's port: nothing passes between it and other isolated ports of its network. */
  isolated?: boolean;
  /** A network's port: what comes in by it must come from these. */
  guard?: GuardPlan;
  /** A network's port: what may come in by it. */
  rateLimit?: RateLimitPlan;
  /** What is done on purpose to frames that come in by it, and to those that leave through it. */
  impairIn?: ImpairmentPlan;
  impairOut?: ImpairmentPlan;
}

/** What a port may send in a second; see `police.ts`. Without one of them, any number. */
export interface RateLimitPlan {
  packets?: number;
  /** Of Ethernet frames. */
  bytes?: number;
  /** New flows. */
  flows?: number;
}

/** See `impairment.ts`. Probabilities and correlations are from 0 to 1, times in microseconds. */
export interface ImpairmentPlan {
  delay: number;
  /** How far the delay varies: by as much as this, or with this standard deviation. */
  jitter: number;
  distribution: "uniform" | "normal";
  loss: number;
  lossCorrelation: number;
  duplicate: number;
  corrupt: number;
  reorder: number;
  /** Frames in turn between two that may be sent out of turn, plus one; 0: none is. */
  gap: number;
  /** Bits per second; 0: any number. */
  rate: number;
  /** Bytes that the rate counts for each packet beside its Ethernet frame; may be negative. */
  overheadBytes: number;
  /** Frames that may wait. */
  limit: number;
  /** Of the generator; without one, it begins anywhere. */
  seed?: number;
}

/** Whose frames a port takes: those from one hardware address and, where it has one, one IPv4 address. */
export interface GuardPlan {
  mac: string;
  address?: number;
}

/** A route that is given: configured, added by hand, or followed. */
export interface RoutePlan extends RouteOption {
  to: Prefix;
  /** Number of its table. Default: main (254). */
  table?: number;
}

/** A change of routes of one table. */
export interface RouteChange {
  table: number;
  /** Sets of routes, lowest metric first. */
  sets: RouteOption[][];
  /** For each prefix: address, length, place of its routes in `sets` (-1: it has none any more). */
  prefixes: number[];
}

/** A neighbour whose hardware address is given: it is never asked. */
export interface NeighbourPlan {
  interface: number;
  address: number;
  mac: string;
}

/** How flows are tracked. */
export interface ConntrackPlan {
  /** `linux`: as netfilter does it; `bcp`: RFC 4787, 5382 and 5508 as written. */
  profile: "linux" | "bcp";
  /** Changes to the profile's timeouts. */
  timeouts: Partial<TimeoutSeconds>;
  /** Whether a TCP flow may be picked up in the middle (nf_conntrack_tcp_loose). */
  loose: boolean;
  /** Whether only a RST is judged by the TCP window (nf_conntrack_tcp_be_liberal). */
  liberal: boolean;
  /** Retransmissions in a row after which the timeout is limited (nf_conntrack_tcp_max_retrans). */
  maxRetransmissions: number;
  /** Translated flows that one inside address may have at once; 0: any number. */
  flowsPerHost: number;
}

export const DEFAULT_CONNTRACK: Readonly<ConntrackPlan> = {
  profile: "linux",
  timeouts: {},
  loose: true,
  liberal: false,
  maxRetransmissions: 3,
  flowsPerHost: 0,
};

export interface LimitsPlan {
  /** Connections (both directions are one). */
  flows: number;
  macs: number;
  neighbours: number;
  /** Prefixes of a routing table that are given. Default: 65 536. */
  routes?: number;
}

/** What is merged before it is written; see `merge.ts`. */
export interface MergePlan {
  /** In-order TCP segments of one flow. Without it, nothing is merged. */
  segments: boolean;
  /** Equal UDP datagrams of one flow; the kernel has to know UDP segmentation. */
  datagrams: boolean;
}

export interface RouterPlan {
  interfaces: InterfacePlan[];
  ports: PortPlan[];
  /**
   * All routes but the connected ones, which follow from the interfaces. Absent: those that the dataplane has stay, to be
   * changed by messages of their own.
   */
  routes?: RoutePlan[];
  /** Rules of policy routing. Absent: those of Linux, which ask the tables main and default. */
  policy?: PolicyRule[];
  /** Permanent neighbours. */
  neighbours?: NeighbourPlan[];
  /** Policy and NAT. */
  rules: RuleSet;
  conntrack: ConntrackPlan;
  /** Seconds after which a silent station's MAC is forgotten. */
  macAgeingSeconds: number;
  merging: MergePlan;
}
