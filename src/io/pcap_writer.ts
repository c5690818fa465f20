/** Capture files, written: pcap with microseconds, Ethernet, little-endian (draft-ietf-opsawg-pcap). */
import { LinkType, MOST_PACKET_BYTES } from "./captured_packet.ts";

/** The header of the file. */
export function pcapHeader(): Uint8Array {
  const header = new DataView(new ArrayBuffer(24));
  header.setUint32(0, 0xa1b2c3d4, true);
  header.setUint16(4, 2, true);
  header.setUint16(6, 4, true);
  header.setUint32(16, MOST_PACKET_BYTES, true);
  header.setUint32(20, LinkType.ETHERNET, true);
  return new Uint8Array(header.buffer);
}

/** A packet; `microseconds` may be a million and more. */
export function pcapRecord(seconds: number, microseconds: number, frame: Uint8Array): Uint8Array {
  const record = new Uint8Array(16 + frame.length);
  const header = new DataView(record.buffer);
  header.setUint32(0, seconds + Math.floor(microseconds / 1e6), true);
  header.setUint32(4, microseconds % 1e6, true);
  header.setUint32(8, frame.length, true);
  header.setUint32(12, frame.length, true);
  record.set(frame, 16);
  return record;
}
