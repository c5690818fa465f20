/**
 * Packets made from what they shall say: for experiments, and for questions to a router. Checksums are whole. Allocates;
 * for the cold path.
 */
import { pseudoHeaderSum, sumBytes } from "./checksum.ts";
import { ETHERNET_HEADER_BYTES, EtherType, setEtherType, setMacs } from "./ethernet.ts";
import { ICMP_CHECKSUM_OFFSET, ICMP_HEADER_BYTES } from "./icmp.ts";
import { Fragment, IPV4_HEADER_BYTES, Protocol, writeHeader } from "./ipv4.ts";
import type { MacAddress } from "./mac_address.ts";
import * as tcp from "./tcp.ts";
import { UDP_HEADER_BYTES, writeUdp } from "./udp.ts";

/** What a packet says. Addresses are host-order signed words. */
export interface PacketFields {
  protocol: number;
  source: number;
  destination: number;
  ttl: number;
  tos: number;
  id: number;
  /** Flags and fragment offset, as in the header. */
  fragment: number;
  /** TCP and UDP. */
  sourcePort: number;
  destinationPort: number;
  /** TCP: a set of `TcpFlag`. */
  flags: number;
  sequence: number;
  acknowledgement: number;
  window: number;
  /** ICMP: type, code, and the two halves of the word behind the checksum. */
  icmpType: number;
  icmpCode: number;
  icmpId: number;
  icmpSequence: number;
  /** Bytes behind the last header; they are zero. */
  payloadBytes: number;
}

export const PACKET_DEFAULTS: Readonly<PacketFields> = {
  protocol: Protocol.UDP,
  source: 0,
  destination: 0,
  ttl: 64,
  tos: 0,
  id: 0,
  fragment: Fragment.DONT,
  sourcePort: 0,
  destinationPort: 0,
  flags: 0,
  sequence: 0,
  acknowledgement: 0,
  window: 64_240,
  icmpType: 8,
  icmpCode: 0,
  icmpId: 1,
  icmpSequence: 1,
  payloadBytes: 0,
};

const HEADER_BYTES: Record<number, number> = {
  [Protocol.ICMP]: ICMP_HEADER_BYTES,
  [Protocol.TCP]: tcp.TCP_HEADER_BYTES,
  [Protocol.UDP]: UDP_HEADER_BYTES,
};

/** An Ethernet frame with an IPv4 packet. */
export function composeFrame(fields: PacketFields, sourceMac: MacAddress, destinationMac: MacAddress): Uint8Array {
  const packetBytes = IPV4_HEADER_BYTES + (HEADER_BYTES[fields.protocol] ?? 0) + fields.payloadBytes;
  const bytes = new Uint8Array(ETHERNET_HEADER_BYTES + packetBytes);
  const memory = new DataView(bytes.buffer);
  setMacs(memory, 0, destinationMac.high, destinationMac.low, sourceMac.high, sourceMac.low);
  setEtherType(memory, 0, EtherType.IPV4);
  const { tos, id, fragment, ttl, protocol, source, destination } = fields;
  writeHeader(memory, ETHERNET_HEADER_BYTES, tos, packetBytes, id, fragment, ttl, protocol, source, destination);
  writeL4(memory, ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES, packetBytes - IPV4_HEADER_BYTES, fields);
  return bytes;
}

function writeL4(memory: DataView, at: number, length: number, fields: PacketFields): void {
  const { protocol, source, destination } = fields;
  const ports = (fields.sourcePort << 16) | fields.destinationPort;
  const pseudo = pseudoHeaderSum(source, destination, protocol, length);
  switch (protocol) {
    case Protocol.TCP:
      tcp.write(memory, at, ports, fields.sequence, fields.acknowledgement, fields.flags, fields.window);
      memory.setUint16(at + tcp.TCP_CHECKSUM_OFFSET, ~sumBytes(memory, at, length, pseudo) & 0xffff);
      break;
    case Protocol.UDP:
      writeUdp(memory, at, ports, length, source, destination);
      break;
    case Protocol.ICMP:
      memory.setUint16(at, (fields.icmpType << 8) | fields.icmpCode);
      memory.setUint16(at + 4, fields.icmpId);
      memory.setUint16(at + 6, fields.icmpSequence);
      memory.setUint16(at + ICMP_CHECKSUM_OFFSET, ~sumBytes(memory, at, length, 0) & 0xffff);
      break;
  }
}
