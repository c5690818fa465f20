/**
 * TCP connection tracking as Linux 6.x does it: flags, state table, window, then timeouts.
 *
 * Theory of operation. `update` looks the segment's kind and the flow's state up in the table. Where the answer is
 * more than a state (`decide`), the tracker may be out of step with the hosts: it lets what may be right pass without
 * a change, notes it, and believes the answer. Then the window is checked, and only a segment that fits changes state
 * and deadline (`settle`).
 *
 * A SYN in TIME_WAIT or CLOSE removes the flow and asks for a new one. A RST that is the only answer ends the flow at
 * once: its deadline becomes now, so that no look-up finds it any more, while this packet can still be translated.
 */
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { Direction, FLOW_SHIFT, FlowFlag, FlowWord } from "./flow_layout.ts";
import type { FlowId, FlowTable } from "./flow_table.ts";
import {
  isUnacknowledged,
  LAST_SCALE_SHIFT,
  lastDirection,
  lastKind,
  retransmissions,
  TcpDetail,
  withLast,
} from "./tcp_detail.ts";
import { SACK_OPTION, synOptions } from "./tcp_options.ts";
import { isClosing, kindOf, SegmentKind, TcpState, Transition, transition } from "./tcp_states.ts";
import { beginWithSyn, checkWindow, resynchronise, segmentEnd, Window } from "./tcp_window.ts";
import { TimeoutIndex } from "./timeouts.ts";

/** The flow has been removed; the packet opens a new one, or none. */
export const TRACK_REOPEN = -1;

/** What `decide` may answer besides a state. */
const Decision = { STATE: 0x0f, SKIP_WINDOW: 0x10, PASS: 0x20, INVALID: 0x40, REOPEN: 0x80 } as const;

const STATE_SHIFT = 8;
const STATE_MASK = 0xff << STATE_SHIFT;

/** A deadline that is nearer than this is left alone when closing segments do not fit. */
const SHORT_ENOUGH_MS = 120_000;

export interface TcpOptions {
  /** Accept segments outside of the window (`tcp_be_liberal`). */
  liberal: boolean;
  /** Pick up connections in the middle (`tcp_loose`). */
  loose: boolean;
  /** Retransmissions in a row after which the timeout is limited, 1 to 15 (`tcp_max_retrans`). Default 3. */
  maxRetransmissions?: number;
}

export class TcpTracker {
  private readonly table: FlowTable;
  private readonly words: Int32Array;
  private readonly milliseconds: Int32Array;
  private readonly isLiberal: boolean;
  private readonly isLoose: boolean;
  private readonly maxRetransmissions: number;

  /** `milliseconds` by `TcpState` and `TimeoutIndex`. */
  constructor(table: FlowTable, milliseconds: Int32Array, options: TcpOptions) {
    this.table = table;
    this.words = table.words;
    this.milliseconds = milliseconds;
    this.isLiberal = options.liberal;
    this.isLoose = options.loose;
    this.maxRetransmissions = options.maxRetransmissions ?? 3;
  }

  /** The state that a first segment begins with; 0 when none may. */
  private openingState(flags: number): number {
    const kind = kindOf(flags);
    if (kind < 0) return TcpState.NONE;
    const next = transition(Direction.ORIGINAL, kind, TcpState.NONE);
    if (next === TcpState.SYN_SENT || (next === TcpState.ESTABLISHED && this.isLoose)) return next;
    return TcpState.NONE;
  }

  mayOpen(memory: DataView, frame: Frame): number {
    const state = this.openingState(memory.getUint8(frame.l4 + 13));
    return state === TcpState.NONE ? Stop.INVALID_STATE : Stop.CONTINUE;
  }

  open(memory: DataView, frame: Frame, flow: FlowId, now: number): number {
    const flags = memory.getUint8(frame.l4 + 13);
    const next = this.openingState(flags);
    if (next === TcpState.NONE) return Stop.INVALID_STATE;
    const words = this.words;
    const base = flow << FLOW_SHIFT;
    const end = segmentEnd(memory, frame);
    words[base + FlowWord.TCP_DETAIL] = 0;
    beginWithSyn(words, base, Direction.ORIGINAL, memory, frame, end);
    if (next === TcpState.ESTABLISHED) {
      // In the middle: what window the other side has given is unknown, and whether windows are scaled.
      words[base + FlowWord.TCP_MAX_END] = end + words[base + FlowWord.TCP_MAX_WINDOW];
      words[base + FlowWord.TCP_DETAIL] = TcpDetail.SACK_PERMITTED * 3 + TcpDetail.LIBERAL * 3;
    }
    words[base + FlowWord.TCP_DETAIL] = withLast(words[base + FlowWord.TCP_DETAIL], 0, SegmentKind.NONE);
    words[base + FlowWord.DEADLINE] = now;
    const kind = kindOf(flags);
    checkWindow(words, base, Direction.ORIGINAL, kind, TcpState.NONE, this.isLiberal, memory, frame);
    return this.settle(flow, Direction.ORIGINAL, kind, TcpState.NONE, next, now);
  }

  update(memory: DataView, frame: Frame, flow: FlowId, direction: number, now: number): number {
    const words = this.words;
    const base = flow << FLOW_SHIFT;
    const kind = kindOf(memory.getUint8(frame.l4 + 13));
    if (kind < 0) return Stop.INVALID_STATE;
    const state = (words[base + FlowWord.STATUS] & STATE_MASK) >>> STATE_SHIFT;
    let next = transition(direction, kind, state);
    if (next !== state || kind !== SegmentKind.ACK) {
      next = this.decide(memory, frame, base, direction, kind, state, next);
      if (next > Decision.STATE) {
        if ((next & Decision.SKIP_WINDOW) === 0) return this.conclude(flow, direction, next);
        return this.settle(flow, direction, kind, state, next & Decision.STATE, now);
      }
    }
    const verdict = checkWindow(words, base, direction, kind, state, this.isLiberal, memory, frame);
    if (verdict === Window.ACCEPT) return this.settle(flow, direction, kind, state, next, now);
    if (verdict === Window.IGNORE) return this.pass(base, direction);
    this.distrust(flow, direction, kind, now);
    return Stop.INVALID_STATE;
  }

  /** A decision that needs no look at the window. */
  private conclude(flow: FlowId, direction: number, decision: number): number {
    if (decision === Decision.PASS) return this.pass(flow << FLOW_SHIFT, direction);
    if (decision === Decision.INVALID) return Stop.INVALID_STATE;
    this.table.remove(flow);
    return TRACK_REOPEN;
  }

  /** The packet belongs to the flow but changes nothing. */
  private pass(base: number, direction: number): number {
    if (direction === Direction.REPLY) this.words[base + FlowWord.STATUS] |= FlowFlag.SEEN_REPLY;
    return Stop.CONTINUE;
  }

  /** Where the table's answer is not the whole answer: a state, perhaps with SKIP_WINDOW, or another `Decision`. */
  private decide(
    memory: DataView,
    frame: Frame,
    base: number,
    direction: number,
    kind: number,
    state: number,
    next: number,
  ): number {
    const words = this.words;
    const detail = words[base + FlowWord.TCP_DETAIL];
    switch (next) {
      case TcpState.SYN_SENT:
        if (state < TcpState.TIME_WAIT) return next;
        if (isOver(detail, direction)) return Decision.REOPEN;
        return this.letThrough(memory, frame, base, direction, kind, state);
      case Transition.IGNORE:
        return this.letThrough(memory, frame, base, direction, kind, state);
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
        return kind === SegmentKind.RST ? this.judgeReset(memory, frame, base, direction, state) : next;
      default:
        return next;
    }
  }

  /** A segment of which the tracker cannot say whether the hosts take it. Notes it, to believe a SYN/ACK or RST. */
  private letThrough(
    memory: DataView,
    frame: Frame,
    base: number,
    direction: number,
    kind: number,
    state: number,
  ): number {
    const words = this.words;
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
  private judgeReset(memory: DataView, frame: Frame, base: number, direction: number, state: number): number {
    // The hosts may be in a new connection with the same ports, of which the tracker knows nothing.
    if (isClosing(state)) return TcpState.CLOSE | Decision.SKIP_WINDOW;
    const words = this.words;
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
    const mayAnswer =
      (last === SegmentKind.SYN && (status & FlowFlag.SEEN_REPLY) !== 0) ||
      (last === SegmentKind.ACK && (status & FlowFlag.ASSURED) === 0);
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

  /** The segment counts: state, flags and deadline. */
  private settle(flow: FlowId, direction: number, kind: number, state: number, next: number, now: number): number {
    const words = this.words;
    const base = flow << FLOW_SHIFT;
    const before = words[base + FlowWord.TCP_DETAIL];
    let detail = withLast(before, direction, kind);
    if (next === TcpState.FIN_WAIT && state !== next) detail |= TcpDetail.CLOSE_BEGUN;
    if (detail !== before) words[base + FlowWord.TCP_DETAIL] = detail;

    const status = words[base + FlowWord.STATUS];
    let changed = (status & ~STATE_MASK) | (next << STATE_SHIFT);
    if (direction === Direction.REPLY) changed |= FlowFlag.SEEN_REPLY;
    let timeout = this.timeoutFor(detail, kind, next, words[base + FlowWord.TCP_LAST_WINDOW] >>> 16);
    if ((status & FlowFlag.SEEN_REPLY) !== 0) {
      if (next === TcpState.ESTABLISHED && (state === next || state === TcpState.SYN_RECV)) {
        changed |= FlowFlag.ASSURED;
      }
    } else if (kind === SegmentKind.RST) {
      timeout = 0;
      // Frames of this burst that have looked the flow up already must do so again.
      this.table.version = (this.table.version + 1) | 0;
    } else if (kind === SegmentKind.SYN && state === TcpState.SYN_SENT) {
      // Or a host that tries for ever would hold its port and mapping for ever.
      timeout = -1;
    } else if (next === TcpState.ESTABLISHED) {
      timeout = Math.min(timeout, this.milliseconds[TimeoutIndex.UNACKNOWLEDGED]);
    }
    if (changed !== status) words[base + FlowWord.STATUS] = changed;
    if (timeout >= 0) this.setDeadline(flow, base, (now + timeout) | 0);
    return Stop.CONTINUE;
  }

  private setDeadline(flow: FlowId, base: number, deadline: number): void {
    if (((deadline - this.words[base + FlowWord.DEADLINE]) | 0) >= 0) {
      this.words[base + FlowWord.DEADLINE] = deadline;
    } else {
      this.table.hasten(flow, deadline);
    }
  }

  /** Milliseconds. A state's timeout is limited while there are signs that one side has gone. */
  private timeoutFor(detail: number, kind: number, next: number, lastWindow: number): number {
    const milliseconds = this.milliseconds;
    const timeout = milliseconds[next];
    const retransmitted = milliseconds[TimeoutIndex.RETRANSMITTED];
    if (timeout > retransmitted && retransmissions(detail) >= this.maxRetransmissions) return retransmitted;
    if (kind === SegmentKind.RST) return milliseconds[TcpState.CLOSE];
    const unacknowledged = milliseconds[TimeoutIndex.UNACKNOWLEDGED];
    if (timeout > unacknowledged && isUnacknowledged(detail)) return unacknowledged;
    if (timeout > retransmitted && lastWindow === 0) return retransmitted;
    return timeout;
  }

  /**
   * FIN or RST of both sides that do not fit: the connection is over, though the tracker did not follow. It must not
   * stay for days.
   */
  private distrust(flow: FlowId, direction: number, kind: number, now: number): void {
    const words = this.words;
    const base = flow << FLOW_SHIFT;
    if ((words[base + FlowWord.STATUS] & FlowFlag.ASSURED) === 0) return;
    if (kind !== SegmentKind.RST && kind !== SegmentKind.FIN) return;
    const detail = words[base + FlowWord.TCP_DETAIL];
    const last = lastKind(detail);
    const otherCloses = last === SegmentKind.RST || last === SegmentKind.FIN;
    if (!otherCloses || lastDirection(detail) === direction) {
      words[base + FlowWord.TCP_DETAIL] = withLast(detail, direction, kind);
      return;
    }
    const left = (words[base + FlowWord.DEADLINE] - now) | 0;
    const limit = this.milliseconds[TimeoutIndex.UNACKNOWLEDGED];
    if (left >= SHORT_ENOUGH_MS && left > limit) this.table.hasten(flow, (now + limit) | 0);
  }
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
