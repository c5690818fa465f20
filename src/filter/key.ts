/** What a chain is asked about a packet: one object, made once and filled anew for each question. */
import type { Frame } from "../packet/frame.ts";

export class FilterKey {
  /** Indexes of L3 interfaces and of ports; -1 where there is none (or it is not known yet). */
  inInterface = -1;
  inPort = -1;
  outInterface = -1;
  outPort = -1;
  /** The frame is switched inside a network. */
  isBridged = false;
  /** Host-order signed words. */
  source = 0;
  destination = 0;
  protocol = 0;
  /** -1 for a protocol without ports. */
  sourcePort = -1;
  destinationPort = -1;
  /** Type << 8 | code; -1 for a protocol other than ICMP. */
  icmp = -1;
  /** -1 for a protocol other than TCP. */
  tcpFlags = -1;
  /** Or-ed `RuleState`s: one of NEW to INVALID, with SNAT and DNAT. */
  states = 0;
  /** Or-ed `StatusBit`s. */
  status = 0;
  /** The packet's mark and its flow's; MARK and CONNMARK change them here. */
  mark = 0;
  connmark = 0;
  /** The flow, as its tuples have it; that of a packet which opens one as far as it is decided. */
  direction = 0;
  originalSource = 0;
  originalDestination = 0;
  originalPorts = 0;
  replySource = 0;
  replyDestination = 0;
  /** Where the packet itself is, for matches on its bytes; milliseconds now, wrapped. */
  frame: Frame | undefined = undefined;
  memory: DataView | undefined = undefined;
  now = 0;
  /** Asked what would be: nothing is used up (limits) and nothing is logged. */
  isDry = false;
}
