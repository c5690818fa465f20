/**
 * TCP numbers that fit: who asks about a segment of a connection that exists wants one that its sender could send now,
 * not one with the numbers zero, which the window would refuse.
 */
import { FLOW_SHIFT, FlowWord, TCP_WINDOW_WORDS } from "../../conntrack/flow_layout.ts";
import { pseudoHeaderSum, sumBytes } from "../../packet/checksum.ts";
import { ETHERNET_HEADER_BYTES, EtherType, etherType } from "../../packet/ethernet.ts";
import * as ipv4 from "../../packet/ipv4.ts";
import { Journal } from "../../packet/journal.ts";
import { flags, TCP_CHECKSUM_OFFSET, TCP_HEADER_BYTES, TcpFlag } from "../../packet/tcp.ts";
import type { Router } from "../router.ts";

/** Gives a segment of a known connection (an Ethernet frame, changed in place) the next numbers of its sender. */
export function fitNumbers(router: Router, frame: Uint8Array): void {
  const memory = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const ip = ETHERNET_HEADER_BYTES;
  const l4 = ip + ipv4.IPV4_HEADER_BYTES;
  if (frame.length < l4 + TCP_HEADER_BYTES || etherType(memory, 0) !== EtherType.IPV4) return;
  if (ipv4.protocol(memory, ip) !== ipv4.Protocol.TCP || (flags(memory, l4) & TcpFlag.SYN) !== 0) return;
  const source = ipv4.sourceAddress(memory, ip);
  const destination = ipv4.destinationAddress(memory, ip);
  const reference = find(router, source, destination, memory.getInt32(l4));
  if (reference < 0) return;
  const { words } = router.flows;
  const ends = ((reference >> 1) << FLOW_SHIFT) + FlowWord.TCP_END;
  const direction = reference & 1;
  memory.setInt32(l4 + 4, words[ends + direction * TCP_WINDOW_WORDS]);
  const isAck = (flags(memory, l4) & TcpFlag.ACK) !== 0;
  memory.setInt32(l4 + 8, isAck ? words[ends + (1 - direction) * TCP_WINDOW_WORDS] : 0);
  memory.setInt16(l4 + TCP_CHECKSUM_OFFSET, 0);
  const length = frame.length - l4;
  const sum = sumBytes(memory, l4, length, pseudoHeaderSum(source, destination, ipv4.Protocol.TCP, length));
  memory.setInt16(l4 + TCP_CHECKSUM_OFFSET, ~sum);
}

/** A look-up ends flows whose time is over: whatever it does is taken back. */
function find(router: Router, source: number, destination: number, ports: number): number {
  const { flows, sourceNat, hostFlows, now } = router;
  const journal = new Journal();
  for (const table of [flows, sourceNat, hostFlows]) table.rehearse(journal);
  try {
    const hash = flows.hash(source, destination, ports, ipv4.Protocol.TCP);
    return flows.lookup(hash, source, destination, ports, ipv4.Protocol.TCP, now);
  } finally {
    journal.undo();
  }
}
