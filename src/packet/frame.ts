/** ADDRESSED: its hardware addresses and egress port are set already, it is not to be routed. */
export const Own = { NO: 0, ROUTED: 1, ADDRESSED: 2 } as const;

/** `rejectWith`: an ICMP code, or this. */
export const TCP_RESET = 256;

/**
 * What is known about the frame in one slot. There is one `Frame` for each slot, made once; stages fill it from the
 * top to the bottom, and read only what an earlier stage has filled. All fields are small integers (32-bit words are
 * signed), so that the object never changes its hidden class and no number is boxed.
 */
export class Frame {
  readonly slot: number;
  /** Where the Ethernet header starts in the arena. */
  readonly at: number;

  // Set by the loop, when the frame is received.
  ingressPort = 0;
  ingressInterface = 0;
  /** Bytes from the Ethernet header to the end of the frame. */
  length = 0;

  // Set by `parse`; valid when it returned CONTINUE.
  etherType = 0;
  destinationMacHigh = 0;
  destinationMacLow = 0;
  sourceMacHigh = 0;
  sourceMacLow = 0;
  /** vnet header: NEEDS_CSUM and DATA_VALID, GSO type without ECN, and payload bytes of each segment. */
  vnetFlags = 0;
  gsoType = 0;
  gsoSize = 0;

  // IPv4, set by `parseIpv4`; valid when etherType is IPv4 and it returned CONTINUE.
  /** Where the IPv4 header, the L4 header, and the byte after the packet are in the arena. */
  ip = 0;
  l4 = 0;
  end = 0;
  protocol = 0;
  source = 0;
  destination = 0;
  /** Source port << 16 | destination port; ICMP: identifier << 16 | type << 8 | code; 0 for other protocols. */
  ports = 0;
  /** Fragment offset and more-fragments bit as in the header (low 14 bits, DF cleared); 0 for a whole datagram. */
  fragment = 0;
  /** Where in the header an option is wrong, for "parameter problem". */
  problemAt = 0;
  /** Bytes of the largest fragment (IPv4 packet) that this datagram was put together from; 0 when it came whole. */
  largestFragment = 0;

  // Set by `track`.
  hash = 0;
  /** Flow and direction (`flow << 1 | direction`), or -1. */
  reference = -1;
  /** The changes of the flow table that the look-up had seen. */
  tableVersion = 0;
  /** How conntrack sees the packet: a `StateBit`. */
  state = 0;

  // Set by `switchFrame`, or by whoever makes a frame of the router's own.
  /** 1 when the frame also goes to every other port of its network. */
  flood = 0;
  /** An `Own`: not 0 for a frame that the router itself made: no TTL to take, nothing to translate. */
  own = 0;

  // Set by `admit` or copied from the flow.
  egressInterface = 0;
  /** Index in the neighbour table. */
  neighbour = -1;
  /** Port that the frame leaves through; FLOOD for every port of the egress network. */
  egressPort = -1;
  /** Number of the rule or policy that decided last, -1 before; and what a REJECT answers with. */
  rule = -1;
  rejectWith = 0;
  /** Which rules it has met (see `filter/paths.ts`), and the marks of the packet and of the flow that it opens. */
  path = 0;
  mark = 0;
  connmark = 0;
  /** MTU of the next hop, for "fragmentation needed". */
  nextHopMtu = 0;
  /** Largest IPv4 packet that this one is to be cut into; 0 when it leaves whole. */
  fragmentTo = 0;
  /** Next frame parked on the same neighbour, -1 for the last. */
  nextParked = -1;

  constructor(slot: number, at: number) {
    this.slot = slot;
    this.at = at;
  }
}
