/** Frames to send into a router in memory: as few as experiments need to begin with. */
import { readAddress } from "../control/configuration/addresses.ts";
import { fold, pseudoHeaderSum, sumBytes } from "../packet/checksum.ts";
import { Protocol } from "../packet/ipv4.ts";

export interface Ends {
  sourceMac: string;
  destinationMac: string;
  /** Dotted quads. */
  source: string;
  destination: string;
}

export interface UdpFields extends Ends {
  sourcePort: number;
  destinationPort: number;
  payload?: Uint8Array;
  /** 64 unless said. */
  ttl?: number;
}

const ETHERNET = 14;
const IPV4 = 20;
const UDP = 8;
const BROADCAST = "ff:ff:ff:ff:ff:ff";

/** Ethernet, IPv4 without options, UDP, with both checksums. */
export function udpFrame(fields: UdpFields): Uint8Array {
  const { payload = new Uint8Array(0), ttl = 64, sourcePort, destinationPort } = fields;
  const [source, destination] = [parseAddress(fields.source), parseAddress(fields.destination)];
  const bytes = new Uint8Array(ETHERNET + IPV4 + UDP + payload.length);
  const view = new DataView(bytes.buffer);
  writeEthernet(view, fields.destinationMac, fields.sourceMac, 0x0800);
  view.setUint16(ETHERNET, 0x4500);
  view.setUint16(ETHERNET + 2, IPV4 + UDP + payload.length);
  view.setUint8(ETHERNET + 8, ttl);
  view.setUint8(ETHERNET + 9, Protocol.UDP);
  view.setInt32(ETHERNET + 12, source);
  view.setInt32(ETHERNET + 16, destination);
  view.setUint16(ETHERNET + 10, ~fold(sumBytes(view, ETHERNET, IPV4, 0)) & 0xffff);
  const l4 = ETHERNET + IPV4;
  const length = UDP + payload.length;
  view.setUint16(l4, sourcePort);
  view.setUint16(l4 + 2, destinationPort);
  view.setUint16(l4 + 4, length);
  bytes.set(payload, l4 + UDP);
  const sum = ~fold(sumBytes(view, l4, length, pseudoHeaderSum(source, destination, Protocol.UDP, length))) & 0xffff;
  // A computed zero leaves as 0xffff (RFC 768).
  view.setUint16(l4 + 6, sum === 0 ? 0xffff : sum);
  return bytes;
}

/** An ARP request (RFC 826): with it a host makes itself known, and asks for the hardware address of `target`. */
export function arpRequest({ mac, address, target }: { mac: string; address: string; target: string }): Uint8Array {
  const bytes = new Uint8Array(ETHERNET + 28);
  const view = new DataView(bytes.buffer);
  writeEthernet(view, BROADCAST, mac, 0x0806);
  view.setInt32(ETHERNET, 0x00010800);
  view.setInt32(ETHERNET + 4, 0x06040001);
  writeMac(view, ETHERNET + 8, mac);
  view.setInt32(ETHERNET + 14, parseAddress(address));
  view.setInt32(ETHERNET + 24, parseAddress(target));
  return bytes;
}

function parseAddress(text: string): number {
  const word = readAddress(text, [], (_, message) => {
    throw new TypeError(message);
  });
  return word as number;
}

function writeEthernet(view: DataView, destination: string, source: string, etherType: number): void {
  writeMac(view, 0, destination);
  writeMac(view, 6, source);
  view.setUint16(12, etherType);
}

function writeMac(view: DataView, at: number, mac: string): void {
  for (const [index, octet] of mac.split(":").entries()) view.setUint8(at + index, Number.parseInt(octet, 16));
}
