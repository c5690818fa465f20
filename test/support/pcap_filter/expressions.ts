/** Random expressions, in the language of pcap-filter(7). */
import { ADDRESSES, ADDRESSES6, type Below, MACS, PORTS, pick, VLANS } from "./frames.ts";

const DIRECTIONS = ["", "", "src ", "dst ", "src or dst ", "src and dst "];
const OPERATORS = ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"];
const RELATIONS = ["=", "==", "!=", "<", "<=", ">", ">="];
const PROTOCOLS = ["ether", "ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6"];

function arithmetic(below: Below, depth: number): string {
  if (depth === 0 || below(3) === 0) return pick([`${below(300)}`, "len", "0xff", "tcp-syn"], below);
  switch (below(4)) {
    case 0:
      return `(${arithmetic(below, depth - 1)} ${pick(OPERATORS, below)} ${arithmetic(below, depth - 1)})`;
    case 1:
      return `${arithmetic(below, depth - 1)} ${pick(OPERATORS, below)} ${1 + below(31)}`;
    case 2:
      return `${pick(PROTOCOLS, below)}[${arithmetic(below, depth - 1)} & ${below(64)}]`;
    default:
      return `${pick(PROTOCOLS, below)}[${below(40)}:${pick([1, 2, 4], below)}]`;
  }
}

function relation(below: Below): string {
  // A bare constant on the left would belong to the primitive before it.
  const left = `${pick(PROTOCOLS, below)}[${below(24)}:${pick([1, 2], below)}]`;
  const more = below(2) === 0 ? "" : ` ${pick(["&", "+", "-", "|"], below)} ${arithmetic(below, 2)}`;
  return `${left}${more} ${pick(RELATIONS, below)} ${arithmetic(below, 2)}`;
}

function primitive(below: Below): string {
  const direction = pick(DIRECTIONS, below);
  switch (below(14)) {
    case 0:
      return `${pick(["", "ip ", "arp "], below)}${direction}host ${pick(ADDRESSES, below)}`;
    case 1:
      return `${direction}net ${pick(["10.55.66.0/24", "10.55", "10", "203.0.113.0/25", "10.55.0.0 mask 255.255.0.0"], below)}`;
    case 2:
    case 3:
      return `${pick(["", "tcp ", "udp "], below)}${direction}port ${pick(PORTS, below)}`;
    case 4:
      return `${pick(["", "tcp ", "sctp "], below)}${direction}portrange ${pick(["0-80", "80-80", "1024-65535", "443-22"], below)}`;
    case 5:
      return pick(["tcp", "udp", "icmp", "arp", "ip", "ip6", "icmp6", "rarp", "sctp", "igmp"], below);
    case 6:
      return pick(
        ["ip proto 47", "ip6 proto 58", "proto 17", "ether proto 0x88cc", "ether proto 2048", "ip proto \\udp"],
        below,
      );
    case 7:
      return `ether ${direction}host ${pick(MACS, below)}`;
    case 8:
      return pick(
        ["ether broadcast", "ether multicast", "multicast", "ip multicast", "ip6 multicast", "broadcast"],
        below,
      );
    case 9:
      return below(2) === 0 ? "vlan" : `vlan ${pick(VLANS, below)}`;
    case 10:
      return `${direction}${pick(["host ", ""], below)}${pick(ADDRESSES6, below)}`.replace(/^(?=[0-9:f])/, "host ");
    case 11:
      return pick(["greater 60", "less 60", "len > 54", "len = 60"], below);
    default:
      return relation(below);
  }
}

/** Primitives with `and`, `or`, `not` and parentheses between them. */
export function randomExpression(below: Below, depth = 3): string {
  if (depth === 0 || below(4) === 0) return primitive(below);
  const inner = () => randomExpression(below, depth - 1);
  switch (below(4)) {
    case 0:
      return `${pick(["not ", "! "], below)}${primitive(below)}`;
    case 1:
      return `(${inner()})`;
    case 2:
      return `not (${inner()})`;
    default:
      return `${inner()} ${pick(["and", "or", "&&", "||"], below)} ${inner()}`;
  }
}
