/** Frames of attackers: like those of the library, with every field open to forgery. */
import { fold, pseudoHeaderSum, sumBytes } from "../../src/packet/checksum.ts";
import { writeHeader } from "../../src/packet/ipv4.ts";

const ETHERNET = 14;
const IPV4 = 20;
const ICMP = 1;
const TCP = 6;
const UDP = 17;
const SYN = 2;

/** Addresses are host-order words, MACs `aa:bb:cc:dd:ee:ff`. */
export interface Packet {
  from: string;
  to: string;
  source: number;
  destination: number;
  ttl?: number;
  id?: number;
  /** Flags and offset as in the header. */
  fragment?: number;
}

export function frameOf(packet: Packet, protocol: number, body: Uint8Array): Uint8Array {
  const { source, destination, ttl = 64, id = 0, fragment = 0 } = packet;
  const bytes = new Uint8Array(ETHERNET + IPV4 + body.length);
  const view = new DataView(bytes.buffer);
  writeEthernet(bytes, packet.to, packet.from, 0x0800);
  writeHeader(view, ETHERNET, 0, IPV4 + body.length, id, fragment, ttl, protocol, source, destination);
  bytes.set(body, ETHERNET + IPV4);
  return bytes;
}

export function datagram(packet: Packet, ports: readonly [number, number], length = 0): Uint8Array {
  const body = new DataView(new ArrayBuffer(8 + length));
  body.setUint16(0, ports[0]);
  body.setUint16(2, ports[1]);
  body.setUint16(4, 8 + length);
  body.setUint16(6, checksum(packet, UDP, body) || 0xffff);
  return frameOf(packet, UDP, new Uint8Array(body.buffer));
}

export function syn(packet: Packet, ports: readonly [number, number], sequence: number): Uint8Array {
  const body = new DataView(new ArrayBuffer(20));
  body.setUint16(0, ports[0]);
  body.setUint16(2, ports[1]);
  body.setUint32(4, sequence);
  body.setUint16(12, 0x5000 | SYN);
  body.setUint16(14, 65_535);
  body.setUint16(16, checksum(packet, TCP, body));
  return frameOf(packet, TCP, new Uint8Array(body.buffer));
}

/** An ICMP error that quotes the IPv4 packet of a frame. */
export function icmpError(packet: Packet, type: number, code: number, rest: number, quoted: Uint8Array): Uint8Array {
  const quote = quoted.subarray(ETHERNET, ETHERNET + IPV4 + 8);
  const body = new DataView(new ArrayBuffer(8 + quote.length));
  body.setUint8(0, type);
  body.setUint8(1, code);
  body.setUint32(4, rest);
  new Uint8Array(body.buffer).set(quote, 8);
  body.setUint16(2, ~fold(sumBytes(body, 0, body.byteLength, 0)) & 0xffff);
  return frameOf(packet, ICMP, new Uint8Array(body.buffer));
}

/** Both halves of a datagram of 1 600 bytes; the second begins `early` blocks of 8 bytes too soon. */
export function fragments(packet: Packet, id: number, early = 0): [Uint8Array, Uint8Array] {
  const whole = datagram(packet, [53, 53], 1592).subarray(ETHERNET + IPV4);
  return [
    frameOf({ ...packet, id, fragment: 0x2000 }, UDP, whole.slice(0, 800)),
    frameOf({ ...packet, id, fragment: 100 - early }, UDP, whole.slice(800 - early * 8)),
  ];
}

/** A frame of a protocol that nobody knows, to everybody. */
export function cry(from: string): Uint8Array {
  const bytes = new Uint8Array(60);
  writeEthernet(bytes, "ff:ff:ff:ff:ff:ff", from, 0x88b5);
  return bytes;
}

function checksum({ source, destination }: Packet, protocol: number, body: DataView): number {
  const pseudo = pseudoHeaderSum(source, destination, protocol, body.byteLength);
  return ~fold(sumBytes(body, 0, body.byteLength, pseudo)) & 0xffff;
}

function writeEthernet(bytes: Uint8Array, to: string, from: string, etherType: number): void {
  for (const [at, mac] of [to, from].entries()) {
    for (const [index, octet] of mac.split(":").entries()) bytes[at * 6 + index] = Number.parseInt(octet, 16);
  }
  bytes[12] = etherType >> 8;
  bytes[13] = etherType & 0xff;
}
