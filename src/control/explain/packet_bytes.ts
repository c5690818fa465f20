/** The bytes of a packet that was asked for in words. What the words left open has been filled in. */
import * as arp from "../../packet/arp.ts";
import { pseudoHeaderSum, sumBytes } from "../../packet/checksum.ts";
import { ETHERNET_HEADER_BYTES, EtherType, setEtherType, setMacs } from "../../packet/ethernet.ts";
import { ICMP_HEADER_BYTES, isError } from "../../packet/icmp.ts";
import { Fragment, IPV4_HEADER_BYTES, Protocol, writeHeader } from "../../packet/ipv4.ts";
import { parseMac } from "../../packet/mac_address.ts";
import { TCP_CHECKSUM_OFFSET, TCP_HEADER_BYTES, TcpFlag, write as writeTcp } from "../../packet/tcp.ts";
import { UDP_CHECKSUM_OFFSET, UDP_HEADER_BYTES } from "../../packet/udp.ts";
import { type PacketWish, refusePacket } from "./packet_wish.ts";

const TAG_BYTES = 4;
/** An ephemeral port, where none was asked for. */
const ANY_PORT = 40_000;
/** What Linux quotes of a packet. */
const QUOTED_BYTES = 548;

/** A wish in which nothing that the frame needs is open. */
export interface Settled extends PacketWish {
  sourceMac: string;
  destinationMac: string;
}

export function frameOf(wish: Settled): Uint8Array {
  if (wish.kind === "arp") return withEthernet(wish, EtherType.ARP, arpPacket(wish));
  if (wish.kind === "ether") return withEthernet(wish, wish.etherType, new Uint8Array(Math.max(wish.payloadBytes, 46)));
  return withEthernet(wish, EtherType.IPV4, ipv4Packet(wish));
}

export function withEthernet(
  { sourceMac, destinationMac, vlan }: Pick<Settled, "sourceMac" | "destinationMac" | "vlan">,
  etherType: number,
  payload: Uint8Array,
): Uint8Array {
  const tag = vlan === undefined ? 0 : TAG_BYTES;
  const frame = new Uint8Array(ETHERNET_HEADER_BYTES + tag + payload.length);
  const memory = new DataView(frame.buffer);
  const [to, from] = [parseMac(destinationMac), parseMac(sourceMac)];
  setMacs(memory, 0, to.high, to.low, from.high, from.low);
  setEtherType(memory, 0, vlan === undefined ? etherType : EtherType.VLAN);
  if (vlan !== undefined) {
    memory.setUint16(ETHERNET_HEADER_BYTES, vlan);
    memory.setUint16(ETHERNET_HEADER_BYTES + 2, etherType);
  }
  frame.set(payload, ETHERNET_HEADER_BYTES + tag);
  return frame;
}

function arpPacket({ operation, sourceMac, destinationMac, source, destination }: Settled): Uint8Array {
  const bytes = new Uint8Array(arp.ARP_BYTES);
  const from = parseMac(sourceMac);
  const to = operation === arp.ArpOperation.REPLY ? parseMac(destinationMac) : { high: 0, low: 0 };
  const sender = source?.address ?? 0;
  const target = destination?.address ?? 0;
  arp.write(new DataView(bytes.buffer), 0, operation, from.high, from.low, sender, to.high, to.low, target);
  return bytes;
}

/** The bare IPv4 packet, checksums included. */
export function ipv4Packet(wish: PacketWish): Uint8Array {
  const source = wish.source?.address ?? 0;
  const destination = wish.destination?.address ?? 0;
  const l4 = wish.fragmentOffset > 0 ? new Uint8Array(wish.payloadBytes) : l4Of(wish, source, destination);
  const length = IPV4_HEADER_BYTES + l4.length;
  if (length > 65_535) throw refusePacket(`it would have ${length} bytes; IPv4 has at most 65535`);
  const packet = new Uint8Array(length);
  const isDont = wish.isDont ?? (wish.protocol === Protocol.TCP && !wish.isMore);
  const fragment = (isDont ? Fragment.DONT : 0) | (wish.isMore ? Fragment.MORE : 0) | (wish.fragmentOffset >> 3);
  const memory = new DataView(packet.buffer);
  writeHeader(memory, 0, wish.tos, length, wish.id, fragment, wish.ttl, wish.protocol, source, destination);
  packet.set(l4, IPV4_HEADER_BYTES);
  return packet;
}

function l4Of(wish: PacketWish, source: number, destination: number): Uint8Array {
  switch (wish.protocol) {
    case Protocol.TCP:
      return tcpSegment(wish, source, destination);
    case Protocol.UDP:
      return udpDatagram(wish, source, destination);
    case Protocol.ICMP:
      return icmpMessage(wish);
    default:
      return new Uint8Array(wish.payloadBytes);
  }
}

function portsOf({ source, destination }: PacketWish): number {
  if (destination?.port === undefined) throw refusePacket("to which port? As in '> 203.0.113.2:443'");
  return ((source?.port ?? ANY_PORT) << 16) | destination.port;
}

function tcpSegment(wish: PacketWish, source: number, destination: number): Uint8Array {
  const bytes = new Uint8Array(TCP_HEADER_BYTES + wish.payloadBytes);
  const memory = new DataView(bytes.buffer);
  const flags = wish.flags ?? TcpFlag.SYN;
  writeTcp(memory, 0, portsOf(wish), wish.sequence ?? 0, wish.acknowledgement ?? 0, flags, wish.window ?? 64_240);
  const pseudo = pseudoHeaderSum(source, destination, Protocol.TCP, bytes.length);
  memory.setInt16(TCP_CHECKSUM_OFFSET, ~sumBytes(memory, 0, bytes.length, pseudo));
  return bytes;
}

function udpDatagram(wish: PacketWish, source: number, destination: number): Uint8Array {
  const bytes = new Uint8Array(UDP_HEADER_BYTES + wish.payloadBytes);
  const memory = new DataView(bytes.buffer);
  memory.setInt32(0, portsOf(wish));
  memory.setInt16(4, bytes.length);
  const pseudo = pseudoHeaderSum(source, destination, Protocol.UDP, bytes.length);
  memory.setUint16(UDP_CHECKSUM_OFFSET, ~sumBytes(memory, 0, bytes.length, pseudo) & 0xffff || 0xffff);
  return bytes;
}

function icmpMessage(wish: PacketWish): Uint8Array {
  const type = wish.icmpType ?? 8;
  if (isError(type) && wish.about === undefined) {
    throw refusePacket("an ICMP error quotes a packet: 'about udp 203.0.113.1:4000 > 203.0.113.2:53'");
  }
  const quoted =
    wish.about === undefined ? new Uint8Array(wish.payloadBytes) : ipv4Packet(wish.about).slice(0, QUOTED_BYTES);
  const bytes = new Uint8Array(ICMP_HEADER_BYTES + quoted.length);
  const memory = new DataView(bytes.buffer);
  memory.setUint8(0, type);
  memory.setUint8(1, wish.icmpCode);
  if (!isError(type)) memory.setInt32(4, (wish.icmpId << 16) | wish.icmpSequence);
  bytes.set(quoted, ICMP_HEADER_BYTES);
  memory.setInt16(2, ~sumBytes(memory, 0, bytes.length, 0));
  return bytes;
}
