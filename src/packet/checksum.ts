/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624). A "sum" is an uncomplemented one's
 * complement sum folded to 16 bits; a "checksum" is what the header holds, the complement of a sum. A "difference"
 * is a sum that turns the sum of the old words into that of the new ones: ~old + new for each word.
 */

/** Folds an accumulated sum (an unsigned 32-bit word) to 16 bits. */
export function fold(sum: number): number {
  sum = (sum >>> 16) + (sum & 0xffff);
  return ((sum >>> 16) + sum) & 0xffff;
}

/** Sum of `length` bytes from `at`, starting from `initial`. An odd last byte counts as the high half of a word. */
export function sumBytes(memory: DataView, at: number, length: number, initial: number): number {
  let sum = initial;
  const end = at + (length & ~3);
  for (; at < end; at += 4) {
    const word = memory.getInt32(at);
    // At most 16 384 words of 17 bits: the sum fits 32 bits, and stays a small integer as a signed word.
    sum = (sum + (word >>> 16) + (word & 0xffff)) | 0;
  }
  if ((length & 2) !== 0) {
    sum += memory.getUint16(at);
    at += 2;
  }
  if ((length & 1) !== 0) sum += memory.getUint8(at) << 8;
  return fold(sum);
}

/** Sum of the IPv4 pseudo-header (RFC 793 3.1, RFC 768): addresses, protocol and L4 length. */
export function pseudoHeaderSum(source: number, destination: number, protocol: number, l4Length: number): number {
  return fold(
    (source >>> 16) +
      (source & 0xffff) +
      (destination >>> 16) +
      (destination & 0xffff) +
      protocol +
      (l4Length >>> 16) +
      (l4Length & 0xffff),
  );
}

/** Difference of one 32-bit word. */
export function wordDifference(before: number, after: number): number {
  return fold((~before >>> 16) + (~before & 0xffff) + (after >>> 16) + (after & 0xffff));
}

/** Difference of one 16-bit word. */
export function halfDifference(before: number, after: number): number {
  return fold((~before & 0xffff) + (after & 0xffff));
}

/** RFC 1624 eqn. 3: the checksum after a change whose difference is given. */
export function updateChecksum(checksum: number, difference: number): number {
  const sum = (~checksum & 0xffff) + difference;
  return ~((sum >>> 16) + sum) & 0xffff;
}
