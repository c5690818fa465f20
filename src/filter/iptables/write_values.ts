/** Values of rules in iptables' words. */
import { formatAddress } from "../../packet/ipv4_address.ts";
import type { Range, Wish } from "../rule_set.ts";

/** Where a list of the configuration has several, they stand with commas. */
export function prefixesText(ranges: readonly Range[]): string {
  return ranges.map((range) => prefixText(range, "/32")).join(",");
}

/** `address/length`; what is no prefix as a range. `host` is what follows a single address. */
export function prefixText({ first, last }: Range, host: string): string {
  if (first === last) return `${formatAddress(first)}${host}`;
  const size = ((last - first) >>> 0) + 1;
  const isPrefix = Number.isInteger(Math.log2(size)) && (first >>> 0) % size === 0;
  return isPrefix ? `${formatAddress(first)}/${32 - Math.log2(size)}` : addressRangeText({ first, last });
}

export function addressRangeText({ first, last }: Range): string {
  return `${formatAddress(first)}-${formatAddress(last)}`;
}

/** `first[:last]`. */
export function portsText({ first, last }: Range, name: (port: number) => string = String): string {
  return first === last ? name(first) : `${name(first)}:${name(last)}`;
}

/** `first[-last]`. */
export function dashedText({ first, last }: Range): string {
  return first === last ? String(first) : `${first}-${last}`;
}

export function hex(word: number): string {
  return `0x${(word >>> 0).toString(16)}`;
}

/** `value[/mask]`. */
export function markText({ value, mask }: { value: number; mask: number }): string {
  return mask === -1 ? hex(value) : `${hex(value)}/${hex(mask)}`;
}

export function bitsText(bits: number, words: Readonly<Record<string, number>>): string {
  const names = Object.entries(words).filter(([, bit]) => (bits & bit) !== 0);
  return names.map(([name]) => name).join(",");
}

export function not(wish: { not?: true }): string {
  return wish.not === true ? "! " : "";
}

/** `[! ]--option value` for what is asked for. */
export function optionText<T>(option: string, wish: Wish<T> | undefined, show: (value: T) => string): string[] {
  return wish === undefined ? [] : [`${not(wish)}--${option} ${show(wish.is)}`];
}
