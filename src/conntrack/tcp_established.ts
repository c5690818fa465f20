/**
 * The fast path of TCP tracking: a plain ACK, with data or without, in an assured ESTABLISHED connection, that fits the
 * window and carries no options but a timestamp. That is nearly every segment there is. All that the general path would
 * do for it (`checkWindow`, then `settle`) happens here in one function, with each word read once; what is out of the
 * ordinary is left to the general path before anything is written. A test holds both against each other.
 */
import type { Frame } from "../packet/frame.ts";
import { FlowWord, TCP_WINDOW_WORDS } from "./flow_layout.ts";
import { LARGEST_RETRANSMISSIONS, LAST_DIRECTION_SHIFT, LAST_KIND_SHIFT, TcpDetail } from "./tcp_detail.ts";
import { SegmentKind, TcpState } from "./tcp_states.ts";
import { LEAST_ACK_WINDOW, NOP_NOP_TIMESTAMP, segmentDigest, TIMESTAMP_ONLY_BYTES } from "./tcp_window.ts";
import { MAX_END, MAX_WINDOW } from "./tcp_window_start.ts";
import { TimeoutIndex } from "./timeouts.ts";

// Constants of this module become part of the compiled code; those of another are read again at each use.
const { TCP_END, TCP_DETAIL, TCP_MAX_ACK, TCP_LAST_END, TCP_LAST_WINDOW } = FlowWord;
const { SCALE, UNACKNOWLEDGED, ACK_SEEN, RETRANSMISSIONS, ONE_RETRANSMISSION, LAST_DIRECTION, LAST_KIND } = TcpDetail;
const ANY_UNACKNOWLEDGED = UNACKNOWLEDGED * 3;
const WINDOW_WORDS = TCP_WINDOW_WORDS;
const END_TO_MAX_END = MAX_END;
const END_TO_MAX_WINDOW = MAX_WINDOW;
const ACK_WINDOW = LEAST_ACK_WINDOW;
const TIMESTAMP_BYTES = TIMESTAMP_ONLY_BYTES;
const TIMESTAMP_OPTION = NOP_NOP_TIMESTAMP;
const MANY_RETRANSMISSIONS = LARGEST_RETRANSMISSIONS * ONE_RETRANSMISSION;
const DIRECTION_SHIFT = LAST_DIRECTION_SHIFT;
const KIND_ACK = SegmentKind.ACK << LAST_KIND_SHIFT;
const { ESTABLISHED } = TcpState;
const { RETRANSMITTED, UNACKNOWLEDGED: UNACKNOWLEDGED_TIMEOUT } = TimeoutIndex;

/** The segment is not one for the fast path; nothing has been changed. */
export const NOT_PLAIN = -1;

/**
 * Takes the segment into the flow's TCP words. `header` is its word at byte 12 (data offset, flags, window), flags being
 * ACK and perhaps PSH. Returns the flow's new timeout in milliseconds, or NOT_PLAIN. Longer than a function should be:
 * its point is that nothing is passed on or read twice.
 */
export function trackEstablished(
  words: Int32Array,
  base: number,
  direction: number,
  header: number,
  memory: DataView,
  frame: Frame,
  milliseconds: Int32Array,
  maxRetransmissions: number,
): number {
  const l4 = frame.l4;
  const headerBytes = (header >>> 28) << 2;
  if (headerBytes !== 20) {
    if (headerBytes !== TIMESTAMP_BYTES || memory.getInt32(l4 + 20) !== TIMESTAMP_OPTION) return NOT_PLAIN;
  }
  const seq = memory.getInt32(l4 + 4);
  const ack = memory.getInt32(l4 + 8);
  const end = (seq + (frame.end - l4 - headerBytes)) | 0;
  const sender = base + TCP_END + direction * WINDOW_WORDS;
  const receiver = base + TCP_END + (1 - direction) * WINDOW_WORDS;
  const senderEnd = words[sender];
  const senderMaxEnd = words[sender + END_TO_MAX_END];
  const senderWindow = words[sender + END_TO_MAX_WINDOW];
  const receiverEnd = words[receiver];
  const receiverWindow = words[receiver + END_TO_MAX_WINDOW];
  const before = words[base + TCP_DETAIL];
  // Windows of 2^31 and more are left to the general path, and those of a side that has not been seen yet.
  const fits =
    senderWindow > 0 &&
    receiverWindow > 0 &&
    (before & (ACK_SEEN << direction)) !== 0 &&
    ((seq - senderMaxEnd - 1) | 0) < 0 &&
    ((ack - receiverEnd - 1) | 0) < 0 &&
    ((senderEnd - receiverWindow - 1 - end) | 0) < 0 &&
    ((receiverEnd - Math.max(senderWindow, ACK_WINDOW) - 1 - ack) | 0) < 0;
  if (!fits) return NOT_PLAIN;

  let detail = before;
  const scale = (detail >>> (direction << 2)) & SCALE;
  const window = (header & 0xffff) << (scale === 0 ? 0 : scale - 1);
  if (senderWindow < window) words[sender + END_TO_MAX_WINDOW] = window;
  if (((senderEnd - end) | 0) < 0) {
    words[sender] = end;
    detail |= UNACKNOWLEDGED << direction;
  }
  if (((words[base + TCP_MAX_ACK + direction] - ack) | 0) < 0) words[base + TCP_MAX_ACK + direction] = ack;
  const overshoot = (end - senderMaxEnd) | 0;
  if (overshoot > 0) words[receiver + END_TO_MAX_WINDOW] = receiverWindow + overshoot;
  const edge = (ack + window) | 0;
  if (((words[receiver + END_TO_MAX_END] - 1 - edge) | 0) < 0) {
    words[receiver + END_TO_MAX_END] = window === 0 ? edge + 1 : edge;
  }
  if (ack === receiverEnd) detail &= ~(UNACKNOWLEDGED << (1 - direction));

  const last = (header << 16) | segmentDigest(seq, ack);
  const isSameDirection = ((detail >>> DIRECTION_SHIFT) & 1) === direction;
  if (isSameDirection && words[base + TCP_LAST_END] === end && words[base + TCP_LAST_WINDOW] === last) {
    if ((detail & RETRANSMISSIONS) !== MANY_RETRANSMISSIONS) detail += ONE_RETRANSMISSION;
  } else {
    words[base + TCP_LAST_END] = end;
    words[base + TCP_LAST_WINDOW] = last;
    detail &= ~RETRANSMISSIONS;
  }
  detail = (detail & ~(LAST_DIRECTION | LAST_KIND)) | (direction << DIRECTION_SHIFT) | KIND_ACK;
  if (detail !== before) words[base + TCP_DETAIL] = detail;

  const timeout = milliseconds[ESTABLISHED];
  if ((detail & (RETRANSMISSIONS | ANY_UNACKNOWLEDGED)) === 0 && (header & 0xffff) !== 0) return timeout;
  const retransmitted = milliseconds[RETRANSMITTED];
  const isRetransmitted = (detail & RETRANSMISSIONS) >= maxRetransmissions * ONE_RETRANSMISSION;
  if (timeout > retransmitted && isRetransmitted) return retransmitted;
  const unacknowledged = milliseconds[UNACKNOWLEDGED_TIMEOUT];
  if (timeout > unacknowledged && (detail & ANY_UNACKNOWLEDGED) !== 0) return unacknowledged;
  return timeout > retransmitted && (header & 0xffff) === 0 ? retransmitted : timeout;
}
