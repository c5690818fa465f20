/** Words for what a walk tells of: names, tuples, flows, routes. Cold path, may allocate. */
import { FlowFlag, FlowWord, TUPLE_WORDS } from "../../conntrack/flow_layout.ts";
import { tcpStateName } from "../../conntrack/tcp_states.ts";
import { invertPorts } from "../../conntrack/tuple.ts";
import { isGroupMac } from "../../packet/ethernet.ts";
import { Protocol } from "../../packet/ipv4.ts";
import { formatAddress } from "../../packet/ipv4_address.ts";
import { formatMac } from "../../packet/mac_address.ts";
import type { Router } from "../router.ts";
import { NEIGHBOUR_STATES } from "../show.ts";

const PROTOCOL_NAMES: Record<number, string> = { 1: "icmp", 6: "tcp", 17: "udp", 47: "gre" };
const ICMP_NAMES: Record<number, string> = {
  0: "echo reply",
  3: "unreachable",
  4: "source quench",
  5: "redirect",
  8: "echo request",
  11: "time exceeded",
  12: "parameter problem",
  13: "timestamp request",
  14: "timestamp reply",
};

export function portName(router: Router, port: number): string {
  return router.ports.plans[port]?.name ?? `#${port}`;
}

export function interfaceName(router: Router, index: number): string {
  return router.interfaces[index]?.name ?? `#${index}`;
}

export function protocolName(protocol: number): string {
  return PROTOCOL_NAMES[protocol] ?? `protocol ${protocol}`;
}

export function hasPorts(protocol: number): boolean {
  return protocol === Protocol.TCP || protocol === Protocol.UDP;
}

/** An address with its port, where the protocol has ports. */
export function endpoint(protocol: number, address: number, port: number): string {
  return hasPorts(protocol) ? `${formatAddress(address)}:${port}` : formatAddress(address);
}

/** As `tcp 10.55.66.2:4000 > 203.0.113.2:443`; `ports` as in the frame. */
export function tupleText(protocol: number, source: number, destination: number, ports: number): string {
  const ends = `${endpoint(protocol, source, ports >>> 16)} > ${endpoint(protocol, destination, ports & 0xffff)}`;
  if (protocol !== Protocol.ICMP) return `${protocolName(protocol)} ${ends}`;
  const type = (ports >>> 8) & 0xff;
  return `icmp ${ends} ${ICMP_NAMES[type] ?? `type ${type}`} id ${ports >>> 16}`;
}

/** The tuple of a flow's direction. */
export function flowTuple(words: Int32Array, base: number, direction: number): string {
  const at = base + direction * TUPLE_WORDS;
  return tupleText(words[base + FlowWord.STATUS] & 0xff, words[at], words[at + 1], words[at + 2]);
}

/** A flow's state as conntrack knows it: that of TCP, or whether it was answered. */
export function flowState(status: number): string {
  const assured = (status & FlowFlag.ASSURED) !== 0 ? ", assured" : "";
  const replied = (status & FlowFlag.SEEN_REPLY) !== 0 ? "answered" : "not answered yet";
  if ((status & 0xff) !== Protocol.TCP) return replied + assured;
  return `${tcpStateName((status >>> 8) & 0xff)}, ${replied}${assured}`;
}

/** Where packets of the original direction go out to: the source and the destination after translation. */
export function translatedEnds(words: Int32Array, base: number): { source: string; destination: string } {
  const protocol = words[base + FlowWord.STATUS] & 0xff;
  const ports = invertPorts(protocol, words[base + FlowWord.REPLY_PORTS]);
  const id = protocol === Protocol.ICMP ? ` id ${ports >>> 16}` : "";
  return {
    source: endpoint(protocol, words[base + FlowWord.REPLY_DESTINATION], ports >>> 16) + id,
    destination: endpoint(protocol, words[base + FlowWord.REPLY_SOURCE], ports & 0xffff),
  };
}

export function neighbourState(state: number): string {
  return NEIGHBOUR_STATES[state] ?? "unknown";
}

/** How a hardware address is called in its network. */
export function describeMac(high: number, low: number): string {
  if (high === 0xffff && low === -1) return "broadcast";
  return `${isGroupMac(high) ? "multicast " : ""}${formatMac(high, low)}`;
}

/** `c1`, `c1 and c2`, `c1, c2 and 7 more`. */
export function listOf(names: readonly string[], most = 8): string {
  if (names.length === 0) return "none";
  if (names.length === 1) return names[0];
  if (names.length > most) return `${names.slice(0, most).join(", ")} and ${names.length - most} more`;
  return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}
