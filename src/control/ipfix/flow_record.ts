/** From the words of a flow to IPFIX records. */
import { COUNTER_WORDS, FlowFlag, FlowWord, TUPLE_WORDS } from "../../conntrack/flow_layout.ts";
import { TcpState } from "../../conntrack/tcp_states.ts";
import { TimeoutIndex } from "../../conntrack/timeouts.ts";
import { Protocol } from "../../packet/ipv4.ts";
import type { RecordWriter } from "./message.ts";
import type { Totals } from "./reported.ts";
import { EndReason } from "./templates.ts";

/** States in which both sides have said, or a reset has, that a connection is over. */
const CLOSED: readonly number[] = [TcpState.TIME_WAIT, TcpState.CLOSE];

/** Why a flow that has ended did: told by its state, and by whether its time was over. */
export function endReasonOf(words: Int32Array, base: number, now: number): number {
  const status = words[base + FlowWord.STATUS];
  if ((status & 0xff) === Protocol.TCP && CLOSED.includes((status >>> 8) & 0xff)) return EndReason.END_OF_FLOW;
  return ((words[base + FlowWord.DEADLINE] - now) | 0) <= 0 ? EndReason.IDLE_TIMEOUT : EndReason.FORCED_END;
}

export function countersOf(words: Int32Array, base: number): Totals["counters"] {
  const of = (direction: number): [number, number] => {
    const at = base + FlowWord.PACKETS + direction * COUNTER_WORDS;
    const high = words[at + 2];
    return [(words[at] >>> 0) + (high >>> 16) * 2 ** 32, (words[at + 1] >>> 0) + (high & 0xffff) * 2 ** 32];
  };
  return [...of(0), ...of(1)];
}

/**
 * When the last packet came, on the dataplane's clock, not after `now`: the deadline less the timeout that it was set
 * with. Which one of several that was is not remembered: the longest that fits the flow's age.
 */
export function lastSeen(words: Int32Array, base: number, now: number, timeouts: Int32Array): number {
  const age = now - words[base + FlowWord.CREATED];
  const left = (words[base + FlowWord.DEADLINE] - now) | 0;
  const silences = candidates(words[base + FlowWord.STATUS]).map((index) => Math.max(0, timeouts[index] - left));
  const fitting = silences.filter((silence) => silence <= age >>> 0).sort((a, b) => b - a);
  return now - (fitting[0] ?? 0);
}

function candidates(status: number): number[] {
  const isAssured = (status & FlowFlag.ASSURED) !== 0;
  switch (status & 0xff) {
    case Protocol.TCP:
      return [(status >>> 8) & 0xff, TimeoutIndex.UNACKNOWLEDGED, TimeoutIndex.RETRANSMITTED];
    case Protocol.UDP:
      return [isAssured ? TimeoutIndex.UDP_STREAM : TimeoutIndex.UDP];
    case Protocol.GRE:
      return [isAssured ? TimeoutIndex.GRE_STREAM : TimeoutIndex.GRE];
    case Protocol.ICMP:
      return [TimeoutIndex.ICMP];
    default:
      return [TimeoutIndex.GENERIC];
  }
}

/**
 * Addresses as the packets of a direction had them when they came in, then as they left: those of the other direction's
 * tuple, the other way round.
 */
export function writeAddresses(writer: RecordWriter, words: Int32Array, base: number, direction: number): void {
  const own = base + direction * TUPLE_WORDS;
  const other = base + (1 - direction) * TUPLE_WORDS;
  writer
    .u32(words[own])
    .u32(words[own + 1])
    .u32(words[other + 1])
    .u32(words[other]);
}

/** Ports in the same order. */
export function writePorts(writer: RecordWriter, words: Int32Array, base: number, direction: number): void {
  const own = words[base + direction * TUPLE_WORDS + FlowWord.PORTS];
  const other = words[base + (1 - direction) * TUPLE_WORDS + FlowWord.PORTS];
  writer
    .u16(own >>> 16)
    .u16(own & 0xffff)
    .u16(other & 0xffff)
    .u16(other >>> 16);
}

/** The identifiers of an ICMP query in the place of source ports, before and after translation. */
export function writeIdentifiers(writer: RecordWriter, words: Int32Array, base: number): void {
  writer.u16(words[base + FlowWord.PORTS] >>> 16).u16(0);
  writer.u16(words[base + FlowWord.REPLY_PORTS] >>> 16).u16(0);
}
