/**
 * UDP (RFC 768): source port, destination port, length, checksum; 16 bits each. A checksum of zero means none, and
 * stays zero; a computed zero is sent as 0xffff.
 */
export const UDP_HEADER_BYTES = 8;
export const UDP_CHECKSUM_OFFSET = 6;

/** Header and payload in bytes. */
export function lengthBytes(memory: DataView, at: number): number {
  return memory.getUint16(at + 4);
}

export function checksum(memory: DataView, at: number): number {
  return memory.getUint16(at + 6);
}
