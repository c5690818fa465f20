/**
 * Parse: checks a frame before anyone reads it, and notes where its headers are. `parse` does Ethernet, which is all
 * that the bridge needs; `parseIpv4` does the rest for what goes up to the router. After CONTINUE no accessor of the
 * wire formats can fail on this frame. Both are allocation-free and never throw, whatever the bytes are.
 */
import { pseudoHeaderSum, sumBytes } from "./checksum.ts";
import * as ethernet from "./ethernet.ts";
import type { Frame } from "./frame.ts";
import { ICMP_HEADER_BYTES } from "./icmp.ts";
import * as ipv4 from "./ipv4.ts";
import { judgeOptions, OptionsVerdict } from "./ipv4_options.ts";
import { Stop } from "./stop_reasons.ts";
import { TCP_CHECKSUM_OFFSET, TCP_HEADER_BYTES } from "./tcp.ts";
import { UDP_CHECKSUM_OFFSET, UDP_HEADER_BYTES } from "./udp.ts";
import * as vnet from "./vnet_header.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const {
  CONTINUE,
  FRAME_TRUNCATED,
  IPV4_CHECKSUM,
  IPV4_MALFORMED,
  IPV4_OPTIONS,
  L4_MALFORMED,
  OFFLOAD_MALFORMED,
  SOURCE_ROUTED,
} = Stop;
const { PASS: OPTIONS_PASS, SOURCE_ROUTE } = OptionsVerdict;
const { DATA_VALID, NEEDS_CSUM: VNET_FLAG_NEEDS_CSUM } = vnet.VnetFlag;
const { NONE: GSO_TYPE_NONE, TCPV4, UDP_L4 } = vnet.GsoType;
const { ICMP: PROTOCOL_ICMP, TCP: PROTOCOL_TCP, UDP: PROTOCOL_UDP } = ipv4.Protocol;
const { MORE: FRAGMENT_MORE, OFFSET: FRAGMENT_OFFSET } = ipv4.Fragment;

/** Ethernet: addresses and type. */
export function parse(memory: DataView, frame: Frame): number {
  if (frame.length < ethernet.ETHERNET_HEADER_BYTES) return FRAME_TRUNCATED;
  const at = frame.at;
  frame.destinationMacHigh = ethernet.destinationMacHigh(memory, at);
  frame.destinationMacLow = ethernet.destinationMacLow(memory, at);
  frame.sourceMacHigh = ethernet.sourceMacHigh(memory, at);
  frame.sourceMacLow = ethernet.sourceMacLow(memory, at);
  frame.etherType = ethernet.etherType(memory, at);
  return CONTINUE;
}

/** IPv4 header and the fixed part of TCP, UDP and ICMP headers (RFC 1812 5.2.2). */
export function parseIpv4(memory: DataView, frame: Frame): number {
  const ip = frame.at + ethernet.ETHERNET_HEADER_BYTES;
  const room = frame.length - ethernet.ETHERNET_HEADER_BYTES;
  if (room < ipv4.IPV4_HEADER_BYTES) return IPV4_MALFORMED;
  const headerBytes = ipv4.headerBytes(memory, ip);
  const total = ipv4.totalLength(memory, ip);
  if (memory.getUint8(ip) >>> 4 !== 4 || headerBytes < ipv4.IPV4_HEADER_BYTES) return IPV4_MALFORMED;
  if (total < headerBytes || total > room) return IPV4_MALFORMED;
  if (!ipv4.isHeaderChecksumValid(memory, ip, headerBytes)) return IPV4_CHECKSUM;

  frame.ip = ip;
  frame.l4 = ip + headerBytes;
  frame.end = ip + total;
  frame.protocol = ipv4.protocol(memory, ip);
  frame.source = ipv4.sourceAddress(memory, ip);
  frame.destination = ipv4.destinationAddress(memory, ip);
  frame.fragment = ipv4.fragmentField(memory, ip) & (FRAGMENT_MORE | FRAGMENT_OFFSET);
  frame.vnetFlags = vnet.vnetFlags(memory, frame.at);
  frame.gsoType = vnet.gsoType(memory, frame.at);
  frame.gsoSize = frame.gsoType === GSO_TYPE_NONE ? 0 : vnet.gsoSize(memory, frame.at);
  frame.ports = 0;
  if (headerBytes > ipv4.IPV4_HEADER_BYTES) {
    const stop = checkOptions(memory, frame, headerBytes);
    if (stop !== CONTINUE) return stop;
  }
  // What a fragment holds is read when its datagram is whole.
  if (frame.fragment !== 0) return frame.gsoType === GSO_TYPE_NONE ? CONTINUE : OFFLOAD_MALFORMED;
  return parseL4(memory, frame);
}

function checkOptions(memory: DataView, frame: Frame, headerBytes: number): number {
  const verdict = judgeOptions(memory, frame.ip, headerBytes);
  if (verdict === OPTIONS_PASS) return CONTINUE;
  if (verdict === SOURCE_ROUTE) return SOURCE_ROUTED;
  frame.problemAt = verdict;
  return IPV4_OPTIONS;
}

function parseL4(memory: DataView, frame: Frame): number {
  const l4 = frame.l4;
  const length = frame.end - l4;
  switch (frame.protocol) {
    case PROTOCOL_TCP: {
      if (length < TCP_HEADER_BYTES) return L4_MALFORMED;
      const offset = (memory.getUint8(l4 + 12) >> 4) << 2;
      if (offset < TCP_HEADER_BYTES || offset > length) return L4_MALFORMED;
      frame.ports = memory.getInt32(l4);
      return checkOffload(memory, frame, TCP_CHECKSUM_OFFSET);
    }
    case PROTOCOL_UDP: {
      if (length < UDP_HEADER_BYTES) return L4_MALFORMED;
      const datagram = memory.getUint16(l4 + 4);
      if (datagram < UDP_HEADER_BYTES || datagram > length) return L4_MALFORMED;
      frame.ports = memory.getInt32(l4);
      return checkOffload(memory, frame, UDP_CHECKSUM_OFFSET);
    }
    case PROTOCOL_ICMP:
      if (length < ICMP_HEADER_BYTES) return L4_MALFORMED;
      frame.ports = (memory.getUint16(l4 + 4) << 16) | memory.getUint16(l4);
      return checkForeignOffload(memory, frame, ICMP_HEADER_BYTES);
    default:
      return checkForeignOffload(memory, frame, 0);
  }
}

/**
 * A partial checksum is only ours to keep in step when it is that of this L4 header. With a tunnel in the packet it
 * may be the inner one's: then the outer checksum is a full one, and NEEDS_CSUM says nothing about it.
 */
function checkOffload(memory: DataView, frame: Frame, checksumOffset: number): number {
  if (frame.vnetFlags === 0 && frame.gsoType === GSO_TYPE_NONE) return CONTINUE;
  const at = frame.at;
  const isOurs = vnet.checksumStart(memory, at) === frame.l4 - at && vnet.checksumOffset(memory, at) === checksumOffset;
  const isTcp = frame.protocol === PROTOCOL_TCP;
  if ((frame.vnetFlags & VNET_FLAG_NEEDS_CSUM) !== 0 && !isOurs) {
    if (!isBehindHeaders(memory, frame, isTcp ? TCP_HEADER_BYTES : UDP_HEADER_BYTES)) return OFFLOAD_MALFORMED;
    frame.vnetFlags = DATA_VALID;
  }
  if (frame.gsoType === GSO_TYPE_NONE) return CONTINUE;
  const expected = isTcp ? TCPV4 : UDP_L4;
  if (frame.gsoType !== expected || frame.gsoSize === 0 || !isOurs) {
    return OFFLOAD_MALFORMED;
  }
  if ((frame.vnetFlags & VNET_FLAG_NEEDS_CSUM) === 0) return OFFLOAD_MALFORMED;
  // hdr_len is a hint that nobody checks: say what it is (the L4 header's end), for those who linearise by it.
  const l4Header = isTcp ? (memory.getUint8(frame.l4 + 12) >> 4) << 2 : UDP_HEADER_BYTES;
  vnet.setHeaderLength(memory, at, frame.l4 + l4Header - at);
  return CONTINUE;
}

/** Offloads of packets whose own L4 checksum no device completes: only that of a packet inside may be open. */
function checkForeignOffload(memory: DataView, frame: Frame, headerBytes: number): number {
  if (frame.vnetFlags === 0 && frame.gsoType === GSO_TYPE_NONE) return CONTINUE;
  if (frame.gsoType !== GSO_TYPE_NONE) return OFFLOAD_MALFORMED;
  const isOpen = (frame.vnetFlags & VNET_FLAG_NEEDS_CSUM) !== 0;
  return !isOpen || isBehindHeaders(memory, frame, headerBytes) ? CONTINUE : OFFLOAD_MALFORMED;
}

/**
 * Whether a device that completes the checksum writes it inside the packet and behind `headerBytes` of its L4 header.
 * Anywhere else it would overwrite, after all decisions, the addresses and ports that they were about.
 */
function isBehindHeaders(memory: DataView, frame: Frame, headerBytes: number): boolean {
  const { at } = frame;
  const field = at + vnet.checksumStart(memory, at) + vnet.checksumOffset(memory, at);
  return field >= frame.l4 + headerBytes && field + 2 <= frame.end;
}

/**
 * Verifies the L4 checksum of a whole datagram, where it is neither partial nor verified already. A UDP checksum of
 * zero means none (RFC 768). Bad ones are never repaired.
 */
export function isL4ChecksumValid(memory: DataView, frame: Frame): boolean {
  if (frame.vnetFlags !== 0 || frame.fragment !== 0) return true;
  const l4 = frame.l4;
  const length = frame.end - l4;
  switch (frame.protocol) {
    case PROTOCOL_TCP:
      return sumBytes(memory, l4, length, pseudoHeaderSum(frame.source, frame.destination, 6, length)) === 0xffff;
    case PROTOCOL_UDP: {
      if (memory.getUint16(l4 + UDP_CHECKSUM_OFFSET) === 0) return true;
      const datagram = memory.getUint16(l4 + 4);
      return sumBytes(memory, l4, datagram, pseudoHeaderSum(frame.source, frame.destination, 17, datagram)) === 0xffff;
    }
    case PROTOCOL_ICMP:
      return sumBytes(memory, l4, length, 0) === 0xffff;
    default:
      return true;
  }
}
