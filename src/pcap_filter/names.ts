/** Words of pcap-filter(7) that stand for numbers. */
import { EtherType } from "../packet/ethernet.ts";
import { Protocol } from "../packet/ipv4.ts";

export const SCTP = 132;
export const ICMP6 = 58;
export const IGMP = 2;
export const RARP = 0x8035;

/** Protocols by name: of Ethernet, or of IP (of which version, 0 for both). */
export const ETHER_TYPES: Readonly<Record<string, number>> = {
  ip: EtherType.IPV4,
  arp: EtherType.ARP,
  rarp: RARP,
  ip6: EtherType.IPV6,
};

export const IP_PROTOCOLS: Readonly<Record<string, { value: number; version: 0 | 4 | 6 }>> = {
  tcp: { value: Protocol.TCP, version: 0 },
  udp: { value: Protocol.UDP, version: 0 },
  sctp: { value: SCTP, version: 0 },
  icmp: { value: Protocol.ICMP, version: 4 },
  igmp: { value: IGMP, version: 4 },
  icmp6: { value: ICMP6, version: 6 },
};

/** Numbers by name: offsets of fields, flags of TCP, types of ICMP. */
export const CONSTANTS: Readonly<Record<string, number>> = {
  icmptype: 0,
  icmpcode: 1,
  icmp6type: 0,
  icmp6code: 1,
  tcpflags: 13,
  "tcp-fin": 1,
  "tcp-syn": 2,
  "tcp-rst": 4,
  "tcp-push": 8,
  "tcp-ack": 16,
  "tcp-urg": 32,
  "tcp-ece": 64,
  "tcp-cwr": 128,
  "icmp-echoreply": 0,
  "icmp-unreach": 3,
  "icmp-sourcequench": 4,
  "icmp-redirect": 5,
  "icmp-echo": 8,
  "icmp-routeradvert": 9,
  "icmp-routersolicit": 10,
  "icmp-timxceed": 11,
  "icmp-paramprob": 12,
  "icmp-tstamp": 13,
  "icmp-tstampreply": 14,
  "icmp-ireq": 15,
  "icmp-ireqreply": 16,
  "icmp-maskreq": 17,
  "icmp-maskreply": 18,
};

/** What pcap-filter(7) has and Tapir does not: the words, and why. */
export const REFUSED: ReadonlyMap<string, string> = new Map([
  ...["gateway", "protochain", "mpls", "pppoed", "pppoes", "geneve", "ifname", "on", "rnr", "rulenum", "reason"].map(
    (word): [string, string] => [word, "is not supported"],
  ),
  ...["inbound", "outbound"].map((word): [string, string] => [word, "is not supported: choose a hook point instead"]),
]);
