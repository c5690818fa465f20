/**
 * Which of the packets that come for a shared address are Tapir's: those to the reserved and to published ports, answers
 * to its echo requests, and ICMP errors about what it has sent. All others are the host's own, and none of its affair.
 */

import * as icmp from "../../../packet/icmp.ts";
import { isError } from "../../../packet/icmp.ts";
import * as ipv4 from "../../../packet/ipv4.ts";
import type { RawPlan } from "../../configuration/devices.ts";

const PORTS_BYTES = 4;

/** Whether the IPv4 packet of `length` bytes at `at` is for the router; anything may be there. */
export function belongsToRouter(plan: RawPlan, memory: DataView, at: number, length: number): boolean {
  if (length < ipv4.IPV4_HEADER_BYTES || ipv4.versionAndHeaderLength(memory, at) >>> 4 !== 4) return false;
  if (ipv4.destinationAddress(memory, at) !== plan.address) return false;
  const l4 = at + ipv4.headerBytes(memory, at);
  const left = length - (l4 - at);
  switch (ipv4.protocol(memory, at)) {
    case ipv4.Protocol.TCP:
    case ipv4.Protocol.UDP:
      return left >= PORTS_BYTES && isOurs(plan, ipv4.protocol(memory, at), memory.getUint16(l4 + 2));
    case ipv4.Protocol.ICMP:
      return left >= icmp.ICMP_HEADER_BYTES && isOurIcmp(plan, memory, l4, left);
    default:
      return false;
  }
}

function isOurIcmp(plan: RawPlan, memory: DataView, l4: number, length: number): boolean {
  const type = icmp.type(memory, l4);
  if (type === icmp.IcmpType.ECHO_REPLY) return isOurId(plan, icmp.identifier(memory, l4));
  return isError(type) && quotesOurs(plan, memory, l4 + icmp.ICMP_HEADER_BYTES, length - icmp.ICMP_HEADER_BYTES);
}

/** An error is about a packet that has left with the shared address, from a port or with an identifier of ours. */
function quotesOurs(plan: RawPlan, memory: DataView, at: number, length: number): boolean {
  if (length < ipv4.IPV4_HEADER_BYTES || ipv4.sourceAddress(memory, at) !== plan.address) return false;
  const l4 = at + ipv4.headerBytes(memory, at);
  const left = length - (l4 - at);
  const protocol = ipv4.protocol(memory, at);
  if (protocol === ipv4.Protocol.ICMP) {
    return left >= icmp.ICMP_HEADER_BYTES && isOurId(plan, icmp.identifier(memory, l4));
  }
  return left >= PORTS_BYTES && isOurs(plan, protocol, memory.getUint16(l4));
}

/**
 * Whether a packet may leave: one with the shared address has to have a port or an identifier of ours, or it would be the
 * host's own business that it meddles with.
 */
export function mayLeave(plan: RawPlan, packet: DataView): boolean {
  if (packet.byteLength < ipv4.IPV4_HEADER_BYTES || ipv4.sourceAddress(packet, 0) !== plan.address) return true;
  // A later fragment has no ports: the first of its datagram has been judged.
  if ((ipv4.fragmentField(packet, 0) & ipv4.Fragment.OFFSET) !== 0) return true;
  const l4 = ipv4.headerBytes(packet, 0);
  const protocol = ipv4.protocol(packet, 0);
  if (packet.byteLength < l4 + icmp.ICMP_HEADER_BYTES) return false;
  if (protocol !== ipv4.Protocol.ICMP) return isOurs(plan, protocol, packet.getUint16(l4));
  return isError(icmp.type(packet, l4)) || isOurId(plan, icmp.identifier(packet, l4));
}

function isOurs({ ports, published }: RawPlan, protocol: number, port: number): boolean {
  if (protocol !== ipv4.Protocol.TCP && protocol !== ipv4.Protocol.UDP) return false;
  if (port >= ports.first && port <= ports.last) return true;
  for (const each of published) {
    if (each.protocol === protocol && port >= each.first && port <= each.last) return true;
  }
  return false;
}

function isOurId({ echoIds }: RawPlan, id: number): boolean {
  return id >= echoIds.first && id <= echoIds.last;
}
