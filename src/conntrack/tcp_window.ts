/**
 * TCP window tracking, after "Real Stateful TCP Packet Filtering in IP Filter" (van Rooij) with Linux's bounds.
 *
 * Theory of operation. For each direction three words are kept: END, the highest sequence number sent; MAX_END, the
 * highest that the other side has allowed; MAX_WINDOW, the largest window that this side has offered. A segment that
 * covers seq to end and acknowledges up to sack (the highest SACK edge, or the acknowledgement) fits when
 *
 *     I    seq  <= sender's MAX_END                              not beyond what the receiver allows
 *     II   end  >= sender's END - receiver's MAX_WINDOW          not older than the receiver's window
 *     III  sack <= receiver's END                                acknowledges only what was sent
 *     IV   sack >= receiver's END - max(MAX_WINDOW, 66000)       and nothing much older
 *
 * Failing I or III makes a segment INVALID. One that fails II or IV is late, and one that overshoots I by less than a
 * window is sent by a host that does not count well: they pass (IGNORE) but change no state. A flow that was picked up
 * in the middle does not know the scales, so it is judged liberally: what does not fit is accepted and not learnt from.
 *
 * Sequence numbers are signed words; differences are taken modulo 2^32. Windows are compared as unsigned words.
 */
import type { Frame } from "../packet/frame.ts";
import { TcpFlag } from "../packet/tcp.ts";
import { FlowWord, TCP_WINDOW_WORDS } from "./flow_layout.ts";
import { LARGEST_RETRANSMISSIONS, lastDirection, retransmissions, TcpDetail, windowScale } from "./tcp_detail.ts";
import { highestSack } from "./tcp_options.ts";
import { SegmentKind, TcpState } from "./tcp_states.ts";
import { beginSender, MAX_END, MAX_WINDOW } from "./tcp_window_start.ts";

export const Window = { ACCEPT: 0, IGNORE: 1, INVALID: 2 } as const;

/** Acknowledgements may be as late as this, in bytes, whatever the window is. */
export const LEAST_ACK_WINDOW = 66_000;

/** Bytes and first option word of a header whose only option is a timestamp, as hosts send it (RFC 7323 appendix A). */
export const TIMESTAMP_ONLY_BYTES = 32;
export const NOP_NOP_TIMESTAMP = 0x0101080a;

/**
 * Judges a segment by the windows and learns from it. `state` is that before the segment. Returns a `Window` code.
 * `isLiberal` accepts whatever it is (`tcp_be_liberal`).
 */
export function checkWindow(
  words: Int32Array,
  base: number,
  direction: number,
  kind: number,
  state: number,
  isLiberal: boolean,
  memory: DataView,
  frame: Frame,
): number {
  const sender = base + FlowWord.TCP_END + direction * TCP_WINDOW_WORDS;
  const receiver = base + FlowWord.TCP_END + (1 - direction) * TCP_WINDOW_WORDS;
  const l4 = frame.l4;
  const header = memory.getInt32(l4 + 12);
  const flags = (header >>> 16) & 0xff;
  const headerBytes = (header >>> 28) << 2;
  let seq = memory.getInt32(l4 + 4);
  let end = (seq + (frame.end - l4 - headerBytes) + ((flags >>> 1) & 1) + (flags & 1)) | 0;
  let ack = memory.getInt32(l4 + 8);
  let sack = ack;
  if (headerBytes > 20 && (words[base + FlowWord.TCP_DETAIL] & (TcpDetail.SACK_PERMITTED << (1 - direction))) !== 0) {
    // Nearly every segment with options carries a timestamp only.
    if (headerBytes !== TIMESTAMP_ONLY_BYTES || memory.getInt32(l4 + 20) !== NOP_NOP_TIMESTAMP) {
      sack = highestSack(memory, frame, headerBytes, ack);
    }
  }
  if (words[sender + MAX_WINDOW] === 0 || (flags & TcpFlag.SYN) !== 0) {
    const isDone = beginSender(words, base, direction, state, memory, frame, end, sack);
    if (isDone) return Window.ACCEPT;
  }
  if ((flags & (TcpFlag.ACK | TcpFlag.RST)) !== TcpFlag.ACK) {
    // A RST may carry ACK with the number left zero.
    if ((flags & TcpFlag.ACK) === 0 || ack === 0) ack = sack = words[receiver];
    // A RST without ACK that answers a SYN has the number zero.
    if ((flags & TcpFlag.RST) !== 0 && seq === 0 && state === TcpState.SYN_SENT) seq = end = words[sender];
  }

  const receiverEnd = words[receiver];
  const receiverWindow = words[receiver + MAX_WINDOW];
  const fits =
    ((seq - words[sender + MAX_END] - 1) | 0) < 0 &&
    ((sack - receiverEnd - 1) | 0) < 0 &&
    (receiverWindow === 0 || ((words[sender] - receiverWindow - 1 - end) | 0) < 0) &&
    ((receiverEnd - ackWindow(words[sender + MAX_WINDOW]) - 1 - sack) | 0) < 0;
  if (!fits) return judgeOutside(words, base, direction, isLiberal, seq, end, sack);
  learn(words, base, direction, flags, header & 0xffff, end, ack, sack);
  if (kind === SegmentKind.ACK) countRetransmission(words, base, direction, seq, end, ack, header);
  return Window.ACCEPT;
}

function ackWindow(maxWindow: number): number {
  return maxWindow >>> 0 > LEAST_ACK_WINDOW ? maxWindow : LEAST_ACK_WINDOW;
}

/** Takes over what a fitting segment tells about both sides. */
function learn(
  words: Int32Array,
  base: number,
  direction: number,
  flags: number,
  rawWindow: number,
  end: number,
  ack: number,
  sack: number,
): void {
  const sender = base + FlowWord.TCP_END + direction * TCP_WINDOW_WORDS;
  const receiver = base + FlowWord.TCP_END + (1 - direction) * TCP_WINDOW_WORDS;
  const before = words[base + FlowWord.TCP_DETAIL];
  let detail = before;
  // The window of a SYN is never scaled (RFC 7323 2.2).
  const window = (flags & TcpFlag.SYN) === 0 ? rawWindow << windowScale(detail, direction) : rawWindow;
  const offered = (window + sack - ack) | 0;
  if (words[sender + MAX_WINDOW] >>> 0 < offered >>> 0) words[sender + MAX_WINDOW] = offered;
  if (((words[sender] - end) | 0) < 0) {
    words[sender] = end;
    detail |= TcpDetail.UNACKNOWLEDGED << direction;
  }
  if ((flags & TcpFlag.ACK) !== 0) {
    const maxAck = base + FlowWord.TCP_MAX_ACK + direction;
    const seen = TcpDetail.ACK_SEEN << direction;
    if ((detail & seen) === 0 || ((words[maxAck] - ack) | 0) < 0) words[maxAck] = ack;
    detail |= seen;
  }
  const overshoot = (end - words[sender + MAX_END]) | 0;
  if (overshoot > 0 && words[receiver + MAX_WINDOW] !== 0) words[receiver + MAX_WINDOW] += overshoot;
  const edge = (sack + window) | 0;
  if (((words[receiver + MAX_END] - 1 - edge) | 0) < 0) words[receiver + MAX_END] = window === 0 ? edge + 1 : edge;
  if (ack === words[receiver]) detail &= ~(TcpDetail.UNACKNOWLEDGED << (1 - direction));
  if (detail !== before) words[base + FlowWord.TCP_DETAIL] = detail;
}

/** 16 bits that tell segments apart which differ in sequence or acknowledgement number. */
export function segmentDigest(seq: number, ack: number): number {
  return (Math.imul(ack, 0x9e3779b1) ^ Math.imul(seq, 0x85ebca6b)) >>> 16;
}

/** The same segment again and again: nobody answers. Numbers other than the end are compared by a digest. */
function countRetransmission(
  words: Int32Array,
  base: number,
  direction: number,
  seq: number,
  end: number,
  ack: number,
  header: number,
): void {
  const last = (header << 16) | segmentDigest(seq, ack);
  const detail = words[base + FlowWord.TCP_DETAIL];
  if (
    words[base + FlowWord.TCP_LAST_END] === end &&
    words[base + FlowWord.TCP_LAST_WINDOW] === last &&
    lastDirection(detail) === direction
  ) {
    if (retransmissions(detail) < LARGEST_RETRANSMISSIONS) {
      words[base + FlowWord.TCP_DETAIL] = detail + TcpDetail.ONE_RETRANSMISSION;
    }
    return;
  }
  words[base + FlowWord.TCP_LAST_END] = end;
  words[base + FlowWord.TCP_LAST_WINDOW] = last;
  if ((detail & TcpDetail.RETRANSMISSIONS) !== 0) {
    words[base + FlowWord.TCP_DETAIL] = detail & ~TcpDetail.RETRANSMISSIONS;
  }
}

/** A segment that does not fit: late, a little too much, or wrong. */
function judgeOutside(
  words: Int32Array,
  base: number,
  direction: number,
  isLiberal: boolean,
  seq: number,
  end: number,
  sack: number,
): number {
  const sender = base + FlowWord.TCP_END + direction * TCP_WINDOW_WORDS;
  const receiver = base + FlowWord.TCP_END + (1 - direction) * TCP_WINDOW_WORDS;
  const receiverWindow = words[receiver + MAX_WINDOW];
  const isLiberalHere = isLiberal || (words[base + FlowWord.TCP_DETAIL] & (TcpDetail.LIBERAL << direction)) !== 0;
  const acknowledgesUnsent = ((sack - words[receiver] - 1) | 0) >= 0;
  if (((seq - words[sender + MAX_END] - 1) | 0) < 0) {
    if (isLiberalHere) return Window.ACCEPT;
    return acknowledgesUnsent ? Window.INVALID : Window.IGNORE;
  }
  const overshoot = (end - words[sender + MAX_END] + 1) >>> 0;
  const isSmallOvershoot =
    receiverWindow !== 0 &&
    overshoot <= receiverWindow >>> 0 &&
    ((words[sender] - receiverWindow - 1 - end) | 0) < 0 &&
    !acknowledgesUnsent &&
    ((words[receiver] - ackWindow(words[sender + MAX_WINDOW]) - 1 - sack) | 0) < 0;
  if (isSmallOvershoot) {
    // If the receiver takes it after all, its acknowledgement must not seem to be of unsent data.
    words[sender] = end;
    words[base + FlowWord.TCP_DETAIL] |= TcpDetail.UNACKNOWLEDGED << direction;
  }
  if (isLiberalHere) return Window.ACCEPT;
  return isSmallOvershoot ? Window.IGNORE : Window.INVALID;
}
