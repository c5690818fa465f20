/**
 * What a device with offloads would do, in software: cuts a super-frame into packets that fit the wire, and fills in
 * checksums that were left open. For ways out that take plain IPv4 packets only.
 *
 * A super-frame of TCP becomes segments of `gso_size` bytes (RFC 9293 3.7.2; as Linux's tcp_gso_segment): sequence numbers
 * rise, FIN and PSH stay for the last, CWR for the first. One of UDP becomes datagrams of `gso_size` bytes. Their IP
 * identifications rise by one. IPv4 header checksums are not touched: the kernel writes those.
 */
import { pseudoHeaderSum, sumBytes } from "./checksum.ts";
import { ETHERNET_HEADER_BYTES } from "./ethernet.ts";
import { headerBytes, IPV4_HEADER_BYTES, Protocol } from "./ipv4.ts";
import { dataOffset, TCP_CHECKSUM_OFFSET, TCP_HEADER_BYTES, TcpFlag } from "./tcp.ts";
import { UDP_CHECKSUM_OFFSET, UDP_HEADER_BYTES } from "./udp.ts";
import { checksumOffset, checksumStart, GsoType, gsoSize, gsoType, VnetFlag, vnetFlags } from "./vnet_header.ts";

/**
 * Hands over the IPv4 packets of a frame of `length` bytes whose Ethernet header is at `at`, its vnet header before it.
 * What does not fit together is given up: false. The packets may lie in `memory`, which is changed.
 */
export function forEachPacket(
  memory: DataView,
  at: number,
  length: number,
  take: (packet: Uint8Array) => void,
): boolean {
  const ip = at + ETHERNET_HEADER_BYTES;
  const bytes = new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength);
  if (length < ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES) return false;
  const total = memory.getUint16(ip + 2);
  if (total < headerBytes(memory, ip) || ETHERNET_HEADER_BYTES + total > length) return false;
  const type = gsoType(memory, at);
  if (type === GsoType.NONE) {
    if ((vnetFlags(memory, at) & VnetFlag.NEEDS_CSUM) !== 0 && !completeChecksum(memory, at, ip + total)) return false;
    take(bytes.subarray(ip, ip + total));
    return true;
  }
  if (type !== GsoType.TCPV4 && type !== GsoType.UDP_L4) return false;
  return cut(memory, ip, total, gsoSize(memory, at), take);
}

/** Sums what the vnet header says; the field holds the pseudo-header's sum. */
function completeChecksum(memory: DataView, at: number, end: number): boolean {
  const start = at + checksumStart(memory, at);
  const field = start + checksumOffset(memory, at);
  if (start < at + ETHERNET_HEADER_BYTES || field + 2 > end) return false;
  const sum = ~sumBytes(memory, start, end - start, 0) & 0xffff;
  // A UDP checksum of zero would mean that there is none (RFC 768).
  memory.setUint16(field, sum === 0 ? 0xffff : sum);
  return true;
}

function cut(memory: DataView, ip: number, total: number, size: number, take: (packet: Uint8Array) => void): boolean {
  const ipHeader = headerBytes(memory, ip);
  const protocol = memory.getUint8(ip + 9);
  const l4 = ip + ipHeader;
  const isTcp = protocol === Protocol.TCP;
  if (!isTcp && protocol !== Protocol.UDP) return false;
  if (total < ipHeader + (isTcp ? TCP_HEADER_BYTES : UDP_HEADER_BYTES) || size === 0) return false;
  const headers = ipHeader + (isTcp ? dataOffset(memory, l4) : UDP_HEADER_BYTES);
  if (headers > total) return false;
  const payload = total - headers;
  const source = new Uint8Array(memory.buffer, memory.byteOffset + ip, total);
  for (let from = 0, number = 0; from < payload || number === 0; from += size, number++) {
    const count = Math.min(size, payload - from);
    const packet = new Uint8Array(headers + count);
    packet.set(source.subarray(0, headers));
    packet.set(source.subarray(headers + from, headers + from + count), headers);
    const view = new DataView(packet.buffer);
    view.setUint16(2, packet.length);
    view.setUint16(4, view.getUint16(4) + number);
    if (isTcp) finishSegment(view, ipHeader, from, from + count === payload);
    else view.setUint16(ipHeader + 4, packet.length - ipHeader);
    writeChecksum(view, ipHeader, protocol);
    take(packet);
  }
  return true;
}

/** Sequence number and flags of a segment whose data begin `from` bytes into that of the super-frame. */
function finishSegment(packet: DataView, l4: number, from: number, isLast: boolean): void {
  packet.setUint32(l4 + 4, packet.getUint32(l4 + 4) + from);
  let flags = packet.getUint8(l4 + 13);
  if (!isLast) flags &= ~(TcpFlag.FIN | TcpFlag.PSH);
  if (from > 0) flags &= ~TcpFlag.CWR;
  packet.setUint8(l4 + 13, flags);
}

/** The L4 checksum of a whole packet, from scratch. */
function writeChecksum(packet: DataView, l4: number, protocol: number): void {
  const length = packet.byteLength - l4;
  const field = l4 + (protocol === Protocol.TCP ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET);
  packet.setUint16(field, 0);
  const pseudo = pseudoHeaderSum(packet.getInt32(12), packet.getInt32(16), protocol, length);
  const sum = ~sumBytes(packet, l4, length, pseudo) & 0xffff;
  packet.setUint16(field, sum === 0 && protocol === Protocol.UDP ? 0xffff : sum);
}

/**
 * Writes the vnet header of a packet that a kernel handed over without saying what is open: a checksum field that holds
 * no more than the pseudo-header's sum is to be completed by whoever sends on, and TCP longer than `mtu` has been
 * merged, and may be cut again into segments that fit. `at` is where the (reserved) Ethernet header begins.
 */
export function describePacket(memory: DataView, at: number, mtu: number): void {
  for (let i = 1; i <= 10; i++) memory.setUint8(at - i, 0);
  const ip = at + ETHERNET_HEADER_BYTES;
  const ipHeader = headerBytes(memory, ip);
  const total = memory.getUint16(ip + 2);
  const protocol = memory.getUint8(ip + 9);
  const isTcp = protocol === Protocol.TCP;
  if ((!isTcp && protocol !== Protocol.UDP) || total < ipHeader + (isTcp ? TCP_HEADER_BYTES : UDP_HEADER_BYTES)) return;
  const l4 = ip + ipHeader;
  const length = total - ipHeader;
  const checksumAt = isTcp ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET;
  const pseudo = pseudoHeaderSum(memory.getInt32(ip + 12), memory.getInt32(ip + 16), protocol, length);
  const isMerged = isTcp && total > mtu;
  const isOpen = memory.getUint16(l4 + checksumAt) === pseudo;
  if (!isMerged && !isOpen) return;
  const isRight = sumBytes(memory, l4, length, pseudo) === 0xffff;
  if (isRight && !isMerged) return;
  if (!isRight && !isOpen) return;
  memory.setUint16(l4 + checksumAt, pseudo);
  memory.setUint8(at - 10, VnetFlag.NEEDS_CSUM);
  memory.setUint16(at - 4, l4 - at, true);
  memory.setUint16(at - 2, checksumAt, true);
  if (!isMerged) return;
  const headers = ipHeader + dataOffset(memory, l4);
  memory.setUint8(at - 9, GsoType.TCPV4);
  memory.setUint16(at - 8, ETHERNET_HEADER_BYTES + headers, true);
  memory.setUint16(at - 6, Math.max(mtu - headers, 1), true);
}
