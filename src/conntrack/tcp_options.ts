/**
 * The TCP options that conntrack needs: window scale (RFC 7323 2.2), SACK permitted and SACK (RFC 2018). Whatever the
 * bytes are, reading stops at the end of the header or of the packet, and at an option whose length is impossible.
 */
import type { Frame } from "../packet/frame.ts";
import { TCP_HEADER_BYTES } from "../packet/tcp.ts";

const OptionKind = { END: 0, NOP: 1, WINDOW_SCALE: 3, SACK_PERMITTED: 4, SACK: 5 } as const;

const LARGEST_SCALE = 14;
const SACK_BLOCK_BYTES = 8;

/** Set in the result of `synOptions` when SACK is permitted. */
export const SACK_OPTION = 0x10;

function optionsEnd(memory: DataView, frame: Frame): number {
  const end = frame.l4 + ((memory.getUint8(frame.l4 + 12) >> 4) << 2);
  return Math.min(end, frame.end);
}

/**
 * Options of a SYN: window scale plus one in the low four bits (0 when it is not there), and SACK_OPTION. -1 when the
 * header has no options at all.
 */
export function synOptions(memory: DataView, frame: Frame): number {
  let at = frame.l4 + TCP_HEADER_BYTES;
  const end = optionsEnd(memory, frame);
  if (at >= end) return -1;
  let found = 0;
  while (at < end) {
    const kind = memory.getUint8(at);
    if (kind === OptionKind.END) break;
    if (kind === OptionKind.NOP) {
      at++;
      continue;
    }
    if (at + 2 > end) break;
    const length = memory.getUint8(at + 1);
    if (length < 2 || at + length > end) break;
    if (kind === OptionKind.SACK_PERMITTED && length === 2) found |= SACK_OPTION;
    if (kind === OptionKind.WINDOW_SCALE && length === 3) {
      const scale = memory.getUint8(at + 2);
      found = (found & SACK_OPTION) | (Math.min(scale, LARGEST_SCALE) + 1);
    }
    at += length;
  }
  return found;
}

/** The highest right edge of the SACK blocks, or `ack` when none is higher. */
export function highestSack(memory: DataView, frame: Frame, headerBytes: number, ack: number): number {
  let at = frame.l4 + TCP_HEADER_BYTES;
  const headerEnd = frame.l4 + headerBytes;
  const end = Math.min(headerEnd, frame.end);
  while (at < end) {
    const kind = memory.getUint8(at);
    if (kind === OptionKind.END) break;
    if (kind === OptionKind.NOP) {
      at++;
      continue;
    }
    if (at + 2 > end) break;
    const length = memory.getUint8(at + 1);
    if (length < 2 || at + length > end) break;
    if (kind === OptionKind.SACK && length > 2 && (length - 2) % SACK_BLOCK_BYTES === 0) {
      return highestEdge(memory, at + 2, at + length, ack);
    }
    at += length;
  }
  return ack;
}

function highestEdge(memory: DataView, from: number, end: number, ack: number): number {
  let highest = ack;
  for (let block = from; block < end; block += SACK_BLOCK_BYTES) {
    const edge = memory.getInt32(block + 4);
    if (((highest - edge) | 0) < 0) highest = edge;
  }
  return highest;
}
