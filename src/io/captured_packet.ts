/** A packet of a capture file, and what its readers have in common. */
import type { ByteSource } from "./byte_source.ts";

/** Link types that somebody here asks for (https://www.tcpdump.org/linktypes.html). */
export const LinkType = { ETHERNET: 1, RAW: 101, LINUX_SLL: 113, IPV4: 228, LINUX_SLL2: 276 } as const;

/** Bytes of one packet; as libpcap has it (MAXIMUM_SNAPLEN). */
export const MOST_PACKET_BYTES = 262_144;

export interface CapturedPacket {
  /** Since 1970. A file without times has 0. */
  seconds: number;
  nanoseconds: number;
  /** What it begins with: a `LinkType` or another of libpcap's numbers. */
  linkType: number;
  /** pcapng: index of its interface in its section, and that one's name. */
  interface: number;
  interfaceName?: string;
  /** pcapng: comments of the packet, in their order. */
  comments: string[];
  /** A copy; shorter than `originalBytes` where the capture has cut it. */
  bytes: Uint8Array;
  originalBytes: number;
}

/** What is wrong with a capture file, in one line, with the byte of the file where it was seen. */
export class CaptureFileError extends Error {}

/** Fractions of a second that are more than one count on. */
export function normalTime(seconds: number, nanoseconds: number): { seconds: number; nanoseconds: number } {
  const whole = Math.floor(nanoseconds / 1e9);
  return { seconds: seconds + whole, nanoseconds: nanoseconds - whole * 1e9 };
}

export function tooLong(at: number, bytes: number): CaptureFileError {
  return new CaptureFileError(`byte ${at}: a packet of ${bytes} bytes; at most ${MOST_PACKET_BYTES} are supported`);
}

/** The next bytes, to be read; throws where the file ends before. */
export function viewOf(source: ByteSource, length: number, what: string): DataView {
  const at = source.position;
  const taken = source.take(length);
  if (taken.length < length) throw new CaptureFileError(`byte ${at}: the file ends inside ${what}`);
  return new DataView(taken.buffer, taken.byteOffset, length);
}

/** The next bytes of a packet, as a copy. */
export function copyOf(source: ByteSource, length: number): Uint8Array {
  const at = source.position;
  const taken = source.take(length);
  if (taken.length < length) throw new CaptureFileError(`byte ${at}: the file ends inside a packet`);
  return taken.slice();
}
