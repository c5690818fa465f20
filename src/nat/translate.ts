/**
 * Translate: puts the other side's addresses and ports into a packet, in place.
 *
 * What a packet of one direction becomes is the inverse of the flow's other tuple. The checksum differences do not
 * depend on the packet, so they are computed once for a flow and direction: one for the addresses (IPv4 header,
 * partial L4 checksums) and one for addresses and ports (full TCP and UDP checksums, which cover the pseudo-header).
 */
import { FLOW_SHIFT, FlowWord, TUPLE_WORDS } from "../conntrack/flow_layout.ts";
import type { FlowId, FlowTable } from "../conntrack/flow_table.ts";
import { invertPorts } from "../conntrack/tuple.ts";
import { fold, halfDifference, updateChecksum, wordDifference } from "../packet/checksum.ts";
import type { Frame } from "../packet/frame.ts";
import { Fragment, Protocol, rewriteAddresses } from "../packet/ipv4.ts";
import { TCP_CHECKSUM_OFFSET } from "../packet/tcp.ts";
import { UDP_CHECKSUM_OFFSET } from "../packet/udp.ts";
import { VnetFlag } from "../packet/vnet_header.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { DIFFERENCE: FLOW_WORD_DIFFERENCE, STATUS } = FlowWord;
const { NEEDS_CSUM } = VnetFlag;
const { ICMP, TCP, UDP: PROTOCOL_UDP } = Protocol;
const { OFFSET: FRAGMENT_OFFSET } = Fragment;

/** Writes DIFFERENCE and REPLY_DIFFERENCE of a flow whose tuples are set. */
export function prepareTranslation(table: FlowTable, flow: FlowId): void {
  const words = table.words;
  const base = flow << FLOW_SHIFT;
  const protocol = words[base + STATUS] & 0xff;
  for (let direction = 0; direction < 2; direction++) {
    const own = base + direction * TUPLE_WORDS;
    const other = base + (1 - direction) * TUPLE_WORDS;
    const addresses = fold(wordDifference(words[own], words[other + 1]) + wordDifference(words[own + 1], words[other]));
    const ports = words[own + 2];
    const target = invertPorts(protocol, words[other + 2]);
    const both =
      protocol === ICMP ? halfDifference(ports >>> 16, target >>> 16) : fold(addresses + wordDifference(ports, target));
    words[base + FLOW_WORD_DIFFERENCE + direction] = (both << 16) | addresses;
  }
}

/** Rewrites the headers of a packet that belongs to `flow` in `direction`. */
export function translate(memory: DataView, table: FlowTable, frame: Frame, flow: FlowId, direction: number): void {
  const words = table.words;
  const base = flow << FLOW_SHIFT;
  const other = base + (1 - direction) * TUPLE_WORDS;
  const difference = words[base + FLOW_WORD_DIFFERENCE + direction];
  const addresses = difference & 0xffff;
  rewriteAddresses(memory, frame.ip, words[other + 1], words[other], addresses);
  if ((frame.fragment & FRAGMENT_OFFSET) !== 0) return;
  const l4 = frame.l4;
  switch (frame.protocol) {
    case TCP:
      memory.setInt32(l4, (words[other + 2] << 16) | (words[other + 2] >>> 16));
      updateL4(memory, frame, l4 + TCP_CHECKSUM_OFFSET, addresses, difference >>> 16);
      break;
    case PROTOCOL_UDP:
      memory.setInt32(l4, (words[other + 2] << 16) | (words[other + 2] >>> 16));
      updateUdp(memory, frame, l4 + UDP_CHECKSUM_OFFSET, addresses, difference >>> 16);
      break;
    case ICMP:
      memory.setInt16(l4 + 4, words[other + 2] >>> 16);
      // A reply of nothing but zeros has the checksum 0xffff, which equals 0 everywhere else (RFC 1624 4).
      memory.setInt16(l4 + 2, updateChecksum(memory.getUint16(l4 + 2), difference >>> 16) || 0xffff);
      break;
  }
}

/** A partial checksum is the sum of the pseudo-header, uncomplemented: it takes the addresses' difference as it is. */
function updateL4(memory: DataView, frame: Frame, at: number, addresses: number, both: number): void {
  const field = memory.getUint16(at);
  if ((frame.vnetFlags & NEEDS_CSUM) !== 0) memory.setInt16(at, fold(field + addresses));
  else memory.setInt16(at, updateChecksum(field, both));
}

/** UDP: no checksum stays none, and a computed zero leaves as 0xffff (RFC 768). */
function updateUdp(memory: DataView, frame: Frame, at: number, addresses: number, both: number): void {
  const field = memory.getUint16(at);
  if ((frame.vnetFlags & NEEDS_CSUM) !== 0) {
    memory.setInt16(at, fold(field + addresses));
  } else if (field !== 0) {
    const updated = updateChecksum(field, both);
    memory.setInt16(at, updated === 0 ? 0xffff : updated);
  }
}
