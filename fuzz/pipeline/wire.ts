/**
 * Reading and mending of frames for the fuzzer, with code that shares nothing with the router's. Offsets are from the
 * start of the Ethernet frame; nothing fails on bytes of any kind.
 */
import { checksum } from "../../test/support/frames.ts";

export const ETHERNET = 14;

export interface Packet {
  /** Where the L4 header begins, and where the packet ends. */
  l4: number;
  end: number;
  protocol: number;
  fragment: number;
  source: string;
  destination: string;
}

export const get16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

export const dotted = (bytes: Uint8Array, at: number): string => bytes.subarray(at, at + 4).join(".");

/** Sum of 16-bit words, not folded: bytes beyond the end are zero. */
export function rawSum(bytes: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) sum += (bytes[at] << 8) | (at + 1 < to ? bytes[at + 1] : 0);
  return sum;
}

export function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/** The IPv4 packet of a frame, where the lengths fit. */
export function readPacket(frame: Uint8Array): Packet | undefined {
  if (frame.length < ETHERNET + 20 || get16(frame, 12) !== 0x0800 || frame[ETHERNET] >> 4 !== 4) return undefined;
  const l4 = ETHERNET + (frame[ETHERNET] & 15) * 4;
  const end = ETHERNET + get16(frame, ETHERNET + 2);
  if (l4 < ETHERNET + 20 || end < l4 || end > frame.length) return undefined;
  return {
    l4,
    end,
    protocol: frame[ETHERNET + 9],
    fragment: get16(frame, ETHERNET + 6) & 0x3fff,
    source: dotted(frame, ETHERNET + 12),
    destination: dotted(frame, ETHERNET + 16),
  };
}

export const isHeaderSumRight = (frame: Uint8Array, { l4 }: Packet): boolean =>
  checksum(frame.subarray(ETHERNET, l4)) === 0;

/** Where the checksum field of a protocol is in its header; -1: it has none that is known here. */
export const checksumField = (protocol: number): number => ({ 6: 16, 17: 6, 1: 2 })[protocol] ?? -1;

const pseudoSum = (frame: Uint8Array, protocol: number, length: number): number =>
  rawSum(frame, ETHERNET + 12, ETHERNET + 20) + protocol + length;

/** Bytes that the checksum covers: UDP says its own length. */
function coveredEnd(frame: Uint8Array, { protocol, l4, end }: Packet): number {
  return protocol === 17 ? Math.min(end, l4 + Math.max(8, get16(frame, l4 + 4))) : end;
}

/** Whether the L4 checksum of a whole packet is right; `isPartial`: as the pseudo-header's sum. */
export function isL4SumRight(frame: Uint8Array, packet: Packet, isPartial: boolean): boolean {
  const { protocol, l4, end } = packet;
  const field = checksumField(protocol);
  if (field < 0) return true;
  if (l4 + field + 2 > end) return false;
  if (isPartial && protocol !== 1)
    return fold(pseudoSum(frame, protocol, end - l4)) % 0xffff === get16(frame, l4 + field) % 0xffff;
  if (protocol === 17 && get16(frame, l4 + 6) === 0) return true;
  const to = coveredEnd(frame, packet);
  const head = protocol === 1 ? 0 : pseudoSum(frame, protocol, to - l4);
  return fold(head + rawSum(frame, l4, to)) === 0xffff;
}

/** Writes lengths, where asked, and checksums, so that what was changed is looked at and not thrown away at once. */
export function mend(frame: Uint8Array, withLengths: boolean): void {
  if (frame.length < ETHERNET + 20 || get16(frame, 12) !== 0x0800) return;
  if (withLengths) put16(frame, ETHERNET + 2, frame.length - ETHERNET);
  const packet = readPacket(frame);
  if (packet === undefined) return;
  const { l4, end, protocol, fragment } = packet;
  if (withLengths && protocol === 17 && fragment === 0 && l4 + 8 <= end) put16(frame, l4 + 4, end - l4);
  put16(frame, ETHERNET + 10, 0);
  put16(frame, ETHERNET + 10, checksum(frame.subarray(ETHERNET, l4)));
  const field = checksumField(protocol);
  if (field < 0 || fragment !== 0 || l4 + field + 2 > end) return;
  put16(frame, l4 + field, 0);
  const to = coveredEnd(frame, packet);
  const sum = 0xffff - fold((protocol === 1 ? 0 : pseudoSum(frame, protocol, to - l4)) + rawSum(frame, l4, to));
  put16(frame, l4 + field, sum === 0 && protocol === 17 ? 0xffff : sum);
}

/** As a device with offloads sends it: a partial checksum, and what to cut it into where `size` is not 0. */
export function offloaded(frame: Uint8Array, size: number): Uint8Array | undefined {
  const packet = readPacket(frame);
  if (packet === undefined || packet.fragment !== 0 || (packet.protocol !== 6 && packet.protocol !== 17))
    return undefined;
  const { l4, end, protocol } = packet;
  const field = checksumField(protocol);
  if (l4 + field + 2 > end) return undefined;
  put16(frame, l4 + field, fold(pseudoSum(frame, protocol, end - l4)));
  const header = new Uint8Array(10);
  const view = new DataView(header.buffer);
  header[0] = 1;
  view.setUint16(6, l4, true);
  view.setUint16(8, field, true);
  if (size > 0) {
    header[1] = protocol === 6 ? 1 : 5;
    view.setUint16(2, l4 + (protocol === 6 ? (frame[l4 + 12] >> 4) * 4 : 8), true);
    view.setUint16(4, size, true);
  }
  return header;
}
