/**
 * TCP connection tracking as Linux 6.x does it: flags, state table, window, then timeouts.
 *
 * Theory of operation. Plain segments of established connections take a fast path (`tcp_established.ts`). For all others
 * `updateAny` looks the segment's kind and the flow's state up in the table. Where the answer is
 * more than a state (`decide`), the tracker may be out of step with the hosts: it lets what may be right pass without
 * a change, notes it, and believes the answer. Then the window is checked, and only a segment that fits changes state
 * and deadline (`settle`).
 *
 * A SYN in TIME_WAIT or CLOSE removes the flow and asks for a new one. A RST that is the only answer ends the flow at
 * once: its deadline becomes now, so that no look-up finds it any more, while this packet can still be translated.
 */
import type { Frame } from "../packet/frame.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { TcpFlag } from "../packet/tcp.ts";
import { Direction, FLOW_SHIFT, FlowFlag, FlowWord } from "./flow_layout.ts";
import type { FlowId, FlowTable } from "./flow_table.ts";
import { Decision, decide } from "./tcp_decide.ts";
import { isUnacknowledged, lastDirection, lastKind, retransmissions, TcpDetail, withLast } from "./tcp_detail.ts";
import { trackEstablished } from "./tcp_established.ts";
import { kindOf, SegmentKind, TcpState, transition } from "./tcp_states.ts";
import { checkWindow, Window } from "./tcp_window.ts";
import { beginWithSyn, segmentEnd } from "./tcp_window_start.ts";
import { TimeoutIndex } from "./timeouts.ts";

/** The flow has been removed; the packet opens a new one, or none. */
export const TRACK_REOPEN = -1;

// Constants of this module become part of the compiled code; those of another are read again at each use.
const { STATUS, DEADLINE } = FlowWord;
const { CONTINUE } = Stop;

const STATE_SHIFT = 8;
const STATE_MASK = 0xff << STATE_SHIFT;

/** Flows and segments for `trackEstablished`: established and assured; no flag that matters but ACK. */
const PLAIN_STATUS_BITS = STATE_MASK | FlowFlag.SEEN_REPLY | FlowFlag.ASSURED;
const PLAIN_STATUS = (TcpState.ESTABLISHED << STATE_SHIFT) | FlowFlag.SEEN_REPLY | FlowFlag.ASSURED;
const PLAIN_FLAG_BITS = (TcpFlag.FIN | TcpFlag.SYN | TcpFlag.RST | TcpFlag.ACK | TcpFlag.URG) << 16;
const PLAIN_FLAGS = TcpFlag.ACK << 16;

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
  private isLiberal = false;
  private isLoose = true;
  private maxRetransmissions = 3;

  /** `milliseconds` by `TcpState` and `TimeoutIndex`. */
  constructor(table: FlowTable, milliseconds: Int32Array, options: TcpOptions) {
    this.table = table;
    this.words = table.words;
    this.milliseconds = milliseconds;
    this.configure(options);
  }

  configure(options: TcpOptions): void {
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
    const header = memory.getInt32(frame.l4 + 12);
    if ((words[base + STATUS] & PLAIN_STATUS_BITS) === PLAIN_STATUS && (header & PLAIN_FLAG_BITS) === PLAIN_FLAGS) {
      const { milliseconds, maxRetransmissions } = this;
      const timeout = trackEstablished(words, base, direction, header, memory, frame, milliseconds, maxRetransmissions);
      if (timeout >= 0) {
        this.setDeadline(flow, base, (now + timeout) | 0);
        return CONTINUE;
      }
    }
    return this.updateAny(memory, frame, flow, direction, now);
  }

  /** The general path: any segment, any state. */
  updateAny(memory: DataView, frame: Frame, flow: FlowId, direction: number, now: number): number {
    const words = this.words;
    const base = flow << FLOW_SHIFT;
    const kind = kindOf(memory.getUint8(frame.l4 + 13));
    if (kind < 0) return Stop.INVALID_STATE;
    const state = (words[base + FlowWord.STATUS] & STATE_MASK) >>> STATE_SHIFT;
    let next = transition(direction, kind, state);
    // About an acknowledgement in ESTABLISHED there is nothing to decide.
    if (kind !== SegmentKind.ACK || next !== TcpState.ESTABLISHED) {
      next = decide(words, base, memory, frame, direction, kind, state, next);
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
    if (direction === Direction.REPLY && (this.words[base + FlowWord.STATUS] & FlowFlag.SEEN_REPLY) === 0) {
      this.words[base + FlowWord.STATUS] |= FlowFlag.SEEN_REPLY;
      this.table.noteChange((base >> FLOW_SHIFT) as FlowId);
    }
    return Stop.CONTINUE;
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
    // One that has not been inserted yet is told of as new.
    if (changed !== status && (status & FlowFlag.CONFIRMED) !== 0) this.table.noteChange(flow);
    return Stop.CONTINUE;
  }

  private setDeadline(flow: FlowId, base: number, deadline: number): void {
    if (((deadline - this.words[base + DEADLINE]) | 0) >= 0) {
      this.words[base + DEADLINE] = deadline;
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
