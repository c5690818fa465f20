/**
 * ICMP errors: RELATED to the flow that they quote, and translated with it, or unrelated. They neither refresh nor
 * end the flow (RFC 5508 REQ-6), and meet the forward chain each time.
 *
 * Who knows the addresses and ports of somebody's flow can make up an error about it (RFC 5927). Two kinds are told from
 * real ones, where Linux passes them: one that comes from a network by another way than packets to the quoted
 * destination take, so that a container cannot speak of flows that are not its own; and "fragmentation needed" with an
 * MTU that no IPv4 link has. An MTU of 0 is what routers say that are older than RFC 1191.
 */
import { ANY_NAT, FLOW_SHIFT, FlowFlag, FlowWord } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { RuleState } from "../filter/rule_set.ts";
import { findQuotedFlow, isUntranslatable, translatedDestination } from "../nat/icmp_errors.ts";
import type { Frame } from "../packet/frame.ts";
import { ICMP_HEADER_BYTES, IcmpType, UnreachableCode } from "../packet/icmp.ts";
import { destinationAddress } from "../packet/ipv4.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { admitInvalid, admitTo } from "./admit.ts";
import type { Interface } from "./interfaces.ts";
import type { Router } from "./router.ts";
import { RouteKind } from "./routes.ts";

/** Type and code, as they stand in the header. */
const FRAGMENTATION_NEEDED = (IcmpType.DESTINATION_UNREACHABLE << 8) | UnreachableCode.FRAGMENTATION_NEEDED;
const LEAST_MTU = 68;

export function trackError(router: Router, frame: Frame): number {
  const reference = findQuotedFlow(router.memory, router.flows, frame, router.now);
  frame.reference = -1;
  if (router.recorder !== undefined) router.recorder.related(reference);
  if (reference < 0) return admitInvalid(router, frame);
  if (router.isOwnAddress(frame.source)) return Stop.MARTIAN_SOURCE;
  if (isForged(router, frame)) return Stop.ICMP_ERROR_FORGED;
  const flow = (reference >> 1) as FlowId;
  const direction = reference & 1;
  const status = router.flows.words[(flow << FLOW_SHIFT) + FlowWord.STATUS];
  if ((status & FlowFlag.LOCAL) !== 0) return Stop.LOCAL;
  if ((status & ANY_NAT) !== 0 && isUntranslatable(router.memory, frame)) return Stop.ICMP_ERROR_UNRELATED;
  frame.state = RuleState.RELATED;
  const isPublished = (status & FlowFlag.PUBLISHED) !== 0;
  const stop = admitTo(router, frame, translatedDestination(router.flows, frame, flow, direction), isPublished);
  if (stop === Stop.CONTINUE) frame.reference = reference;
  return stop;
}

function isForged(router: Router, frame: Frame): boolean {
  return hasImpossibleMtu(router.memory, frame) || isFromElsewhere(router, frame);
}

/** Every IPv4 link takes packets of 68 bytes (RFC 791 3.2); no host goes below (RFC 1191 3). */
function hasImpossibleMtu(memory: DataView, { l4 }: Frame): boolean {
  if (memory.getUint16(l4) !== FRAGMENTATION_NEEDED) return false;
  const mtu = memory.getUint16(l4 + 6);
  return mtu > 0 && mtu < LEAST_MTU;
}

/**
 * Whether a container whose port has a guard tells of a packet that went elsewhere: what it quotes must have gone to its
 * hardware address. Without guard, and on an uplink, anybody may tell, as in Linux.
 */
function isFromElsewhere(router: Router, frame: Frame): boolean {
  const ingress = router.interfaces[frame.ingressInterface] as Interface;
  if (router.ports.guards[frame.ingressPort] === undefined) return false;
  const quoted = destinationAddress(router.memory, frame.l4 + ICMP_HEADER_BYTES);
  const route = router.routes.find(frame, quoted);
  if (route === undefined || route.kind !== RouteKind.UNICAST || route.interface !== ingress.index) return true;
  const { neighbours } = router;
  const hop = neighbours.find(ingress.index, route.via === 0 ? quoted : route.via);
  if (hop < 0 || !neighbours.isUsable(hop)) return true;
  return neighbours.macHigh[hop] !== frame.sourceMacHigh || neighbours.macLow[hop] !== frame.sourceMacLow;
}
