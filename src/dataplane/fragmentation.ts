/**
 * Fragmentation on egress (RFC 791 2.3, RFC 1812 5.2.6): a packet longer than `frame.fragmentTo` leaves in pieces of
 * slots of their own. A datagram that was put together from fragments leaves in pieces no larger than those. Behind
 * NAT, two inside hosts may have chosen the same identification towards one server, so translated ones get a new one.
 */
import { ANY_NAT, FLOW_SHIFT, FlowWord } from "../conntrack/flow_layout.ts";
import { sumBytes } from "../packet/checksum.ts";
import { ETHERNET_HEADER_BYTES } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import * as ipv4 from "../packet/ipv4.ts";
import { checksumOffset, checksumStart, clearVnetHeader, VnetFlag, vnetFlags } from "../packet/vnet_header.ts";
import { Counter } from "./counters.ts";
import type { Router } from "./router.ts";

/** Option types with this bit go into every fragment (RFC 791 3.1). */
const OPTION_COPIED = 0x80;
const OPTION_END = 0;
const OPTION_NOP = 1;

/** Cuts a frame that is ready to leave; calls `sendPiece` with each piece, which owns its slot. */
export function sendFragments(router: Router, frame: Frame, sendPiece: (router: Router, piece: Frame) => void): void {
  const { memory, arena } = router;
  completeChecksum(memory, frame);
  const header = frame.l4 - frame.ip;
  const payload = frame.end - frame.l4;
  const step = (frame.fragmentTo - header) & ~7;
  const id = isTranslated(router, frame) ? router.random() & 0xffff : ipv4.identification(memory, frame.ip);
  const dont = ipv4.fragmentField(memory, frame.ip) & ipv4.Fragment.DONT;
  for (let offset = 0; offset < payload; offset += step) {
    let slot = arena.take();
    if (slot < 0) {
      // What waits to be sent gives its slots back.
      router.flush();
      slot = arena.take();
    }
    if (slot < 0) {
      router.count(Counter.fragmentsLost);
      return;
    }
    const length = Math.min(step, payload - offset);
    const piece = router.frames[slot];
    const ip = piece.at + ETHERNET_HEADER_BYTES;
    arena.bytes.copyWithin(piece.at, frame.at, frame.l4);
    arena.bytes.copyWithin(ip + header, frame.l4 + offset, frame.l4 + offset + length);
    if (offset > 0) blankOptions(memory, ip, header);
    const more = offset + length < payload ? ipv4.Fragment.MORE : 0;
    memory.setInt16(ip + 2, header + length);
    memory.setInt16(ip + 4, id);
    memory.setInt16(ip + 6, dont | more | (offset >> 3));
    memory.setInt16(ip + 10, 0);
    memory.setInt16(ip + 10, ipv4.computeHeaderChecksum(memory, ip, header));
    clearVnetHeader(memory, piece.at);
    arena.slotLength[slot] = ETHERNET_HEADER_BYTES + header + length;
    piece.own = frame.own;
    piece.ingressPort = frame.ingressPort;
    piece.egressPort = frame.egressPort;
    piece.egressInterface = frame.egressInterface;
    piece.fragmentTo = 0;
    router.counters.values[Counter.bytesCopied] += length;
    router.count(Counter.fragmentsSent);
    sendPiece(router, piece);
  }
}

/** A partial checksum has to be completed before the packet is cut: no device could do it afterwards. */
function completeChecksum(memory: DataView, frame: Frame): void {
  if ((vnetFlags(memory, frame.at) & VnetFlag.NEEDS_CSUM) === 0) return;
  const start = frame.at + checksumStart(memory, frame.at);
  const field = start + checksumOffset(memory, frame.at);
  if (start < frame.ip || field + 2 > frame.end) return;
  const sum = ~sumBytes(memory, start, frame.end - start, 0) & 0xffff;
  memory.setInt16(field, sum === 0 ? 0xffff : sum);
}

function isTranslated(router: Router, frame: Frame): boolean {
  if (frame.reference < 0) return false;
  return (router.flows.words[((frame.reference >> 1) << FLOW_SHIFT) + FlowWord.STATUS] & ANY_NAT) !== 0;
}

/** Later fragments carry only the options that are marked as copied; the others become no-operations. */
function blankOptions(memory: DataView, ip: number, header: number): void {
  let at = ip + ipv4.IPV4_HEADER_BYTES;
  const end = ip + header;
  while (at < end) {
    const option = memory.getUint8(at);
    if (option === OPTION_END) return;
    const length = option === OPTION_NOP || at + 1 >= end ? 1 : memory.getUint8(at + 1);
    if (length < 1 || at + length > end) return;
    if ((option & OPTION_COPIED) === 0) {
      for (let i = 0; i < length; i++) memory.setUint8(at + i, OPTION_NOP);
    }
    at += length;
  }
}
