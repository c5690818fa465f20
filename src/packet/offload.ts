/**
 * What devices with offloads do, done in software: for the few frames that leave the path on which devices do it.
 * `at` is where the Ethernet frame starts; its vnet header is in front of it.
 */
import { pseudoHeaderSum, sumBytes } from "./checksum.ts";
import { ETHERNET_HEADER_BYTES, EtherType, etherType } from "./ethernet.ts";
import * as ipv4 from "./ipv4.ts";
import { dataOffset, TCP_CHECKSUM_OFFSET, TCP_HEADER_BYTES } from "./tcp.ts";
import { UDP_CHECKSUM_OFFSET, UDP_HEADER_BYTES } from "./udp.ts";
import { askSegmentation, checksumOffset, checksumStart, GsoType, VnetFlag, vnetFlags } from "./vnet_header.ts";

/** Completes a partial checksum (VIRTIO 1.2, 5.1.6.2); a zero is sent as its other form. Any bytes will do. */
export function completeChecksum(memory: DataView, at: number, length: number): void {
  if ((vnetFlags(memory, at) & VnetFlag.NEEDS_CSUM) === 0) return;
  const start = checksumStart(memory, at);
  const field = start + checksumOffset(memory, at);
  if (field + 2 > length) return;
  const checksum = ~sumBytes(memory, at + start, length - start, 0) & 0xffff;
  memory.setUint16(at + field, checksum === 0 ? 0xffff : checksum);
}

/**
 * Writes the vnet header that a captured frame had on its way through the kernel, if it looks as if it had one: an
 * IPv4 packet whose TCP or UDP checksum holds the sum of the pseudo-header alone was captured before a device completed
 * it; where it is larger than `mtu` besides, before a device cut it.
 */
export function guessVnetHeader(memory: DataView, at: number, length: number, mtu: number): void {
  const ip = at + ETHERNET_HEADER_BYTES;
  const room = length - ETHERNET_HEADER_BYTES;
  if (room < ipv4.IPV4_HEADER_BYTES || etherType(memory, at) !== EtherType.IPV4) return;
  const total = ipv4.totalLength(memory, ip);
  const l4 = ip + ipv4.headerBytes(memory, ip);
  const l4Length = ip + total - l4;
  const fragment = ipv4.fragmentField(memory, ip) & (ipv4.Fragment.MORE | ipv4.Fragment.OFFSET);
  if (total > room || l4 < ip + ipv4.IPV4_HEADER_BYTES || fragment !== 0) return;
  const protocol = ipv4.protocol(memory, ip);
  const isTcp = protocol === ipv4.Protocol.TCP;
  if (!isTcp && protocol !== ipv4.Protocol.UDP) return;
  if (l4Length < (isTcp ? TCP_HEADER_BYTES : UDP_HEADER_BYTES)) return;
  const offset = isTcp ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET;
  const pseudo = pseudoHeaderSum(
    ipv4.sourceAddress(memory, ip),
    ipv4.destinationAddress(memory, ip),
    protocol,
    l4Length,
  );
  if (memory.getUint16(l4 + offset) !== pseudo) return;
  const headerBytes = l4 + (isTcp ? dataOffset(memory, l4) : UDP_HEADER_BYTES) - at;
  const segment = mtu - (headerBytes - ETHERNET_HEADER_BYTES);
  const isCut = isTcp && total > mtu && segment > 0;
  const type = isCut ? GsoType.TCPV4 : GsoType.NONE;
  askSegmentation(memory, at, type, isCut ? headerBytes : 0, isCut ? segment : 0, l4 - at, offset);
}
