/**
 * The states of a TCP connection as conntrack sees them, the kinds of segments, and the table of transitions: Linux's
 * (nf_conntrack). The observer stands between the hosts: it sees a segment before its receiver does, and does not know
 * whether it arrives. So a state tells what has been seen, not what a host is in.
 *
 *   NONE         nothing yet                       FIN_WAIT     a FIN from either side
 *   SYN_SENT     a SYN from the client             CLOSE_WAIT   that FIN acknowledged
 *   SYN_SENT2    a SYN from both (simultaneous)    LAST_ACK     a FIN from both sides
 *   SYN_RECV     a SYN/ACK                         TIME_WAIT    the last FIN acknowledged
 *   ESTABLISHED  the handshake is complete         CLOSE        a RST
 */
import { TcpFlag } from "../packet/tcp.ts";

export const TcpState = {
  NONE: 0,
  SYN_SENT: 1,
  SYN_RECV: 2,
  ESTABLISHED: 3,
  FIN_WAIT: 4,
  CLOSE_WAIT: 5,
  LAST_ACK: 6,
  TIME_WAIT: 7,
  CLOSE: 8,
  SYN_SENT2: 9,
  COUNT: 10,
} as const;

/** What the table may hold besides states. */
export const Transition = {
  /** The segment passes and changes nothing: the tracker may be out of step with the hosts. */
  IGNORE: 14,
  INVALID: 15,
} as const;

/** Kinds of segments. The order is that of the rows of the table. */
export const SegmentKind = { SYN: 0, SYN_ACK: 1, FIN: 2, ACK: 3, RST: 4, NONE: 5, COUNT: 6 } as const;

const STATE_NAMES = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
] as const;

/** Name of a state as conntrack(8) prints it; "NONE" for what is no state. */
export function tcpStateName(state: number): string {
  return STATE_NAMES[state] ?? "NONE";
}

const CODES: Record<string, number> = {
  NO: TcpState.NONE,
  SS: TcpState.SYN_SENT,
  SR: TcpState.SYN_RECV,
  ES: TcpState.ESTABLISHED,
  FW: TcpState.FIN_WAIT,
  CW: TcpState.CLOSE_WAIT,
  LA: TcpState.LAST_ACK,
  TW: TcpState.TIME_WAIT,
  CL: TcpState.CLOSE,
  S2: TcpState.SYN_SENT2,
  IG: Transition.IGNORE,
  IV: Transition.INVALID,
};

/** A row for each kind of segment, the original direction first; a column for each state before it. */
const TRANSITIONS = `
  SS SS IG IG IG IG IG SS SS S2
  IV IV SR IV IV IV IV IV IV SR
  IV IV FW FW LA LA LA TW CL IV
  ES IV ES ES CW CW TW TW CL IV
  IV CL CL CL CL CL CL CL CL CL
  IV IV IV IV IV IV IV IV IV IV

  IV S2 IV IV IV IV IV SS IV S2
  IV SR IG IG IG IG IG IG IG SR
  IV IV FW FW LA LA LA TW CL IV
  IV IG SR ES CW CW TW TW CL IG
  IV CL CL CL CL CL CL CL CL CL
  IV IV IV IV IV IV IV IV IV IV`;

const DIRECTION_CELLS = SegmentKind.COUNT * 16;
const table = new Uint8Array(2 * DIRECTION_CELLS).fill(Transition.INVALID);
for (const [index, code] of TRANSITIONS.trim().split(/\s+/).entries()) {
  const row = Math.floor(index / TcpState.COUNT);
  table[row * 16 + (index % TcpState.COUNT)] = CODES[code];
}

/** The state after a segment of `kind` in `direction`, IGNORE or INVALID. */
export function transition(direction: number, kind: number, state: number): number {
  return table[direction * DIRECTION_CELLS + kind * 16 + state];
}

/** Flags that say what a segment is; PSH, ECE and CWR go with any of them. */
const DEFINING_FLAGS = TcpFlag.FIN | TcpFlag.SYN | TcpFlag.RST | TcpFlag.ACK | TcpFlag.URG;

const ILLEGAL = 255;
const kinds = new Uint8Array(DEFINING_FLAGS + 1).fill(ILLEGAL);
kinds[TcpFlag.SYN] = SegmentKind.SYN;
kinds[TcpFlag.SYN | TcpFlag.URG] = SegmentKind.SYN;
kinds[TcpFlag.SYN | TcpFlag.ACK] = SegmentKind.SYN_ACK;
kinds[TcpFlag.FIN | TcpFlag.ACK] = SegmentKind.FIN;
kinds[TcpFlag.FIN | TcpFlag.ACK | TcpFlag.URG] = SegmentKind.FIN;
kinds[TcpFlag.ACK] = SegmentKind.ACK;
kinds[TcpFlag.ACK | TcpFlag.URG] = SegmentKind.ACK;
kinds[TcpFlag.RST] = SegmentKind.RST;
kinds[TcpFlag.RST | TcpFlag.ACK] = SegmentKind.RST;

/** The kind of a segment with these flags; -1 for a combination that no host sends. */
export function kindOf(flags: number): number {
  const kind = kinds[flags & DEFINING_FLAGS];
  return kind === ILLEGAL ? -1 : kind;
}

/** One side has closed already, or was reset: the flow may be given up early, and its numbers are not worth much. */
export function isClosing(state: number): boolean {
  return state >= TcpState.FIN_WAIT && state <= TcpState.CLOSE;
}
