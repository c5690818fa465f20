/**
 * Local delivery: what the router does with packets for itself. It answers echo requests (RFC 1122 3.2.2.6), and hands
 * datagrams for its DHCP server and DNS forwarder to the control process. Other packets get what a host with closed ports
 * answers (RFC 1122 3.2.2.1, RFC 9293 3.10.7.1).
 */
import { FLOW_SHIFT, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { fold, halfDifference, updateChecksum, wordDifference } from "../packet/checksum.ts";
import type { Frame } from "../packet/frame.ts";
import { IcmpType, UnreachableCode } from "../packet/icmp.ts";
import { Fragment, fragmentField, Protocol, rewriteAddresses } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { flags, TcpFlag } from "../packet/tcp.ts";
import { clearVnetHeader } from "../packet/vnet_header.ts";
import { Counter } from "./counters.ts";
import { hearLocal } from "./datagrams.ts";
import { sendIcmpError, sendReset } from "./refuse.ts";
import type { Router } from "./router.ts";
import { countPacket } from "./track.ts";

/** Default TTL of Linux. */
const OWN_TTL = 64;

export function deliver(router: Router, frame: Frame): number {
  if (frame.protocol === Protocol.UDP) {
    const stop = hearLocal(router, frame);
    if (stop !== Stop.CONTINUE) return stop;
  }
  // Of a shared address the kernel is the host: what the router does not know may be the kernel's own.
  if (router.interfaces[frame.ingressInterface]?.shared !== undefined) return Stop.LOCAL;
  switch (frame.protocol) {
    case Protocol.ICMP:
      if (((frame.ports >>> 8) & 0xff) === IcmpType.ECHO_REQUEST) answerEcho(router, frame);
      break;
    case Protocol.UDP:
      sendIcmpError(router, frame, IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.PORT, 0);
      break;
    case Protocol.TCP:
      if (!isKeptSilent(router, frame)) sendReset(router, frame);
      if (frame.reference >= 0) router.flows.remove((frame.reference >> 1) as FlowId);
      break;
    default:
      sendIcmpError(router, frame, IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.PROTOCOL, 0);
  }
  return Stop.LOCAL;
}

/**
 * In the `bcp` profile an unsolicited SYN from outside is not answered: the inside may be about to send the SYN that it
 * crosses (RFC 5382 REQ-4).
 */
function isKeptSilent(router: Router, frame: Frame): boolean {
  if (!router.isBcp || router.interfaces[frame.ingressInterface]?.isNetwork !== false) return false;
  return (flags(router.memory, frame.l4) & (TcpFlag.SYN | TcpFlag.ACK)) === TcpFlag.SYN;
}

/** Turns the request into its reply where it lies: it is the router's own now, and nobody else will read it. */
function answerEcho(router: Router, frame: Frame): void {
  const { memory, arena } = router;
  noteReply(router, frame);
  const { ip, l4, source, destination } = frame;
  rewriteAddresses(memory, ip, destination, source, 0);
  // Type 8 becomes 0, the TTL starts anew.
  memory.setInt8(l4, IcmpType.ECHO_REPLY);
  // A reply of nothing but zeros has the checksum 0xffff, which equals 0 everywhere else (RFC 1624 4).
  memory.setInt16(l4 + 2, updateChecksum(memory.getUint16(l4 + 2), 0xf7ff) || 0xffff);
  const before = wordDifference(memory.getInt32(ip + 4), 0);
  const ttlBefore = memory.getUint16(ip + 8);
  memory.setUint8(ip + 8, OWN_TTL);
  // It may be cut on its way: the request's "don't fragment" was the asker's wish.
  memory.setInt16(ip + 6, fragmentField(memory, ip) & ~Fragment.DONT);
  const difference =
    before + wordDifference(0, memory.getInt32(ip + 4)) + halfDifference(ttlBefore, memory.getUint16(ip + 8));
  memory.setInt16(ip + 10, updateChecksum(memory.getUint16(ip + 10), fold(difference)));
  clearVnetHeader(memory, frame.at);
  frame.source = destination;
  frame.destination = source;
  // Counted here: from now on the slot holds a frame of the router's own.
  if (frame.own === 0) router.counters.stops[Stop.LOCAL]++;
  frame.own = 1;
  frame.reference = -1;
  arena.slotLength[frame.slot] = frame.end - frame.at;
  arena.retain(frame.slot);
  router.post(frame.slot);
  router.count(Counter.echoRepliesSent);
}

function noteReply(router: Router, frame: Frame): void {
  if (frame.reference >= 0) noteOwnReply(router, frame, (frame.reference >> 1) as FlowId);
}

/** A packet of the router's own answers a flow: it may be the flow's first reply. */
export function noteOwnReply(router: Router, frame: Frame, flow: FlowId): void {
  const at = (flow << FLOW_SHIFT) + FlowWord.STATUS;
  if ((router.flows.words[at] & FlowFlag.SEEN_REPLY) === 0) {
    router.flows.words[at] |= FlowFlag.SEEN_REPLY;
    router.flows.noteChange(flow);
  }
  countPacket(router.flows, frame, flow, 1);
}
