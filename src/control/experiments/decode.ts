/** What an Ethernet frame with an IPv4 packet says, in the fields of `compose.ts`. */
import { PACKET_DEFAULTS, type PacketFields } from "../../packet/compose.ts";
import { ETHERNET_HEADER_BYTES, EtherType, etherType } from "../../packet/ethernet.ts";
import { ICMP_HEADER_BYTES } from "../../packet/icmp.ts";
import * as ipv4 from "../../packet/ipv4.ts";
import * as tcp from "../../packet/tcp.ts";
import { UDP_HEADER_BYTES } from "../../packet/udp.ts";

export type Decoded = PacketFields;

/** Undefined for what is no IPv4 packet, or one that is cut off. */
export function decodeFrame(bytes: Uint8Array): Decoded | undefined {
  const memory = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ip = ETHERNET_HEADER_BYTES;
  if (bytes.length < ip + ipv4.IPV4_HEADER_BYTES || etherType(memory, 0) !== EtherType.IPV4) return undefined;
  const l4 = ip + ipv4.headerBytes(memory, ip);
  const end = ip + ipv4.totalLength(memory, ip);
  if (l4 < ip + ipv4.IPV4_HEADER_BYTES || end < l4 || end > bytes.length) return undefined;
  const decoded: Decoded = {
    ...PACKET_DEFAULTS,
    protocol: ipv4.protocol(memory, ip),
    source: ipv4.sourceAddress(memory, ip),
    destination: ipv4.destinationAddress(memory, ip),
    ttl: ipv4.timeToLive(memory, ip),
    tos: ipv4.typeOfService(memory, ip),
    id: ipv4.identification(memory, ip),
    fragment: ipv4.fragmentField(memory, ip),
    payloadBytes: end - l4,
  };
  if ((decoded.fragment & ipv4.Fragment.OFFSET) === 0) decodeL4(memory, l4, end - l4, decoded);
  return decoded;
}

function decodeL4(memory: DataView, at: number, length: number, decoded: Decoded): void {
  const { protocol } = decoded;
  if (protocol === ipv4.Protocol.TCP && length >= tcp.TCP_HEADER_BYTES) {
    decoded.flags = tcp.flags(memory, at);
    decoded.sequence = tcp.sequence(memory, at);
    decoded.acknowledgement = tcp.acknowledgement(memory, at);
    decoded.window = tcp.window(memory, at);
    decoded.payloadBytes = length - tcp.dataOffset(memory, at);
  } else if (protocol === ipv4.Protocol.UDP && length >= UDP_HEADER_BYTES) {
    decoded.payloadBytes = length - UDP_HEADER_BYTES;
  } else if (protocol === ipv4.Protocol.ICMP && length >= ICMP_HEADER_BYTES) {
    decoded.icmpType = memory.getUint8(at);
    decoded.icmpCode = memory.getUint8(at + 1);
    decoded.icmpId = memory.getUint16(at + 4);
    decoded.icmpSequence = memory.getUint16(at + 6);
    decoded.payloadBytes = length - ICMP_HEADER_BYTES;
    return;
  } else {
    return;
  }
  decoded.sourcePort = memory.getUint16(at);
  decoded.destinationPort = memory.getUint16(at + 2);
}
