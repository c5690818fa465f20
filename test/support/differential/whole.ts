/** What fragments that have arrived carry, for comparisons in which how they were cut does not count. */
import { concat } from "../frames.ts";
import { withBytes, withHeaderChecksum } from "./talk.ts";

export interface Piece<Host> {
  host: Host;
  bytes: Uint8Array;
}

const LINK_BYTES = 14;

const get16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

/** The fragment field of a frame without DF; 0 if it is no fragment. */
function fragmentField(frame: Uint8Array): number {
  return get16(frame, 12) === 0x0800 ? get16(frame, LINK_BYTES + 6) & 0x3fff : 0;
}

/**
 * The frames with the fragments of each whole datagram in one, which takes the place of the last of them, with DF clear
 * and identifier 0. Fragments of a datagram that is not whole stay.
 */
export function putTogether<Host>(pieces: readonly Piece<Host>[]): Piece<Host>[] {
  const groups = new Map<string, Piece<Host>[]>();
  const result: Piece<Host>[] = [];
  for (const piece of pieces) {
    result.push(piece);
    if (fragmentField(piece.bytes) === 0) continue;
    const ip = piece.bytes.subarray(LINK_BYTES);
    const key = `${piece.host} ${ip.subarray(12, 20).join(".")} ${ip[9]} ${get16(ip, 4)}`;
    const group = [...(groups.get(key) ?? []), piece];
    groups.set(key, group);
    const whole = join(group.map(({ bytes }) => bytes));
    if (whole === undefined) continue;
    groups.delete(key);
    for (const part of group) result.splice(result.indexOf(part), 1);
    result.push({ host: piece.host, bytes: whole });
  }
  return result;
}

/** One frame of those that a datagram has been cut into; undefined unless they fit without a gap. */
function join(frames: readonly Uint8Array[]): Uint8Array | undefined {
  const sorted = [...frames].sort((left, right) => (fragmentField(left) & 0x1fff) - (fragmentField(right) & 0x1fff));
  const data: Uint8Array[] = [];
  let length = 0;
  for (const frame of sorted) {
    if ((fragmentField(frame) & 0x1fff) * 8 !== length) return undefined;
    const ip = frame.subarray(LINK_BYTES);
    const part = ip.subarray((ip[0] & 0xf) * 4, get16(ip, 2));
    data.push(part);
    length += part.length;
  }
  if ((fragmentField(sorted[sorted.length - 1]) & 0x2000) !== 0) return undefined;
  const first = sorted[0];
  const header = first.slice(LINK_BYTES, LINK_BYTES + (first[LINK_BYTES] & 0xf) * 4);
  const total = header.length + length;
  const changed = withBytes(header, 2, total >>> 8, total & 0xff, 0, 0, 0, 0);
  return concat(first.subarray(0, LINK_BYTES), withHeaderChecksum(changed), ...data);
}
