/**
 * Connection tracking by protocol, as Linux 6.x does it: may a packet open a flow, and what does a packet of a known
 * flow change there. The tracker judges; finding, making and translating flows is others' work.
 *
 * The caller has verified the L4 checksum, and has a whole datagram. Nothing here allocates or throws.
 *
 *   TCP    states, windows, timeouts by state: `tcp.ts`
 *   UDP    assured, and lives longer, when both directions were seen and it is still in use after two seconds
 *   ICMP   only queries open flows; every packet refreshes; never assured
 *   GRE    assured, and lives longer, once both directions were seen
 *   other  every packet refreshes
 */
import type { Frame } from "../packet/frame.ts";
import { isRequest } from "../packet/icmp.ts";
import { Protocol } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { Direction, FLOW_SHIFT, FlowFlag, FlowWord } from "./flow_layout.ts";
import type { FlowId, FlowTable } from "./flow_table.ts";
import { type TcpOptions, TcpTracker } from "./tcp.ts";
import { tcpStateName } from "./tcp_states.ts";
import { TimeoutIndex, type Timeouts } from "./timeouts.ts";

export { TRACK_REOPEN } from "./tcp.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { CONTINUE: STOP_CONTINUE, INVALID_STATE: STOP_INVALID_STATE } = Stop;
const { CREATED: FLOW_WORD_CREATED, DEADLINE: FLOW_WORD_DEADLINE } = FlowWord;
const { ICMP: PROTOCOL_ICMP, TCP: PROTOCOL_TCP, UDP: PROTOCOL_UDP } = Protocol;

// Constants of this module become part of the compiled code; those of another are read again at each use.
const { STATUS, DEADLINE, CREATED } = FlowWord;
const { SEEN_REPLY, ASSURED } = FlowFlag;
const { GRE, TCP, UDP, ICMP } = Protocol;
const { REPLY } = Direction;
const { CONTINUE } = Stop;
const UDP_TIMEOUT: number = TimeoutIndex.UDP;
const UDP_STREAM_TIMEOUT: number = TimeoutIndex.UDP_STREAM;

/** A UDP flow still in use this long after it began is a stream. */
const STREAM_AFTER_MS = 2000;

export class Tracker {
  private readonly table: FlowTable;
  private readonly words: Int32Array;
  private readonly milliseconds: Int32Array;
  private readonly tcp: TcpTracker;

  constructor(table: FlowTable, timeouts: Timeouts, options: TcpOptions) {
    this.table = table;
    this.words = table.words;
    this.milliseconds = timeouts.milliseconds;
    this.tcp = new TcpTracker(table, timeouts.milliseconds, options);
  }

  /** Takes other options and timeouts; the deadlines of flows change with their next packet. */
  configure(timeouts: Timeouts, options: TcpOptions): void {
    this.milliseconds.set(timeouts.milliseconds);
    this.tcp.configure(options);
  }

  /** Whether a packet of no known flow may open one, by its flags or type alone: CONTINUE or INVALID_STATE. */
  mayOpen(memory: DataView, frame: Frame): number {
    if (frame.protocol === PROTOCOL_TCP) return this.tcp.mayOpen(memory, frame);
    if (frame.protocol !== PROTOCOL_ICMP) return STOP_CONTINUE;
    return isRequest((frame.ports >>> 8) & 0xff) ? STOP_CONTINUE : STOP_INVALID_STATE;
  }

  /**
   * Fills state, TCP words, CREATED and DEADLINE of a flow that is allocated (zeroed), has its protocol in STATUS, and
   * is not inserted yet. CONTINUE or INVALID_STATE.
   */
  open(memory: DataView, frame: Frame, flow: FlowId, now: number): number {
    const words = this.words;
    const base = flow << FLOW_SHIFT;
    words[base + FLOW_WORD_CREATED] = now;
    if (frame.protocol === PROTOCOL_TCP) return this.tcp.open(memory, frame, flow, now);
    if (this.mayOpen(memory, frame) !== STOP_CONTINUE) return STOP_INVALID_STATE;
    words[base + FLOW_WORD_DEADLINE] = (now + this.milliseconds[openingTimeout(frame.protocol)]) | 0;
    return STOP_CONTINUE;
  }

  /**
   * A packet of a known flow: state, window, flags SEEN_REPLY and ASSURED, deadline. `direction` is 0 for the original
   * one, 1 for the reply. Returns
   *
   *   CONTINUE       the packet belongs to the flow. When it is a RST that is the only answer, the flow is over: its
   *                  DEADLINE is `now`, so that no look-up finds it; its entry is valid until the next look-up or sweep.
   *   INVALID_STATE  the packet does not fit; nothing was refreshed.
   *   TRACK_REOPEN   the flow has been removed: the packet is one of no known flow, and may open one.
   */
  update(memory: DataView, frame: Frame, flow: FlowId, direction: number, now: number): number {
    const base = flow << FLOW_SHIFT;
    const protocol = this.words[base + STATUS] & 0xff;
    if (protocol === TCP) return this.tcp.update(memory, frame, flow, direction, now);
    if (protocol === UDP) return this.updateUdp(flow, direction, now);
    if (protocol === GRE) return this.updateGre(flow, direction, now);
    const timeout = protocol === ICMP ? TimeoutIndex.ICMP : TimeoutIndex.GENERIC;
    const isFirstReply = direction === REPLY && (this.words[base + STATUS] & SEEN_REPLY) === 0;
    if (isFirstReply) this.words[base + STATUS] |= SEEN_REPLY;
    this.extend(flow, (now + this.milliseconds[timeout]) | 0);
    if (isFirstReply) this.table.noteChange(flow);
    return CONTINUE;
  }

  private updateUdp(flow: FlowId, direction: number, now: number): number {
    const words = this.words;
    const base = flow << FLOW_SHIFT;
    const status = words[base + STATUS];
    let changed = status;
    let timeout = UDP_TIMEOUT;
    // Once it is a stream its age is not asked: after 25 days the clock cannot tell it.
    if (
      (status & SEEN_REPLY) !== 0 &&
      ((status & ASSURED) !== 0 || ((now - words[base + CREATED]) | 0) > STREAM_AFTER_MS)
    ) {
      timeout = UDP_STREAM_TIMEOUT;
      changed |= ASSURED;
    }
    if (direction === REPLY) changed |= SEEN_REPLY;
    this.extend(flow, (now + this.milliseconds[timeout]) | 0);
    if (changed !== status) {
      words[base + STATUS] = changed;
      this.table.noteChange(flow);
    }
    return CONTINUE;
  }

  private updateGre(flow: FlowId, direction: number, now: number): number {
    const at = (flow << FLOW_SHIFT) + STATUS;
    const status = this.words[at];
    const isStream = (status & SEEN_REPLY) !== 0;
    const changed = status | (isStream ? ASSURED : 0) | (direction === REPLY ? SEEN_REPLY : 0);
    this.extend(flow, (now + this.milliseconds[isStream ? TimeoutIndex.GRE_STREAM : TimeoutIndex.GRE]) | 0);
    if (changed !== status) {
      this.words[at] = changed;
      this.table.noteChange(flow);
    }
    return CONTINUE;
  }

  private extend(flow: FlowId, deadline: number): void {
    const at = (flow << FLOW_SHIFT) + DEADLINE;
    if (((deadline - this.words[at]) | 0) >= 0) {
      this.words[at] = deadline;
    } else {
      this.table.hasten(flow, deadline);
    }
  }
}

function openingTimeout(protocol: number): number {
  if (protocol === PROTOCOL_UDP) return TimeoutIndex.UDP;
  if (protocol === GRE) return TimeoutIndex.GRE;
  return protocol === PROTOCOL_ICMP ? TimeoutIndex.ICMP : TimeoutIndex.GENERIC;
}

/** The state in a flow's STATUS word. */
export function stateOf(status: number): number {
  return (status >>> 8) & 0xff;
}

/** Name of a state as conntrack(8) prints it; empty for protocols that have none. */
export function stateName(protocol: number, state: number): string {
  return protocol === PROTOCOL_TCP ? tcpStateName(state) : "";
}
