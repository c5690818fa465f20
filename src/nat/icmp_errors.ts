/**
 * ICMP errors of known flows (RFC 5508 4, RFC 5382 REQ-9): which flow an error is about, and its translation.
 *
 * An error quotes a packet of the direction opposite to the one that the error travels in, as it looked on the side
 * where the error was made. So the inverse of the quoted tuple is the tuple of the error's own direction. The quoted
 * headers are given back what they had before translation (the flow's other tuple); the outer addresses change where
 * the flow's NAT changes them in this direction. An error from a third router keeps that router's address when the
 * other end's is not hidden.
 */
import { Direction, FLOW_SHIFT, FlowFlag, FlowWord, TUPLE_WORDS } from "../conntrack/flow_layout.ts";
import type { FlowId, FlowTable } from "../conntrack/flow_table.ts";
import { invertPorts } from "../conntrack/tuple.ts";
import { fold, sumBytes, updateChecksum, wordDifference } from "../packet/checksum.ts";
import type { Frame } from "../packet/frame.ts";
import { ICMP_HEADER_BYTES, IcmpType } from "../packet/icmp.ts";
import * as ipv4 from "../packet/ipv4.ts";
import { TCP_CHECKSUM_OFFSET, TCP_HEADER_BYTES } from "../packet/tcp.ts";
import { UDP_CHECKSUM_OFFSET } from "../packet/udp.ts";

/** Bytes of the quoted L4 header that an error must hold (RFC 792). */
const QUOTED_L4_BYTES = 8;

/**
 * Finds the flow that an ICMP error is about: the reference of the direction that the error travels in, or -1 when
 * the quote is truncated, later than the first fragment, of no flow, or the error is not addressed to the sender of
 * what it quotes (a forged one). `zone` is 0, or that of a network's bridged flows.
 */
export function findQuotedFlow(memory: DataView, table: FlowTable, frame: Frame, now: number, zone = 0): number {
  const quoted = frame.l4 + ICMP_HEADER_BYTES;
  const room = frame.end - quoted;
  if (room < ipv4.IPV4_HEADER_BYTES || memory.getUint8(quoted) >>> 4 !== 4) return -1;
  const headerBytes = ipv4.headerBytes(memory, quoted);
  if (headerBytes < ipv4.IPV4_HEADER_BYTES || room < headerBytes + QUOTED_L4_BYTES) return -1;
  if ((ipv4.fragmentField(memory, quoted) & ipv4.Fragment.OFFSET) !== 0) return -1;
  if (!ipv4.isHeaderChecksumValid(memory, quoted, headerBytes)) return -1;

  const protocol = ipv4.protocol(memory, quoted);
  const ports = quotedPorts(memory, quoted + headerBytes, protocol);
  if (ports === -1 && protocol === ipv4.Protocol.ICMP) return -1;
  // The inverse of the quoted tuple.
  const source = ipv4.destinationAddress(memory, quoted);
  const destination = ipv4.sourceAddress(memory, quoted);
  if (frame.destination !== destination) return -1;
  const hash = table.hash(source, destination, ports, protocol | zone);
  return table.lookup(hash, source, destination, ports, protocol | (zone & FlowFlag.BRIDGED), now);
}

function quotedPorts(memory: DataView, l4: number, protocol: number): number {
  switch (protocol) {
    case ipv4.Protocol.TCP:
    case ipv4.Protocol.UDP:
      return invertPorts(protocol, memory.getInt32(l4));
    case ipv4.Protocol.ICMP:
      return invertPorts(protocol, (memory.getUint16(l4 + 4) << 16) | memory.getUint16(l4));
    default:
      return 0;
  }
}

/** Whether the flow's NAT changes the source address of packets of a direction. */
function changesSource(status: number, direction: number): boolean {
  return (status & (direction === Direction.ORIGINAL ? FlowFlag.SOURCE_NAT : FlowFlag.DESTINATION_NAT)) !== 0;
}

function changesDestination(status: number, direction: number): boolean {
  return (status & (direction === Direction.ORIGINAL ? FlowFlag.DESTINATION_NAT : FlowFlag.SOURCE_NAT)) !== 0;
}

/** Where the error goes once it is translated. */
export function translatedDestination(table: FlowTable, frame: Frame, flow: FlowId, direction: number): number {
  const base = flow << FLOW_SHIFT;
  const status = table.words[base + FlowWord.STATUS];
  if (!changesDestination(status, direction)) return frame.destination;
  return table.words[base + (1 - direction) * TUPLE_WORDS];
}

/** Redirects of translated flows would teach the receiver a wrong route: Linux drops them, and so do we. */
export function isUntranslatable(memory: DataView, frame: Frame): boolean {
  return memory.getUint8(frame.l4) === IcmpType.REDIRECT;
}

/** Rewrites outer addresses and quoted headers of an error that belongs to `flow` in `direction`. */
export function translateError(
  memory: DataView,
  table: FlowTable,
  frame: Frame,
  flow: FlowId,
  direction: number,
): void {
  const words = table.words;
  const base = flow << FLOW_SHIFT;
  const other = base + (1 - direction) * TUPLE_WORDS;
  const status = words[base + FlowWord.STATUS];
  rewriteQuote(memory, frame, words[other], words[other + 1], words[other + 2]);

  const source = changesSource(status, direction) ? words[other + 1] : frame.source;
  const destination = changesDestination(status, direction) ? words[other] : frame.destination;
  const difference = fold(wordDifference(frame.source, source) + wordDifference(frame.destination, destination));
  ipv4.rewriteAddresses(memory, frame.ip, source, destination, difference);
  // The message is short and was verified on its way in: computed anew, nothing of the quote can be forgotten.
  memory.setInt16(frame.l4 + 2, 0);
  memory.setInt16(frame.l4 + 2, ~sumBytes(memory, frame.l4, frame.end - frame.l4, 0));
}

/** The quoted packet as its sender had sent it: header checksum kept right, and the L4 checksum where it is quoted. */
function rewriteQuote(memory: DataView, frame: Frame, source: number, destination: number, ports: number): void {
  const quoted = frame.l4 + ICMP_HEADER_BYTES;
  const l4 = quoted + ipv4.headerBytes(memory, quoted);
  const addresses = fold(
    wordDifference(ipv4.sourceAddress(memory, quoted), source) +
      wordDifference(ipv4.destinationAddress(memory, quoted), destination),
  );
  ipv4.rewriteAddresses(memory, quoted, source, destination, addresses);
  const protocol = ipv4.protocol(memory, quoted);
  const before = memory.getInt32(l4);
  if (protocol === ipv4.Protocol.TCP) {
    memory.setInt32(l4, ports);
    const at = l4 + TCP_CHECKSUM_OFFSET;
    if (frame.end - l4 < TCP_HEADER_BYTES) return;
    memory.setInt16(at, updateChecksum(memory.getUint16(at), fold(addresses + wordDifference(before, ports))));
  } else if (protocol === ipv4.Protocol.UDP) {
    memory.setInt32(l4, ports);
    const at = l4 + UDP_CHECKSUM_OFFSET;
    const checksum = memory.getUint16(at);
    if (checksum === 0) return;
    const updated = updateChecksum(checksum, fold(addresses + wordDifference(before, ports)));
    memory.setInt16(at, updated === 0 ? 0xffff : updated);
  } else if (protocol === ipv4.Protocol.ICMP) {
    const identifier = memory.getUint16(l4 + 4);
    memory.setInt16(l4 + 4, ports >>> 16);
    const difference = wordDifference(identifier, ports >>> 16);
    memory.setInt16(l4 + 2, updateChecksum(memory.getUint16(l4 + 2), difference));
  }
}
