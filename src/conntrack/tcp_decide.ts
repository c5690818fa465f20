/**
 * What a TCP segment does where the state table alone does not tell: SYNs that may reopen a flow, segments that the
 * tracker can neither believe nor refuse, challenge ACKs, simultaneous open, and resets.
 */
import type { Frame } from "../packet/frame.ts";
import { Direction, FlowFlag, FlowWord } from "./flow_layout.ts";
import { LAST_SCALE_SHIFT, lastDirection, lastKind, TcpDetail, withLast } from "./tcp_detail.ts";
import { SACK_OPTION, synOptions } from "./tcp_options.ts";
import { isClosing, SegmentKind, TcpState, Transition } from "./tcp_states.ts";
import { resynchronise, segmentEnd } from "./tcp_window_start.ts";

/** What `decide` may answer besides a state. */
export const Decision = { STATE: 0x0f, SKIP_WINDOW: 0x10, PASS: 0x20, INVALID: 0x40, REOPEN: 0x80 } as const;

/** Where the table's answer is not the whole answer: a state, perhaps with SKIP_WINDOW, or another `Decision`. */
export function decide(
  words: Int32Array,
  base: number,
  memory: DataView,
  frame: Frame,
  direction: number,
  kind: number,
  state: number,
  next: number,
): number {
  const detail = words[base + FlowWord.TCP_DETAIL];
  switch (next) {
    case TcpState.SYN_SENT:
      if (state < TcpState.TIME_WAIT) return next;
      if (isOver(detail, direction)) return Decision.REOPEN;
      return letThrough(words, base, memory, frame, direction, kind, state);
    case Transition.IGNORE:
      return letThrough(words, base, memory, frame, direction, kind, state);
    case Transition.INVALID:
      return Decision.INVALID;
    case TcpState.TIME_WAIT:
      if (!isChallengeAck(detail, direction, kind, state)) return next;
      words[base + FlowWord.TCP_DETAIL] = detail & ~TcpDetail.CHALLENGE_EXPECTED;
      return Decision.PASS;
    case TcpState.SYN_SENT2:
      words[base + FlowWord.TCP_DETAIL] = detail | TcpDetail.SIMULTANEOUS;
      return next;
    case TcpState.SYN_RECV:
      // In a simultaneous open the answer to the second SYN/ACK is the last step.
      if (direction === Direction.REPLY && kind === SegmentKind.ACK && (detail & TcpDetail.SIMULTANEOUS) !== 0) {
        return TcpState.ESTABLISHED;
      }
      return next;
    case TcpState.CLOSE:
      return kind === SegmentKind.RST ? judgeReset(words, base, memory, frame, direction, state) : next;
    default:
      return next;
  }
}

/** A segment of which the tracker cannot say whether the hosts take it. Notes it, to believe a SYN/ACK or RST. */
function letThrough(
  words: Int32Array,
  base: number,
  memory: DataView,
  frame: Frame,
  direction: number,
  kind: number,
  state: number,
): number {
  let detail = words[base + FlowWord.TCP_DETAIL];
  const ack = memory.getInt32(frame.l4 + 8);
  const answersSyn =
    kind === SegmentKind.SYN_ACK && lastKind(detail) === SegmentKind.SYN && lastDirection(detail) !== direction;
  if (answersSyn && ack === words[base + FlowWord.TCP_LAST_END]) {
    resynchronise(words, base, direction);
    return TcpState.SYN_RECV;
  }
  detail = withLast(detail, direction, kind);
  words[base + FlowWord.TCP_LAST_END] = segmentEnd(memory, frame);
  words[base + FlowWord.TCP_LAST_WINDOW] = memory.getUint16(frame.l4 + 14) << 16;
  if (kind === SegmentKind.SYN && direction === Direction.ORIGINAL) {
    detail &= ~(TcpDetail.LAST_SCALE | TcpDetail.LAST_SACK_PERMITTED | TcpDetail.SIMULTANEOUS);
    detail &= ~TcpDetail.CHALLENGE_EXPECTED;
    const options = synOptions(memory, frame);
    if (options > 0) {
      detail |= (options & TcpDetail.SCALE) << LAST_SCALE_SHIFT;
      if ((options & SACK_OPTION) !== 0) detail |= TcpDetail.LAST_SACK_PERMITTED;
    }
    if (state === TcpState.LAST_ACK) detail |= TcpDetail.CHALLENGE_EXPECTED;
  }
  // Perhaps a challenge to the SYN. The reply direction has acknowledged nothing in SYN_SENT: its word is free.
  if (state === TcpState.SYN_SENT && kind === SegmentKind.ACK) words[base + FlowWord.REPLY_TCP_MAX_ACK] = ack;
  words[base + FlowWord.TCP_DETAIL] = detail;
  return Decision.PASS;
}

/** A RST counts when its number is one that the other side expects (RFC 5961 3.2), or answers what was let through. */
function judgeReset(
  words: Int32Array,
  base: number,
  memory: DataView,
  frame: Frame,
  direction: number,
  state: number,
): number {
  // The hosts may be in a new connection with the same ports, of which the tracker knows nothing.
  if (isClosing(state)) return TcpState.CLOSE | Decision.SKIP_WINDOW;
  const status = words[base + FlowWord.STATUS];
  const detail = words[base + FlowWord.TCP_DETAIL];
  const last = lastKind(detail);
  const seq = memory.getInt32(frame.l4 + 4);
  let next: number = TcpState.CLOSE;
  if ((detail & (TcpDetail.ACK_SEEN << (1 - direction))) !== 0 && last !== SegmentKind.SYN) {
    const isEstablished = state === TcpState.ESTABLISHED && (status & FlowFlag.ASSURED) !== 0;
    if (seq === 0 && !isEstablished) return next;
    const beyond = (seq - words[base + FlowWord.TCP_MAX_ACK + 1 - direction]) | 0;
    if (beyond < 0) return Decision.INVALID;
    if (beyond === 0 || !isEstablished) return next;
    const followsData = last === SegmentKind.ACK && lastDirection(detail) === direction;
    if (followsData && seq === words[base + FlowWord.TCP_LAST_END]) return next;
    // The receiver answers with a challenge ACK: until it does, nothing is over.
    next = state;
  }
  const answersSyn =
    last === SegmentKind.SYN && lastDirection(detail) !== direction && (status & FlowFlag.SEEN_REPLY) !== 0;
  const mayAnswer = answersSyn || (last === SegmentKind.ACK && (status & FlowFlag.ASSURED) === 0);
  if (mayAnswer && memory.getInt32(frame.l4 + 8) === words[base + FlowWord.TCP_LAST_END]) {
    return next | Decision.SKIP_WINDOW;
  }
  const answersChallenge =
    state === TcpState.SYN_SENT &&
    last === SegmentKind.ACK &&
    lastDirection(detail) === Direction.REPLY &&
    seq === words[base + FlowWord.REPLY_TCP_MAX_ACK];
  return answersChallenge ? next | Decision.SKIP_WINDOW : next;
}

/** The connection has been closed or reset by this side: a SYN begins a new one (RFC 9293 3.6.1). */
function isOver(detail: number, direction: number): boolean {
  if ((detail & TcpDetail.CLOSE_BEGUN) !== 0) return true;
  return lastDirection(detail) === direction && lastKind(detail) === SegmentKind.RST;
}

/** An ACK in LAST_ACK that answers a stray SYN does not acknowledge the FIN (RFC 5961 4.2). */
function isChallengeAck(detail: number, direction: number, kind: number, state: number): boolean {
  return (
    state === TcpState.LAST_ACK &&
    kind === SegmentKind.ACK &&
    lastDirection(detail) !== direction &&
    lastKind(detail) === SegmentKind.SYN &&
    (detail & TcpDetail.CHALLENGE_EXPECTED) !== 0
  );
}
