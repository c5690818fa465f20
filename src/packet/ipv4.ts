/**
 * IPv4 (RFC 791 3.1).
 *
 *      0               1               2               3
 *     +-------+-------+---------------+-------------------------------+
 *   0 |version|  IHL  |      TOS      |         total length          |
 *     +-------+-------+---------------+-----+-------------------------+
 *   4 |        identification         |flags|     fragment offset     |
 *     +---------------+---------------+-----+-------------------------+
 *   8 |      TTL      |   protocol    |        header checksum        |
 *     +---------------+---------------+-------------------------------+
 *  12 |                        source address                         |
 *     +---------------------------------------------------------------+
 *  16 |                      destination address                      |
 *     +---------------------------------------------------------------+
 *
 * Contract: `parseIpv4` has checked version, lengths and header checksum; then no accessor can fail.
 */
import { sumBytes, updateChecksum } from "./checksum.ts";

export const IPV4_HEADER_BYTES = 20;

export const Protocol = { ICMP: 1, TCP: 6, UDP: 17, GRE: 47 } as const;

/** Bits of the flags and fragment offset field. */
export const Fragment = { DONT: 0x4000, MORE: 0x2000, OFFSET: 0x1fff } as const;

export const LIMITED_BROADCAST = -1;

export function versionAndHeaderLength(memory: DataView, at: number): number {
  return memory.getUint8(at);
}

export function headerBytes(memory: DataView, at: number): number {
  return (memory.getUint8(at) & 0xf) << 2;
}

export function typeOfService(memory: DataView, at: number): number {
  return memory.getUint8(at + 1);
}

export function totalLength(memory: DataView, at: number): number {
  return memory.getUint16(at + 2);
}

export function identification(memory: DataView, at: number): number {
  return memory.getUint16(at + 4);
}

export function fragmentField(memory: DataView, at: number): number {
  return memory.getUint16(at + 6);
}

export function timeToLive(memory: DataView, at: number): number {
  return memory.getUint8(at + 8);
}

export function protocol(memory: DataView, at: number): number {
  return memory.getUint8(at + 9);
}

export function headerChecksum(memory: DataView, at: number): number {
  return memory.getUint16(at + 10);
}

export function sourceAddress(memory: DataView, at: number): number {
  return memory.getInt32(at + 12);
}

export function destinationAddress(memory: DataView, at: number): number {
  return memory.getInt32(at + 16);
}

export function isHeaderChecksumValid(memory: DataView, at: number, length: number): boolean {
  return sumBytes(memory, at, length, 0) === 0xffff;
}

/** What the checksum field of a header, in which it is 0 now, must hold. */
export function computeHeaderChecksum(memory: DataView, at: number, length: number): number {
  return ~sumBytes(memory, at, length, 0) & 0xffff;
}

/** Puts new addresses in place; `difference` is theirs (RFC 1624). */
export function rewriteAddresses(
  memory: DataView,
  at: number,
  source: number,
  destination: number,
  difference: number,
): void {
  memory.setInt32(at + 12, source);
  memory.setInt32(at + 16, destination);
  memory.setInt16(at + 10, updateChecksum(memory.getUint16(at + 10), difference));
}

/** One hop further (RFC 1812 5.3.1): the word of TTL and protocol shrinks by 0x0100. */
export function decrementTtl(memory: DataView, at: number): void {
  memory.setUint8(at + 8, memory.getUint8(at + 8) - 1);
  memory.setInt16(at + 10, updateChecksum(memory.getUint16(at + 10), 0xfeff));
}

/** Writes a header without options; `fragment` is the whole flags and offset field. */
export function writeHeader(
  memory: DataView,
  at: number,
  tos: number,
  length: number,
  id: number,
  fragment: number,
  ttl: number,
  protocolNumber: number,
  source: number,
  destination: number,
): void {
  memory.setInt16(at, 0x4500 | tos);
  memory.setInt16(at + 2, length);
  memory.setInt16(at + 4, id);
  memory.setInt16(at + 6, fragment);
  memory.setInt16(at + 8, (ttl << 8) | protocolNumber);
  memory.setInt16(at + 10, 0);
  memory.setInt32(at + 12, source);
  memory.setInt32(at + 16, destination);
  memory.setInt16(at + 10, ~sumBytes(memory, at, IPV4_HEADER_BYTES, 0));
}

/** 224.0.0.0/4. */
export function isMulticast(address: number): boolean {
  return (address & 0xf0000000) === (0xe0000000 | 0);
}

/**
 * Addresses that no unicast packet may carry as its source (RFC 1812 5.3.7, RFC 1122 3.2.1.3): 0/8, loopback,
 * multicast, class E and limited broadcast.
 */
export function isMartianSource(address: number): boolean {
  const network = address >>> 24;
  return network === 0 || network === 127 || network >= 224;
}

/** Addresses that a router never forwards to: 0/8, loopback, class E and limited broadcast; multicast is apart. */
export function isMartianDestination(address: number): boolean {
  const network = address >>> 24;
  return network === 0 || network === 127 || network >= 240;
}
