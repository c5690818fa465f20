/**
 * UDP (RFC 768): source port, destination port, length, checksum; 16 bits each. A checksum of zero means none, and
 * stays zero; a computed zero is sent as 0xffff.
 */
import { pseudoHeaderSum, sumBytes } from "./checksum.ts";
import { Protocol } from "./ipv4.ts";

export const UDP_HEADER_BYTES = 8;
export const UDP_CHECKSUM_OFFSET = 6;

/** Header and payload in bytes. */
export function lengthBytes(memory: DataView, at: number): number {
  return memory.getUint16(at + 4);
}

export function checksum(memory: DataView, at: number): number {
  return memory.getUint16(at + 6);
}

/** A header with its checksum, in front of a payload that stands there already; `length` is that of both. */
export function writeUdp(
  memory: DataView,
  at: number,
  ports: number,
  length: number,
  source: number,
  destination: number,
): void {
  memory.setInt32(at, ports);
  memory.setUint16(at + 4, length);
  memory.setUint16(at + UDP_CHECKSUM_OFFSET, 0);
  const pseudo = pseudoHeaderSum(source, destination, Protocol.UDP, length);
  memory.setUint16(at + UDP_CHECKSUM_OFFSET, ~sumBytes(memory, at, length, pseudo) & 0xffff || 0xffff);
}
