/** Addresses in expressions: whole and shortened IPv4 addresses, IPv6 addresses, prefixes and masks. */
import { prefixMask } from "../packet/ipv4_address.ts";
import { parseMac } from "../packet/mac_address.ts";
import type { Token } from "./lexer.ts";
import type { Direction, Expression } from "./syntax.ts";
import type { TokenReader } from "./token_reader.ts";

/** What is in front of an address or a number; it holds for those after `or` and `and` too, until something else comes. */
export interface Qualifiers {
  protocol: string | undefined;
  direction: Direction;
  /** `undefined`: host. */
  type: "host" | "net" | "port" | "portrange" | "proto" | undefined;
}

/** Octets as written, and how many bits they are: `10.55` is 16. */
function readOctets(reader: TokenReader, token: Token): { value: number; bits: number } {
  if (token.kind === "number") return { value: token.value, bits: 32 };
  let value = 0;
  const octets = token.text.split(".");
  for (const octet of octets) {
    const number = /^0\d/.test(octet) ? Number.parseInt(octet, 8) : Number(octet);
    if (!(number <= 255)) throw reader.error(`'${token.text}' is no IPv4 address`, token);
    value = (value << 8) | number;
  }
  return { value, bits: octets.length * 8 };
}

/** `a.b.c.d`, shorter, or a number; with a prefix length or mask where it is a network. */
export function parseHost(reader: TokenReader, qualifiers: Qualifiers): Expression {
  const token = reader.take();
  const { value, bits } = readOctets(reader, token);
  const isNet = qualifiers.type === "net";
  let address = bits === 32 ? value : value << (32 - bits);
  let mask = prefixMask(bits);
  if (reader.is("/", "mask")) {
    if (!isNet) throw reader.error("only a net has a prefix length or mask");
    if (token.kind === "number") [address, mask] = promote(value);
    mask = readMask(reader);
    if ((address & ~mask) !== 0) throw reader.error(`'${token.text}' has bits beyond its mask`, token);
  } else if (token.kind === "number" && isNet) {
    [address, mask] = promote(value);
  }
  return { kind: "host", address, mask, direction: qualifiers.direction, layer: hostLayer(reader, qualifiers, token) };
}

/** `net 10` is 10.0.0.0/8: the number's octets are the first ones. */
function promote(value: number): [address: number, mask: number] {
  let mask = -1;
  while (value !== 0 && (value & 0xff000000) === 0) {
    value <<= 8;
    mask <<= 8;
  }
  return [value, mask];
}

function readMask(reader: TokenReader): number {
  const isLength = reader.take().text === "/";
  const token = reader.take();
  if (!isLength) {
    if (token.kind !== "address") throw reader.unexpected("a mask like 255.255.255.0", token);
    const { value, bits } = readOctets(reader, token);
    return bits === 32 ? value : value << (32 - bits);
  }
  if (token.kind !== "number" || token.value < 0 || token.value > 32) {
    throw reader.error("the length of an IPv4 prefix is 0 to 32", token);
  }
  return prefixMask(token.value);
}

function hostLayer(reader: TokenReader, { protocol }: Qualifiers, token: Token): "any" | "ip" | "arp" | "rarp" {
  switch (protocol) {
    case undefined:
      return "any";
    case "ip":
    case "arp":
    case "rarp":
      return protocol;
    case "ether":
      throw reader.error("an address of IP where one of Ethernet is expected", token);
    default:
      throw reader.error(`'${protocol}' does not go with an address of IPv4`, token);
  }
}

export function parseHost6(reader: TokenReader, qualifiers: Qualifiers): Expression {
  const token = reader.take();
  if (qualifiers.protocol !== undefined && qualifiers.protocol !== "ip6") {
    throw reader.error(`'${qualifiers.protocol}' does not go with an address of IPv6`, token);
  }
  const address = readWords(token.text);
  let length = 128;
  if (reader.is("/")) {
    if (qualifiers.type !== "net") throw reader.error("only a net has a prefix length");
    reader.take();
    const digits = reader.take();
    if (digits.kind !== "number" || digits.value < 0 || digits.value > 128) {
      throw reader.error("the length of an IPv6 prefix is 0 to 128", digits);
    }
    length = digits.value;
  }
  const mask = address.map((_, index) => prefixMask(Math.min(32, Math.max(0, length - index * 32))));
  if (address.some((word, index) => (word & ~mask[index]) !== 0)) {
    throw reader.error(`'${token.text}' has bits beyond its prefix`, token);
  }
  return { kind: "host6", address, mask, direction: qualifiers.direction };
}

/** The four words of an IPv6 address that is known to be well-formed (RFC 4291 2.2). */
function readWords(text: string): number[] {
  const [head, tail] = text.split("::").map(readGroups);
  const groups = tail === undefined ? head : [...head, ...new Array(8 - head.length - tail.length).fill(0), ...tail];
  return [0, 2, 4, 6].map((index) => (groups[index] << 16) | groups[index + 1]);
}

function readGroups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    const [a, b, c, d] = group.split(".").map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

export function parseEtherHost(reader: TokenReader, qualifiers: Qualifiers): Expression {
  const token = reader.take();
  if (qualifiers.protocol !== "ether") throw reader.error("a hardware address needs 'ether' before it", token);
  const octets = token.text.split(/[:-]/).map((octet) => octet.padStart(2, "0"));
  return { kind: "ether-host", ...parseMac(octets.join(":")), direction: qualifiers.direction };
}
