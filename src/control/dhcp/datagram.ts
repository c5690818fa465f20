/** DHCP messages in Ethernet frames, with the vnet header of a packet socket before them. */

import { VNET_HEADER_BYTES } from "../../io/native.ts";
import { pseudoHeaderSum, sumBytes } from "../../packet/checksum.ts";
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from "../../packet/dhcp.ts";
import * as ethernet from "../../packet/ethernet.ts";
import * as ipv4 from "../../packet/ipv4.ts";
import type { MacAddress } from "../../packet/mac_address.ts";
import { UDP_CHECKSUM_OFFSET, UDP_HEADER_BYTES, lengthBytes as udpLengthBytes } from "../../packet/udp.ts";
import { VnetFlag, vnetFlags } from "../../packet/vnet_header.ts";
import type { Sending } from "./client.ts";

const IP_AT = VNET_HEADER_BYTES + ethernet.ETHERNET_HEADER_BYTES;
const TTL = 64;

/** Where the message of a received frame is, and who sent the frame. */
export interface FoundMessage {
  at: number;
  length: number;
  sender: MacAddress;
}

export function composeDatagram(sending: Sending, from: MacAddress, to: MacAddress): Uint8Array {
  const { message, source, destination } = sending;
  const udpAt = IP_AT + ipv4.IPV4_HEADER_BYTES;
  const udpBytes = UDP_HEADER_BYTES + message.length;
  const bytes = new Uint8Array(udpAt + udpBytes);
  const memory = new DataView(bytes.buffer);
  ethernet.setMacs(memory, VNET_HEADER_BYTES, to.high, to.low, from.high, from.low);
  ethernet.setEtherType(memory, VNET_HEADER_BYTES, ethernet.EtherType.IPV4);
  const { UDP } = ipv4.Protocol;
  ipv4.writeHeader(memory, IP_AT, 0, ipv4.IPV4_HEADER_BYTES + udpBytes, 0, 0, TTL, UDP, source, destination);
  memory.setUint16(udpAt, DHCP_CLIENT_PORT);
  memory.setUint16(udpAt + 2, DHCP_SERVER_PORT);
  memory.setUint16(udpAt + 4, udpBytes);
  bytes.set(message, udpAt + UDP_HEADER_BYTES);
  const sum = sumBytes(memory, udpAt, udpBytes, pseudoHeaderSum(source, destination, UDP, udpBytes));
  memory.setUint16(udpAt + UDP_CHECKSUM_OFFSET, ~sum & 0xffff || 0xffff);
  return bytes;
}

/** The message for the client at `own` in a frame; undefined where there is none, or not a whole one. */
export function findMessage(memory: DataView, own: MacAddress): FoundMessage | undefined {
  const length = memory.byteLength;
  if (length < IP_AT + ipv4.IPV4_HEADER_BYTES || !isFor(memory, own)) return undefined;
  if (ethernet.etherType(memory, VNET_HEADER_BYTES) !== ethernet.EtherType.IPV4) return undefined;
  const headerBytes = ipv4.headerBytes(memory, IP_AT);
  const end = IP_AT + ipv4.totalLength(memory, IP_AT);
  const udpAt = IP_AT + headerBytes;
  if (memory.getUint8(IP_AT) >> 4 !== 4 || headerBytes < ipv4.IPV4_HEADER_BYTES) return undefined;
  if (end > length || udpAt + UDP_HEADER_BYTES > end) return undefined;
  const isPart = (ipv4.fragmentField(memory, IP_AT) & (ipv4.Fragment.MORE | ipv4.Fragment.OFFSET)) !== 0;
  if (isPart || ipv4.protocol(memory, IP_AT) !== ipv4.Protocol.UDP) return undefined;
  if (memory.getUint16(udpAt) !== DHCP_SERVER_PORT || memory.getUint16(udpAt + 2) !== DHCP_CLIENT_PORT)
    return undefined;
  const udpBytes = udpLengthBytes(memory, udpAt);
  if (udpBytes < UDP_HEADER_BYTES || udpAt + udpBytes > end || !isIntact(memory, headerBytes, udpBytes))
    return undefined;
  return {
    at: udpAt + UDP_HEADER_BYTES,
    length: udpBytes - UDP_HEADER_BYTES,
    sender: {
      high: ethernet.sourceMacHigh(memory, VNET_HEADER_BYTES),
      low: ethernet.sourceMacLow(memory, VNET_HEADER_BYTES),
    },
  };
}

function isFor(memory: DataView, own: MacAddress): boolean {
  const high = ethernet.destinationMacHigh(memory, VNET_HEADER_BYTES);
  const low = ethernet.destinationMacLow(memory, VNET_HEADER_BYTES);
  return (high === own.high && low === own.low) || ethernet.isBroadcastMac(high, low);
}

/** Checksums; one that a local sender's kernel has left open is none. */
function isIntact(memory: DataView, headerBytes: number, udpBytes: number): boolean {
  if (!ipv4.isHeaderChecksumValid(memory, IP_AT, headerBytes)) return false;
  const udpAt = IP_AT + headerBytes;
  const isOpen = (vnetFlags(memory, VNET_HEADER_BYTES) & VnetFlag.NEEDS_CSUM) !== 0;
  if (isOpen || memory.getUint16(udpAt + UDP_CHECKSUM_OFFSET) === 0) return true;
  const source = ipv4.sourceAddress(memory, IP_AT);
  const destination = ipv4.destinationAddress(memory, IP_AT);
  return (
    sumBytes(memory, udpAt, udpBytes, pseudoHeaderSum(source, destination, ipv4.Protocol.UDP, udpBytes)) === 0xffff
  );
}
