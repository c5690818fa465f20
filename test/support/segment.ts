/**
 * Segmentation, the slow and obvious way: what a kernel or a device makes of a frame that asks for it, and of a partial
 * checksum. It shares nothing with the router: the oracle of merging. Identifications count on from the first segment's
 * (RFC 791; Linux's inet_gso_segment), PSH and FIN are the last segment's, CWR the first one's.
 */
import { checksum, concat, pseudo, u16, u32 } from "./frames.ts";

const ETHERNET = 14;
const IP = 20;

export interface Sent {
  bytes: Uint8Array;
  vnetHeader: Uint8Array;
}

/** Ordinary frames with whole checksums. */
export function segment({ bytes, vnetHeader }: Sent): Uint8Array[] {
  const view = Buffer.from(vnetHeader);
  const [flags, type, size] = [view[0], view[1] & 0x7f, view.readUInt16LE(4)];
  if ((flags & 1) === 0) return [bytes];
  const packet = bytes.subarray(ETHERNET);
  const isTcp = packet[9] === 6;
  const l4Header = isTcp ? (packet[IP + 12] >> 4) * 4 : 8;
  const headers = packet.subarray(0, IP + l4Header);
  const payload = packet.subarray(IP + l4Header, Buffer.from(packet).readUInt16BE(2));
  if (type !== 0) {
    const expected = [ETHERNET + IP + l4Header, ETHERNET + IP, isTcp ? 16 : 6];
    const told = [view.readUInt16LE(2), view.readUInt16LE(6), view.readUInt16LE(8)];
    if (String(expected) !== String(told)) throw new Error(`vnet header says ${told}, not ${expected}`);
  }
  const step = type === 0 ? payload.length : size;
  const frames: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += step) {
    const piece = payload.subarray(at, at + step);
    const place = { index: at / step, offset: at, isLast: at + step >= payload.length };
    frames.push(concat(bytes.subarray(0, ETHERNET), packetOf(headers, piece, place)));
  }
  return frames;
}

function packetOf(
  headers: Uint8Array,
  payload: Uint8Array,
  { index, offset, isLast }: { index: number; offset: number; isLast: boolean },
): Uint8Array {
  const packet = Buffer.from(concat(headers, payload));
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE((packet.readUInt16BE(4) + index) & 0xffff, 4);
  packet.set(u16(0), 10);
  packet.set(u16(checksum(packet.subarray(0, IP))), 10);
  const isTcp = packet[9] === 6;
  if (isTcp) {
    packet.set(u32((packet.readUInt32BE(IP + 4) + offset) >>> 0), IP + 4);
    if (!isLast) packet[IP + 13] &= ~0x09;
    if (index > 0) packet[IP + 13] &= ~0x80;
  } else {
    packet.writeUInt16BE(packet.length - IP, IP + 4);
  }
  const checksumAt = IP + (isTcp ? 16 : 6);
  packet.set(u16(0), checksumAt);
  const dotted = (at: number): string => [...packet.subarray(at, at + 4)].join(".");
  const l4 = packet.subarray(IP);
  const sum = checksum(concat(pseudo(dotted(12), dotted(16), packet[9], l4.length), l4));
  packet.set(u16(sum === 0 && !isTcp ? 0xffff : sum), checksumAt);
  return packet;
}
