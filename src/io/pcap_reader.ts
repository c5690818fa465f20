/**
 * Capture files, read: pcap as tcpdump writes it (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), in
 * either byte order, from a file or a pipe.
 *
 * A packet at a time, with bounded memory: no record may claim more than `MOST_PACKET_BYTES`. What is malformed throws a
 * `CaptureFileError`, once, and nothing else is ever thrown for what the bytes are; the packets before it have been
 * given out by then.
 *
 *     pcap      file header, 24 bytes:   magic, version 2.4, time zone, accuracy, snap length, link type
 *               each packet, 16 bytes:   seconds, micro- or nanoseconds, captured length, original length; then its bytes
 */
import type { ByteSource } from "./byte_source.ts";
import {
  type CapturedPacket,
  CaptureFileError,
  copyOf,
  MOST_PACKET_BYTES,
  normalTime,
  tooLong,
  viewOf,
} from "./captured_packet.ts";
import { PCAPNG_MAGIC, readPcapng } from "./pcapng_reader.ts";

/** The packets of a capture file, one after the other. Throws a `CaptureFileError` where the file goes wrong. */
export function* readPackets(source: ByteSource): Generator<CapturedPacket> {
  const start = source.peek(4);
  if (start.length < 4) throw new CaptureFileError("not a capture file: it has fewer than 4 bytes");
  const magic = new DataView(start.buffer, start.byteOffset, 4).getUint32(0);
  if (magic === PCAPNG_MAGIC) {
    yield* readPcapng(source);
    return;
  }
  const format = PCAP_FORMATS.get(magic);
  if (format === undefined) throw new CaptureFileError(notPcap(magic));
  yield* readPcap(source, format);
}

interface PcapFormat {
  isLittleEndian: boolean;
  nanosecondsOfUnit: number;
}

/** By their magic number read as big-endian. */
const PCAP_FORMATS = new Map<number, PcapFormat>([
  [0xa1b2c3d4, { isLittleEndian: false, nanosecondsOfUnit: 1000 }],
  [0xd4c3b2a1, { isLittleEndian: true, nanosecondsOfUnit: 1000 }],
  [0xa1b23c4d, { isLittleEndian: false, nanosecondsOfUnit: 1 }],
  [0x4d3cb2a1, { isLittleEndian: true, nanosecondsOfUnit: 1 }],
]);

function notPcap(magic: number): string {
  if (magic === 0xa1b2cd34 || magic === 0x34cdb2a1) {
    return "the modified pcap format (Kuznetzov) is not supported; editcap turns it into pcapng";
  }
  if (magic >>> 16 === 0x1f8b) return "not a capture file but a compressed one: gunzip it first";
  return `not a capture file: it begins with 0x${magic.toString(16).padStart(8, "0")}`;
}

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

function* readPcap(source: ByteSource, { isLittleEndian, nanosecondsOfUnit }: PcapFormat): Generator<CapturedPacket> {
  const header = viewOf(source, FILE_HEADER_BYTES, "the file header");
  const major = header.getUint16(4, isLittleEndian);
  if (major !== 2) throw new CaptureFileError(`pcap version ${major} is not supported, only 2`);
  // The upper bits tell of a frame check sequence.
  const linkType = header.getUint32(20, isLittleEndian) & 0xffff;
  for (;;) {
    const at = source.position;
    if (source.peek(1).length === 0) return;
    const record = viewOf(source, RECORD_HEADER_BYTES, "a packet's header");
    const seconds = record.getUint32(0, isLittleEndian);
    const units = record.getUint32(4, isLittleEndian);
    const captured = record.getUint32(8, isLittleEndian);
    const originalBytes = record.getUint32(12, isLittleEndian);
    if (captured > MOST_PACKET_BYTES) throw tooLong(at, captured);
    const bytes = copyOf(source, captured);
    yield {
      ...normalTime(seconds, units * nanosecondsOfUnit),
      linkType,
      interface: 0,
      comments: [],
      bytes,
      originalBytes,
    };
  }
}
