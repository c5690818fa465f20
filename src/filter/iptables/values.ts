/** Values of options: texts to numbers, with iptables' own complaints. */
import { prefixMask } from "../../packet/ipv4_address.ts";
import type { Range } from "../rule_set.ts";
import { notSupported, UsageError } from "./errors.ts";
import type { SystemNames } from "./system_names.ts";

const ALL_BITS = 0xffffffff;

/** Decimal, hexadecimal (0x) or octal (0), as strtoul(3) takes it; undefined for anything else. */
export function readNumber(text: string, first: number, last: number): number | undefined {
  let value = Number.NaN;
  if (/^0x[0-9a-f]{1,8}$/i.test(text)) value = Number.parseInt(text, 16);
  else if (/^0[0-7]{1,11}$/.test(text)) value = Number.parseInt(text, 8);
  else if (/^\d{1,10}$/.test(text)) value = Number(text);
  return value >= first && value <= last ? value : undefined;
}

/** An address as a signed word. Parts that are left out are zeros at the end: `10.1` is 10.1.0.0. */
function readDotted(text: string): number | undefined {
  if (!/^\d{1,3}(\.\d{1,3}){0,3}$/.test(text)) return undefined;
  const parts = text.split(".").map(Number);
  if (parts.some((part) => part > 255)) return undefined;
  return [0, 1, 2, 3].reduce((word, index) => (word << 8) | (parts[index] ?? 0), 0);
}

/** A whole address. */
export function readAddress(text: string): number | undefined {
  return text.split(".").length === 4 ? readDotted(text) : undefined;
}

/** `address[/mask]`; the mask as a length or as an address. */
export function readPrefix(text: string): Range {
  const [addressText, maskText, ...rest] = text.split("/");
  const address = readDotted(addressText);
  // Names are not looked up: what a rule means must not depend on who answers.
  if (address === undefined) throw new UsageError(`host/network \`${addressText}' not found`);
  if (rest.length > 0) throw new UsageError(`invalid mask \`${[maskText, ...rest].join("/")}' specified`);
  const mask = maskText === undefined ? -1 : readMask(maskText);
  return { first: address & mask, last: (address & mask) | ~mask };
}

function readMask(text: string): number {
  const length = readNumber(text, 0, 32);
  if (length !== undefined) return prefixMask(length);
  const mask = text.includes(".") ? readDotted(text) : undefined;
  if (mask === undefined) throw new UsageError(`invalid mask \`${text}' specified`);
  const zeros = ~mask;
  if ((zeros & (zeros + 1)) !== 0) throw notSupported(`the mask ${text}, which is no prefix,`);
  return mask;
}

/** `a,b,c` of prefixes. */
export function readPrefixes(text: string): Range[] {
  return text.split(",").map(readPrefix);
}

/** `first[-last]` of addresses. */
export function readAddressRange(text: string, complaint: string): Range {
  const [firstText, lastText = firstText, ...rest] = text.split("-");
  const first = readAddress(firstText);
  const last = readAddress(lastText);
  if (first === undefined || last === undefined || rest.length > 0) throw new UsageError(complaint);
  return { first, last };
}

/** A port by number or name. */
export function readPort(text: string, names: SystemNames, protocol?: string): number {
  const port = readNumber(text, 0, 65_535) ?? names.portNumber(text, protocol);
  if (port === undefined) throw new UsageError(`invalid port/service \`${text}' specified`);
  return port;
}

/** `port`, `first:last`, `:last` or `first:`. */
export function readPortRange(text: string, names: SystemNames, protocol?: string): Range {
  const [firstText, lastText, ...rest] = text.split(":");
  if (rest.length > 0) throw new UsageError(`invalid port/service \`${text}' specified`);
  const first = firstText === "" && lastText !== undefined ? 0 : readPort(firstText, names, protocol);
  if (lastText === undefined) return { first, last: first };
  const last = lastText === "" ? 65_535 : readPort(lastText, names, protocol);
  if (first > last) throw new UsageError("invalid portrange (min > max)");
  return { first, last };
}

/** `value[/mask]` as signed words; without a mask, all bits. */
export function readMark(text: string, option: string): { value: number; mask: number } {
  const [valueText, maskText, ...rest] = text.split("/");
  const value = readNumber(valueText, 0, ALL_BITS);
  const mask = maskText === undefined ? ALL_BITS : readNumber(maskText, 0, ALL_BITS);
  if (value === undefined || mask === undefined || rest.length > 0)
    throw new UsageError(`bad value for option "${option}", or out of range: ${text}`);
  return { value: value | 0, mask: mask | 0 };
}

/** Words with commas to or-ed bits. */
export function readBits(text: string, bits: Readonly<Record<string, number>>, complaint: string): number {
  return text.split(",").reduce((sum, word) => {
    const name = word.toUpperCase();
    if (!Object.hasOwn(bits, name)) throw new UsageError(`${complaint} "${word}"`);
    return sum | bits[name];
  }, 0);
}

/** An IP protocol by name or number; 0 is "all". */
export function readProtocol(text: string, names: SystemNames): number {
  const number = readNumber(text, 0, 255) ?? names.protocolNumber(text);
  if (number === undefined) throw new UsageError(`unknown protocol "${text}" specified`);
  return number;
}
