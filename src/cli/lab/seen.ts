/** A captured packet: its line, and what the steps ask about it. */
import * as arp from "../../packet/arp.ts";
import * as ethernet from "../../packet/ethernet.ts";
import { ETHERNET_HEADER_BYTES, EtherType } from "../../packet/ethernet.ts";
import * as icmp from "../../packet/icmp.ts";
import * as ipv4 from "../../packet/ipv4.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import { formatMac } from "../../packet/mac_address.ts";
import { printFrame } from "../../packet/print.ts";

export interface SeenPacket {
  /** As tcpdump prints it. */
  line: string;
  sourceMac: string;
  destinationMac: string;
  arp?: { operation: number; sender: string; target: string };
  ip?: { source: string; destination: string; ttl: number; id: number; protocol: number };
  /** Identifier and sequence number of an echo request or reply. */
  echo?: { type: number; id: number; sequence: number };
}

/** Reads one Ethernet frame; undefined for what is neither ARP nor IPv4. */
export function seePacket(frame: Uint8Array): SeenPacket | undefined {
  const memory = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < ETHERNET_HEADER_BYTES) return undefined;
  const at = ETHERNET_HEADER_BYTES;
  const base = {
    line: printFrame(memory, 0, frame.length),
    sourceMac: formatMac(ethernet.sourceMacHigh(memory, 0), ethernet.sourceMacLow(memory, 0)),
    destinationMac: formatMac(ethernet.destinationMacHigh(memory, 0), ethernet.destinationMacLow(memory, 0)),
  };
  switch (ethernet.etherType(memory, 0)) {
    case EtherType.ARP:
      return arp.isWellFormed(memory, at, frame.length - at) ? { ...base, arp: seeArp(memory, at) } : undefined;
    case EtherType.IPV4:
      if (frame.length - at < ipv4.IPV4_HEADER_BYTES) return undefined;
      return { ...base, ip: seeIpv4(memory, at), ...seeEcho(memory, at, frame.length) };
    default:
      return undefined;
  }
}

function seeArp(memory: DataView, at: number): NonNullable<SeenPacket["arp"]> {
  return {
    operation: arp.operation(memory, at),
    sender: formatAddress(arp.senderAddress(memory, at)),
    target: formatAddress(arp.targetAddress(memory, at)),
  };
}

function seeIpv4(memory: DataView, at: number): NonNullable<SeenPacket["ip"]> {
  return {
    source: formatAddress(ipv4.sourceAddress(memory, at)),
    destination: formatAddress(ipv4.destinationAddress(memory, at)),
    ttl: ipv4.timeToLive(memory, at),
    id: ipv4.identification(memory, at),
    protocol: ipv4.protocol(memory, at),
  };
}

function seeEcho(memory: DataView, at: number, end: number): Pick<SeenPacket, "echo"> {
  const l4 = at + ipv4.headerBytes(memory, at);
  if (ipv4.protocol(memory, at) !== ipv4.Protocol.ICMP || end - l4 < icmp.ICMP_HEADER_BYTES) return {};
  const type = icmp.type(memory, l4);
  if (type !== icmp.IcmpType.ECHO_REQUEST && type !== icmp.IcmpType.ECHO_REPLY) return {};
  return { echo: { type, id: icmp.identifier(memory, l4), sequence: memory.getUint16(l4 + 6) } };
}

export interface Wanted {
  source?: string;
  destination?: string;
}

function isBetween(packet: SeenPacket, wanted: Wanted): boolean {
  const { ip } = packet;
  if (ip === undefined) return false;
  return (
    (wanted.source === undefined || ip.source === wanted.source) &&
    (wanted.destination === undefined || ip.destination === wanted.destination)
  );
}

/** An echo with its IPv4 header; both are there. */
export type SeenEcho = SeenPacket & Required<Pick<SeenPacket, "ip" | "echo">>;

/** Echo requests in order, between the addresses that are named. */
export function requests(packets: readonly SeenPacket[], wanted: Wanted = {}): SeenEcho[] {
  return echoes(packets, icmp.IcmpType.ECHO_REQUEST, wanted);
}

export function replies(packets: readonly SeenPacket[], wanted: Wanted = {}): SeenEcho[] {
  return echoes(packets, icmp.IcmpType.ECHO_REPLY, wanted);
}

function echoes(packets: readonly SeenPacket[], type: number, wanted: Wanted): SeenEcho[] {
  return packets.filter((packet): packet is SeenEcho => packet.echo?.type === type && isBetween(packet, wanted));
}

/** The IPv4 packets among them: ARP goes on by itself, whatever a step does. */
export function packetsIn(packets: readonly SeenPacket[]): SeenPacket[] {
  return packets.filter(({ ip }) => ip !== undefined);
}

/** Whether an ARP request for the address was seen. */
export function askedFor(packets: readonly SeenPacket[], target: string): boolean {
  return packets.some((packet) => packet.arp?.operation === arp.ArpOperation.REQUEST && packet.arp.target === target);
}

/** IPv4 packets that carry an address with this prefix at either end. */
export function withPrefix(packets: readonly SeenPacket[], prefix: string): SeenPacket[] {
  return packets.filter(({ ip }) => ip?.source.startsWith(prefix) || ip?.destination.startsWith(prefix));
}
