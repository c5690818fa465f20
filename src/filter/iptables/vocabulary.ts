/** Words of iptables that are both read and written. */
import { StatusBit } from "../rule_set.ts";

export const TCP_FLAGS = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ALL: 63, NONE: 0 } as const;
/** `--syn`. */
export const SYN_FLAGS = { mask: 0x17, set: 0x02 } as const;

/** In the order in which iptables prints them. */
export const STATES = {
  INVALID: 8,
  NEW: 1,
  RELATED: 4,
  ESTABLISHED: 2,
  UNTRACKED: 16,
  SNAT: 32,
  DNAT: 64,
} as const;

export const STATUSES = {
  NONE: StatusBit.NONE,
  EXPECTED: StatusBit.EXPECTED,
  SEEN_REPLY: StatusBit.SEEN_REPLY,
  ASSURED: StatusBit.ASSURED,
  CONFIRMED: StatusBit.CONFIRMED,
} as const;

export const ADDRESS_TYPES = ["UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "MULTICAST"] as const;
export const FOREIGN_ADDRESS_TYPES = [
  "ANYCAST",
  "BLACKHOLE",
  "UNREACHABLE",
  "PROHIBIT",
  "THROW",
  "NAT",
  "XRESOLVE",
] as const;

/** ICMP types with their codes, by the names that iptables prints, then by others. */
export const ICMP_NAMES: readonly (readonly [string, number, number, number])[] = [
  ["any", 255, 0, 255],
  ["echo-reply", 0, 0, 255],
  ["destination-unreachable", 3, 0, 255],
  ["network-unreachable", 3, 0, 0],
  ["host-unreachable", 3, 1, 1],
  ["protocol-unreachable", 3, 2, 2],
  ["port-unreachable", 3, 3, 3],
  ["fragmentation-needed", 3, 4, 4],
  ["source-route-failed", 3, 5, 5],
  ["network-unknown", 3, 6, 6],
  ["host-unknown", 3, 7, 7],
  ["network-prohibited", 3, 9, 9],
  ["host-prohibited", 3, 10, 10],
  ["TOS-network-unreachable", 3, 11, 11],
  ["TOS-host-unreachable", 3, 12, 12],
  ["communication-prohibited", 3, 13, 13],
  ["host-precedence-violation", 3, 14, 14],
  ["precedence-cutoff", 3, 15, 15],
  ["source-quench", 4, 0, 255],
  ["redirect", 5, 0, 255],
  ["network-redirect", 5, 0, 0],
  ["host-redirect", 5, 1, 1],
  ["TOS-network-redirect", 5, 2, 2],
  ["TOS-host-redirect", 5, 3, 3],
  ["echo-request", 8, 0, 255],
  ["router-advertisement", 9, 0, 255],
  ["router-solicitation", 10, 0, 255],
  ["time-exceeded", 11, 0, 255],
  ["ttl-zero-during-transit", 11, 0, 0],
  ["ttl-zero-during-reassembly", 11, 1, 1],
  ["parameter-problem", 12, 0, 255],
  ["ip-header-bad", 12, 0, 0],
  ["required-option-missing", 12, 1, 1],
  ["timestamp-request", 13, 0, 255],
  ["timestamp-reply", 14, 0, 255],
  ["address-mask-request", 17, 0, 255],
  ["address-mask-reply", 18, 0, 255],
  ["pong", 0, 0, 255],
  ["ping", 8, 0, 255],
  ["ttl-exceeded", 11, 0, 255],
];

/** syslog(3); the first name of a level is the one that is printed. */
export const LOG_LEVELS: readonly (readonly [string, number])[] = [
  ["emerg", 0],
  ["alert", 1],
  ["crit", 2],
  ["err", 3],
  ["warn", 4],
  ["notice", 5],
  ["info", 6],
  ["debug", 7],
  ["panic", 0],
  ["error", 3],
  ["warning", 4],
];

/** Seconds that a rate's word stands for, longest first, by the word that is printed. */
export const RATE_UNITS = { day: 86_400, hour: 3600, min: 60, sec: 1 } as const;

/** Of a limit that does not say its burst. */
export const DEFAULT_BURST = 5;
/** A rate is kept as the time that one packet takes, in this many parts of a second (XT_LIMIT_SCALE). */
export const RATE_SCALE = 10_000;

/** Matches and targets that iptables has and Tapir does not: refused by name. */
export const FOREIGN_TARGETS = new Set(
  `AUDIT CHECKSUM CLASSIFY CLUSTERIP CONNSECMARK CT DNPT DSCP ECN HL HMARK IDLETIMER LED MIRROR NETMAP NFLOG NFQUEUE
  NOTRACK QUEUE RATEEST SECMARK SET SNPT SYNPROXY TCPMSS TCPOPTSTRIP TEE TOS TPROXY TRACE TTL ULOG`.split(/\s+/),
);
