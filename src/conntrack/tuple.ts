/**
 * Tuples: what names one direction of a flow — source, destination, ports word and protocol. The ports word is
 * source port << 16 | destination port; for ICMP identifier << 16 | type << 8 | code; 0 for other protocols.
 */
import { inverseType } from "../packet/icmp.ts";
import { Protocol } from "../packet/ipv4.ts";

/** The ports word of the opposite direction; -1 for an ICMP type that is no query. */
export function invertPorts(protocol: number, ports: number): number {
  if (protocol !== Protocol.ICMP) return (ports << 16) | (ports >>> 16);
  const type = inverseType((ports >>> 8) & 0xff);
  return type < 0 ? -1 : (ports & 0xffff00ff) | (type << 8);
}

/** The part of the ports word that a source NAT may change: source port, or ICMP identifier. */
export function sourceIdent(ports: number): number {
  return ports >>> 16;
}

export function withSourceIdent(ports: number, ident: number): number {
  return (ident << 16) | (ports & 0xffff);
}
