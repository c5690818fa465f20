/**
 * What an expression says: its tree, as `parser.ts` makes it and `generate.ts` turns it into a program. The language is
 * the part of pcap-filter(7) that speaks of Ethernet, ARP, IP and what IP carries; docs/capture.md lists it.
 */

/** Longest expression in characters. */
export const LONGEST_EXPRESSION = 4096;
/** Parentheses, negations and index brackets inside each other. */
export const DEEPEST_EXPRESSION = 64;

export type Direction = "src" | "dst" | "either" | "both";

export type Expression =
  | { kind: "and" | "or"; left: Expression; right: Expression }
  | { kind: "not"; operand: Expression }
  | Primitive;

export type Primitive =
  | { kind: "ether-type"; value: number }
  /** `version` 0: of either version of IP. */
  | { kind: "ip-protocol"; value: number; version: 0 | 4 | 6 }
  /** An address and the bits of it that count; `layer`: the headers that are looked at. */
  | { kind: "host"; address: number; mask: number; direction: Direction; layer: "any" | "ip" | "arp" | "rarp" }
  | { kind: "host6"; address: readonly number[]; mask: readonly number[]; direction: Direction }
  /** `protocol` 0: any that has ports. */
  | { kind: "port"; first: number; last: number; protocol: number; direction: Direction }
  | { kind: "ether-host"; high: number; low: number; direction: Direction }
  | { kind: "multicast"; layer: "ether" | "ip" | "ip6" }
  /** From here on the expression speaks of what is behind the tag. `id` -1: any. */
  | { kind: "vlan"; id: number }
  | { kind: "relation"; operator: Relation; left: Arithmetic; right: Arithmetic };

export type Relation = "=" | "!=" | ">" | ">=" | "<" | "<=";

/** 32-bit unsigned, wrapping. */
export type Arithmetic =
  | { kind: "number"; value: number }
  /** Length of the packet, however little of it was captured. */
  | { kind: "length" }
  /** `protocol[index:size]`; a packet that is too short for it is not selected at all. */
  | { kind: "load"; protocol: LoadProtocol; index: Arithmetic; size: 1 | 2 | 4 }
  | { kind: "negate"; operand: Arithmetic }
  | { kind: "binary"; operator: BinaryOperator; left: Arithmetic; right: Arithmetic };

export type BinaryOperator = "+" | "-" | "*" | "/" | "%" | "&" | "|" | "^" | "<<" | ">>";

export const LOAD_PROTOCOLS = [
  "ether",
  "link",
  "arp",
  "rarp",
  "ip",
  "ip6",
  "tcp",
  "udp",
  "icmp",
  "icmp6",
  "sctp",
  "igmp",
] as const;
export type LoadProtocol = (typeof LOAD_PROTOCOLS)[number];

/** Characters of the expression that are shown on each side of the place. */
const SHOWN_CHARACTERS = 24;

/** The place in the expression, behind a caret. */
function pointAt(text: string, position: number): string {
  const before = text.slice(Math.max(0, position - SHOWN_CHARACTERS), position);
  const behind = text.slice(position, position + SHOWN_CHARACTERS);
  const start = position > SHOWN_CHARACTERS ? "…" : "";
  const end = position + SHOWN_CHARACTERS < text.length ? "…" : "";
  return `${start}${before}^${behind}${end}`.replaceAll(/\s/g, " ");
}

/** An expression that cannot be understood: what is wrong, and from which character on (from 0). */
export class ExpressionError extends Error {
  readonly reason: string;
  readonly text: string;
  readonly position: number;

  constructor(reason: string, text: string, position: number) {
    super(`${reason} (character ${position + 1}: ${pointAt(text, position)})`);
    this.reason = reason;
    this.text = text;
    this.position = position;
  }
}
