/**
 * Addresses and prefixes as people write them, to words. `ip6addr` parses; it also takes IPv6, IPv4 in IPv6 notation
 * and leading zeros (which others read as octal), and those are refused here.
 */
import ip6addr from "ip6addr";
import type { Prefix } from "../../packet/ipv4_address.ts";
import { contains, formatAddress, prefixMask } from "../../packet/ipv4_address.ts";
import { type Path, quote, type Report } from "./errors.ts";

/** The word of an IPv4 address; reports a text that is none, with what was expected instead, and gives undefined. */
export function readAddress(
  text: string,
  path: Path,
  report: Report,
  expected = "an IPv4 address",
): number | undefined {
  const problem = (message: string): undefined => {
    report(path, message);
  };
  let parsed: ReturnType<typeof ip6addr.parse>;
  try {
    parsed = ip6addr.parse(text);
  } catch {
    return problem(`expected ${expected}, not ${quote(text)}`);
  }
  if (text.includes(":")) return problem(`${quote(text)} is IPv6: only IPv4 is supported`);
  const canonical = parsed.toString({ format: "v4" });
  if (canonical !== text)
    return problem(`${quote(text)} is not a plain IPv4 address; did you mean ${quote(canonical)}?`);
  return parsed.toLong() | 0;
}

/** An address with a prefix length behind a slash; bits beyond the length may be set. */
export function readInterfaceAddress(text: string, path: Path, report: Report): Prefix | undefined {
  return readWithLength(text, path, report, "an IPv4 address with a prefix length like 203.0.113.1/24");
}

/** A prefix whose bits beyond its length are zero. */
export function readPrefix(text: string, path: Path, report: Report): Prefix | undefined {
  const prefix = readWithLength(text, path, report, "an IPv4 prefix like 10.55.66.0/24");
  return prefix === undefined || isMasked(prefix, path, report) ? prefix : undefined;
}

/** A prefix, or a single address as a prefix of length 32. */
export function readPrefixOrAddress(text: string, path: Path, report: Report): Prefix | undefined {
  if (text.includes("/")) return readPrefix(text, path, report);
  const address = readAddress(text, path, report, "an IPv4 prefix or address");
  return address === undefined ? undefined : { address, length: 32 };
}

function readWithLength(text: string, path: Path, report: Report, expected: string): Prefix | undefined {
  const slash = text.indexOf("/");
  const address = readAddress(slash < 0 ? text : text.slice(0, slash), path, report, expected);
  if (address === undefined) return undefined;
  const digits = slash < 0 ? "" : text.slice(slash + 1);
  if (/^(\d|[12]\d|3[0-2])$/.test(digits)) return { address, length: Number(digits) };
  const problem = slash < 0 ? "has no prefix length" : `has the prefix length ${quote(digits)}, which is not 0 to 32`;
  report(path, `${quote(text)} ${problem}: expected ${expected}`);
  return undefined;
}

function isMasked(prefix: Prefix, path: Path, report: Report): boolean {
  if (masked(prefix).address === prefix.address) return true;
  const meant = quote(formatPrefix(masked(prefix)));
  report(path, `${quote(formatPrefix(prefix))} has bits set beyond its prefix length; did you mean ${meant}?`);
  return false;
}

/** The prefix with the bits beyond its length zero. */
export function masked(prefix: Prefix): Prefix {
  return { address: prefix.address & prefixMask(prefix.length), length: prefix.length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.address)}/${prefix.length}`;
}

export function overlap(left: Prefix, right: Prefix): boolean {
  return left.length < right.length ? contains(left, right.address) : contains(right, left.address);
}

/**
 * Whether a host of `subnet` may have `address`; reports why not. `what` begins the message. The first and the last
 * address of a subnet are no hosts', except in a /31 (RFC 3021).
 */
export function isHostOf(subnet: Prefix, address: number, what: string, path: Path, report: Report): boolean {
  const refuse = (why: string): boolean => {
    report(path, `${what} ${formatAddress(address)} ${why}`);
    return false;
  };
  const base = masked(subnet).address;
  if (!contains(subnet, address)) return refuse(`is outside ${formatPrefix(masked(subnet))}`);
  if (subnet.length < 31) {
    if (address === base) return refuse("is the network's own address, not a host's");
    if (address === broadcastOf(subnet)) return refuse("is the broadcast address, not a host's");
  }
  return isUnicast(address) || refuse("is not a unicast address");
}

/** Whether a host may have the address: not in "this network", loopback, multicast or reserved (RFC 6890). */
export function isUnicast(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

function broadcastOf(subnet: Prefix): number {
  return subnet.address | ~prefixMask(subnet.length);
}
