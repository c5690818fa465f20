/**
 * Refuse: the errors that the router sends about packets it stops (RFC 1812 4.3, 5.2.7). Never about ICMP errors,
 * broadcasts or multicasts of either layer, later fragments, or a source that is no single host; and never more than
 * the rate limit allows. They come from the address of the interface that the packet came in through, and quote it
 * as it came: nothing of it has been changed.
 */
import { pseudoHeaderSum, sumBytes } from "../packet/checksum.ts";
import { ETHERNET_HEADER_BYTES, EtherType, isGroupMac, setEtherType, setMacs } from "../packet/ethernet.ts";
import { type Frame, Own, TCP_RESET } from "../packet/frame.ts";
import { ICMP_HEADER_BYTES, IcmpType, isError, UnreachableCode } from "../packet/icmp.ts";
import * as ipv4 from "../packet/ipv4.ts";
import { STOP_REASONS, Stop } from "../packet/stop_reasons.ts";
import * as tcp from "../packet/tcp.ts";
import { clearVnetHeader } from "../packet/vnet_header.ts";
import { Counter } from "./counters.ts";
import type { Interface } from "./interfaces.ts";
import type { Router } from "./router.ts";
import { RouteKind } from "./routes.ts";
import { isForStation } from "./switching.ts";

/** An error is at most this long (RFC 1812 4.3.2.3), and no longer than what its receiver's network takes whole. */
const LARGEST_ERROR_BYTES = 576;
/** Internetwork control precedence (RFC 1812 4.3.2.5), as Linux sends it. */
const ERROR_TOS = 0xc0;
/** What an error keeps of the TOS that it is about (RFC 1349 5.1). */
const TOS_BITS = 0x1e;
const OWN_TTL = 64;

/** For each stop reason: ICMP type << 8 | code of its answer, or -1. */
const ANSWERS = Int32Array.from(STOP_REASONS, (reason) =>
  reason.icmp === undefined ? -1 : (reason.icmp.type << 8) | reason.icmp.code,
);

/** Sends what a stop reason answers, if it answers anything. */
export function refuse(router: Router, frame: Frame, stop: number): void {
  if (stop === Stop.FORWARD_REJECT || stop === Stop.INPUT_REJECT || stop === Stop.BRIDGE_REJECT) {
    if (frame.rejectWith === TCP_RESET) sendReset(router, frame);
    else sendIcmpError(router, frame, IcmpType.DESTINATION_UNREACHABLE, frame.rejectWith, 0);
  } else if (ANSWERS[stop] >= 0) {
    sendIcmpError(router, frame, ANSWERS[stop] >> 8, ANSWERS[stop] & 0xff, restOf(frame, stop));
  }
}

/** The second word of the answer: the next hop's MTU (RFC 1191 4), or where the problem is (RFC 792). */
function restOf(frame: Frame, stop: number): number {
  if (stop === Stop.MTU_EXCEEDED) return frame.nextHopMtu;
  return stop === Stop.IPV4_OPTIONS ? frame.problemAt << 24 : 0;
}

/** Whether an error about this packet may be sent at all (RFC 1812 4.3.2.7). */
function mayAnswer(router: Router, frame: Frame): boolean {
  if (frame.own !== 0 || isGroupMac(frame.destinationMacHigh)) return false;
  if ((frame.fragment & ipv4.Fragment.OFFSET) !== 0) return false;
  if (frame.protocol === ipv4.Protocol.ICMP && isIcmpError(router.memory, frame)) return false;
  return !ipv4.isMartianSource(frame.source) && isOneHost(router, frame.destination);
}

/** What stopped early has not been asked for its route: the destination may be a group or a broadcast address. */
function isOneHost(router: Router, destination: number): boolean {
  if (ipv4.isMulticast(destination) || ipv4.isMartianDestination(destination)) return false;
  const route = router.routes.local(destination);
  return route === undefined || route.kind !== RouteKind.BROADCAST;
}

/** Read anew: what stopped early was not parsed to the end. */
function isIcmpError(memory: DataView, frame: Frame): boolean {
  return frame.end > frame.l4 && isError(memory.getUint8(frame.l4));
}

/** Sends an ICMP error about `frame`; `rest` is the second word of its header. */
export function sendIcmpError(router: Router, frame: Frame, type: number, code: number, rest: number): void {
  if (!mayAnswer(router, frame)) {
    if (router.recorder !== undefined) router.recorder.unanswered("no error is sent about such a packet");
    return;
  }
  const isPathMtu = type === IcmpType.DESTINATION_UNREACHABLE && code === UnreachableCode.FRAGMENTATION_NEEDED;
  if (!isPathMtu && !router.icmpLimiter.allows(frame.source, router.now)) {
    router.count(Counter.icmpErrorsLimited);
    if (router.recorder !== undefined) router.recorder.unanswered("the rate limit of ICMP errors is reached");
    return;
  }
  const packet = frame.end - frame.ip;
  const mtu = router.interfaces[frame.ingressInterface]?.mtu ?? LARGEST_ERROR_BYTES;
  const most = Math.min(LARGEST_ERROR_BYTES, mtu) - ipv4.IPV4_HEADER_BYTES - ICMP_HEADER_BYTES;
  const quoted = Math.min(packet, most);
  const length = ipv4.IPV4_HEADER_BYTES + ICMP_HEADER_BYTES + quoted;
  const tos = ERROR_TOS | (ipv4.typeOfService(router.memory, frame.ip) & TOS_BITS);
  const answer = startAnswer(router, frame, ipv4.Protocol.ICMP, tos, length);
  if (answer === undefined) return;
  const { memory } = router;
  const l4 = answer.l4;
  memory.setInt16(l4, (type << 8) | code);
  memory.setInt16(l4 + 2, 0);
  memory.setInt32(l4 + 4, rest);
  router.arena.bytes.copyWithin(l4 + ICMP_HEADER_BYTES, frame.ip, frame.ip + quoted);
  router.counters.values[Counter.bytesCopied] += quoted;
  memory.setInt16(l4 + 2, ~sumBytes(memory, l4, ICMP_HEADER_BYTES + quoted, 0));
  router.post(answer.slot);
  router.count(Counter.icmpErrorsSent);
}

/** Answers a TCP segment as a closed port does (RFC 9293 3.10.7.1). Nothing answers a reset. */
export function sendReset(router: Router, frame: Frame): void {
  const { memory } = router;
  if (!mayAnswer(router, frame) || frame.protocol !== ipv4.Protocol.TCP) return;
  const flags = tcp.flags(memory, frame.l4);
  if ((flags & tcp.TcpFlag.RST) !== 0) return;
  const length = ipv4.IPV4_HEADER_BYTES + tcp.TCP_HEADER_BYTES;
  const answer = startAnswer(router, frame, ipv4.Protocol.TCP, 0, length);
  if (answer === undefined) return;
  const ports = (frame.ports << 16) | (frame.ports >>> 16);
  if ((flags & tcp.TcpFlag.ACK) !== 0) {
    tcp.write(memory, answer.l4, ports, tcp.acknowledgement(memory, frame.l4), 0, tcp.TcpFlag.RST, 0);
  } else {
    const data = frame.end - frame.l4 - tcp.dataOffset(memory, frame.l4);
    const controls = (flags & tcp.TcpFlag.SYN ? 1 : 0) + (flags & tcp.TcpFlag.FIN ? 1 : 0);
    const acknowledged = (tcp.sequence(memory, frame.l4) + data + controls) | 0;
    tcp.write(memory, answer.l4, ports, 0, acknowledged, tcp.TcpFlag.RST | tcp.TcpFlag.ACK, 0);
  }
  const pseudo = pseudoHeaderSum(answer.source, answer.destination, ipv4.Protocol.TCP, tcp.TCP_HEADER_BYTES);
  memory.setInt16(answer.l4 + tcp.TCP_CHECKSUM_OFFSET, ~sumBytes(memory, answer.l4, tcp.TCP_HEADER_BYTES, pseudo));
  router.post(answer.slot);
  router.count(Counter.resetsSent);
}

/**
 * Takes a slot and writes the Ethernet type and IPv4 header of an answer to `frame`'s source. An answer to a packet
 * for the router comes from the address that was asked, any other from the ingress interface's. An answer to a frame
 * that was not for the router, but for a station of the network, goes straight back to where the frame came from: its
 * sender may have no address that could be routed to.
 */
function startAnswer(router: Router, frame: Frame, protocol: number, tos: number, length: number): Frame | undefined {
  const { memory } = router;
  // The interface may have been taken away while the frame waited for its next hop.
  const ingress = router.interfaces[frame.ingressInterface];
  const slot = ingress === undefined ? -1 : router.arena.take();
  if (ingress === undefined || slot < 0) {
    router.count(Counter.ownFramesDropped);
    return undefined;
  }
  const answer = router.frames[slot];
  const isReset = protocol === ipv4.Protocol.TCP;
  answer.own = Own.ROUTED;
  answer.flood = 0;
  answer.reference = -1;
  answer.ingressPort = -1;
  answer.ingressInterface = frame.ingressInterface;
  answer.etherType = EtherType.IPV4;
  answer.ip = answer.at + ETHERNET_HEADER_BYTES;
  answer.l4 = answer.ip + ipv4.IPV4_HEADER_BYTES;
  answer.end = answer.ip + length;
  answer.protocol = protocol;
  answer.fragment = 0;
  const isFromTarget = isReset || router.isOwnAddress(frame.destination);
  answer.source = isFromTarget ? frame.destination : ingress.addressTowards(frame.source);
  answer.destination = frame.source;
  clearVnetHeader(memory, answer.at);
  setEtherType(memory, answer.at, EtherType.IPV4);
  // A reset is never fragmented: it needs no identification (RFC 6864 4.1).
  const id = isReset ? 0 : router.random() & 0xffff;
  const dont = isReset ? ipv4.Fragment.DONT : 0;
  if (isForStation(router, frame)) addressBack(router, frame, ingress, answer, isReset);
  ipv4.writeHeader(memory, answer.ip, tos, length, id, dont, OWN_TTL, protocol, answer.source, answer.destination);
  router.arena.slotLength[slot] = ETHERNET_HEADER_BYTES + length;
  return answer;
}

/** To the station that sent `frame`: an ICMP error from the gateway, a reset from the station that was asked. */
function addressBack(router: Router, frame: Frame, ingress: Interface, answer: Frame, isReset: boolean): void {
  const high = isReset ? frame.destinationMacHigh : ingress.macHigh;
  const low = isReset ? frame.destinationMacLow : ingress.macLow;
  setMacs(router.memory, answer.at, frame.sourceMacHigh, frame.sourceMacLow, high, low);
  answer.own = Own.ADDRESSED;
  answer.egressInterface = ingress.index;
  answer.egressPort = frame.ingressPort;
}
