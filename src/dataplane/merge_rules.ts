/**
 * Which frames may be merged: those that segmentation (RFC-conforming as the kernel's and devices' is) turns back into
 * what they were. That is so for packets of one flow and direction with the same headers but for what counts on by
 * itself; for all but the last of the same length; with a checksum that is right (`track` has seen to it); and
 *
 *  - without IPv4 options, with equal TOS (ECN included), TTL and DF; identifications that count on by one, or DF, with
 *    which they mean nothing (RFC 6864 4.1);
 *  - UDP: with a checksum (none must stay none), nothing behind the datagram;
 *  - TCP: sequence numbers that follow each other, the same acknowledgement, window and options; PSH and FIN on the last
 *    only; no SYN, RST, URG or CWR, which segmentation would repeat or move.
 */
import { halfDifference, pseudoHeaderSum, updateChecksum } from "../packet/checksum.ts";
import type { Frame } from "../packet/frame.ts";
import { Fragment, fragmentField, IPV4_HEADER_BYTES, identification, Protocol, totalLength } from "../packet/ipv4.ts";
import { acknowledgement, dataOffset, flags, sequence, TCP_CHECKSUM_OFFSET, TcpFlag, window } from "../packet/tcp.ts";
import { checksum, lengthBytes, UDP_CHECKSUM_OFFSET, UDP_HEADER_BYTES } from "../packet/udp.ts";
import { askSegmentation, GsoType, rawGsoType, VnetFlag } from "../packet/vnet_header.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { TCP, UDP } = Protocol;
const { DONT, MORE, OFFSET } = Fragment;
const { ACK, ECE, FIN, PSH } = TcpFlag;
const { ECN, TCPV4, UDP_L4 } = GsoType;
const { NEEDS_CSUM } = VnetFlag;

/** Flags of a segment to which others may be joined. */
const PLAIN_FLAGS = ACK | ECE;
/** Those that segmentation leaves to the last segment. */
const LAST_FLAGS = PSH | FIN;

const MOST_PACKET_BYTES = 65_535;
/** Datagrams of one UDP frame (Linux: UDP_MAX_SEGMENTS, 64 before 6.9). */
const MOST_DATAGRAMS = 64;

/** What is known of the frames that others are joined to, by their entries. */
export class MergeState {
  /** Payload bytes of all pieces together, and of each segment. */
  readonly payload: Int32Array;
  readonly segment: Int32Array;
  /** Identification that the next segment has if they count on. */
  readonly identification: Int32Array;
  /** 1 when nothing may follow. */
  readonly closed: Uint8Array;
  /** TCP flags of the last piece. */
  readonly flags: Uint8Array;

  constructor(limit: number) {
    this.payload = new Int32Array(limit);
    this.segment = new Int32Array(limit);
    this.identification = new Int32Array(limit);
    this.closed = new Uint8Array(limit);
    this.flags = new Uint8Array(limit);
  }
}

/** Whether anything may be joined to a frame; notes what the others are measured by. */
export function mayBegin(
  memory: DataView,
  frame: Frame,
  state: MergeState,
  head: number,
  withDatagrams: boolean,
): boolean {
  if (frame.protocol === UDP ? !withDatagrams : frame.protocol !== TCP) return false;
  if (!isPlain(memory, frame)) return false;
  const payload = frame.end - frame.l4 - l4HeaderBytes(memory, frame);
  const segment = frame.gsoSize === 0 ? payload : frame.gsoSize;
  if (payload <= 0 || payload % segment !== 0) return false;
  if (frame.protocol === TCP && flags(memory, frame.l4) !== (flags(memory, frame.l4) & PLAIN_FLAGS)) return false;
  state.payload[head] = payload;
  state.segment[head] = segment;
  state.identification[head] = (identification(memory, frame.ip) + payload / segment) & 0xffff;
  state.closed[head] = 0;
  state.flags[head] = frame.protocol === TCP ? flags(memory, frame.l4) : 0;
  return true;
}

/** Whether `frame` may be joined to what begins with `first`; if so, it is counted in. */
export function mayJoin(memory: DataView, first: Frame, frame: Frame, state: MergeState, head: number): boolean {
  if (state.closed[head] !== 0 || first.protocol !== frame.protocol || !isPlain(memory, frame)) return false;
  const header = l4HeaderBytes(memory, frame);
  const payload = frame.end - frame.l4 - header;
  const segment = state.segment[head];
  const total = state.payload[head] + payload;
  if (payload <= 0 || IPV4_HEADER_BYTES + header + total > MOST_PACKET_BYTES) return false;
  if (frame.gsoSize === 0 ? payload > segment : frame.gsoSize !== segment) return false;
  if (first.neighbour !== frame.neighbour || first.egressInterface !== frame.egressInterface) return false;
  if (!isAlike(memory, first.ip, frame.ip, state.identification[head])) return false;
  if (frame.protocol === UDP) {
    if (total > segment * MOST_DATAGRAMS) return false;
  } else {
    if (!continues(memory, first.l4, frame.l4, header, state.payload[head])) return false;
    state.flags[head] = flags(memory, frame.l4);
  }
  const segments = Math.ceil(payload / segment);
  state.payload[head] = total;
  state.identification[head] = (state.identification[head] + segments) & 0xffff;
  if (payload !== segments * segment || (state.flags[head] & LAST_FLAGS) !== 0) state.closed[head] = 1;
  return true;
}

/** Whole, without options, and (UDP) with a checksum and nothing behind the datagram. */
function isPlain(memory: DataView, frame: Frame): boolean {
  if (frame.own !== 0 || frame.fragmentTo !== 0 || frame.largestFragment !== 0) return false;
  if (frame.l4 - frame.ip !== IPV4_HEADER_BYTES || (fragmentField(memory, frame.ip) & (MORE | OFFSET)) !== 0)
    return false;
  if ((rawGsoType(memory, frame.at) & ECN) !== 0) return false;
  if (frame.protocol === TCP) return true;
  const hasChecksum = (frame.vnetFlags & NEEDS_CSUM) !== 0 || checksum(memory, frame.l4) !== 0;
  return hasChecksum && lengthBytes(memory, frame.l4) === frame.end - frame.l4;
}

/** TOS, TTL and DF are the same, and the identification is the next one, or means nothing. */
function isAlike(memory: DataView, first: number, other: number, expected: number): boolean {
  if (memory.getUint16(first) !== memory.getUint16(other)) return false;
  if (memory.getUint8(first + 8) !== memory.getUint8(other + 8)) return false;
  const fragment = fragmentField(memory, first);
  if (fragment !== fragmentField(memory, other)) return false;
  return (fragment & DONT) !== 0 || identification(memory, other) === expected;
}

/** Whether the TCP segment at `other` is the next one after `payload` bytes from that at `first`. */
function continues(memory: DataView, first: number, other: number, header: number, payload: number): boolean {
  if (sequence(memory, other) !== ((sequence(memory, first) + payload) | 0)) return false;
  if (acknowledgement(memory, other) !== acknowledgement(memory, first)) return false;
  if (window(memory, other) !== window(memory, first) || dataOffset(memory, first) !== header) return false;
  if (((flags(memory, other) ^ flags(memory, first)) & ~LAST_FLAGS) !== 0) return false;
  if (memory.getUint16(other + 18) !== memory.getUint16(first + 18)) return false;
  for (let at = 20; at < header; at += 4) {
    if (memory.getInt32(first + at) !== memory.getInt32(other + at)) return false;
  }
  return true;
}

/**
 * Makes the headers of `frame` those of the whole: lengths, flags, and a partial checksum with the segmentation asked
 * for. Returns the bytes of all its headers, behind which each piece has its payload.
 */
export function writeMerged(memory: DataView, frame: Frame, state: MergeState, head: number): number {
  const { ip, l4, at, protocol } = frame;
  const header = l4HeaderBytes(memory, frame);
  const l4Bytes = header + state.payload[head];
  const before = totalLength(memory, ip);
  const after = l4 - ip + l4Bytes;
  memory.setInt16(ip + 2, after);
  memory.setInt16(ip + 10, updateChecksum(memory.getUint16(ip + 10), halfDifference(before, after)));
  const checksumAt = protocol === UDP ? UDP_CHECKSUM_OFFSET : TCP_CHECKSUM_OFFSET;
  if (protocol === UDP) memory.setInt16(l4 + 4, l4Bytes);
  else memory.setUint8(l4 + 13, state.flags[head]);
  // Translated by now: the addresses are those of the packet, not of the frame's fields.
  const sum = pseudoHeaderSum(memory.getInt32(ip + 12), memory.getInt32(ip + 16), protocol, l4Bytes);
  memory.setInt16(l4 + checksumAt, sum);
  askSegmentation(
    memory,
    at,
    protocol === UDP ? UDP_L4 : TCPV4,
    l4 + header - at,
    state.segment[head],
    l4 - at,
    checksumAt,
  );
  return l4 + header - at;
}

function l4HeaderBytes(memory: DataView, frame: Frame): number {
  return frame.protocol === UDP ? UDP_HEADER_BYTES : dataOffset(memory, frame.l4);
}
