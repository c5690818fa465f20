/** What a chain is asked about a packet: one object, made once and filled anew for each question. */
export class FilterKey {
  /** Indexes of L3 interfaces and of ports; -1 where there is none (or it is not known yet). */
  inInterface = -1;
  inPort = -1;
  outInterface = -1;
  outPort = -1;
  /** Host-order signed words. */
  source = 0;
  destination = 0;
  protocol = 0;
  /** -1 for a protocol without ports. */
  sourcePort = -1;
  destinationPort = -1;
  /** -1 for a protocol other than ICMP. */
  icmpType = -1;
  /** One `StateBit`. */
  state = 0;
}
