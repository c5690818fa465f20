/**
 * Guard: what a container may say it is. A port with a guard takes frames from one hardware address and, where the
 * container has an address, from that IPv4 address alone, in IPv4 as in ARP. What a host without an address says is
 * let through: ARP probes (RFC 5227 2.1.1) and the first messages of DHCP (RFC 2131 4.1). Of other protocols, IPv6
 * among them, the hardware address alone is checked; tagged frames, whose content a receiver may take for untagged, are
 * refused.
 *
 * With or without guard, no port of a network may claim the gateway's address in ARP.
 */
import * as arp from "../packet/arp.ts";
import { ETHERNET_HEADER_BYTES, EtherType, isTagged } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import * as ipv4 from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import type { Interface, PortGuard } from "./interfaces.ts";
import type { Router } from "./router.ts";

const DHCP_PORTS = (68 << 16) | 67;
const TAG_BYTES = 4;

/** CONTINUE, or why the frame cannot be from the container behind its port. */
export function guard(router: Router, frame: Frame): number {
  const rule = router.ports.guards[frame.ingressPort];
  if (rule === undefined) return Stop.CONTINUE;
  if (frame.sourceMacHigh !== rule.macHigh || frame.sourceMacLow !== rule.macLow) return Stop.MAC_SPOOFED;
  switch (frame.etherType) {
    case EtherType.IPV4:
      return rule.hasAddress ? guardIpv4(router.memory, frame, rule.address) : Stop.CONTINUE;
    case EtherType.ARP:
      return guardArp(router.memory, frame, rule);
    default:
      return isTagged(frame.etherType) ? Stop.VLAN_UNJUDGED : Stop.CONTINUE;
  }
}

function guardIpv4(memory: DataView, frame: Frame, address: number): number {
  const ip = frame.at + ETHERNET_HEADER_BYTES;
  if (frame.length < ETHERNET_HEADER_BYTES + ipv4.IPV4_HEADER_BYTES) return Stop.IPV4_MALFORMED;
  const source = ipv4.sourceAddress(memory, ip);
  if (source === address || (source === 0 && isDhcpRequest(memory, frame, ip))) return Stop.CONTINUE;
  return Stop.ADDRESS_SPOOFED;
}

function isDhcpRequest(memory: DataView, frame: Frame, ip: number): boolean {
  if (ipv4.destinationAddress(memory, ip) !== ipv4.LIMITED_BROADCAST || ipv4.protocol(memory, ip) !== ipv4.Protocol.UDP)
    return false;
  if ((ipv4.fragmentField(memory, ip) & ipv4.Fragment.OFFSET) !== 0) return false;
  const l4 = ip + ipv4.headerBytes(memory, ip);
  return l4 + 4 <= frame.at + frame.length && memory.getInt32(l4) === DHCP_PORTS;
}

function guardArp(memory: DataView, frame: Frame, rule: PortGuard): number {
  const at = frame.at + ETHERNET_HEADER_BYTES;
  if (!arp.isWellFormed(memory, at, frame.length - ETHERNET_HEADER_BYTES)) return Stop.ARP_MALFORMED;
  const isOwnMac = arp.senderMacHigh(memory, at) === rule.macHigh && arp.senderMacLow(memory, at) === rule.macLow;
  const sender = arp.senderAddress(memory, at);
  const isProbe = sender === 0 && arp.operation(memory, at) === arp.ArpOperation.REQUEST;
  const isOwnAddress = !rule.hasAddress || sender === rule.address || isProbe;
  return isOwnMac && isOwnAddress ? Stop.CONTINUE : Stop.ARP_SPOOFED;
}

/** Whether a frame says in ARP, behind whatever tags, that the gateway's address is somewhere else. */
export function claimsGateway(router: Router, frame: Frame, ingress: Interface): boolean {
  if (frame.etherType !== EtherType.ARP && !isTagged(frame.etherType)) return false;
  const { memory } = router;
  const end = frame.at + frame.length;
  let at = frame.at + ETHERNET_HEADER_BYTES;
  while (at + TAG_BYTES <= end && isTagged(memory.getUint16(at - 2))) at += TAG_BYTES;
  if (memory.getUint16(at - 2) !== EtherType.ARP || !arp.isWellFormed(memory, at, end - at)) return false;
  return arp.senderAddress(memory, at) === ingress.address;
}
