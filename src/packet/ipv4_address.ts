/**
 * IPv4 addresses as host-order signed words (10.55.66.2 is 0x0a374202 | 0), so that they stay small integers, and sets
 * of them as an address and a prefix length. Texts are parsed where configuration is read; here they are only printed.
 */

/** Dotted quad. Allocates: not for the walk of a packet. */
export function formatAddress(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 0xff}.${(word >>> 8) & 0xff}.${word & 0xff}`;
}

/** The netmask of a prefix of `length` bits (0 to 32) as a signed word. */
/** A set of addresses: `address`/`length`, host-order signed word. Length 0 is all. */
export interface Prefix {
  address: number;
  length: number;
}

export function prefixMask(length: number): number {
  // A shift by 32 is a shift by 0 in JavaScript.
  return length === 0 ? 0 : (-1 << (32 - length)) | 0;
}

/** First and last address of a prefix. */
export function rangeOf({ address, length }: Prefix): { first: number; last: number } {
  const mask = prefixMask(length);
  return { first: address & mask, last: address | ~mask };
}

/** Whether `address` is of the set; bits of the prefix beyond its length do not matter. */
export function contains(prefix: { address: number; length: number }, address: number): boolean {
  return ((prefix.address ^ address) & prefixMask(prefix.length)) === 0;
}
