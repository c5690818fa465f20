/**
 * IPv4 options (RFC 791 3.1): what a router must look at before it passes a packet on. Source routes are refused (RFC
 * 7126 4.3, 4.4), and so are options that cannot be read; others pass as they came. What is malformed is what Linux
 * finds malformed.
 */
import { IPV4_HEADER_BYTES } from "./ipv4.ts";

const Option = {
  END: 0,
  NOP: 1,
  RECORD_ROUTE: 7,
  TIMESTAMP: 68,
  LOOSE_SOURCE_ROUTE: 131,
  CIPSO: 134,
  STRICT_SOURCE_ROUTE: 137,
  ROUTER_ALERT: 148,
} as const;

/** Low bits of a timestamp option's fourth byte: the sender has named who is to record. */
const PRESPECIFIED = 3;
/** An address and a time; a time alone is 4 bytes, an address in a route too. */
const ADDRESS_AND_TIME_BYTES = 8;
const ENTRY_BYTES = 4;

/** Other results than these are the place of what is wrong, in bytes from the start of the header. */
export const OptionsVerdict = { PASS: 0, SOURCE_ROUTE: -1 } as const;

/** Judges the options of the header at `ip`: an `OptionsVerdict`, or where the first error is. */
export function judgeOptions(memory: DataView, ip: number, headerBytes: number): number {
  let verdict: number = OptionsVerdict.PASS;
  let seen = 0;
  let at = IPV4_HEADER_BYTES;
  while (at < headerBytes) {
    const kind = memory.getUint8(ip + at);
    if (kind === Option.END) break;
    if (kind === Option.NOP) {
      at++;
      continue;
    }
    const length = at + 1 < headerBytes ? memory.getUint8(ip + at + 1) : 0;
    if (length < 2 || at + length > headerBytes) return at;
    const single = singleBit(kind);
    if ((seen & single) !== 0) return at;
    seen |= single;
    const wrong = errorIn(memory, ip + at, kind, length);
    if (wrong !== 0) return at + wrong;
    if (kind === Option.LOOSE_SOURCE_ROUTE || kind === Option.STRICT_SOURCE_ROUTE)
      verdict = OptionsVerdict.SOURCE_ROUTE;
    at += length;
  }
  return verdict;
}

/** Options of which a header may hold one; the two kinds of source routes count as one. */
function singleBit(kind: number): number {
  switch (kind) {
    case Option.LOOSE_SOURCE_ROUTE:
    case Option.STRICT_SOURCE_ROUTE:
      return 1;
    case Option.RECORD_ROUTE:
      return 2;
    case Option.TIMESTAMP:
      return 4;
    case Option.CIPSO:
      return 8;
    default:
      return 0;
  }
}

/** Where in the option an error is; 0 when there is none (the kind itself is never wrong). */
function errorIn(memory: DataView, option: number, kind: number, length: number): number {
  switch (kind) {
    case Option.LOOSE_SOURCE_ROUTE:
    case Option.STRICT_SOURCE_ROUTE:
      if (length < 3) return 1;
      return memory.getUint8(option + 2) < 4 ? 2 : 0;
    case Option.RECORD_ROUTE: {
      if (length < 3) return 1;
      const pointer = memory.getUint8(option + 2);
      return pointer < 4 || (pointer <= length && pointer + ENTRY_BYTES - 1 > length) ? 2 : 0;
    }
    case Option.TIMESTAMP:
      return errorInTimestamp(memory, option, length);
    case Option.ROUTER_ALERT:
      return length < 4 ? 1 : 0;
    default:
      return 0;
  }
}

function errorInTimestamp(memory: DataView, option: number, length: number): number {
  if (length < 4) return 1;
  const pointer = memory.getUint8(option + 2);
  if (pointer < 5) return 2;
  const flags = memory.getUint8(option + 3);
  if (pointer <= length) {
    if (pointer + ENTRY_BYTES - 1 > length) return 2;
    const isAddressed = (flags & 0xf) === 1 || (flags & 0xf) === PRESPECIFIED;
    return isAddressed && pointer + ADDRESS_AND_TIME_BYTES - 1 > length ? 2 : 0;
  }
  // Full: what finds no room is counted in the high bits, and a full count is an error.
  return (flags & 0xf) !== PRESPECIFIED && flags >>> 4 === 15 ? 3 : 0;
}
