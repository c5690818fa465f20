/**
 * A flow as conntrack(8) prints it (libnetfilter_conntrack's default output): protocol, seconds left, TCP state, the
 * original tuple, its counters, [UNREPLIED], the reply tuple, its counters, [ASSURED], mark and use; and an event, which
 * has counters only at the end of a flow, a mark only where there is one, and no time left where none is. Pure
 * functions over the words of one entry; cold path, may allocate.
 */

import { Protocol } from "../packet/ipv4.ts";
import { formatAddress } from "../packet/ipv4_address.ts";
import { FlowEvent, type RecordedEvent } from "./events.ts";
import { COUNTER_WORDS, FlowFlag, FlowWord, TUPLE_WORDS } from "./flow_layout.ts";
import { tcpStateName } from "./tcp_states.ts";

const PROTOCOL_NAMES: Record<number, string> = {
  1: "icmp",
  6: "tcp",
  17: "udp",
  33: "dccp",
  47: "gre",
  132: "sctp",
  136: "udplite",
};

const GRE = 47;
/** Protocols that are printed with ports; those that are tracked by address alone have zeros there. */
const WITH_PORTS = new Set([Protocol.TCP, Protocol.UDP, 33, 132, 136]);

export interface TupleView {
  source: string;
  destination: string;
  sourcePort?: number;
  destinationPort?: number;
  icmpType?: number;
  icmpCode?: number;
  icmpId?: number;
  /** GRE: never told apart by key, so always 0. */
  greKey?: number;
  packets: number;
  bytes: number;
}

/** A flow as data: what `tapir conntrack -L -j` prints. */
export interface FlowView {
  /** The same for as long as the flow lives, and another for the next flow of the same tuple. */
  id: number;
  protocol: string;
  protocolNumber: number;
  secondsLeft: number;
  /** TCP only. */
  state?: string;
  original: TupleView;
  reply: TupleView;
  seenReply: boolean;
  assured: boolean;
  mark: number;
}

/** The flow in `words` from `base` on; `now` is the dataplane's clock. */
export function viewFlow(words: Int32Array, base: number, now: number): FlowView {
  const status = words[base + FlowWord.STATUS];
  const protocolNumber = status & 0xff;
  const left = Math.max(0, (words[base + FlowWord.DEADLINE] - now) | 0);
  return {
    id: flowNumber(words, base),
    protocol: PROTOCOL_NAMES[protocolNumber] ?? "unknown",
    protocolNumber,
    secondsLeft: Math.floor(left / 1000),
    ...(protocolNumber === Protocol.TCP ? { state: tcpStateName((status >>> 8) & 0xff) } : {}),
    original: viewTuple(words, base, 0, protocolNumber),
    reply: viewTuple(words, base, 1, protocolNumber),
    seenReply: (status & FlowFlag.SEEN_REPLY) !== 0,
    assured: (status & FlowFlag.ASSURED) !== 0,
    mark: words[base + FlowWord.MARK] >>> 0,
  };
}

function viewTuple(words: Int32Array, base: number, direction: number, protocol: number): TupleView {
  const tuple = base + direction * TUPLE_WORDS;
  const counters = base + FlowWord.PACKETS + direction * COUNTER_WORDS;
  const ports = words[tuple + FlowWord.PORTS];
  const high = words[counters + 2];
  return {
    source: formatAddress(words[tuple]),
    destination: formatAddress(words[tuple + 1]),
    ...viewPorts(protocol, ports),
    packets: (words[counters] >>> 0) + (high >>> 16) * 2 ** 32,
    bytes: (words[counters + 1] >>> 0) + (high & 0xffff) * 2 ** 32,
  };
}

function viewPorts(protocol: number, ports: number): Partial<TupleView> {
  if (protocol === Protocol.ICMP) {
    return { icmpType: (ports >>> 8) & 0xff, icmpCode: ports & 0xff, icmpId: ports >>> 16 };
  }
  if (protocol === GRE) return { greKey: 0 };
  if (!WITH_PORTS.has(protocol)) return {};
  return { sourcePort: ports >>> 16, destinationPort: ports & 0xffff };
}

/** What identifies a flow, mixed into 32 bits: tuples, protocol, beginning. */
export function flowNumber(words: Int32Array, base: number): number {
  let mixed = (words[base + FlowWord.STATUS] & 0xff) ^ words[base + FlowWord.CREATED];
  for (let word = FlowWord.SOURCE; word <= FlowWord.REPLY_PORTS; word++) {
    mixed = Math.imul(mixed ^ words[base + word], 0x9e3779b1);
    mixed ^= mixed >>> 15;
  }
  return mixed >>> 0;
}

/** What conntrack(8) calls `-o`. */
export interface FormatOptions {
  /** The network protocol comes first. */
  extended?: boolean;
  id?: boolean;
  /** Events only: when it happened comes first. */
  timestamp?: boolean;
}

/** One line, without its newline. */
export function formatFlow(flow: FlowView, options: FormatOptions = {}): string {
  const parts = flowParts(flow, options, String(flow.secondsLeft), true);
  parts.push(`mark=${flow.mark}`, "use=1");
  if (options.id === true) parts.push(`id=${flow.id}`);
  return parts.join(" ");
}

export type EventKind = "NEW" | "UPDATE" | "DESTROY";

/** An event as data: what `tapir conntrack -E -j` prints. */
export interface EventView {
  event: EventKind;
  /** Since 1970, to the microsecond. */
  seconds: number;
  microseconds: number;
  flow: FlowView;
}

const EVENT_NAMES: Record<number, EventKind> = {
  [FlowEvent.NEW]: "NEW",
  [FlowEvent.UPDATE]: "UPDATE",
  [FlowEvent.DESTROY]: "DESTROY",
};

export function viewEvent({ kind, seconds, microseconds, now, words, base }: RecordedEvent): EventView {
  return { event: EVENT_NAMES[kind], seconds, microseconds, flow: viewFlow(words, base, now) };
}

/** One line, without its newline. */
export function formatEvent({ event, seconds, microseconds, flow }: EventView, options: FormatOptions = {}): string {
  const time = options.timestamp === true ? `[${seconds}.${String(microseconds).padStart(6, "0")}]\t` : "";
  const left = flow.secondsLeft === 0 ? "" : String(flow.secondsLeft);
  const parts = flowParts(flow, options, left, event === "DESTROY");
  if (flow.mark !== 0) parts.push(`mark=${flow.mark}`);
  if (options.id === true) parts.push(`id=${flow.id}`);
  return `${time}${`[${event}]`.padStart(9)} ${parts.join(" ")}`;
}

/** What lists and events have in common. */
function flowParts(flow: FlowView, options: FormatOptions, secondsLeft: string, hasCounters: boolean): string[] {
  const parts = options.extended === true ? ["ipv4     2"] : [];
  parts.push(`${flow.protocol.padEnd(8)} ${flow.protocolNumber}`);
  if (secondsLeft !== "") parts.push(secondsLeft);
  if (flow.state !== undefined) parts.push(flow.state);
  parts.push(formatTuple(flow.original, hasCounters));
  if (!flow.seenReply) parts.push("[UNREPLIED]");
  parts.push(formatTuple(flow.reply, hasCounters));
  if (flow.assured) parts.push("[ASSURED]");
  return parts;
}

function formatTuple(tuple: TupleView, hasCounters: boolean): string {
  const parts = [`src=${tuple.source} dst=${tuple.destination}`];
  if (tuple.sourcePort !== undefined) parts.push(`sport=${tuple.sourcePort} dport=${tuple.destinationPort}`);
  if (tuple.icmpType !== undefined) parts.push(`type=${tuple.icmpType} code=${tuple.icmpCode} id=${tuple.icmpId}`);
  if (tuple.greKey !== undefined)
    parts.push(`srckey=0x${tuple.greKey.toString(16)} dstkey=0x${tuple.greKey.toString(16)}`);
  if (hasCounters) parts.push(`packets=${tuple.packets} bytes=${tuple.bytes}`);
  return parts.join(" ");
}
