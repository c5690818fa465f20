/**
 * The bridge's filter: frames that are switched inside a network meet the bridge chain, statefully, as a Linux bridge
 * with br_netfilter has them meet iptables. They are tracked as routed packets are (whole datagrams, states, windows),
 * and a flow that has been admitted does not meet the rules again; but nothing is routed, translated or counted down.
 *
 *   ARP                           passes always: nothing works without it
 *   IPv4, to one station          tracked; the chain judges each class of a flow's packets once
 *   IPv4, to a group of stations  belongs to no flow: the chain judges each datagram, as a new one
 *   tagged                        stops here: some receivers take what is behind a priority tag for untagged
 *   anything else                 rules cannot speak of it: the chain's policy decides
 *
 * Theory of operation. Bridged flows have zones of their own in the flow table, one for each network: a tuple that is
 * switched and routed as well (a hairpin), or switched in two networks, is two flows, and NAT sees its own alone. In place
 * of a route, a flow remembers between which ports packets of each direction were admitted. When a station has moved,
 * or somebody else speaks in its name, the rules are asked again.
 */
import { ANY_ADMITTED, FLOW_SHIFT, FlowFlag, FlowWord, zoneOfNetwork } from "../conntrack/flow_layout.ts";
import type { FlowId } from "../conntrack/flow_table.ts";
import { TRACK_REOPEN } from "../conntrack/tracker.ts";
import { RuleState } from "../filter/rule_set.ts";
import { findQuotedFlow } from "../nat/icmp_errors.ts";
import { EtherType, isGroupMac, isTagged } from "../packet/ethernet.ts";
import type { Frame } from "../packet/frame.ts";
import { isError } from "../packet/icmp.ts";
import { Protocol } from "../packet/ipv4.ts";
import { isL4ChecksumValid, parseIpv4 } from "../packet/parse.ts";
import { Stop } from "../packet/stop_reasons.ts";
import { passBridge, passBridgePolicy } from "./ask.ts";
import { openBridgedFlow } from "./open_flow.ts";
import type { Router } from "./router.ts";
import { collect } from "./screen.ts";
import { admissionOf, countPacket } from "./track.ts";

// Private to the file: V8 folds these, but not what is imported (docs/decisions/0002-constants.md).
const { CONTINUE, L4_CHECKSUM, VLAN_UNJUDGED } = Stop;
const { ARP, IPV4 } = EtherType;
const { DIFFERENCE, GENERATION, ROUTE, STATUS } = FlowWord;
const { ADMITTED_NEW, BRIDGED } = FlowFlag;
const { ICMP } = Protocol;
const { ESTABLISHED, INVALID, NEW, RELATED } = RuleState;

/** Bits of a port in the word of two. */
export const PORT_BITS = 12;
export const PORT_MASK = (1 << PORT_BITS) - 1;

/**
 * Judges a frame that is to be switched with `outcome` (SWITCHED or FLOODED), whose egress is set: returns that, or why
 * the frame stops.
 */
export function filterSwitched(router: Router, frame: Frame, outcome: number): number {
  if (frame.etherType === ARP) return outcome;
  const stop = frame.etherType === IPV4 ? filterIpv4(router, frame) : filterOther(router, frame);
  return stop === CONTINUE ? outcome : stop;
}

function filterOther(router: Router, frame: Frame): number {
  return isTagged(frame.etherType) ? VLAN_UNJUDGED : passBridgePolicy(router, frame);
}

function filterIpv4(router: Router, frame: Frame): number {
  const stop = parseIpv4(router.memory, frame);
  if (stop !== CONTINUE) return stop;
  if (frame.fragment !== 0) return collect(router, frame);
  if (!isL4ChecksumValid(router.memory, frame)) return L4_CHECKSUM;
  frame.reference = -1;
  if (isGroupMac(frame.destinationMacHigh)) return passAs(router, frame, NEW);
  if (frame.protocol === ICMP && isError((frame.ports >>> 8) & 0xff)) return trackError(router, frame);
  findBridgedFlow(router, frame);
  if (router.recorder !== undefined) router.recorder.found(frame);
  const verdict = frame.reference < 0 ? admit(router, frame) : trackKnown(router, frame);
  // Frames of one flow may be merged on their way out; these have hardware addresses of their own each.
  frame.reference = -1;
  return verdict;
}

function passAs(router: Router, frame: Frame, state: number): number {
  frame.state = state;
  frame.mark = 0;
  return passBridge(router, frame);
}

function findBridgedFlow(router: Router, frame: Frame): void {
  const { flows, now } = router;
  const { source, destination, ports, protocol } = frame;
  frame.hash = flows.hash(source, destination, ports, protocol | zoneOfNetwork(frame.ingressInterface));
  frame.reference = flows.lookup(frame.hash, source, destination, ports, protocol | BRIDGED, now);
}

function admit(router: Router, frame: Frame): number {
  if (router.tracker.mayOpen(router.memory, frame) !== CONTINUE) return passAs(router, frame, INVALID);
  const stop = passAs(router, frame, NEW);
  return stop === CONTINUE ? openBridgedFlow(router, frame, portsWord(frame)) : stop;
}

function trackKnown(router: Router, frame: Frame): number {
  const flow = (frame.reference >> 1) as FlowId;
  const direction = frame.reference & 1;
  const verdict = router.tracker.update(router.memory, frame, flow, direction, router.now);
  if (verdict !== CONTINUE) {
    if (router.recorder !== undefined && verdict !== TRACK_REOPEN) router.recorder.invalid(frame, frame.reference);
    frame.reference = -1;
    return verdict === TRACK_REOPEN ? admit(router, frame) : passAs(router, frame, INVALID);
  }
  countPacket(router.flows, frame, flow, direction);
  return judge(router, frame, flow, direction);
}

/** Sees to it that the packet's class has been admitted under the present rules, between these ports. */
function judge(router: Router, frame: Frame, flow: FlowId, direction: number): number {
  const { words } = router.flows;
  const base = flow << FLOW_SHIFT;
  let status = words[base + STATUS];
  if (words[base + GENERATION] !== router.generation) {
    status &= ~ANY_ADMITTED;
    words[base + STATUS] = status;
    words[base + GENERATION] = router.generation;
  }
  const admission = admissionOf(status, direction);
  const ports = portsWord(frame);
  if ((status & admission) !== 0 && words[base + ROUTE + direction] === ports) {
    router.rules.paths.count(words[base + DIFFERENCE + direction], frame.end - frame.ip);
    return CONTINUE;
  }
  const stop = passAs(router, frame, admission === ADMITTED_NEW ? NEW : ESTABLISHED);
  if (stop !== CONTINUE) return stop;
  words[base + STATUS] |= admission;
  words[base + ROUTE + direction] = ports;
  words[base + DIFFERENCE + direction] = frame.path;
  return CONTINUE;
}

/** An ICMP error is related to the flow that it quotes, neither refreshes nor ends it, and meets the rules each time. */
function trackError(router: Router, frame: Frame): number {
  const zone = zoneOfNetwork(frame.ingressInterface);
  const quoted = findQuotedFlow(router.memory, router.flows, frame, router.now, zone);
  if (router.recorder !== undefined) router.recorder.related(quoted);
  return passAs(router, frame, quoted < 0 ? INVALID : RELATED);
}

/** Network and ports that a frame goes between; one that is flooded has no egress port, which is all bits. */
function portsWord(frame: Frame): number {
  return (
    (frame.egressInterface << 24) |
    ((frame.ingressPort & PORT_MASK) << PORT_BITS) |
    (frame.egressPort < 0 ? PORT_MASK : frame.egressPort & PORT_MASK)
  );
}
