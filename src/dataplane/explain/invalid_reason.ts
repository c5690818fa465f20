/** Why conntrack calls a packet invalid, in words: the same tables and bounds that it judged by, asked again. */
import { FLOW_SHIFT, FlowWord, TCP_WINDOW_WORDS } from "../../conntrack/flow_layout.ts";
import { kindOf, Transition, tcpStateName, transition } from "../../conntrack/tcp_states.ts";
import { LEAST_ACK_WINDOW } from "../../conntrack/tcp_window.ts";
import { MAX_END, MAX_WINDOW } from "../../conntrack/tcp_window_start.ts";
import type { Frame } from "../../packet/frame.ts";
import { Protocol } from "../../packet/ipv4.ts";
import { acknowledgement, dataOffset, flags, sequence, TcpFlag } from "../../packet/tcp.ts";

/** Flags as `SYN,ACK`; `none`. */
export function flagNames(bits: number): string {
  const names = Object.entries(TcpFlag).filter(([, bit]) => (bits & bit) !== 0);
  return names.length === 0 ? "none" : names.map(([name]) => name).join(",");
}

/** Of a packet without a flow. */
export function whyNoOpening(memory: DataView, frame: Frame): string {
  if (frame.protocol === Protocol.TCP) {
    const bits = flags(memory, frame.l4);
    if (kindOf(bits) < 0) return `no host sends the flags ${flagNames(bits)} together`;
    return `a segment with the flags ${flagNames(bits)} opens no connection`;
  }
  return `ICMP type ${(frame.ports >>> 8) & 0xff} is no question, and opens no flow`;
}

/** Of a packet of a flow: `words` are the table's, `status` the flow's STATUS before the packet. */
export function whyInvalid(
  memory: DataView,
  frame: Frame,
  words: Int32Array,
  reference: number,
  status: number,
): string {
  if (frame.protocol !== Protocol.TCP) return whyNoOpening(memory, frame);
  const bits = flags(memory, frame.l4);
  const kind = kindOf(bits);
  const state = (status >>> 8) & 0xff;
  const direction = reference & 1;
  const side = direction === 0 ? "the one who opened it" : "the other side";
  if (kind < 0) return `no host sends the flags ${flagNames(bits)} together`;
  if (transition(direction, kind, state) === Transition.INVALID) {
    return `${flagNames(bits)} from ${side} does not fit the state ${tcpStateName(state)}`;
  }
  const outside = outsideOf(memory, frame, words, reference);
  if (outside !== undefined) return outside;
  return `the number of ${flagNames(bits)} from ${side} does not fit what was acknowledged`;
}

/** Which bound of the window a segment breaks (see `tcp_window.ts`). */
function outsideOf(memory: DataView, frame: Frame, words: Int32Array, reference: number): string | undefined {
  const base = (reference >> 1) << FLOW_SHIFT;
  const direction = reference & 1;
  const sender = base + FlowWord.TCP_END + direction * TCP_WINDOW_WORDS;
  const receiver = base + FlowWord.TCP_END + (1 - direction) * TCP_WINDOW_WORDS;
  const bits = flags(memory, frame.l4);
  const first = sequence(memory, frame.l4);
  const length = frame.end - frame.l4 - dataOffset(memory, frame.l4);
  const end = (first + length + ((bits >>> 1) & 1) + (bits & 1)) | 0;
  const say = (text: string, bound: number): string => `${text} ${bound >>> 0}`;
  if (((first - words[sender + MAX_END] - 1) | 0) >= 0) {
    return say(`sequence number ${first >>> 0} is beyond the window, which ends at`, words[sender + MAX_END]);
  }
  const oldest = (words[sender] - words[receiver + MAX_WINDOW]) | 0;
  if (words[receiver + MAX_WINDOW] !== 0 && ((end - oldest) | 0) < 0) {
    return say(`sequence number ${first >>> 0} is older than the window, which begins at`, oldest);
  }
  if ((bits & TcpFlag.ACK) === 0) return undefined;
  const acknowledged = acknowledgement(memory, frame.l4);
  if (((acknowledged - words[receiver] - 1) | 0) >= 0) {
    return say(`acknowledgement ${acknowledged >>> 0} is of what was never sent: the last byte is`, words[receiver]);
  }
  const oldestAck = (words[receiver] - Math.max(words[sender + MAX_WINDOW] >>> 0, LEAST_ACK_WINDOW)) | 0;
  if (((acknowledged - oldestAck) | 0) < 0) {
    return say(`acknowledgement ${acknowledged >>> 0} is too old: the oldest is`, oldestAck);
  }
  return undefined;
}
