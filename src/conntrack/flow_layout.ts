/**
 * The layout of a flow in memory: 32 words, two cache lines. The first line is what a hit needs (both tuples, status,
 * deadline, cached route, checksum differences, counters of the original direction); the second holds the counters of
 * the reply direction and what TCP tracking remembers.
 * The control process maps the same memory and reads it with these names.
 */
export const FLOW_WORDS = 32;
export const FLOW_SHIFT = 5;

/** Raised whenever a word changes its meaning, or the hash: a table of another layout is never adopted. */
export const FLOW_LAYOUT_VERSION = 4;

export const FlowWord = {
  /** The tuple of the original direction; that of the reply direction follows it, `TUPLE_WORDS` further. */
  SOURCE: 0,
  DESTINATION: 1,
  PORTS: 2,
  REPLY_SOURCE: 3,
  REPLY_DESTINATION: 4,
  REPLY_PORTS: 5,
  /** Protocol (low 8 bits), TCP state (8 bits), `FlowFlag`s (high 16 bits). */
  STATUS: 6,
  /** When the flow ends unless it is refreshed: wrapped milliseconds. */
  DEADLINE: 7,
  /**
   * Cached route of each direction: path (see `filter/paths.ts`) << 16 | neighbour index. Valid for GENERATION only. Of
   * bridged flows: network << 24 | the ports between which packets were admitted.
   */
  ROUTE: 8,
  REPLY_ROUTE: 9,
  /**
   * Checksum differences of the rewrite of each direction: addresses and ports << 16 | addresses alone. Of bridged flows,
   * which are not rewritten: the paths.
   */
  DIFFERENCE: 10,
  REPLY_DIFFERENCE: 11,
  /** The generation of rules, routes and neighbours under which the flow was admitted. */
  GENERATION: 12,
  /**
   * Counters of the original direction (packets, bytes, high halves); those of the reply direction follow, and begin
   * the second line: one-way traffic touches the first alone.
   */
  PACKETS: 13,
  BYTES: 14,
  /** Bits 32 to 47: packets in the high half, bytes in the low half. */
  COUNTERS_HIGH: 15,
  REPLY_PACKETS: 16,
  REPLY_BYTES: 17,
  REPLY_COUNTERS_HIGH: 18,

  MARK: 19,
  /** When the flow began: wrapped milliseconds. */
  CREATED: 20,
  /** TCP: window of the segment in TCP_LAST_END (high 16 bits), digest of its numbers (low 16 bits). */
  TCP_LAST_WINDOW: 21,
  /** TCP window of the original direction; that of the reply direction follows it, `TCP_WINDOW_WORDS` further. */
  TCP_END: 22,
  TCP_MAX_END: 23,
  TCP_MAX_WINDOW: 24,
  REPLY_TCP_END: 25,
  REPLY_TCP_MAX_END: 26,
  REPLY_TCP_MAX_WINDOW: 27,
  /** Scales, flags, retransmissions, last direction and kind: see `conntrack/tcp_detail.ts`. */
  TCP_DETAIL: 28,
  /** Highest acknowledgement that the original direction sent; that of the reply direction follows it. */
  TCP_MAX_ACK: 29,
  REPLY_TCP_MAX_ACK: 30,
  /** Sequence number after the last segment that counted. */
  TCP_LAST_END: 31,
} as const;

export const TUPLE_WORDS = 3;
export const COUNTER_WORDS = 3;
export const TCP_WINDOW_WORDS = 3;

/** Flags in the high half of STATUS, already in place. */
export const FlowFlag = {
  /** The entry is in use and in the index. */
  CONFIRMED: 1 << 16,
  SEEN_REPLY: 1 << 17,
  ASSURED: 1 << 18,
  /** The source of the original direction is translated. */
  SOURCE_NAT: 1 << 19,
  /** The destination of the original direction is translated. */
  DESTINATION_NAT: 1 << 20,
  /** The translated port differs: the flow is also in the index of sources. */
  SOURCE_INDEXED: 1 << 21,
  /** Ends at the router itself: meets INPUT, not FORWARD. */
  LOCAL: 1 << 22,
  /** Accepted by the filter for its class of packets in this generation (iptables judges each of them). */
  ADMITTED_NEW: 1 << 23,
  ADMITTED_ORIGINAL: 1 << 24,
  ADMITTED_REPLY: 1 << 25,
  /** Holds a reference on the endpoint-independent mapping of its source. */
  SOURCE_MAPPED: 1 << 26,
  /** Came in through the endpoint-independent mapping of its destination, and holds a reference on it. */
  DESTINATION_MAPPED: 1 << 27,
  /** Counts against the limit of its inside address. */
  HOST_COUNTED: 1 << 28,
  /** Switched inside a network: meets the bridge chain, is never routed or translated, and has a zone of its own. */
  BRIDGED: 1 << 29,
  /** Came to a published port: passes FORWARD where no rule decides. */
  PUBLISHED: 1 << 30,
} as const;

/**
 * The zone of a network's bridged flows, to be or-ed to the protocol where a tuple is hashed. As with conntrack's zones,
 * one tuple may be several flows: routed, and bridged in each network. Zone 0 is that of routed flows.
 */
export function zoneOfNetwork(network: number): number {
  return FlowFlag.BRIDGED | (network << 8);
}

export const ANY_NAT = FlowFlag.SOURCE_NAT | FlowFlag.DESTINATION_NAT;
export const ANY_ADMITTED = FlowFlag.ADMITTED_NEW | FlowFlag.ADMITTED_ORIGINAL | FlowFlag.ADMITTED_REPLY;

export const Direction = { ORIGINAL: 0, REPLY: 1 } as const;

/** Words at the start of the table's memory. */
export const HeaderWord = {
  LAYOUT_VERSION: 0,
  CAPACITY: 1,
  /** Flows in use. */
  COUNT: 2,
  /** Entries from this index on have never been used. */
  HIGH_WATER: 3,
  /** First free entry plus one; 0 when none has been given back. */
  FREE: 4,
  /** Key of the hash. */
  SEED: 5,
  /** The dataplane's clock (wrapped milliseconds) when it last ran; readers need it to turn deadlines into seconds. */
  NOW: 6,
  /** The profile of NAT that the flows belong to: 0 for `linux`, 1 for `bcp`. */
  PROFILE: 7,
  /** Digest of all that decided about the destinations of flows. */
  DESTINATIONS: 8,
  /** A counter of three words that is about to be written: where (word plus one; 0: none), and what (`track.ts`). */
  CARRY_AT: 9,
  CARRY_PACKETS: 10,
  CARRY_BYTES: 11,
  CARRY_HIGH: 12,
  WORDS: 16,
} as const;
